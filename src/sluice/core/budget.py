"""How much of one thing a stranger may use: in all (Budget) or over media time (Allowance). Pure."""

from dataclasses import dataclass

from sluice.core.errors import unsupported


@dataclass(slots=True)
class Budget:
    """`left` may be spent; more raises an error with `text`, which says what there is too much of."""

    left: int
    text: str

    def spend(self, count: int = 1) -> None:
        """Raises SourceError (permanent)."""
        self.left -= count
        if self.left < 0:
            raise unsupported(self.text)


class Allowance:
    """`burst` at once, and `per_s` more for each second of media. Time that goes back adds nothing."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left = float(burst)
        self._newest_us: int | None = None

    def begin_anew(self) -> None:
        """Media time jumps: it adds again from its new position on. What was taken stays taken."""
        self._newest_us = None

    def take(self, at_us: int) -> bool:
        """Takes one at this time; False if there is none left."""
        if self._newest_us is None or at_us > self._newest_us:
            passed_us = at_us - self._newest_us if self._newest_us is not None else 0
            self._left = min(self._burst, self._left + passed_us * self._per_s / 1_000_000)
            self._newest_us = at_us
        if self._left < 1:
            return False
        self._left -= 1
        return True
