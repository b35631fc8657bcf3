"""Who gives way on a machine with too much to do, in which order, and when it is over."""

from sluice.core.overload import Overload


def tell(overload: Overload, lag_s: float, seconds: range) -> list[tuple[int, bool]]:
    """What was shown and whether new tasks were refused, after each second."""
    found = []
    for second in seconds:
        overload.tell(lag_s, float(second))
        found.append((overload.shown, bool(overload.refusal)))
    return found


def test_pictures_give_way_first_then_new_tasks() -> None:
    overload = Overload()
    assert set(tell(overload, 0.05, range(100))) == {(1, False)}
    steps = tell(overload, 0.06, range(100, 110))
    assert steps[:5] == [(2, False)] * 4 + [(4, True)]
    assert set(steps[5:]) == {(4, True)}
    assert overload.refusal == "the machine is overloaded (its event loops are up to 60 ms late)"


def test_it_goes_back_step_by_step() -> None:
    overload = Overload()
    tell(overload, 0.2, range(10))
    steps = tell(overload, 0.001, range(10, 50))
    assert list(dict.fromkeys(steps)) == [(4, True), (2, False), (1, False)]
    assert steps.count((4, True)) == steps.count((2, False)) == 15


def test_a_short_rest_is_no_end() -> None:
    overload = Overload()
    tell(overload, 0.2, range(10))
    for begin in range(10, 100, 10):
        assert set(tell(overload, 0.0, range(begin, begin + 9))) == {(4, True)}
        tell(overload, 0.2, range(begin + 9, begin + 10))
    assert overload.shown == 4
