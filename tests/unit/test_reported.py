"""What receivers report: loss over ten seconds, jitter, round trip; and no claim beyond what was sent."""

import pytest

from sluice.rooms.engine.reported import LossWindow, Reported, RoundTrip, share_of
from sluice.wire.rtcp import Reception

S = 1_000_000


class Viewer:
    """Reports once a second of 100 packets."""

    def __init__(self) -> None:
        self.reported = Reported(90_000)
        self.sent, self.lost, self.now_us = 0, 0, 100 * S

    def seconds(self, count: int, lost: int) -> None:
        for _ in range(count):
            self.now_us += S
            self.sent += 100
            self.lost += lost
            self.report(lost / 100)

    def report(self, fraction: float, jitter: int = 450) -> None:
        self.reported.take(
            Reception(1, fraction, self.lost, 5000 + self.sent, jitter), self.sent, self.now_us
        )

    @property
    def loss(self) -> float | None:
        return share_of(self.reported.window(self.now_us))


def test_nothing_is_known_before_the_first_report() -> None:
    reported = Reported(48_000)
    assert share_of(reported.window(0)) is None
    assert reported.last_loss(0) is None
    assert reported.jitter_s(0) is None


def test_the_first_report_is_about_everything_until_then() -> None:
    viewer = Viewer()
    viewer.seconds(1, lost=5)
    assert viewer.loss == 0.05
    assert viewer.reported.jitter_s(viewer.now_us) == 0.005


def test_loss_is_that_of_the_last_ten_seconds() -> None:
    viewer = Viewer()
    viewer.seconds(60, lost=0)
    viewer.seconds(5, lost=20)
    assert viewer.loss == pytest.approx(0.1)
    viewer.seconds(5, lost=20)
    assert viewer.loss == pytest.approx(0.2)
    viewer.seconds(10, lost=0)
    assert viewer.loss == 0
    assert viewer.reported.lost == 200, "in all"


def test_reports_about_a_few_packets_do_not_shake_it() -> None:
    viewer = Viewer()
    viewer.seconds(10, lost=1)
    for _ in range(200):  # one with each NACK
        viewer.now_us += 1000
        viewer.sent += 2
        viewer.lost += 1
        viewer.report(0.5)
    assert viewer.reported.last_loss(viewer.now_us) == 0.5
    assert viewer.loss == pytest.approx(210 / 1400, abs=0.01)


def test_what_was_told_long_ago_is_not_told_on() -> None:
    viewer = Viewer()
    viewer.seconds(3, lost=5)
    viewer.now_us += 11 * S
    assert viewer.loss is None
    assert viewer.reported.last_loss(viewer.now_us) is None
    assert viewer.reported.jitter_s(viewer.now_us) is None
    assert viewer.reported.lost == 15


def test_a_claim_beyond_what_was_sent_is_cut() -> None:
    reported = Reported(90_000)
    reported.take(Reception(1, 1.0, 0x7FFFFF, 2000, 0), 1000, S)
    assert reported.lost == 1000
    assert share_of(reported.window(S)) == 1.0
    reported.take(Reception(1, 0.0, -5, 2**32 - 1, 0), 1000, 2 * S)
    assert reported.lost == 1000, "it never falls"
    assert share_of(reported.window(2 * S)) == 0.0


def test_a_receiver_may_begin_anew() -> None:
    window = LossWindow()
    window.add(70_000, 50, 0)
    window.add(71_000, 60, S)
    window.add(100, 0, 2 * S)
    assert window.counts() == (0, 0)
    window.add(200, 10, 3 * S)
    assert window.counts() == (10, 100)


def test_shares_of_several_kinds_are_weighed_by_their_packets() -> None:
    assert share_of((10, 100), (0, 100)) == 0.05
    assert share_of((0, 0), (5, 50)) == 0.1
    assert share_of() is None


def test_the_round_trip_is_measured_by_our_own_reports() -> None:
    trip = RoundTrip()
    trip.on_sent(0xAABB, 10 * S)
    trip.on_heard(Reception(1, 0, 0, 0, 0, last_report=0xAABB, delay=32_768), 10 * S + 540_000)
    assert trip.us == 40_000, "it had the report for half a second"


@pytest.mark.parametrize(
    "report",
    [
        Reception(1, 0, 0, 0, 0),
        Reception(1, 0, 0, 0, 0, last_report=0xAAFF, delay=0),
        Reception(1, 0, 0, 0, 0, last_report=0xAABB, delay=0xFFFFFFFF),
    ],
    ids=["names none", "names one that was never sent", "had it before it was sent"],
)
def test_what_cannot_be_is_no_round_trip(report: Reception) -> None:
    trip = RoundTrip()
    trip.on_sent(0xAABB, 10 * S)
    trip.on_heard(report, 11 * S)
    assert trip.us is None
