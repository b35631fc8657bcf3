"""How often a bot may call (docs/contract/heybox.md 1.2): fixed windows of a minute from the first call, in
memory."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

LIMIT = 300
WINDOW_S = 60.0
#: Windows that are kept; beyond that the oldest one is dropped.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller has left after this call. Times are Unix seconds."""

    remaining: int
    over: bool
    ends_at: float
    now: float

    def headers(self) -> dict[str, str]:
        """Times are whole seconds, rounded up, so that the window has ended by then."""
        after = str(math.ceil(self.ends_at - self.now))
        headers = {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(self.ends_at)),
            "X-RateLimit-Reset-After": after,
            "X-RateLimit-Bucket": "",  # one for all paths
        }
        return headers | {"Retry-After": after} if self.over else headers


@dataclass(slots=True)
class _Window:
    ends_at: float
    calls: int = 0


class Rates:
    """The windows of one kind of callers."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}  # in the order in which they began

    def count(self, caller: Hashable, now: float) -> Quota:
        window = self._windows.get(caller)
        # A clock that was set back must not make a window longer.
        if window is None or not 0 < window.ends_at - now <= WINDOW_S:
            window = self._begin(caller, now)
        over = window.calls >= LIMIT
        window.calls += not over
        return Quota(LIMIT - window.calls, over, window.ends_at, now)

    def _begin(self, caller: Hashable, now: float) -> _Window:
        self._windows.pop(caller, None)
        if len(self._windows) >= _MOST:
            del self._windows[next(iter(self._windows))]
        window = self._windows[caller] = _Window(now + WINDOW_S)
        return window
