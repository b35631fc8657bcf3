"""Look-ups of names, on threads of their own: the loop has few, and a silent name server blocks one for many
seconds. Each name is looked up once at a time. Names that end alike share a part of the threads.
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
#: Nobody owns these below a country's domain: an owner's name has one label more.
_REGISTRIES = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})
_COUNTRY_LETTERS = 2
#: An error is an answer, too; all who ask for the name get it.
_Answer = list[str] | OSError | ValueError


class TooManyLookups(OSError):
    """Too many look-ups wait: name servers are too slow."""


class Names:
    """Belongs to one event loop. A look-up that nobody waits for any more ends by itself."""

    def __init__(self) -> None:
        self._slots = Slots(MOST_LOOKUPS)
        self._asking: dict[str, asyncio.Task[_Answer]] = {}

    async def addresses(self, host: str) -> list[str]:
        """The first MOST_JUDGED_ADDRESSES of a name. Raises OSError; ValueError for what is no name."""
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
    """The end of a name that belongs, as a rule, to one owner."""
    if is_address(host):
        return host
    labels = host.rstrip(".").lower().split(".")
    end = labels[-_LABELS_OF_A_ZONE:]
    shared = len(end[-1]) == _COUNTRY_LETTERS and end[0] in _REGISTRIES
    return ".".join(labels[-_LABELS_OF_A_ZONE - shared :])


async def _on_thread(host: str) -> _Answer:
    """Looks up on a daemon thread, so that the end of the process does not wait for a name server."""
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
