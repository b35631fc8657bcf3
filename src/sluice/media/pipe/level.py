"""How loud sound is: the mean square of some of its samples, of both channels and spread over all of it."""

from collections.abc import Sequence
from itertools import cycle
from operator import mul

from sluice.core.vitals import Level

#: One sample in so many is taken. They change, so that no tone is always met in the same phase.
_STEPS = (101, 103, 107, 109, 113)
_FULL_SCALE = 32768.0


class LevelMeter:
    """`add` sound, then `take` its level."""

    def __init__(self, full_scale: float = _FULL_SCALE) -> None:
        """`full_scale`: the largest value of a sample, 16-bit by default."""
        self._full_scale = full_scale
        self._steps = cycle(_STEPS)
        self._step = next(self._steps)
        self._sum, self._count = 0.0, 0

    def add(self, samples: "memoryview | Sequence[float]") -> None:
        """Samples of both channels in turns, or of one."""
        some = samples[:: self._step]
        self._sum += sum(map(mul, some, some))
        self._count += len(some)

    def take(self, gain: float = 1.0) -> Level:
        """Of what was added since the last call, with a gain."""
        full = self._full_scale / gain if gain else 0.0
        mean = self._sum / self._count / (full * full) if full and self._count else 0.0
        self._step, self._sum, self._count = next(self._steps), 0.0, 0
        return Level(mean)
