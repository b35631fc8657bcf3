"""The CPU time that codecs take. To read the clock of a thread costs nearly a microsecond, so of short calls
only some are measured, and count for the others."""

from collections.abc import Callable
from time import thread_time
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Stopwatch:
    """For calls that one thread makes at a time."""

    def __init__(self, every: int = 1) -> None:
        """One call in `every` is measured."""
        self.seconds = 0.0
        self._every, self._calls = every, 0

    def time(self, work: Callable[[A], R], argument: A) -> R:
        """What `work` returns, or raises."""
        self._calls += 1
        if self._calls % self._every:
            return work(argument)
        begun = thread_time()
        try:
            return work(argument)
        finally:
            self.seconds += (thread_time() - begun) * self._every
