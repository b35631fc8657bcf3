"""The blocking calls of one source on a worker thread, one at a time.

A call cannot be cancelled, only told to fail (`abort` of the source); whoever closes the source waits for
the call under way with `settle`, since nothing may be freed under a thread that uses it.

The workers of a process take turns: threads that read and convert at the same time hand the interpreter
lock to and fro at each packet. A call that takes long (it waits for its server) gives up its turn.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: A call that takes longer does not keep the others waiting.
_LONG_S = 0.05


class Turns:
    """Of all workers of a process."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(1)

    async def take(self) -> "Turn":
        await self._free.acquire()
        return Turn(self._free.release)


class Turn:
    """Ends once, when it is told or after a while."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release
        self._timer = asyncio.get_running_loop().call_later(_LONG_S, self.end)

    def end(self, _: object = None) -> None:
        if self._release is not None:
            release, self._release = self._release, None
            self._timer.cancel()
            release()


class Worker:
    def __init__(self, executor: Executor, turns: Turns) -> None:
        self._executor = executor
        self._turns = turns
        self._busy: asyncio.Future[object] | None = None

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        turn = await self._turns.take()
        try:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._executor, lambda: work(*args, **kwargs))
        except BaseException:
            turn.end()
            raise
        future.add_done_callback(turn.end)
        self._busy = future  # type: ignore[assignment]
        return await asyncio.shield(future)

    async def settle(self) -> None:
        if self._busy is not None:
            await asyncio.wait({self._busy})
            if not self._busy.cancelled():
                self._busy.exception()  # seen: nobody waits for it any more
