"""Background work with an owner: it is held until it ends, and no error of it is lost.

Whether a process is well concerns the whole process, so it is kept for each event loop. A child that is not
well says so in its answers to pings (process.channel), and is replaced; the node says it at `/healthz`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import structlog

log = structlog.get_logger()

_T = TypeVar("_T")

#: So many looks in a row must find that something stands still, because a single one may precede a late
#: timer.
_LOOKS = 3
#: Errors of callbacks that are logged in a minute: a stranger may cause one with each packet.
_MOST_TOLD = 20


@dataclass(slots=True)
class _Household:
    """What is owned in one event loop."""

    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    ended: str | None = None  #: vital work that ended by an error, and the error
    watched: dict[str, Callable[[], bool]] = field(default_factory=dict)
    still: dict[str, int] = field(default_factory=dict)  #: looks in a row that found it so
    stray: int = 0  #: errors of callbacks in the current minute
    minute: int = 0


_households: WeakKeyDictionary[asyncio.AbstractEventLoop, _Household] = WeakKeyDictionary()


def _here() -> _Household:
    return _households.setdefault(asyncio.get_running_loop(), _Household())


def own(work: Coroutine[Any, Any, _T], name: str, *, vital: bool = True) -> asyncio.Task[_T]:
    """Runs `work` in the background. An error that ends it is logged; if it is `vital`, the process is not
    well from then on. Work for one caller, session or peer is not vital: its end concerns them alone."""
    household = _here()
    task = asyncio.get_running_loop().create_task(work, name=name)
    household.tasks.add(task)

    def end(task: asyncio.Task[_T]) -> None:
        household.tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("background work ended by an error", work=name, vital=vital, exc_info=error)
        if vital and household.ended is None:
            household.ended = f"{name} ended by an error: {type(error).__name__}; the log says more"

    task.add_done_callback(end)
    return task


def part(work: Awaitable[_T], name: str) -> asyncio.Task[_T]:
    """Runs a part of what the caller does; the caller waits for it and takes its error."""
    task: asyncio.Task[_T] = asyncio.ensure_future(work)
    task.set_name(name)
    household = _here()
    household.tasks.add(task)
    task.add_done_callback(household.tasks.discard)
    return task


def log_stray_errors() -> None:
    """Logs errors of the loop's callbacks and of tasks that nobody waits for, a bounded number each
    minute."""

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        household, minute = _households.setdefault(loop, _Household()), int(loop.time() // 60)
        household.stray = household.stray + 1 if minute == household.minute else 1
        household.minute = minute
        if household.stray <= _MOST_TOLD:
            log.error("stray error", work=context.get("message"), exc_info=context.get("exception"))

    asyncio.get_running_loop().set_exception_handler(tell)


def is_owned(task: "asyncio.Task[Any]") -> bool:
    return task in _here().tasks


def watch(name: str, stands_still: Callable[[], bool]) -> None:
    """From now on each look at the process asks whether a timer stands still. It should say so only after
    some seconds, because machines under load are late."""
    _here().watched[name] = stands_still


def trouble() -> str | None:
    """Looks at the process once: why it is not well, None if it is."""
    household = _here()
    if household.ended is not None:
        return household.ended
    for name, stands_still in household.watched.items():
        household.still[name] = household.still.get(name, 0) + 1 if stands_still() else 0
        if household.still[name] >= _LOOKS:
            return f"{name} stands still"
    return None
