"""The clock of live sources: bursts never become a delay."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sluice.core.live_clock import AHEAD_US, LiveClock

FRAME_US, SOUND_US = 40_000, 20_000


def test_a_steady_source_keeps_its_own_distances() -> None:
    clock = LiveClock()
    stamps = [clock.video(n * FRAME_US, 5_000_000 + n * FRAME_US) for n in range(100)]
    assert [b - a for a, b in pairwise(stamps)] == [FRAME_US] * 99
    assert clock.moved == 0


def test_after_a_burst_of_three_seconds_stamps_are_at_the_wall_again() -> None:
    clock = LiveClock()
    for n in range(75):
        clock.video(n * FRAME_US, 0)
    live = clock.video(75 * FRAME_US, FRAME_US)
    assert live - FRAME_US <= AHEAD_US + 75 * 1_000  # not the three seconds of the burst


def test_sound_of_a_burst_never_overlaps() -> None:
    clock = LiveClock()
    sent = [stamp for n in range(150) if (stamp := clock.audio(n * SOUND_US, SOUND_US, 0)) is not None]
    assert all(b - a >= SOUND_US // 2 for a, b in pairwise(sent))
    assert len(sent) <= AHEAD_US // SOUND_US + 2
    assert clock.audio(150 * SOUND_US, SOUND_US, 100 * SOUND_US) is not None


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 100_000)), min_size=1))
def test_pictures_only_move_forward_and_never_far_ahead(steps: list[tuple[int, int]]) -> None:
    clock, media, now, last = LiveClock(), 0, 0, -(1 << 62)
    for number, (media_step, wall_step) in enumerate(steps):
        media, now = media + media_step, now + wall_step
        stamp = clock.video(media, now)
        assert stamp > last
        assert stamp <= now + AHEAD_US + number * 1_000
        last = stamp
