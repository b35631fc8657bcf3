"""What encoders put before and behind the sound, as FFmpeg's demuxers tell it, for one audio stream.

FFmpeg's decoders leave out by themselves what a packet's ``skip_samples`` say (LAME's header, edit lists and
iTunSMPB, Opus's pre-skip and end). Here the times are moved to what is left, and the one thing is marked that
the demuxer for MP4 tells by a shorter duration only: the padding of the last AAC frame.
"""

import struct
from typing import Any, Final

from av.packet import PacketSideData, packet_sidedata_type_from_literal

from sluice.media.packets import Packet

_SKIP_SAMPLES: Final = "skip_samples"
_LAYOUT = struct.Struct("<IIBB")  #: samples at the beginning, at the end, and why
_TYPE = packet_sidedata_type_from_literal(_SKIP_SAMPLES)


class Trims:
    def __init__(self, stream: Any) -> None:
        context, container = stream.codec_context, stream.container
        self._rate = context.sample_rate
        self._base = stream.time_base
        self._begin_us = 0  #: still to be left out
        #: Ogg tells durations without what its end leaves out.
        self._short_already = container.format.name == "ogg"
        #: Samples in a frame, where a shorter duration means padding.
        self._whole = 0
        if container.format.name.startswith("mov") and context.name == "aac" and self._base * self._rate == 1:
            self._whole = context.frame_size

    def restart(self) -> None:
        """After a jump: what is to be left out is told anew."""
        self._begin_us = 0

    def apply(self, packet: Any, made: Packet) -> None:
        """Notes in `made` what is left of `packet`."""
        made.encoded = packet
        units = packet.duration
        if not units:
            return
        left_us = int(units * self._base * 1_000_000)
        if packet.has_sidedata(_SKIP_SAMPLES):
            begin, end, *_ = _LAYOUT.unpack(bytes(packet.get_sidedata(_SKIP_SAMPLES))[: _LAYOUT.size])
            self._begin_us += begin * 1_000_000 // self._rate
            if not self._short_already:
                left_us -= end * 1_000_000 // self._rate
        elif self._whole and units < self._whole:
            mark = PacketSideData(_TYPE, _LAYOUT.size)  # type: ignore[call-arg]  # the stub forgets it
            mark.update(_LAYOUT.pack(0, self._whole - units, 0, 0))
            mark.to_packet(packet)
        begin_us = min(self._begin_us, max(0, left_us))
        self._begin_us -= begin_us
        made.pts_us += begin_us
        made.skipped_us = begin_us
        made.duration_us = max(0, left_us - begin_us)
