"""Threads for calls that block. One is made when all others are busy, and ends when no call came for a while.

A call to a slow server holds its thread. Sources that are being opened have threads of their own, so that
playing never waits for servers that do not answer.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from sluice.core.errors import SourceError

P = ParamSpec("P")
T = TypeVar("T")

_IDLE_S = 10.0


class Threads(Executor):
    """At most `most` threads; calls beyond that wait for one in the order in which they came."""

    def __init__(self, most: int, name: str, idle_s: float = _IDLE_S) -> None:
        self._most, self._name, self._idle_s = most, name, idle_s
        self._calls: deque[Callable[[], None]] = deque()
        self._news = threading.Condition()
        self._count = self._idle = 0

    @property
    def count(self) -> int:
        """How many threads there are."""
        return self._count

    @property
    def busy(self) -> int:
        """How many of them work."""
        return self._count - self._idle

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return len(self._calls)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except SourceError as error:
                    future.set_exception(_alone(error))
                except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
                    future.set_exception(error)
                else:
                    future.set_result(result)

        with self._news:
            self._calls.append(call)
            if len(self._calls) <= self._idle:
                self._news.notify()
            elif self._count < self._most:
                self._begin()
        return future

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._count += 1
        except RuntimeError:  # the machine allows no more threads: a present one takes the call
            if not self._count:
                self._calls.pop()
                raise

    def _run(self) -> None:
        while (call := self._next()) is not None:
            call()
            del call  # otherwise all that it refers to lives until the next one

    def _next(self) -> Callable[[], None] | None:
        """The next call; None when the thread is to end."""
        with self._news:
            self._idle += 1
            found = self._news.wait_for(lambda: self._calls, self._idle_s)
            self._idle -= 1
            self._count -= not found
            return self._calls.popleft() if found else None


def _alone(error: SourceError) -> SourceError:
    """The error without its traceback and causes. A session keeps it, and their frames would keep all that
    was read."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
