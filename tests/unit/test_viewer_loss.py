"""When a viewer's video stops and comes back, by its receiver reports."""

from sluice.rooms.engine.loss import LossWatch
from sluice.wire.rtcp import Reception

S = 1_000_000
VIDEO_PACKETS, AUDIO_PACKETS = 100, 50  #: a second


class Counter:
    """What a receiver counts of one stream."""

    def __init__(self) -> None:
        self.highest, self.lost = 70_000, 0.0

    def report(self, packets: int, loss: float) -> Reception:
        self.highest += packets
        self.lost += packets * loss
        return Reception(1, 0.0, round(self.lost), self.highest, 0)


class Viewer:
    """Reports the video `rate` times a second while there is any, and its sound every 5 s."""

    def __init__(self, rate: int = 1) -> None:
        self.watch = LossWatch()
        self.now_us = 0
        self._rate = rate
        self._video, self._audio = Counter(), Counter()

    def go(self, seconds: int, loss: float, *, sound: bool = True) -> list[bool]:
        """Whether there was video after each second."""
        seen = []
        for _ in range(seconds):
            for _ in range(self._rate):
                self.now_us += S // self._rate
                packets = VIDEO_PACKETS // self._rate if self.watch.video else 0
                self.watch.on_video_report(self._video.report(packets, loss), self.now_us)
            report = self._audio.report(AUDIO_PACKETS, loss)
            if sound and self.now_us // S % 5 == 0:
                self.watch.on_audio_report(report, self.now_us)
            self.watch.on_timer(self.now_us)
            seen.append(self.watch.video)
        return seen


def test_moderate_loss_for_ever_is_no_reason() -> None:
    assert all(Viewer().go(600, 0.10))


def test_lasting_loss_stops_the_video_after_three_seconds() -> None:
    assert Viewer().go(5, 0.11) == [True, True, True, False, False]


def test_reports_about_a_few_packets_are_added_up() -> None:
    assert Viewer(rate=25).go(5, 0.11).index(False) == 3
    assert all(Viewer(rate=25).go(60, 0.09))


def test_one_bad_window_after_a_blackout_is_no_reason() -> None:
    viewer = Viewer()
    for _ in range(20):
        assert all(viewer.go(2, 0.9))
        assert all(viewer.go(1, 0.0))


def test_a_receiver_that_counts_anew_is_followed() -> None:
    watch = LossWatch()
    for n in range(20):
        watch.on_video_report(Reception(1, 0.0, 1000 * (n % 2), 90_000 - 1000 * n, 0), n * S)
    assert watch.video


def test_the_sound_tells_that_the_network_recovered() -> None:
    viewer = Viewer()
    viewer.go(4, 0.3)
    assert not any(viewer.go(56, 0.3))
    assert viewer.go(5, 0.01) == [False] * 4 + [True], "with the first good report"
    assert all(viewer.go(60, 0.01))


def test_loss_between_the_bounds_brings_no_video_back() -> None:
    viewer = Viewer()
    viewer.go(4, 0.3)
    assert not any(viewer.go(100, 0.07))


def test_a_relapse_doubles_the_pause_and_good_times_forget() -> None:
    viewer = Viewer()
    pauses = [until_video(viewer) for _ in range(6)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 15
    assert 64 <= pauses[-1] <= 70
    viewer.go(60, 0.0)
    assert until_video(viewer) <= 15


def until_video(viewer: Viewer) -> int:
    """Some seconds of loss, then none: how long the video stays away."""
    while viewer.go(1, 0.5)[-1]:
        pass
    seconds = 1
    while not viewer.go(1, 0.0)[-1]:
        seconds += 1
    return seconds


def test_without_reports_about_sound_the_video_is_tried_again() -> None:
    viewer = Viewer()
    viewer.go(4, 0.5, sound=False)
    assert viewer.go(16, 0.5, sound=False).index(True) == 14


def test_the_more_is_lost_the_fewer_copies_answer_a_request() -> None:
    viewer = Viewer()
    assert viewer.watch.copies == 3, "before any report"
    copies = []
    for loss in (0.03, 0.07, 0.15, 0.03):
        viewer.go(2, loss)
        copies.append(viewer.watch.copies)
    assert copies == [3, 2, 1, 3]
