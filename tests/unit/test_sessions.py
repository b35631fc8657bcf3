"""What sessions of all kinds share: how they come to their end, and what they count."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sluice.core.drops import DropRule
from sluice.core.lifecycle import Reason
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.growth import Ends
from sluice.media.reporter import Reporter
from sluice.media.session import Course, Outcome, Runner
from sluice.process.control import Message, Progress

pytestmark = pytest.mark.anyio

SLOW, LATE, NEW = DropRule.DESTINATION_SLOW, DropRule.AUDIO_UNDECODABLE, DropRule.JUMPS
IDLE = Outcome.of(Reason.IDLE_TIMEOUT)
#: So short that the watch comes at once.
WATCH_S = 0.001


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """Goes on until it is cancelled, and then until it may close."""

    def __init__(self, watch: Callable[[float], Outcome | None] = lambda now: None) -> None:
        self.begun, self.closing, self.may_close = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.closed = False
        self.runner = Runner(Course("work", "run", self._work, watch, lambda: None, watch_s=WATCH_S))

    async def _work(self) -> Outcome:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.closing.set()
            await self.may_close.wait()
            self.closed = True
        raise AssertionError("it waits for ever")


async def test_work_is_cancelled_once_however_often_it_is_stopped() -> None:
    work = Work()
    running = asyncio.ensure_future(work.runner.run())
    await work.begun.wait()
    for _ in range(3):
        work.runner.stop(Reason.STOPPED)
        await asyncio.sleep(0)
    await work.closing.wait()
    assert not running.done()
    work.may_close.set()
    assert await running == Outcome.of(Reason.STOPPED)
    assert work.closed


async def test_one_that_is_stopped_before_it_runs_ends_at_once() -> None:
    work = Work()
    work.runner.stop(Reason.STOPPED)
    assert await work.runner.run() == Outcome.of(Reason.STOPPED)


async def test_the_watch_ends_it_and_a_stop_has_the_last_word() -> None:
    for stopped in (False, True):
        work = Work(lambda now: IDLE)
        running = asyncio.ensure_future(work.runner.run())
        await work.closing.wait()
        if stopped:
            work.runner.stop(Reason.STOPPED)
        work.may_close.set()
        assert await running == (Outcome.of(Reason.STOPPED) if stopped else IDLE)


async def test_a_watch_that_fails_ends_it() -> None:
    def broken(now: float) -> Outcome | None:
        raise LookupError("a defect")

    work = Work(broken)
    work.may_close.set()
    assert await work.runner.run() == Outcome.of(Reason.INTERNAL_ERROR)


async def test_who_needs_more_memory_than_there_is_is_for_the_process_to_say() -> None:
    async def greedy() -> Outcome:
        raise MemoryError

    course = Course("work", "run", greedy, lambda now: None, lambda: None, watch_s=WATCH_S)
    with pytest.raises(MemoryError):
        await Runner(course).run()


def test_counts_are_added_by_rule() -> None:
    first = Counts(1, 2, 3, 4, 5, {SLOW: 1, LATE: 2})
    assert first + Counts(10, 20, 30, 40, 50, {SLOW: 5, NEW: 0}) == Counts(
        11, 22, 33, 44, 55, {SLOW: 6, LATE: 2, NEW: 0}
    )


def test_progress_is_of_all_connections() -> None:
    told: list[Message] = []
    unused: Any = None
    context = MediaContext(unused, unused, unused, unused, unused, told.append)
    reporter = Reporter("run", context, Ends("cdn", "cdn"))
    reporter.add(Counts(1, 2, 3, 1, 4, {SLOW: 1}))
    reporter.progress(
        Counts(10, 20, 30, 0, 40, {SLOW: 0}), position_us=44, shared=Counts(dropped={LATE: 2}), flowing=True
    )
    (progress,) = told
    assert progress == Progress(
        run_id="run",
        position_us=44,
        pass_number=1,
        video_frames=11,
        audio_packets=22,
        bytes_out=33,
        reconnects=1,
        dropped={"destination_slow": 1, "audio_undecodable": 2},
        flowing=True,
    )
    reporter.progress(Counts(11, 20, 33, 0, 40, {SLOW: 0}), position_us=44, flowing=True)
    assert context.tally.values == {
        "media_frames": {"video": 12, "audio": 22},
        "media_sent_bytes": {"cdn": 36},
        "media_reconnects": {"cdn": 1},
    }
    assert context.drops.counts == {"destination_slow": 1}, "without what is shared with others"
