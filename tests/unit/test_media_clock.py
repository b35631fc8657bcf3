"""One clock for sound and pictures: by arrival at first, then by sender reports, for days."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from sluice.wire.media_clock import AUDIO_RATE, VIDEO_RATE, MediaClock
from sluice.wire.rtcp import SenderReport

MS, S, HOUR = 1000, 1_000_000, 3600 * 1_000_000
FRAME_US, SOUND_US = 40 * MS, 20 * MS


@dataclass
class Sender:
    """Captures sound and pictures at the same moments; the pictures take `delay_us` longer to arrive. `drift`
    is how much faster its sound card counts than its clock."""

    delay_us: int = 0
    drift: float = 0.0
    video_base: int = 0
    audio_base: int = 0
    clock: MediaClock = field(default_factory=MediaClock)
    now_us: int = 7 * S
    pictures: list[tuple[int, int]] = field(default_factory=list)  #: moment of capture, media time
    sounds: list[tuple[int, int]] = field(default_factory=list)

    def run(self, us: int, *, video: bool = True, audio: bool = True) -> None:
        end_us = self.now_us + us
        while self.now_us < end_us:
            if audio:
                self.sounds.append((self.now_us, self.clock.audio_us(self._audio(self.now_us), self.now_us)))
            if video and self.now_us % FRAME_US == 0:
                arrival_us = self.now_us + self.delay_us
                self.pictures.append((self.now_us, self.clock.video_us(self._video(self.now_us), arrival_us)))
            self.now_us += SOUND_US

    def report(self, *, video: bool = True, audio: bool = True) -> None:
        ntp = (self.now_us << 32) // S + (3_900_000_000 << 32)
        if video:
            self.clock.on_video_report(SenderReport(1, ntp, self._video(self.now_us)))
        if audio:
            self.clock.on_audio_report(SenderReport(2, ntp, self._audio(self.now_us)))

    def skew_us(self) -> int:
        """How far the newest picture is behind the newest sound, by their media times."""
        (picture_at, picture), (sound_at, sound) = self.pictures[-1], self.sounds[-1]
        return (picture - picture_at) - (sound - sound_at)

    def _video(self, us: int) -> int:
        return (self.video_base + us * VIDEO_RATE // S) & 0xFFFFFFFF

    def _audio(self, us: int) -> int:
        return (self.audio_base + int(us * (1 + self.drift)) * AUDIO_RATE // S) & 0xFFFFFFFF


def steps(times: list[tuple[int, int]]) -> list[int]:
    return [b[1] - a[1] for a, b in pairwise(times)]


def test_before_any_report_arrival_decides_and_distances_are_the_senders() -> None:
    sender = Sender(delay_us=80 * MS, video_base=123, audio_base=0xFFFFFF00)
    sender.run(2 * S)
    assert sender.pictures[0][1] == 7 * S + 80 * MS
    assert sender.sounds[0][1] == 7 * S
    assert set(steps(sender.pictures)) == {FRAME_US}
    assert set(steps(sender.sounds)) == {SOUND_US}


@pytest.mark.parametrize("delay_us", [80 * MS, -300 * MS, 900 * MS])
def test_reports_move_the_pictures_to_the_sound_without_a_jump(delay_us: int) -> None:
    sender = Sender(delay_us=delay_us)
    sender.run(1 * S)
    assert sender.skew_us() == delay_us
    sender.report()
    sender.run(19 * S)
    assert abs(sender.skew_us()) <= 1
    assert set(steps(sender.sounds)) == {SOUND_US}
    assert all(0.949 * FRAME_US <= step <= 1.051 * FRAME_US for step in steps(sender.pictures))


def test_one_report_alone_tells_nothing() -> None:
    sender = Sender(delay_us=80 * MS)
    sender.run(1 * S)
    sender.report(audio=False)
    sender.run(1 * S)
    assert sender.skew_us() == 80 * MS


@pytest.mark.parametrize("drift", [1e-4, -1e-4])
def test_a_sound_card_that_runs_at_a_rate_of_its_own_takes_the_pictures_along(drift: float) -> None:
    sender = Sender(drift=drift)
    for _ in range(600):
        sender.run(1 * S)
        sender.report()
    (picture_at, picture), (sound_at, sound) = sender.pictures[-1], sender.sounds[-1]
    heard = sound - sender.sounds[0][1]
    assert abs(heard - (sound_at - 7 * S) * (1 + drift)) < 100
    assert abs(heard - (picture - sender.pictures[0][1]) - (sound_at - picture_at)) < 5 * MS


def test_timestamps_of_days() -> None:
    """Past the wraps at 13.25 h (90 kHz) and 24.85 h (48 kHz), several times over."""
    sender = Sender(video_base=0xFFFFF000, audio_base=0xFFFFFF00)
    clock, bases = sender.clock, (sender.video_base, sender.audio_base)
    before = 0
    for second in range(0, 80 * 3600, 10):
        now_us = second * S + S
        video = clock.video_us((bases[0] + second * VIDEO_RATE) & 0xFFFFFFFF, now_us)
        audio = clock.audio_us((bases[1] + second * AUDIO_RATE) & 0xFFFFFFFF, now_us)
        assert video == audio == now_us
        assert video > before
        before = video
        if second % 600 == 0:
            ntp = (second << 32) + (3_900_000_000 << 32)
            clock.on_video_report(SenderReport(1, ntp, (bases[0] + second * VIDEO_RATE) & 0xFFFFFFFF))
            clock.on_audio_report(SenderReport(2, ntp, (bases[1] + second * AUDIO_RATE) & 0xFFFFFFFF))
    assert before > 79 * HOUR


def test_sound_whose_timestamps_stood_still_jumps_ahead_with_the_next_report() -> None:
    """As Chromium's do while a sender has no track."""
    sender = Sender()
    sender.run(2 * S)
    sender.report()
    sender.run(4 * S, audio=False)
    sender.audio_base -= 4 * AUDIO_RATE
    sender.run(1 * S)
    assert sender.skew_us() == 4 * S
    sender.report()
    sender.run(1 * S)
    assert abs(sender.skew_us()) <= 1
    assert all(step > 0 for step in steps(sender.sounds))
    assert set(steps(sender.pictures)) == {FRAME_US}


def test_pictures_that_are_far_behind_jump_ahead() -> None:
    sender = Sender()
    sender.run(2 * S)
    sender.report()
    sender.run(3 * S, video=False)
    sender.video_base -= 3 * VIDEO_RATE
    sender.run(1 * S)
    sender.report()
    sender.run(1 * S)
    assert abs(sender.skew_us()) <= 1
    assert all(step > 0 for step in steps(sender.pictures))


def test_a_clock_that_begins_anew_goes_on_from_the_last_time() -> None:
    sender = Sender()
    sender.run(2 * S)
    sender.video_base, sender.audio_base = 0x70000000, 0x90000000
    sender.run(2 * S)
    assert set(steps(sender.pictures)) == {FRAME_US}
    assert set(steps(sender.sounds)) == {SOUND_US}


def test_a_report_before_the_first_packet_is_nothing() -> None:
    sender = Sender()
    sender.report()
    sender.run(1 * S)
    assert sender.skew_us() == 0


def test_time_never_goes_back() -> None:
    clock = MediaClock()
    times = [clock.video_us(ticks, S) for ticks in (9000, 18000, 9000, 9000, 27000)]
    assert all(b > a for a, b in pairwise(times))
