"""One connection's stream to a CDN: headers before media, the first picture a key frame, times from zero on.

Times rise strictly on each track, with one zero for both. Pictures of the past, which let a connection begin
between two key frames, are a millisecond apart. Pictures that pause and come back need nothing
special; those that come minutes after the sound, or with another size, get their headers first. Pure.
"""

from sluice.media.packets import TrackKind
from sluice.media.units import AudioHeaders, Unit, VideoHeaders
from sluice.wire.flv import write_metadata
from sluice.wire.rtmp_publish import PublishMachine

#: Sound waits so long for the picture that it is to begin with: players look at what comes first. Less than
#: what makes missing pictures a fault, which is then theirs alone.
_PICTURE_WAIT_US = 1_500_000


class FlvStream:
    def __init__(
        self,
        machine: PublishMachine,
        audio_headers: AudioHeaders,
        *,
        pictures: bool,
        pictures_expected: bool,
        first_ms: int = 0,
    ) -> None:
        """`pictures`: False for sound alone; `pictures_expected`: they are being published now. `first_ms`
        is the time on the wire to begin with."""
        #: The next picture that is of use must be a key frame.
        self.needs_key_frame = pictures
        self._catches_up = False  #: with a group of pictures of the past
        self._machine = machine
        self._audio_headers = audio_headers
        self._pictures, self._first_ms = pictures, first_ms
        self._wait_us = _PICTURE_WAIT_US if pictures and pictures_expected else 0
        self._waiting_since_us: int | None = None
        self._zero_us: int | None = None
        self._headers: VideoHeaders | None = None
        self._last_ms = dict.fromkeys(TrackKind, -1)

    @property
    def position_us(self) -> int:
        """How far this connection has come."""
        return max(0, max(self._last_ms.values()) - self._first_ms) * 1000

    def write(self, unit: Unit) -> bytes:
        """What is to be sent for `unit`; nothing when it is of no use."""
        if not self._wants(unit):
            return b""
        begins = self._zero_us is None
        if self._zero_us is None:
            self._zero_us = unit.at_us
        stamp = self._stamp(unit)
        out = b""
        if unit.headers is not None and unit.headers != self._headers:
            self._headers = unit.headers
            out += self._metadata(stamp) + self._machine.write_video(stamp, unit.headers.tag)
        elif begins:
            out += self._metadata(stamp)
        if begins:
            out += self._machine.write_audio(stamp, self._audio_headers.tag)
        if unit.kind is TrackKind.VIDEO:
            return out + self._machine.write_video(stamp, unit.body)
        return out + self._machine.write_audio(stamp, unit.body)

    def _wants(self, unit: Unit) -> bool:
        if unit.kind is TrackKind.VIDEO:
            return self._pictures and self._wants_picture(unit)
        if self._zero_us is not None:
            return unit.at_us >= self._zero_us
        if self._waiting_since_us is None:
            self._waiting_since_us = unit.at_us
        return unit.at_us - self._waiting_since_us >= self._wait_us

    def _wants_picture(self, unit: Unit) -> bool:
        if unit.key:
            self._catches_up = unit.past and self.needs_key_frame
        if unit.past:
            if not self._catches_up:
                return False  # for another connection
        elif self.needs_key_frame and not unit.key:
            return False
        self.needs_key_frame = False
        return True

    def _stamp(self, unit: Unit) -> int:
        assert self._zero_us is not None  # noqa: S101 - set before
        ms = self._first_ms + (unit.at_us - self._zero_us + 500) // 1000
        self._last_ms[unit.kind] = ms = max(ms, self._last_ms[unit.kind] + 1)
        return ms

    def _metadata(self, stamp: int) -> bytes:
        size = (self._headers.width, self._headers.height) if self._headers is not None else None
        sound = self._audio_headers
        body = write_metadata(size, aac_rate=sound.rate_hz, aac_bps=sound.bitrate_bps)
        return self._machine.write_metadata(stamp, body)
