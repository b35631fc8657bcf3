"""Opus for rooms as it is: packets of any length that Opus has, their times from the source."""

from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.process.link import FrameType


class OpusCopy:
    def __init__(self) -> None:
        self.dropped = 0

    def push(self, packet: Packet) -> list[OutFrame]:
        return [OutFrame(FrameType.AUDIO, packet.pts_us, packet.data)]

    def flush(self) -> list[OutFrame]:
        return []
