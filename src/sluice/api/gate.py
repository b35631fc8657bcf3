"""How many connections there may be, and which one is closed when there is no room for another.

Only a connection that we wait for is closed (no request, half a head, half a body), the one that has waited
longest first. A connection whose request is being answered, such as an event stream, is never closed for
another one; if all are such, the newcomer is refused.
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
    """At most `most` connections at once; their unfinished requests together have a limit of bytes."""

    def __init__(self, most: int, refusals: Refusals | None = None) -> None:
        self.most = most
        self.refusals = refusals or Refusals()
        self._inside: set[Guest] = set()
        self._waiting: dict[Guest, None] = {}  # in the order in which they began to wait
        self._held = 0

    def __len__(self) -> int:
        return len(self._inside)

    def enter(self, guest: Guest) -> bool:
        """Adds a connection that we wait for. False if there is no room."""
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
        """Counts `more` bytes of unfinished requests; `mine` are then all bytes of this caller. False if
        there are too many in all and his are not few."""
        self._held += more
        return self._held <= MOST_UNFINISHED_BYTES or mine <= SMALL_REQUEST_BYTES
