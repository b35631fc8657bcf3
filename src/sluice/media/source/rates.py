"""Bounds packets per second of media: packets that take no time would be read, and sent, without end."""

from sluice.core.budget import Allowance
from sluice.core.errors import unsupported
from sluice.core.limits import MOST_PACKETS, MOST_PACKETS_PER_S
from sluice.media.packets import Packet, TrackKind


class PacketRates:
    """Counts the packets in each second of media, for one pass through a source."""

    def __init__(self) -> None:
        self._rates = {kind: Allowance(MOST_PACKETS, MOST_PACKETS_PER_S) for kind in TrackKind}

    def check(self, packets: list[Packet]) -> None:
        """Raises SourceError (permanent) where packets of one kind are too dense (MOST_PACKETS_PER_S)."""
        for packet in packets:
            if not self._rates[packet.kind].take(packet.dts_us):
                kind, most = packet.kind.value, MOST_PACKETS_PER_S
                raise unsupported(f"the source has more than {most} packets of {kind} in a second")
