"""What a stranger may use up of one thing, once (Budget) or over media time (Allowance). Pure."""

from dataclasses import dataclass

from sluice.core.errors import unsupported


@dataclass(slots=True)
class Budget:
    """`left` may be spent, then it is over: `text` says of what there is too much."""

    left: int
    text: str

    def spend(self, count: int = 1) -> None:
        """Raises SourceError (permanent)."""
        self.left -= count
        if self.left < 0:
            raise unsupported(self.text)


class Allowance:
    """`burst` at once, and `per_s` more with each second of media. Time that goes back gives nothing."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left = float(burst)
        self._newest_us: int | None = None

    def begin_anew(self) -> None:
        """Time goes on from somewhere else, and gives again from there; what was taken stays taken."""
        self._newest_us = None

    def take(self, at_us: int) -> bool:
        """One more at this time; False where there is none left."""
        if self._newest_us is None or at_us > self._newest_us:
            passed_us = at_us - self._newest_us if self._newest_us is not None else 0
            self._left = min(self._burst, self._left + passed_us * self._per_s / 1_000_000)
            self._newest_us = at_us
        if self._left < 1:
            return False
        self._left -= 1
        return True
