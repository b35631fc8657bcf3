"""The gain that follows measured loudness: where it goes, how fast, and its bounds."""

import pytest

from sluice.core.loudness import LEAST_DB, MOST_DB, TARGET_LUFS, LoudnessGain

STEP_S = 0.025


def play(gain: LoudnessGain, seconds: float, lufs: float) -> float:
    for _ in range(round(seconds / STEP_S)):
        gain.step(STEP_S, lufs)
    return gain.db


@pytest.mark.parametrize(("lufs", "db"), [(-8, -8), (-20, 4), (-60, MOST_DB), (20, LEAST_DB)])
def test_it_goes_to_the_target_within_its_bounds(lufs: float, db: float) -> None:
    assert play(LoudnessGain(), 60, lufs) == pytest.approx(db)


def test_it_moves_fast_at_first_and_slowly_later() -> None:
    gain = LoudnessGain()
    assert play(gain, 1, TARGET_LUFS - 6) == pytest.approx(6, abs=0.01)
    play(gain, 10, TARGET_LUFS - 6)
    before = gain.db
    assert before - play(gain, 1, TARGET_LUFS) == pytest.approx(0.5, abs=0.01)


def test_silence_is_no_measure() -> None:
    gain = LoudnessGain()
    assert play(gain, 30, -70) == 0
    play(gain, 5, -20)
    assert play(gain, 30, -70) == pytest.approx(4)


def test_switched_off_it_goes_to_none() -> None:
    gain = LoudnessGain()
    play(gain, 30, -8)
    gain.on = False
    assert play(gain, 2, -8) == 0
