"""Back-off and the idle clock: pure functions of time."""

import pytest

from sluice.core.retry import SOURCE_PAUSES_S, IdleClock, pause_s


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
