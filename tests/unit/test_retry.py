"""Back-off and the idle clock: pure functions of time."""

import pytest

from sluice.core.retry import SOURCE_PAUSES_S, IdleClock, pause_s, start_pause_s


@pytest.mark.parametrize(
    ("attempt", "pause"), [(0, 0.0), (1, 1.0), (2, 3.0), (3, 5.0), (4, 5.0), (1000, 5.0)]
)
def test_pauses_grow_and_stay(attempt: int, pause: float) -> None:
    assert pause_s(SOURCE_PAUSES_S, attempt) == pause


def test_the_idle_clock_runs_from_the_last_media() -> None:
    clock = IdleClock(limit_s=30, since=100)
    assert clock.left_s(100) == 30
    assert clock.left_s(129.5) == 0.5
    clock.media_at(129.5)
    assert clock.left_s(130) == 29.5
    assert clock.left_s(1000) == 0


@pytest.mark.parametrize(
    ("tries", "elapsed_s", "pause"),
    [(1, 0.2, 0.8), (1, 1.5, 0.0), (2, 1.2, 1.8), (2, 20.0, 0.0), (3, 3.1, None), (4, 99.0, None)],
)
def test_three_tries_of_a_start_are_at_second_0_1_and_3(
    tries: int, elapsed_s: float, pause: float | None
) -> None:
    assert start_pause_s(tries, 3, elapsed_s) == pytest.approx(pause)


def test_further_tries_of_a_start_are_steady() -> None:
    assert [start_pause_s(tries, 6, 0) for tries in range(1, 6)] == [1.0, 3.0, 8.0, 13.0, 18.0]
