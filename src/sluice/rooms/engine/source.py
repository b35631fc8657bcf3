"""One SSRC of a publisher: its packets put in order, how they arrive, and what is dropped of them."""

from sluice.core.drops import DropCounter, DropRule
from sluice.core.room_documents import MediaReport
from sluice.rooms.engine.meter import kbps
from sluice.rooms.engine.reported import LossWindow, share_of
from sluice.wire.jitter_buffer import JitterBuffer
from sluice.wire.reception import ReceptionStatistics
from sluice.wire.rtcp import ReportBlock


class Source:
    """`rate` is the RTP clock's, in Hz."""

    def __init__(self, ssrc: int, rate: int, *, retransmission: bool) -> None:
        self.ssrc = ssrc
        self.statistics = ReceptionStatistics(ssrc, rate)
        self.buffer = JitterBuffer(retransmission=retransmission)
        self.window = LossWindow()
        self._newest: ReportBlock | None = None  #: of our receiver reports
        self._rate = rate
        self._noted = (0, 0)

    def report(self, now_us: int) -> list[ReportBlock]:
        """Its block of our next receiver report, if there is anything to say."""
        block = self._newest = self.statistics.block(now_us)
        if block is None:
            return []
        self.window.add(block.highest, block.packets_lost, now_us)
        return [block]

    def note_drops(self, drops: DropCounter) -> None:
        """Counts what its buffer has dropped since the last call."""
        late, duplicates = self._noted
        self._noted = self.buffer.late, self.buffer.duplicates
        drops.add(DropRule.LATE, self.buffer.late - late)
        drops.add(DropRule.DUPLICATE, self.buffer.duplicates - duplicates)

    def media(self, codec: str, packets: int, octets: int, octets_per_s: float) -> MediaReport:
        share, newest = share_of(self.window.counts()), self._newest
        return MediaReport(
            codec=codec,
            packets=packets,
            bytes=octets,
            bitrate_kbps=kbps(octets_per_s),
            lost=max(0, newest.packets_lost) if newest is not None else 0,
            loss_percent=round(100 * share, 2) if share is not None else None,
            last_loss_percent=round(newest.fraction_lost / 2.56, 2) if newest is not None else None,
            jitter_ms=round(newest.jitter * 1000 / self._rate, 1) if newest is not None else None,
        )
