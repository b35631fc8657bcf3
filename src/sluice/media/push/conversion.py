"""Converts a room's frames to what CDNs take: pictures as they are, and sound as AAC that never pauses.

Where the room has no sound, silence is made: players start only when both tracks flow. Units come in the
order of their times. Time is an argument, in microseconds of the event loop's clock.
"""

from collections.abc import Iterable
from dataclasses import replace

from sluice.core.drops import DropRule
from sluice.core.room_clock import RoomClock
from sluice.core.vitals import Level, SoundWatch
from sluice.media.counts import Counts
from sluice.media.packets import TrackKind
from sluice.media.pipe.aac import AacPipe
from sluice.media.pipe.flv_video import FlvVideo
from sluice.media.push.interleave import Interleaver
from sluice.media.units import AudioHeaders, Unit
from sluice.process.link import KEY_FRAME, PAST, FrameType, LinkFrame

#: A microphone that sends nothing for so long is off; until then its packets count as late. Less than the
#: window of the interleaver, so that silence comes in order, too.
SOUND_PAUSE_US = 250_000
#: The most silence that is made at once. After a longer gap (this process may have stood still) the sound
#: begins anew.
_LONGEST_GAP_US = 3_000_000
#: A publisher that stood still first sends its backlog at once, for whose times silence was made: that is
#: left out. If sound stays late for longer than this, the publisher's clock goes on late, and ours follows.
_BEHIND_US = 1_000_000
_SILENCE = Level(0.0)


class Conversion:
    def __init__(self, now_us: int, *, sound_expected: bool) -> None:
        """`sound_expected`: sound is published, so silence waits a little for it."""
        self.heard = SoundWatch()
        self._clock = RoomClock()
        self._sound_at_us = now_us if sound_expected else now_us - SOUND_PAUSE_US
        self._aac = AacPipe()
        self._behind_since_us: int | None = None
        self._video = FlvVideo()
        self._interleaver = Interleaver()
        self._counted = Counts()  #: by earlier sound pipes

    @property
    def audio_headers(self) -> AudioHeaders:
        return self._aac.headers

    def convert(self, frames: Iterable[LinkFrame], now_us: int) -> list[Unit]:
        """Takes these frames, and returns the units whose turn it is."""
        units: list[Unit] = []
        for frame in frames:
            at_us = self._clock.stamp(frame.media_us, now_us)
            if frame.type == FrameType.AUDIO:
                self._sound_at_us = now_us
                if self._stays_behind(at_us, now_us):
                    self._clock = RoomClock()
                    at_us = self._clock.stamp(frame.media_us, now_us)
                sound = self._sound_until(at_us)
                units += sound.sound(frame.payload, at_us)
                if sound.level is not None:
                    self.heard.hear(sound.level, now_us / 1e6)
            elif frame.type == FrameType.VIDEO:
                unit = self._video.push(frame.payload, at_us, key=bool(frame.flags & KEY_FRAME))
                if unit is not None:
                    units.append(replace(unit, past=True) if frame.flags & PAST else unit)
        return self._interleaver.push(units)

    def fill(self, now_us: int) -> list[Unit]:
        """Makes silence where there is no sound, and returns the units whose turn it is. Call it often."""
        if now_us - self._sound_at_us < SOUND_PAUSE_US:
            return []
        at_us = self._clock.now(now_us)
        silence = self._sound_until(at_us).silence(at_us)
        if silence:
            self.heard.hear(_SILENCE, now_us / 1e6)
        return self._interleaver.push([replace(unit, made=True) for unit in silence])

    def begin_anew(self) -> None:
        """The next frame of the room has another media clock."""
        self._clock.begin_anew()

    def counts(self) -> Counts:
        """What could not be used, and the time of codecs."""
        return (
            self._counted
            + _counts_of(self._aac)
            + Counts(dropped={DropRule.VIDEO_UNDECODABLE: self._video.dropped})
        )

    def _stays_behind(self, at_us: int, now_us: int) -> bool:
        """Whether sound has come for `_BEHIND_US` with times that are filled already."""
        if self._aac.end_us is None or at_us > self._aac.end_us - SOUND_PAUSE_US:
            self._behind_since_us = None
        elif self._behind_since_us is None:
            self._behind_since_us = now_us
        return self._behind_since_us is not None and now_us - self._behind_since_us > _BEHIND_US

    def _sound_until(self, at_us: int) -> AacPipe:
        """The pipe for sound at `at_us`: a new one after a long gap."""
        if self._aac.end_us is not None and at_us - self._aac.end_us > _LONGEST_GAP_US:
            self._counted += _counts_of(self._aac)
            self._aac = AacPipe()
        return self._aac


def _counts_of(sound: AacPipe) -> Counts:
    return Counts(
        dropped={DropRule.AUDIO_UNDECODABLE: sound.dropped},
        decode_s={TrackKind.AUDIO: sound.decoding.seconds},
        encode_s={TrackKind.AUDIO: sound.encoding.seconds},
    )
