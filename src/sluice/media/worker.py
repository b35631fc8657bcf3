"""The blocking calls of one source on a worker thread, one at a time.

A call cannot be cancelled, only told to fail (`abort` of the source); whoever closes the source waits for
the call under way with `settle`, since nothing may be freed under a thread that uses it.
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
    """Raises SourceError where a source is not open in time: a server may send a byte now and then."""
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
        if self._busy is not None:
            await asyncio.wait({self._busy})
            if not self._busy.cancelled():
                self._busy.exception()  # seen: nobody waits for it any more
