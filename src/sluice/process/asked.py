"""Answers that many ask for and that cost something: one question at a time, and nobody waits long."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sluice.process.owned import own

_T = TypeVar("_T")


class Asked(Generic[_T]):
    """`ask` is asked when its last answer is older than `fresh_s`. `name` is that of the work."""

    def __init__(
        self, ask: Callable[[], Awaitable[_T]], name: str, *, fresh_s: float, patience_s: float
    ) -> None:
        self._ask, self._name = ask, name
        self._fresh_s, self._patience_s = fresh_s, patience_s
        self._asking: asyncio.Task[_T | Exception] | None = None
        self._asked_at = 0.0

    async def __call__(self) -> _T:
        """Raises what `ask` raises; TimeoutError when it has not answered `patience_s` after it was asked."""
        age_s = time.monotonic() - self._asked_at
        if self._asking is None or (self._asking.done() and age_s > self._fresh_s):
            self._asking, self._asked_at, age_s = own(self._answer(), self._name), time.monotonic(), 0.0
        asking = self._asking
        if not asking.done():
            await asyncio.wait({asking}, timeout=max(0.0, self._patience_s - age_s))
        if not asking.done():
            raise TimeoutError(f"it has not answered for {time.monotonic() - self._asked_at:.0f} s")
        answer = asking.result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _answer(self) -> _T | Exception:
        try:
            return await self._ask()
        except Exception as error:  # noqa: BLE001 - whoever asks gets it
            return error
