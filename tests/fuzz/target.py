"""What is fuzzed: one thing that takes bytes of strangers, what it may raise, and what it may cost.

An input that costs too much is a find as an exception is. Time is that of the CPU, the least of several
tries, so that a busy machine makes no find; memory is the peak that Python allocates.
"""

import contextlib
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_TRIES = 3
_MB = 1 << 20
#: Memory of the whole process that one input may add before its own is looked at.
_NOTED_KB = 8 << 10


class TooMuch(AssertionError):
    """An input costs more than its length allows."""


@dataclass(frozen=True, slots=True)
class Target:
    """`run` gets any bytes and may raise `raises`. `seeds` are inputs to begin with; those of clips are made
    when fuzzing begins. The bounds are `free_s` and `us_per_byte` of CPU, and `most_mb` of memory."""

    run: Callable[[bytes], object]
    raises: tuple[type[Exception], ...] = ()
    seeds: Callable[[], Iterable[bytes]] = tuple
    free_s: float = 0.1
    us_per_byte: float = 20.0
    most_mb: float = 8.0
    longest: int = 16384

    def take(self, data: bytes) -> None:
        with contextlib.suppress(*self.raises):
            self.run(data)

    def check(self, data: bytes, *, slower: float = 1.0) -> None:
        """`slower`: how much of it the instruments cost. Raises TooMuch, and what `run` must not."""
        before_kb = _resident_kb()
        spent_s = self._spent_s(data)
        allowed_s = (self.free_s + len(data) * self.us_per_byte / 1e6) * slower
        if spent_s > allowed_s:
            spent_s = min(spent_s, *(self._spent_s(data) for _ in range(_TRIES - 1)))
            if spent_s > allowed_s:
                raise TooMuch(f"{len(data)} bytes took {spent_s:.2f} s of CPU, allowed are {allowed_s:.2f} s")
        if _resident_kb() - before_kb > _NOTED_KB:
            self.weigh(data)

    def weigh(self, data: bytes) -> None:
        """Raises TooMuch."""
        tracemalloc.start()
        try:
            self.take(data)
            peak_mb = tracemalloc.get_traced_memory()[1] / _MB
        finally:
            tracemalloc.stop()
        if peak_mb > self.most_mb:
            raise TooMuch(f"{len(data)} bytes took {peak_mb:.0f} MB, allowed are {self.most_mb:.0f} MB")

    def _spent_s(self, data: bytes) -> float:
        began = time.thread_time()
        self.take(data)
        return time.thread_time() - began


def _resident_kb() -> int:
    """The most there ever was."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Choices:
    """An input read as the decisions of a stranger; zeros behind its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        """Whether there is more."""
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        """Of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def some(self) -> bytes:
        """As many bytes as the next one says."""
        return self.take(self.number(1))

    def rest(self) -> bytes:
        return self.take(len(self._data))
