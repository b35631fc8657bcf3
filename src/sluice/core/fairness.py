"""Fair shares of what is scarce: how many seats somebody has at once, and how often he may do something.

Callers are counted by the user of their token and by their address. An IPv6 address counts as its /64, since
one customer of a network has that many. What is kept is bounded; time is an argument.
"""

import ipaddress
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from sluice.core.errors import LimitReached
from sluice.core.limits import (
    FIRST_BACK_OFF_S,
    LONGEST_BACK_OFF_S,
    MOST_ADDRESS_JOINS,
    MOST_ADDRESS_PEERS,
    MOST_ADDRESS_STREAMS,
    MOST_FAILED_LOGINS,
    MOST_RATED_CALLERS,
    MOST_ROOM_PEERS,
    MOST_ROOM_STREAMS,
    MOST_TOKEN_JOINS,
    MOST_TOKEN_PEERS,
    MOST_TOKEN_STREAMS,
    MOST_USER_PEERS,
    MOST_USER_STREAMS,
    TRUST_S,
)

_MINUTE_S = 60.0


def network_of(address: str) -> str:
    """The key by which an address is counted: itself, or its /64."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)


class TooOften(LimitReached):
    """`wait_s`: when the next try may succeed."""

    def __init__(self, why: str, wait_s: float) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class SeatLimits:
    """The most seats at once of one user in a room from one address (`token`) and from all addresses
    (`user`), of one address, and of one room."""

    token: int
    user: int
    address: int
    room: int


#: Of peers: limits.py says why.
PEER_SEATS = SeatLimits(MOST_TOKEN_PEERS, MOST_USER_PEERS, MOST_ADDRESS_PEERS, MOST_ROOM_PEERS)
#: Of event streams.
STREAM_SEATS = SeatLimits(MOST_TOKEN_STREAMS, MOST_USER_STREAMS, MOST_ADDRESS_STREAMS, MOST_ROOM_STREAMS)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks for a seat."""

    room: tuple[str, str]  #: app and room
    user: str
    address: str


class Seats:
    """`things` is the name of seats for people, in the plural. There are `most` in all; None: any number."""

    def __init__(self, limits: SeatLimits, things: str, most: int | None = None) -> None:
        self._limits = limits
        self._most = most
        self._things = things
        self._taken: Counter[Hashable] = Counter()

    def refusal(self, holder: Holder) -> str:
        """Why there is no seat for the holder; empty if there is one."""
        for key, most, whose in self._shares(holder):
            if self._taken[key] >= most:
                return f"{whose} has {most} {self._things}, the most at once; end some of them"
        return ""

    def take(self, holder: Holder) -> None:
        for key, _, _ in self._shares(holder):
            self._taken[key] += 1

    def give_back(self, holder: Holder) -> None:
        for key, _, _ in self._shares(holder):
            self._taken[key] -= 1
            if self._taken[key] <= 0:
                del self._taken[key]

    def _shares(self, holder: Holder) -> tuple[tuple[Hashable, int, str], ...]:
        limits, address, user = self._limits, network_of(holder.address), (*holder.room, holder.user)
        shares: list[tuple[Hashable, int, str]] = [
            ((*user, address), limits.token, "the user of this token, at your address,"),
            (user, limits.user, "the user of this token"),
            (holder.room, limits.room, "this room"),
        ]
        if address:
            shares.append((address, limits.address, "your address"))
        if self._most is not None:
            shares.append(("", self._most, "this node"))
        return tuple(shares)


class Rate:
    """So many tries a minute for each key. A key that was silent for a minute may make them all at once."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: dict[
            Hashable, tuple[float, float]
        ] = {}  # by key: what was left, and when; the key that was silent longest comes first

    def take(self, key: Hashable, now: float) -> float:
        """Takes one. The seconds to wait before another try may succeed; 0 if this one succeeds."""
        left, at = self._left.pop(key, (float(self._per_minute), now))
        left = min(self._per_minute, left + max(0.0, now - at) * self._per_minute / _MINUTE_S)
        taken = left >= 1
        self._left[key] = (left - taken, now)
        if len(self._left) > MOST_RATED_CALLERS:
            del self._left[next(iter(self._left))]
        return 0.0 if taken else (1 - left) * _MINUTE_S / self._per_minute


@dataclass(slots=True)
class _Tries:
    wrong: int = 0
    at: float = 0.0
    closed_until: float = 0.0
    trusted_until: float = 0.0


class BackOff:
    """Tries of a secret, by address.

    After `free` wrong ones, each further one shuts the address out for twice as long as the one before. An
    address that has shown the right secret is not shut out for an hour: somebody who guesses behind the same
    proxy must not lock the operator out.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._tries: dict[str, _Tries] = {}  # the address that was silent longest comes first

    def wait_s(self, address: str, now: float) -> float:
        """How long an address is shut out."""
        tries = self._tries.get(network_of(address))
        return 0.0 if tries is None else max(0.0, tries.closed_until - now)

    def trusts(self, address: str, now: float) -> bool:
        """Whether a secret from this address is looked at although the address is shut out."""
        tries = self._tries.get(network_of(address))
        return tries is not None and now < tries.trusted_until

    def note(self, address: str, now: float, *, right: bool) -> None:
        key = network_of(address)
        tries = self._tries.pop(key, None) or _Tries()
        self._tries[key] = tries
        if now - tries.at > TRUST_S:
            tries.wrong = 0  # typing errors of another day
        tries.at = now
        if right:
            tries.wrong, tries.closed_until, tries.trusted_until = 0, 0.0, now + TRUST_S
        else:
            tries.wrong += 1
            if (over := tries.wrong - self._free) > 0:
                tries.closed_until = now + min(
                    FIRST_BACK_OFF_S * 2.0 ** min(over - 1, 16), LONGEST_BACK_OFF_S
                )
        if len(self._tries) > MOST_RATED_CALLERS:
            del self._tries[next(iter(self._tries))]


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """`token_joins` and `address_joins`: offers in a minute of a user at one address, and of an address.
    `failed_logins`: invalid tokens of an address in a minute. `streams`: event streams."""

    token_joins: int = MOST_TOKEN_JOINS
    address_joins: int = MOST_ADDRESS_JOINS
    failed_logins: int = MOST_FAILED_LOGINS
    streams: SeatLimits = STREAM_SEATS
