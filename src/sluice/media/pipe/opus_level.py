"""How loud sound is that is passed on as Opus: a few packets a second are decoded.

A decoder gives nearly the right sound after three packets (RFC 7845 4.6 asks for four). What seems silent is
decoded on, packet by packet, so that short sounds between the samples are not missed before it is called
silent.
"""

import av
from av.audio.codeccontext import AudioCodecContext

from sluice.core.errors import SourceError
from sluice.core.vitals import LASTS_S, Level, is_silent
from sluice.media.pipe.decoder import open_decoder
from sluice.media.pipe.level import LevelMeter
from sluice.media.pipe.pcm import FRAME_BYTES
from sluice.media.stopwatch import Stopwatch

_EVERY_US = 750_000
_PREROLL_US = 60_000
#: What was silent for longer has been called so: then samples are enough again.
_CLOSELY_US = int((LASTS_S + 1) * 1e6)


class OpusLevel:
    def __init__(self) -> None:
        self.decoding = Stopwatch()
        self._decoder: AudioCodecContext | None = None
        self._broken = False
        self._meter = LevelMeter()
        self._begun_us: int | None = None  #: of the packets that are decoded now, one behind the other
        self._next_us = -(1 << 62)
        self._loud_us: int | None = None  #: when it was not silent last

    def level(self, packet: bytes, at_us: int) -> Level | None:
        """The level of this packet; None if it is not looked at."""
        if self._begun_us is None:
            if at_us < self._next_us or self._broken:
                return None
            self._begin(at_us)
        try:
            sound = self._decode(packet)
        except (av.FFmpegError, SourceError):
            self._broken = True
            return None
        if at_us < (self._begun_us or 0) + _PREROLL_US or not sound:
            return None
        self._meter.add(memoryview(sound).cast("h"))
        level = self._meter.take()
        if self._loud_us is None or not is_silent(level.mean_square):
            self._loud_us = at_us
        if not is_silent(level.mean_square) or at_us - self._loud_us > _CLOSELY_US:
            self._begun_us, self._next_us = None, at_us + _EVERY_US
        return level

    def _begin(self, at_us: int) -> None:
        self._begun_us = at_us
        if self._decoder is not None:
            self._decoder.flush_buffers()

    def _decode(self, packet: bytes) -> bytes:
        if self._decoder is None:
            self._decoder = open_decoder("libopus", b"", AudioCodecContext)
            self._decoder.sample_rate, self._decoder.layout, self._decoder.format = 48_000, "stereo", "s16"
        frames = self.decoding.time(self._decoder.decode, av.Packet(packet))
        return b"".join(bytes(frame.planes[0])[: frame.samples * FRAME_BYTES] for frame in frames)
