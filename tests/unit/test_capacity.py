"""What a node promises and takes: bookings, what is really used, who waits, and memory."""

import pytest

from sluice.core.capacity import Capacity, Measured, cores_for_tasks, mb_for_tasks
from sluice.core.cost import Cost
from sluice.core.errors import NoCapacity
from sluice.core.ids import RunId

A, B, C, D = (RunId(name) for name in "abcd")
HALF = Cost(media=0.4, shared=0.1, mb=10)


def test_a_part_of_the_machine_is_kept() -> None:
    assert cores_for_tasks(1) == 0.75
    assert cores_for_tasks(2) == 1.5
    assert cores_for_tasks(0.5) == 0.375
    assert cores_for_tasks(14) == pytest.approx(3 + 9)
    assert mb_for_tasks(4000, 1024, 2) == 2048
    assert mb_for_tasks(2000, 1024, 2) == 1200


def test_what_does_not_fit_is_refused_with_numbers() -> None:
    capacity = Capacity(cores=1.2)
    capacity.book(A, HALF)
    capacity.book(B, HALF)
    with pytest.raises(NoCapacity) as refused:
        capacity.book(C, HALF)
    assert str(refused.value) == (
        "the task needs 0.500 cores, and 0.200 of 1.200 are free; stop another task, or ask for less"
    )
    assert not capacity.holds(C)
    assert capacity.load.free_cores == pytest.approx(0.2)
    capacity.release(A)
    capacity.release(A)
    capacity.book(C, HALF)
    assert capacity.load.used_cores == pytest.approx(1.0)


def test_who_would_not_fit_alone_is_not_told_to_stop_others() -> None:
    with pytest.raises(NoCapacity) as refused:
        Capacity(cores=0.4).book(A, HALF)
    assert str(refused.value) == (
        "the task needs 0.500 cores, and 0.400 of 0.400 are free; ask for less, or allow more (--capacity)"
    )


def test_memory_is_refused_alike() -> None:
    capacity = Capacity(cores=100, mb=25)
    capacity.book(A, HALF)
    capacity.book(B, HALF)
    with pytest.raises(NoCapacity, match=r"the task needs 10 MB of memory, and 5 of 25 are free; stop"):
        capacity.book(C, HALF)


def test_memory_that_is_really_used_counts_where_it_is_more() -> None:
    capacity = Capacity(cores=100, mb=100)
    capacity.book(A, HALF)
    capacity.measure(0.0, [], [70, 112])  # one is idle, one has little
    assert capacity.load.used_mb == 10
    capacity.measure(0.0, [], [70, 205])
    assert capacity.load.used_mb == 95
    with pytest.raises(NoCapacity, match="needs 10 MB of memory, and 5 of 100 are free"):
        capacity.book(B, HALF)


def test_without_a_limit_everything_fits() -> None:
    capacity = Capacity()
    capacity.refused_for = "the machine is overloaded"
    for number in range(1000):
        capacity.book(RunId(str(number)), HALF)
    load = capacity.load
    assert (load.capacity_cores, load.free_cores) == (None, None)
    assert load.used_cores == pytest.approx(500)


def test_a_change_needs_only_what_is_more() -> None:
    capacity = Capacity(cores=1.0)
    capacity.book(A, HALF)
    capacity.keep(B, Cost(media=0.6))  # resumed: too much already
    with pytest.raises(NoCapacity, match=r"needs 0\.200 cores, and 0\.000 of 1\.000 are free"):
        capacity.book(A, Cost(media=0.6, shared=0.1))
    capacity.book(A, Cost(media=0.3, shared=0.1))
    assert capacity.load.used_cores == pytest.approx(1.0)


def test_an_overloaded_machine_takes_nothing_new_and_lets_what_runs_become_less() -> None:
    capacity = Capacity(cores=10)
    capacity.book(A, HALF)
    capacity.refused_for = "the machine is overloaded"
    with pytest.raises(NoCapacity, match="no new task is taken for a moment: the machine is overloaded"):
        capacity.book(B, HALF)
    capacity.book(A, Cost(media=0.1))
    assert capacity.load.refused_for


def test_who_waits_goes_before_who_comes_later() -> None:
    capacity = Capacity(cores=1.0)
    capacity.book(A, HALF)
    capacity.book(B, Cost(media=0.3))
    with pytest.raises(NoCapacity, match=r"0\.200 of 1\.000 are free"):
        capacity.book(C, HALF, waits=True)
    with pytest.raises(NoCapacity, match=r"needs 0\.100 cores, and 0\.000 of 1\.000 are free"):
        capacity.book(D, Cost(media=0.1))  # what is free is promised
    capacity.release(B)
    capacity.book(C, HALF, waits=True)
    capacity.release(C)
    capacity.book(D, Cost(media=0.1))


def measure(capacity: Capacity, seconds: int, cores: float, *run_ids: RunId, shared: float = 0.0) -> None:
    for _ in range(seconds):
        capacity.measure(shared, [Measured(cores, run_ids)])


def test_bookings_follow_what_a_process_really_uses() -> None:
    capacity = Capacity(cores=2.0)
    capacity.book(A, Cost(media=0.6))
    capacity.book(B, Cost(media=0.2))
    measure(capacity, 30, 0.4, A, B)  # easy pictures: half of what was thought, and slowly
    assert 0.35 < capacity.cores_of(A) < 0.45
    measure(capacity, 300, 0.4, A, B)
    assert capacity.cores_of(A) == pytest.approx(0.3, rel=0.02)  # shared out by the estimates
    assert capacity.cores_of(B) == pytest.approx(0.1, rel=0.02)
    measure(capacity, 10, 1.2, A, B)  # difficult ones, at once
    assert capacity.load.used_cores == pytest.approx(1.2, rel=0.05)


def test_a_correction_is_bounded() -> None:
    capacity = Capacity(cores=10)
    capacity.book(A, Cost(media=0.5))
    measure(capacity, 1000, 0.0, A)
    assert capacity.cores_of(A) == pytest.approx(0.125)
    measure(capacity, 1000, 50.0, A)
    assert capacity.cores_of(A) == pytest.approx(2.0)
    capacity.book(A, Cost(media=0.4))  # another source: estimated anew
    assert capacity.cores_of(A) == pytest.approx(0.4)


def test_viewers_count_where_they_are_more_than_was_thought() -> None:
    capacity = Capacity(cores=2.0)
    capacity.book(A, HALF)
    measure(capacity, 100, 0.4, A, shared=0.15)
    assert capacity.load.used_cores == pytest.approx(0.5, rel=0.01)  # an idle node is in what is kept
    measure(capacity, 100, 0.4, A, shared=0.9)
    assert capacity.load.used_cores == pytest.approx(0.4 + 0.8, rel=0.01)


def test_a_process_of_which_nothing_is_booked_corrects_nothing() -> None:
    capacity = Capacity(cores=1.0)
    measure(capacity, 3, 0.5, A)
    assert capacity.load.used_cores == 0
