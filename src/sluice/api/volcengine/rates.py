"""How often an app may call an action (docs/contract/volcengine.md 6): a moving window of one second in
memory."""

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from sluice.api.volcengine.errors import QPS_OVER_LIMIT, OpenApiError


class Rates:
    """A window for each pair of an action and a caller. Both have to be known ones, so that the number of
    windows is bounded."""

    def __init__(self) -> None:
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    def count(self, action: str, caller: str, per_second: int) -> None:
        """Raises OpenApiError when `caller` has called `action` so often within the last second."""
        if not self._windows.hit(RateLimitItemPerSecond(per_second), action, caller):
            raise OpenApiError(QPS_OVER_LIMIT)
