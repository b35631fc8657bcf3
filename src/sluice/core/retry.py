"""When to try again: back-off tables and the idle clock, as pure functions of time."""

from dataclasses import dataclass

#: Pauses in seconds before the first, second, … try after a loss or a failed start; the last one repeats.
SOURCE_PAUSES_S = (0.0, 1.0, 3.0, 5.0)
#: When a start with a limited number of tries makes them, in seconds since the first one
#: (docs/contract/heybox.md 5).
START_TRIES_AT_S = (0.0, 1.0, 3.0)
#: Pauses before each look for the room process, which as a rule is back within a second.
ROOM_PAUSES_S = (0.1, 0.2, 0.3, 0.5)
#: Pauses before each try to reach the destination of a push.
DESTINATION_PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0)


def pause_s(pauses: tuple[float, ...], attempt: int) -> float:
    """The pause before try `attempt` (counted from 0 since media last flowed)."""
    return pauses[min(attempt, len(pauses) - 1)]


def start_pause_s(tries: int, most: int, elapsed_s: float) -> float | None:
    """The pause before the next try of a start, `elapsed_s` after the first one began and after `tries` that
    failed. None when no more are allowed."""
    if tries >= most:
        return None
    last = len(START_TRIES_AT_S) - 1
    later_s = max(0, tries - last) * SOURCE_PAUSES_S[-1]
    return max(0.0, START_TRIES_AT_S[min(tries, last)] + later_s - elapsed_s)


@dataclass(slots=True)
class IdleClock:
    """How long a task has been without media, from `since` on; it may be so for `limit_s`."""

    limit_s: float
    since: float

    def media_at(self, now: float) -> None:
        self.since = now

    def left_s(self, now: float) -> float:
        return max(0.0, self.since + self.limit_s - now)
