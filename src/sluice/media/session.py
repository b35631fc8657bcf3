"""What sessions of every kind have in common: how they are run and stopped, watched, and come to their end.

A session is one run of a task in this process. Each kind has a folder of its own beside this file.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import structlog

from sluice.core.lifecycle import Reason
from sluice.process.control import ControlSession, Refused, RelayJob
from sluice.process.owned import part

log = structlog.get_logger()


class Session(Protocol):
    async def run(self) -> None:
        """Runs to the end, closes everything, and then reports `Finished`.

        Raises MemoryError, without a report: whose fault that is the process knows.
        """
        ...

    def stop(self, reason: Reason = Reason.STOPPED) -> None:
        """Ends it with this reason, at once or as soon as it runs. May be called again."""
        ...


@runtime_checkable
class Controllable(Session, Protocol):
    """A session whose playing can be changed while it runs."""

    def update(self, job: RelayJob) -> None:
        """Goes on with another source, at once and from its beginning."""
        ...

    async def control(self, change: ControlSession) -> Refused | None:
        """Changes how it plays. A refusal changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a session ended; `text` is for people."""

    reason: Reason
    text: str

    @classmethod
    def of(cls, reason: Reason) -> "Outcome":
        return cls(reason, reason.text)


@dataclass(frozen=True, slots=True)
class Course:
    """What a session does while it runs. `work` is all that it does for its task, and closes what it opens.

    `watch` is called every `watch_s` seconds with the time of the loop's clock, and returns an outcome when
    the session is to end. `progress` is called once a second, at whole seconds of that clock, which all
    processes share: the node notes all positions a moment later (tasks.service).
    """

    kind: str  #: for people
    run_id: str
    work: Callable[[], Coroutine[Any, Any, Outcome]]
    watch: Callable[[float], Outcome | None]
    progress: Callable[[], None]
    watch_s: float


class Runner:
    """Runs a course to its end. The work is cancelled at most once, so that it can close in peace."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.Task[Outcome] | None = None
        self._outcome: Outcome | None = None
        self._told_second = -1
        self._watching: asyncio.TimerHandle

    def stop(self, reason: Reason) -> None:
        """What is stopped has this outcome, whatever it was about to end with."""
        self._end(Outcome.of(reason))

    async def run(self) -> Outcome:
        """Returns when the work is over. Raises MemoryError."""
        work = self._work = part(self._course.work(), f"{self._course.kind} {self._course.run_id}")
        if self._outcome is not None:
            work.cancel()
        self._schedule_watch()
        try:
            await asyncio.wait({work})
        finally:
            self._watching.cancel()
            self._work = None
        return self._outcome or self._result(work)

    def _end(self, outcome: Outcome) -> None:
        is_first = self._outcome is None
        self._outcome = outcome
        if is_first and self._work is not None:
            self._work.cancel()

    def _result(self, work: "asyncio.Task[Outcome]") -> Outcome:
        error = work.exception()
        if isinstance(error, MemoryError):
            raise error
        if error is not None:
            log.error("session failed", run_id=self._course.run_id, exc_info=error)
            return Outcome.of(Reason.INTERNAL_ERROR)
        return work.result()

    def _schedule_watch(self) -> None:
        """All sessions of a process are watched at the same times, so that one wake-up serves all."""
        every_s = self._course.watch_s
        self._watching = self._loop.call_at((self._loop.time() // every_s + 1) * every_s, self._watch)

    def _watch(self) -> None:
        self._schedule_watch()
        now, outcome = self._loop.time(), None
        try:
            outcome = self._course.watch(now)
            second = int(now + self._course.watch_s / 2)  # timers are early or late
            if second != self._told_second:
                self._told_second = second
                self._course.progress()
        except Exception:  # root of a timer: nobody watches this session any more
            log.exception("the watch of a session failed", run_id=self._course.run_id)
            self._watching.cancel()
            self.stop(Reason.INTERNAL_ERROR)
        if outcome is not None and self._outcome is None:
            self._end(outcome)
