"""Encoder delay and padding of one audio stream, as FFmpeg's demuxers signal them.

FFmpeg's decoders drop by themselves what the ``skip_samples`` of a packet say (LAME's header, edit lists,
iTunSMPB, Opus's pre-skip and end trimming). Here the times of packets are moved to the samples that remain.
One thing is marked for the decoder here, because the MP4 demuxer signals it by a shorter duration only: the
padding of the last AAC frame. Files whose header does not tell the delay are assumed to have the usual one.
"""

import struct
from typing import Any, Final

from av.packet import PacketSideData, packet_sidedata_type_from_literal

from sluice.media.packets import Packet

SKIP_SAMPLES: Final = "skip_samples"
_LAYOUT = struct.Struct("<IIBB")  #: samples at the beginning, at the end, and why
_TYPE = packet_sidedata_type_from_literal(SKIP_SAMPLES)


#: Usual delay in samples, by container: of LAME with a decoder's, and of FFmpeg's AAC encoder.
_USUAL = {"mp3": 576 + 529, "aac": 1024}


class Trims:
    """Times of the packets of one stream without delay and padding."""

    def __init__(self, stream: Any, *, live: bool) -> None:
        """`live`: the stream began long ago, so it has no delay."""
        context, container = stream.codec_context, stream.container
        self._rate = context.sample_rate
        base = stream.time_base
        self._numerator, self._denominator = 1_000_000 * base.numerator, base.denominator
        self._told = False  #: the next packet has skip_samples
        self._end_us = 0  #: its padding
        self._begin_us = 0  #: delay that is still to be left out
        #: Durations in Ogg do not include the padding.
        self._short_already = container.format.name == "ogg"
        self._usual = 0 if live else _USUAL.get(container.format.name, 0)
        #: Samples in a frame, where a shorter duration means padding.
        self._whole = 0
        if container.format.name.startswith("mov") and context.name == "aac" and base * self._rate == 1:
            self._whole = context.frame_size

    def restart(self) -> None:
        """After a jump the demuxer signals anew what is to be left out."""
        self._begin_us = 0

    def note(self, skip_samples: bytes) -> None:
        """Takes the side data of the packet that `apply` gets next."""
        begin, end, *_ = _LAYOUT.unpack(skip_samples[: _LAYOUT.size])
        self._begin_us += begin * 1_000_000 // self._rate
        self._end_us = 0 if self._short_already else end * 1_000_000 // self._rate
        self._told = True

    def apply(self, packet: Any, made: Packet) -> None:
        """Sets the times of `made` to the samples of `packet` that remain."""
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
    """Tells the decoder how many samples to leave out at the beginning and at the end."""
    mark = PacketSideData(_TYPE, _LAYOUT.size)  # type: ignore[call-arg]  # the stub forgets it
    mark.update(_LAYOUT.pack(begin, end, 0, 0))
    mark.to_packet(packet)
