"""How a peer behaves: what it does beyond its budgets is dropped, and a peer that goes on with it is ended.

A budget fills with time, and whatever is done for the peer draws on it. So no peer can occupy the process,
and the bursts of honest peers pass. Pure: time is an argument.
"""

import structlog

from sluice.core.ids import PeerId
from sluice.core.limits import PATIENCE_S

log = structlog.get_logger()

_PATIENCE_US = PATIENCE_S * 1_000_000
#: Excesses that are further apart than this have nothing to do with each other.
_PAUSE_US = 1_500_000


class TokenBucket:
    """Lets `rate` through each second, and `at_once` after a rest."""

    __slots__ = ("_at_once", "_at_us", "_left", "_rate_us")

    def __init__(self, rate: float, at_once: float) -> None:
        self._rate_us = rate / 1_000_000
        self._at_once = self._left = float(at_once)
        self._at_us = 0

    def take(self, amount: float, now_us: int) -> bool:
        """False when nothing is left. More may be taken than is left; then the next has to wait longer."""
        left = self._left + (now_us - self._at_us) * self._rate_us
        self._at_us = now_us
        if left > self._at_once:
            left = self._at_once
        if left <= 0:
            self._left = left
            return False
        self._left = left - amount
        return True

    def earn(self, amount: float) -> None:
        self._left = min(self._at_once, self._left + amount)


class Conduct:
    """`why` is empty until the peer has to go. Excesses are logged once for each kind of them."""

    __slots__ = ("_known", "_newest_us", "_peer_id", "_since_us", "dropped", "why")

    def __init__(self, peer_id: PeerId) -> None:
        self.why = ""
        self.dropped = 0
        self._peer_id = peer_id
        self._known: set[str] = set()
        self._since_us = self._newest_us = -_PAUSE_US

    def exceed(self, what: str, now_us: int) -> None:
        """Something was dropped because the peer does too much; `what` names the limit, for people."""
        self.dropped += 1
        if now_us - self._newest_us > _PAUSE_US:
            self._since_us = now_us
        self._newest_us = now_us
        if what not in self._known:
            self._known.add(what)
            log.warning("x budget", peer_id=self._peer_id, why=what)
        if now_us - self._since_us > _PATIENCE_US and not self.why:
            self.why = f"{what}, and this has gone on for {PATIENCE_S} s"
