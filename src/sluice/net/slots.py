"""How many things run at once: in all, and for each name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager


class Slots:
    """One that waits for a busy name holds only slots of the names before it, and none of the common ones."""

    def __init__(self, overall: int) -> None:
        self._overall = asyncio.Semaphore(overall)
        self._names: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with how many use or want it

    @asynccontextmanager
    async def take(self, shares: dict[str, int]) -> AsyncIterator[None]:
        """Holds a slot of each name in `shares`, whose values are the most at once. It waits for the names in
        this order."""
        slots = {name: self._come(name, most) for name, most in shares.items()}
        try:
            async with AsyncExitStack() as stack:
                for slot in (*slots.values(), self._overall):
                    await stack.enter_async_context(slot)
                yield
        finally:
            for name in slots:
                self._go(name)

    def _come(self, name: str, most: int) -> asyncio.Semaphore:
        slot, users = self._names.get(name) or (asyncio.Semaphore(most), 0)
        self._names[name] = slot, users + 1
        return slot

    def _go(self, name: str) -> None:
        slot, users = self._names.pop(name)
        if users > 1:
            self._names[name] = slot, users - 1
