"""Opus for rooms as it is: packets of any length that Opus allows, in a run (sound_run.py).

Nothing is decoded, so nothing can be faded: gaps and cuts begin and end with whole packets. Decoders smooth
such cuts a little, since Opus packets overlap.
"""

from dataclasses import replace

from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.opus_level import OpusLevel
from sluice.media.pipe.sound_run import RATE, SoundRun
from sluice.process.link import FrameType

#: Samples at 48 kHz of a frame, by its configuration (RFC 6716 3.1, table 2).
_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
_ROUNDING_US = 100


class OpusCopy:
    """`dropped` counts malformed packets, `left_out` those that would overlap. `held` is the last packet of a
    file, if part of it is padding."""

    def __init__(self) -> None:
        self.dropped = self.left_out = 0
        self.encode_s = 0.0
        self._level = OpusLevel()
        self.held: Packet | None = None
        self._run = SoundRun()
        self._begin_us: int | None = None

    @property
    def decode_s(self) -> float:
        """CPU time, of what is decoded to know its level."""
        return self._level.decoding.seconds

    @property
    def end_us(self) -> int:
        """Where the run of sound ends."""
        return self._run.end_us

    def begin_at(self, media_us: int) -> None:
        """Leaves out the packets before the one that contains this time."""
        self._begin_us = media_us

    def push(self, packet: Packet) -> list[OutFrame]:
        samples = samples_of(packet.data)
        if samples is None:
            self.dropped += 1
            return []
        begin_us, length_us = packet.pts_us - packet.skipped_us, samples * 1_000_000 // RATE
        if self._begin_us is not None:
            if begin_us + length_us <= self._begin_us:
                return []
            self._begin_us = None
        if (
            packet.duration_us is not None
            and packet.skipped_us + packet.duration_us < length_us - _ROUNDING_US
        ):
            self.held = packet
            return []
        if packet.duration_us == 0:
            return []  # all of it is the encoder's delay
        gap = self._run.gap(begin_us)
        if gap < 0:
            self.left_out += 1
            return []
        self._run.add(gap)
        at_us = self._run.add(samples)
        return [OutFrame(FrameType.AUDIO, at_us, packet.data, seen=self._level.level(packet.data, at_us))]

    def close(self) -> list[OutFrame]:
        """The end of the sound."""
        held, self.held = self.held, None
        return self.push(replace(held, duration_us=None)) if held is not None else []


def samples_of(packet: bytes) -> int | None:
    """The number of samples of an Opus packet at 48 kHz; None if it breaks RFC 6716 3.2."""
    if not packet:
        return None
    config, code = packet[0] >> 3, packet[0] & 3
    lengths = _SILK if config < 12 else _HYBRID if config < 16 else _CELT
    count = (1, 2, 2, packet[1] & 0x3F if len(packet) > 1 else 0)[code]
    samples = count * lengths[config % len(lengths)]
    return samples if 0 < samples <= RATE * 120 // 1000 else None
