"""How many deliveries run at once: in all, and to one host."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

OVERALL = 256
#: More than one destination takes, so that one that hangs leaves some to others at the same host.
PER_HOST = 32


class Slots:
    """Who waits for a busy host holds nothing that others need."""

    def __init__(self, overall: int = OVERALL, per_host: int = PER_HOST) -> None:
        self._overall = asyncio.Semaphore(overall)
        self._per_host = per_host
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}  # with how many use or want it

    @asynccontextmanager
    async def take(self, host: str) -> AsyncIterator[None]:
        slot = self._come(host)
        try:
            async with slot, self._overall:
                yield
        finally:
            self._go(host)

    def _come(self, host: str) -> asyncio.Semaphore:
        slot, users = self._hosts.get(host) or (asyncio.Semaphore(self._per_host), 0)
        self._hosts[host] = slot, users + 1
        return slot

    def _go(self, host: str) -> None:
        slot, users = self._hosts.pop(host)
        if users > 1:
            self._hosts[host] = slot, users - 1
