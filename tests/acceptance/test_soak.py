"""The soak in small: it does what it says, and names what grows."""

import pytest

from benchmarks.soak import Look, Options, Usage, faults, run

pytestmark = pytest.mark.anyio

SMALL = Options(starts=60, joins=24, every=20, warm=20, at_once=8, viewers=8)


def look(starts: int, **usage: Usage) -> Look:
    return Look(starts, 0, 0.0, usage)


def test_what_grows_after_the_warm_up_is_named() -> None:
    before = look(500, node=Usage(50, 5, 10), room=Usage(50, 5, 100))
    first = look(1000, node=Usage(100, 10, 20), room=Usage(100, 10, 100))
    kept = look(1500, node=Usage(105, 12, 22), room=Usage(99, 8, 105))
    assert faults([before, first, kept], 1000) == []
    grown = look(2000, node=Usage(105.2, 13, 23), room=Usage(100, 10, 106))
    assert faults([before, first, kept, grown], 1000) == [
        "node: mb grew from 100 to 105.2",
        "node: threads grew from 10 to 13",
        "node: descriptors grew from 20 to 23",
        "room: descriptors grew from 100 to 106",
    ]
    assert faults([first, look(2000, node=Usage(100, 10, 20))], 1000) == [
        "processes were ['node', 'room'], and are ['node']"
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_tasks_and_viewers_that_have_gone_leave_nothing_open() -> None:
    """So few say nothing of memory yet."""
    looks, done = await run(SMALL)
    assert (done.starts, done.joins, done.failures) == (60, 24, [])
    assert [look.starts for look in looks] == [20, 40, 60]
    assert [fault for fault in faults(looks, SMALL.warm) if ": mb " not in fault] == []
