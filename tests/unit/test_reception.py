"""What a receiver reports: loss, jitter and the echo of the sender's report (RFC 3550 A.3, A.8)."""

from sluice.wire.reception import ReceptionStatistics
from sluice.wire.rtcp import ReportBlock, SenderReport

S = 1_000_000


def packets(statistics: ReceptionStatistics, *numbers: int, jitter_us: int = 0) -> None:
    for n, number in enumerate(numbers):
        statistics.on_packet(number & 0xFFFF, number * 960 & 0xFFFFFFFF, number * 20_000 + n % 2 * jitter_us)


def block(statistics: ReceptionStatistics, now_us: int = 0) -> ReportBlock:
    found = statistics.block(now_us)
    assert found is not None
    return found


def test_nothing_is_reported_of_nothing() -> None:
    assert ReceptionStatistics(7, 48_000).block(0) is None


def test_all_arrived() -> None:
    statistics = ReceptionStatistics(7, 48_000)
    packets(statistics, *range(100, 150))
    assert block(statistics) == ReportBlock(7, 0, 0, 149, 0, 0, 0)


def test_loss_is_told_in_total_and_since_the_last_report() -> None:
    statistics = ReceptionStatistics(7, 48_000)
    packets(statistics, 65530, 65531, 65534, 65536)  # 4 of 7, over a wrap
    first = block(statistics)
    assert (first.fraction_lost, first.packets_lost, first.highest) == (3 * 256 // 7, 3, 65536)
    packets(statistics, *range(65537, 65547))
    second = block(statistics)
    assert (second.fraction_lost, second.packets_lost, second.highest) == (0, 3, 65546)


def test_what_came_late_or_twice_counts_as_received() -> None:
    statistics = ReceptionStatistics(7, 48_000)
    packets(statistics, 10, 12)
    assert block(statistics).packets_lost == 1
    packets(statistics, 11, 11)
    later = block(statistics)
    assert (later.fraction_lost, later.packets_lost) == (0, -1)


def test_jitter_in_ticks() -> None:
    statistics = ReceptionStatistics(7, 48_000)
    packets(statistics, *range(500), jitter_us=1000)
    assert 46 <= block(statistics).jitter <= 48, "1 ms at 48 kHz"


def test_the_senders_report_is_echoed() -> None:
    statistics = ReceptionStatistics(7, 48_000)
    packets(statistics, 1)
    statistics.on_report(SenderReport(7, 0x11112222_33334444, 0), 10 * S)
    found = block(statistics, 10 * S + S // 2)
    assert (found.last_report, found.delay) == (0x22223333, 32_768)
