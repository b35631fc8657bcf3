"""What is only to be seen by looking again and again, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


async def until(holds: Callable[[], bool], deadline_s: float = 20) -> None:
    async with asyncio.timeout(deadline_s):
        while not holds():
            await asyncio.sleep(0.005)


async def until_seen(
    look: Callable[[], Awaitable[_T]], wanted: Callable[[_T], object], deadline_s: float = 20
) -> _T:
    """What is seen, as soon as it is as wanted."""
    async with asyncio.timeout(deadline_s):
        while not wanted(seen := await look()):
            await asyncio.sleep(0.02)
    return seen
