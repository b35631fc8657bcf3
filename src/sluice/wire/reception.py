"""What a receiver reports about one source: loss, jitter, age of its sender report (RFC 3550 6.4.1).

Pure: time is an argument, in microseconds. Retransmissions with an SSRC of their own (RTX) do not count: the
report is about the network.
"""

from sluice.wire.rtcp import ReportBlock, SenderReport, middle_of


class ReceptionStatistics:
    """`rate` is the RTP clock's, in Hz."""

    def __init__(self, ssrc: int, rate: int) -> None:
        self.ssrc = ssrc
        self._rate = rate
        self._first = -1
        self._highest = 0
        self._received = 0
        self._jitter = 0.0
        self._transit: int | None = None
        self._expected_before = self._received_before = 0
        #: The middle 32 bits of the last sender report's NTP time, and when it arrived (us).
        self._report: tuple[int, int] | None = None

    def on_packet(self, sequence: int, timestamp: int, now_us: int) -> None:
        if self._first < 0:
            self._first = self._highest = sequence
        else:
            step = ((sequence - self._highest + 0x8000) & 0xFFFF) - 0x8000
            if step > 0:
                self._highest += step
        self._received += 1
        # A.8, modulo 2^32, so that wraps do not matter.
        transit = (now_us * self._rate // 1_000_000 - timestamp) & 0xFFFFFFFF
        if self._transit is not None:
            distance = abs(((transit - self._transit + 0x80000000) & 0xFFFFFFFF) - 0x80000000)
            self._jitter += (distance - self._jitter) / 16
        self._transit = transit

    def on_report(self, report: SenderReport, now_us: int) -> None:
        self._report = middle_of(report.ntp), now_us

    def block(self, now_us: int) -> ReportBlock | None:
        """The report block since the last call; None before the first packet (A.3)."""
        if self._first < 0:
            return None
        expected = self._highest - self._first + 1
        expected_now = expected - self._expected_before
        lost_now = expected_now - (self._received - self._received_before)
        self._expected_before, self._received_before = expected, self._received
        last, delay = 0, 0
        if self._report is not None:
            last, came_us = self._report
            delay = (now_us - came_us) * 65_536 // 1_000_000
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=max(0, lost_now) * 256 // expected_now if expected_now > 0 else 0,
            packets_lost=expected - self._received,
            highest=self._highest & 0xFFFFFFFF,
            jitter=int(self._jitter),
            last_report=last,
            delay=min(delay, 0xFFFFFFFF),
        )
