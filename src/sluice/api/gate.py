"""How many connections there are, and who makes way when there is no room for another.

Who only makes us wait makes way, whoever waits longest first: a connection without a request, half a head,
half a body. A connection whose request is being answered, such as an event stream, is never closed for
another's sake; where all are such, the newcomer is refused.
"""

from collections.abc import Hashable
from typing import Protocol

from sluice.api.refusals import Refusals
from sluice.core.limits import MOST_UNFINISHED_BYTES, SMALL_REQUEST_BYTES


class Guest(Hashable, Protocol):
    def give_way(self) -> None:
        """Ends at once."""
        ...


class Gate:
    """`most` connections at once; unfinished requests hold so many bytes in all."""

    def __init__(self, most: int, refusals: Refusals | None = None) -> None:
        self.most = most
        self.refusals = refusals or Refusals()
        self._inside: set[Guest] = set()
        self._waiting: dict[Guest, None] = {}  # in the order in which they began to wait
        self._held = 0

    def __len__(self) -> int:
        return len(self._inside)

    def enter(self, guest: Guest) -> bool:
        """As one that waits. False: there is no room."""
        if len(self._inside) >= self.most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.give_way()
        self._inside.add(guest)
        self._waiting[guest] = None
        return True

    def wait(self, guest: Guest) -> None:
        if guest in self._inside:
            self._waiting.setdefault(guest)

    def work(self, guest: Guest) -> None:
        self._waiting.pop(guest, None)

    def leave(self, guest: Guest) -> None:
        self._inside.discard(guest)
        self._waiting.pop(guest, None)

    def hold(self, more: int, mine: int) -> bool:
        """Counts bytes of unfinished requests, `mine` being what a caller has in all then. False: there are
        too many, and his are not few."""
        self._held += more
        return self._held <= MOST_UNFINISHED_BYTES or mine <= SMALL_REQUEST_BYTES
