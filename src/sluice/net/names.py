"""Addresses of names, on threads of their own: a loop has few, and a silent name server holds each for many
seconds. One name is asked for once at a time, and names that end alike have a share of the threads.
"""

import asyncio
import contextlib
import socket
import threading

from sluice.core.addresses import is_address
from sluice.core.limits import (
    MOST_JUDGED_ADDRESSES,
    MOST_LOOKUPS,
    MOST_LOOKUPS_OF_A_ZONE,
    MOST_WAITING_LOOKUPS,
)
from sluice.net.slots import Slots
from sluice.process.owned import own

_LABELS_OF_A_ZONE = 2
#: Under a country these are nobody's: whoever has a name there has one label more.
_REGISTRIES = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
_COUNTRY_LETTERS = 2
#: An error is an answer too, which all who ask share.
_Answer = list[str] | OSError | ValueError


class TooManyLookups(OSError):
    """Name servers are too slow for what is asked."""


class Names:
    """Belongs to one event loop. A look-up that nobody waits for any more ends by itself."""

    def __init__(self) -> None:
        self._slots = Slots(MOST_LOOKUPS)
        self._asking: dict[str, asyncio.Task[_Answer]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The first MOST_JUDGED_ADDRESSES. Raises OSError, and ValueError for what is no name."""
        task = self._asking.get(host)
        if task is None:
            if len(self._asking) >= MOST_WAITING_LOOKUPS:
                raise TooManyLookups("too many names wait to be resolved")
            task = self._asking[host] = own(self._ask(host), "a look-up of a name", vital=False)
            task.add_done_callback(lambda _: self._asking.pop(host))
        answer = await asyncio.shield(task)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _ask(self, host: str) -> _Answer:
        async with self._slots.take({_zone_of(host): MOST_LOOKUPS_OF_A_ZONE}):
            return await _on_thread(host)


def _zone_of(host: str) -> str:
    """What one owner has, as a rule."""
    if is_address(host):
        return host
    labels = host.rstrip(".").lower().split(".")
    end = labels[-_LABELS_OF_A_ZONE:]
    shared = len(end[-1]) == _COUNTRY_LETTERS and end[0] in _REGISTRIES
    return ".".join(labels[-_LABELS_OF_A_ZONE - shared :])


async def _on_thread(host: str) -> _Answer:
    """On a daemon's: the end of the process does not wait for a name server."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Answer] = loop.create_future()

    def settle(answer: _Answer) -> None:
        if not future.cancelled():
            future.set_result(answer)

    def ask() -> None:
        answer: _Answer
        try:
            found = socket.getaddrinfo(host, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
            answer = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found[:MOST_JUDGED_ADDRESSES]))
        except (OSError, ValueError) as error:
            answer = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, answer)

    try:
        threading.Thread(target=ask, name="look-up", daemon=True).start()
    except RuntimeError:
        return TooManyLookups("the machine allows no more threads")
    return await future
