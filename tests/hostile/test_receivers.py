"""Receivers of callbacks that answer without an end, beside an innocent viewer."""

import asyncio

import pytest

from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside
from tests.hostile.strangers import Script, cases, stranger, write_for_ever
from tests.integration.nginx import free_port
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_OK = b"HTTP/1.1 200 OK\r\n"
#: Looked up, connected, answered and drained: 5 s and 1 s are what a receiver is given.
_ENDED_S = 10.0
_EVENTS = ["RelayStreamStateChanged"]


def repeating(begin: bytes, part: bytes, times: int = 1) -> Script:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        await write_for_ever(writer, part * times)

    return answer


def dripping(begin: bytes, part: bytes) -> Script:
    """Fast enough for each read to bring something, too slow to ever be much."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)

    return answer


ANSWERS = {
    "continue": repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 2000),
    "processing": repeating(b"", b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n", 2000),
    "early hints": repeating(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 2000),
    "continue, slowly": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header lines": repeating(_OK, b"A: b\r\n", 10_000),
    "one header": repeating(_OK + b"A: ", b"A", 60_000),
    "a status line": repeating(b"HTTP/1.1 200 ", b"A", 60_000),
    "no HTTP": repeating(b"", b"A", 60_000),
    "newlines": repeating(b"", b"\r\n", 30_000),
    "a body": repeating(_OK + b"\r\n", bytes(60_000)),
    "chunks of one byte": repeating(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 10_000),
    "a chunk extension": repeating(_OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"A", 60_000),
    "trailers": repeating(_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n", 10_000),
    "header lines, slowly": dripping(_OK, b"A: b\r\n"),
}


@pytest.mark.parametrize("kind", cases(ANSWERS, ["continue", "header lines"]))
async def test_an_answer_without_an_end_is_left(node: ServedNode, beside: Beside, kind: str) -> None:
    async with stranger(ANSWERS[kind]) as receiver:
        await node.call(
            *("CreateCallback",),
            version="2020-12-01",
            EventList=_EVENTS,
            SecretKey="callback-secret",
            URL=receiver.url("/callback"),
        )
        try:
            async with beside.innocent() as seen:
                run = await node.start("told", f"http://127.0.0.1:{free_port()}/", MediaType=1)
                await until(lambda: bool(receiver.ended_s), 2 * _ENDED_S)
        finally:
            await node.call("DeleteCallback", version="2020-12-01")
        await node.client_stop(run)
    assert receiver.ended_s[0] < _ENDED_S
    seen.check(most_mb=30)
