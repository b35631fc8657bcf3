"""Answers that many ask for: one question for all, and nobody waits for what does not come."""

import asyncio
from collections.abc import Callable

import pytest

from sluice.process.asked import Asked

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def asked(answers: Callable[[int], object], *, fresh_s: float, patience_s: float = 5.0) -> "Asked[object]":
    count = 0

    async def ask() -> object:
        nonlocal count
        count += 1
        answer = answers(count)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return answer

    return Asked(ask, "the store", fresh_s=fresh_s, patience_s=patience_s)


async def test_many_share_one_question() -> None:
    ask = asked(lambda n: n, fresh_s=1000)
    assert list(await asyncio.gather(ask(), ask())) == [1, 1]
    assert await ask() == 1


async def test_an_old_answer_is_asked_for_again() -> None:
    ask = asked(lambda n: n, fresh_s=-1)
    assert [await ask(), await ask()] == [1, 2]


async def test_an_error_is_everybodys() -> None:
    ask = asked(lambda n: ValueError(n), fresh_s=1000)
    for error in await asyncio.gather(ask(), ask(), return_exceptions=True):
        assert isinstance(error, ValueError)


async def test_nobody_waits_for_an_answer_that_does_not_come() -> None:
    ask = asked(lambda n: None, fresh_s=0, patience_s=0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError, match="it has not answered for"):
            await ask()
