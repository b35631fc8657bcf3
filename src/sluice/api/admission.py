"""How often callers may join rooms, and how many event streams they may hold.

Failed log-ins are counted, too, and refused early if there are too many. A valid token is accepted whatever
others do at the same address.
"""

import math
import time
from collections.abc import Callable

from starlette.requests import HTTPConnection

from sluice.api.refusals import Refusals
from sluice.core.errors import LimitReached
from sluice.core.fairness import AdmissionLimits, Holder, Rate, Seats, TooOften, network_of
from sluice.process.state import NodeState


def address_of(request: HTTPConnection) -> str:
    """The caller's address; empty if it is not known."""
    return request.client.host if request.client else ""


class Admission:
    """`most_streams` event streams at once in all. `clock` tells seconds from any point in time."""

    def __init__(
        self,
        limits: AdmissionLimits | None = None,
        refusals: Refusals | None = None,
        *,
        most_streams: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        state: NodeState | None = None,
    ) -> None:
        limits = limits or AdmissionLimits()
        self.streams = Seats(limits.streams, "event streams", most_streams)
        self._token_joins = Rate(limits.token_joins)
        self._address_joins = Rate(limits.address_joins)
        self._failures = Rate(limits.failed_logins)
        self._refusals = refusals or Refusals()
        self._clock = clock
        self._state = state or NodeState()

    def join(self, holder: Holder) -> None:
        """To be called before each offer. Raises TooOften, Draining."""
        self._state.admit()
        network, now = network_of(holder.address), self._clock()
        wait = self._token_joins.take((*holder.room, holder.user, network), now)
        self._check(wait, "the user of this token joins too often", holder.address)
        self._check(self._address_joins.take(network, now), "your address joins too often", holder.address)

    def fail(self, address: str) -> None:
        """Counts an invalid token. Raises TooOften for one too many."""
        wait = self._failures.take(network_of(address), self._clock())
        self._check(wait, "too many tokens from your address are worth nothing here", address)

    def check_stream(self, holder: Holder) -> None:
        """To be called before each event stream. Raises LimitReached."""
        if why := self.streams.refusal(holder):
            self._refusals.count(why, holder.address)
            raise LimitReached(why)

    def _check(self, wait_s: float, why: str, address: str) -> None:
        if wait_s:
            self._refusals.count(why, address)
            raise TooOften(f"{why}; try again in {math.ceil(wait_s)} s", wait_s)
