"""Counts refusals of callers by reason, and logs them so that callers cannot fill the log."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from sluice.core.limits import REFUSALS_LOGGED_EVERY_S

log = structlog.get_logger()


@dataclass(slots=True)
class _Count:
    all: int = 0
    unlogged: int = 0
    next_line_at: float = 0.0


class Refusals:
    """Reasons are a few dozen texts of ours; nothing of a caller is in them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    def count(self, why: str, caller: str) -> None:
        """The first refusal for a reason is logged at once; those that follow share a line."""
        found = self._counts.setdefault(why, _Count())
        found.all += 1
        now = self._clock()
        if now < found.next_line_at:
            found.unlogged += 1
            return
        log.warning("x caller", why=why, caller=caller, before=found.unlogged)
        found.unlogged, found.next_line_at = 0, now + REFUSALS_LOGGED_EVERY_S

    def of(self, why: str) -> int:
        return self._counts[why].all if why in self._counts else 0
