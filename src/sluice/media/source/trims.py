"""What encoders put before and behind the sound, as FFmpeg's demuxers tell it, for one audio stream.

FFmpeg's decoders leave out by themselves what a packet's ``skip_samples`` say (LAME's header, edit lists and
iTunSMPB, Opus's pre-skip and end). Here the times are moved to what is left, and the one thing is marked that
the demuxer for MP4 tells by a shorter duration only: the padding of the last AAC frame. Files whose header
does not tell are taken to begin as nearly all do.
"""

import struct
from typing import Any, Final

from av.packet import PacketSideData, packet_sidedata_type_from_literal

from sluice.media.packets import Packet

SKIP_SAMPLES: Final = "skip_samples"
_LAYOUT = struct.Struct("<IIBB")  #: samples at the beginning, at the end, and why
_TYPE = packet_sidedata_type_from_literal(SKIP_SAMPLES)


#: Samples of delay of LAME with a decoder's, and of FFmpeg's encoder for AAC, by container.
_USUAL = {"mp3": 576 + 529, "aac": 1024}


class Trims:
    def __init__(self, stream: Any, *, live: bool) -> None:
        """`live`: it began long ago."""
        context, container = stream.codec_context, stream.container
        self._rate = context.sample_rate
        base = stream.time_base
        self._numerator, self._denominator = 1_000_000 * base.numerator, base.denominator
        self._told = False
        self._end_us = 0
        self._begin_us = 0  #: still to be left out
        #: Ogg tells durations without what its end leaves out.
        self._short_already = container.format.name == "ogg"
        self._usual = 0 if live else _USUAL.get(container.format.name, 0)
        #: Samples in a frame, where a shorter duration means padding.
        self._whole = 0
        if container.format.name.startswith("mov") and context.name == "aac" and base * self._rate == 1:
            self._whole = context.frame_size

    def restart(self) -> None:
        """After a jump: what is to be left out is told anew."""
        self._begin_us = 0

    def note(self, skip_samples: bytes) -> None:
        """What the next packet of `apply` says."""
        begin, end, *_ = _LAYOUT.unpack(skip_samples[: _LAYOUT.size])
        self._begin_us += begin * 1_000_000 // self._rate
        self._end_us = 0 if self._short_already else end * 1_000_000 // self._rate
        self._told = True

    def apply(self, packet: Any, made: Packet) -> None:
        """Notes in `made` what is left of `packet`."""
        made.encoded = packet
        units = packet.duration
        if not units:
            return
        left_us = units * self._numerator // self._denominator - self._end_us
        if units < self._whole and not self._told:
            _mark(packet, 0, self._whole - units)
        elif self._usual and packet.pts == 0 and not self._told:
            _mark(packet, self._usual, 0)
            self._begin_us = self._usual * 1_000_000 // self._rate
        self._told, self._end_us = False, 0
        made.duration_us = left_us
        if self._begin_us:
            made.skipped_us = min(self._begin_us, max(0, left_us))
            self._begin_us -= made.skipped_us
            made.pts_us += made.skipped_us
            made.duration_us = max(0, left_us - made.skipped_us)


def _mark(packet: Any, begin: int, end: int) -> None:
    """Tells the decoder how many samples to leave out."""
    mark = PacketSideData(_TYPE, _LAYOUT.size)  # type: ignore[call-arg]  # the stub forgets it
    mark.update(_LAYOUT.pack(begin, end, 0, 0))
    mark.to_packet(packet)
