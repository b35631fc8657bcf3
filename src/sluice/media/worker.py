"""The blocking calls of one source on a worker thread, one at a time.

A call cannot be cancelled, only told to fail (`abort` of the source). Before a source is closed, `settle`
waits for the call under way: nothing may be freed while a thread uses it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from sluice.core.limits import LONGEST_OPENING_S
from sluice.net.dial import unreachable

P = ParamSpec("P")
T = TypeVar("T")


async def in_time(opening: Awaitable[T]) -> T:
    """Waits for the opening of a source. Raises SourceError after LONGEST_OPENING_S: a server that sends a
    byte now and then never exceeds the time-out of a single step."""
    try:
        async with asyncio.timeout(LONGEST_OPENING_S):
            return await opening
    except TimeoutError as error:
        raise unreachable(f"the source did not begin within {LONGEST_OPENING_S:g} s") from error


class Worker:
    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._busy: asyncio.Future[object] | None = None

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, lambda: work(*args, **kwargs))
        self._busy = future  # type: ignore[assignment]
        return await asyncio.shield(future)

    async def settle(self) -> None:
        """Waits until no call is under way."""
        if self._busy is not None:
            await asyncio.wait({self._busy})
            if not self._busy.cancelled():
                self._busy.exception()  # nobody else takes it, and asyncio would log that
