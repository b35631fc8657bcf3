"""Threads for calls that block. One is made when all others are busy, and ends when no call came for a while.

A call to a slow server holds its thread. Sources that are being opened have threads of their own, so that
playing never waits for servers that do not answer.

A call wakes the thread that has been idle for the shortest time. If they took turns, a few calls a second
would keep alive as many threads as there ever were.
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


class _Waiter:
    """A thread that is idle."""

    def __init__(self) -> None:
        self._woken = threading.Lock()
        self._woken.acquire()
        self._call: Callable[[], None] | None = None

    def wake(self, call: Callable[[], None]) -> None:
        self._call = call
        self._woken.release()

    def wait(self, seconds: float = -1) -> Callable[[], None] | None:
        """The call that it is woken for; None when that does not happen in time. Without `seconds` it is
        waited for."""
        if not self._woken.acquire(timeout=seconds):
            return None
        call, self._call = self._call, None
        return call


class Threads(Executor):
    """At most `most` threads; calls beyond that wait for one in the order in which they came."""

    def __init__(self, most: int, name: str, idle_s: float = _IDLE_S) -> None:
        self._most, self._name, self._idle_s = most, name, idle_s
        self._lock = threading.Lock()
        self._calls: deque[Callable[[], None]] = deque()  #: for which no thread is idle
        self._idle: list[_Waiter] = []  #: who came last is woken first
        self._count = 0

    @property
    def count(self) -> int:
        """How many threads there are."""
        return self._count

    @property
    def busy(self) -> int:
        """How many of them work."""
        return self._count - len(self._idle)

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

        with self._lock:
            if self._idle:
                self._idle.pop().wake(call)
                return future
            self._calls.append(call)
            if self._count < self._most:
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
        waiter = _Waiter()
        while (call := self._next(waiter)) is not None:
            call()
            del call  # otherwise all that it refers to lives until the next one

    def _next(self, waiter: _Waiter) -> Callable[[], None] | None:
        """The next call; None when the thread is to end."""
        with self._lock:
            if self._calls:
                return self._calls.popleft()
            self._idle.append(waiter)
        if (call := waiter.wait(self._idle_s)) is not None:
            return call
        with self._lock:
            if waiter in self._idle:
                self._idle.remove(waiter)
                self._count -= 1
                return None
        return waiter.wait()  # it was woken in the same moment


def _alone(error: SourceError) -> SourceError:
    """The error without its traceback and causes. A session keeps it, and their frames would keep all that
    was read."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
