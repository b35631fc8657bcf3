"""Addresses of names, on threads of their own: a loop has few, and a silent name server holds each for many
seconds. One name is asked for once at a time, and names that end alike have a share of the threads.
"""

import asyncio
import contextlib
import socket
import threading
from functools import partial

from sluice.core.addresses import is_address
from sluice.core.limits import (
    MOST_JUDGED_ADDRESSES,
    MOST_LOOKUPS,
    MOST_LOOKUPS_OF_A_ZONE,
    MOST_WAITING_LOOKUPS,
)
from sluice.net.slots import Slots

_LABELS_OF_A_ZONE = 2


class TooManyLookups(OSError):
    """Name servers are too slow for what is asked."""


class Names:
    """Belongs to one event loop. A look-up that nobody waits for any more ends by itself."""

    def __init__(self) -> None:
        self._slots = Slots(MOST_LOOKUPS)
        self._asking: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The first MOST_JUDGED_ADDRESSES. Raises OSError, and ValueError for what is no name."""
        task = self._asking.get(host)
        if task is None:
            if len(self._asking) >= MOST_WAITING_LOOKUPS:
                raise TooManyLookups("too many names wait to be resolved")
            task = self._asking[host] = asyncio.create_task(self._ask(host))
            task.add_done_callback(partial(self._on_end, host))
        return await asyncio.shield(task)

    def _on_end(self, host: str, task: asyncio.Task[list[str]]) -> None:
        del self._asking[host]
        if not task.cancelled():
            task.exception()  # who asked may be gone

    async def _ask(self, host: str) -> list[str]:
        zone = host if is_address(host) else ".".join(host.rstrip(".").split(".")[-_LABELS_OF_A_ZONE:])
        async with self._slots.take({zone: MOST_LOOKUPS_OF_A_ZONE}):
            return await _on_thread(host)


async def _on_thread(host: str) -> list[str]:
    """On a daemon's: the end of the process does not wait for a name server."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: Exception | None) -> None:
        if answer.cancelled():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def ask() -> None:
        addresses: list[str] = []
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(host, None, socket.AF_UNSPEC, socket.SOCK_STREAM)[
                :MOST_JUDGED_ADDRESSES
            ]
            addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        except (OSError, ValueError) as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    return await answer
