"""Connections of strangers who send too much, too slowly or nothing, beside others who do as they should."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from sluice.api import connection, handshake
from sluice.api.server import Listener, listening, serving
from sluice.core.limits import MOST_HEAD_BYTES, MOST_HEADERS, MOST_PIPELINED, MOST_REQUEST_BYTES
from sluice.process.descriptors import Share
from tests.integration.certificates import write_certificate

pytestmark = pytest.mark.anyio

_DEADLINE_S = 20.0
_HEAD = b"GET /hello HTTP/1.1\r\nHost: h\r\n"
_POST = b"POST /length HTTP/1.1\r\nHost: h\r\n"
_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
_LONG = 32 << 20  #: more than lies between two programs


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The loop of a node, or the one that is named."""
    return "asyncio", {"use_uvloop": getattr(request, "param", "uvloop") == "uvloop"}


both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "uvloop"], indirect=True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD", "BODY_PAUSE", "FAREWELL", "IDLE"):
        monkeypatch.setattr(connection, f"LONGEST_{name}_S", 0.3)
    monkeypatch.setattr(connection, "LONGEST_BODY_S", 1.0)
    monkeypatch.setattr(handshake, "LONGEST_HANDSHAKE_S", 0.3)


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def ticks(request: Request) -> Response:
    async def stream() -> AsyncIterator[str]:
        for n in range(100):
            yield f"{n}\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(stream())


async def refuse(request: Request) -> Response:
    return PlainTextResponse("no", 401)


async def long(request: Request) -> Response:
    return PlainTextResponse("a" * _LONG)


APP = Router(
    [
        Route("/hello", hello),
        Route("/length", length, methods=["POST"]),
        Route("/ticks", ticks),
        Route("/long", long),
        Route("/refuse", refuse, methods=["POST"]),
    ]
)


@asynccontextmanager
async def served(share: Share | None = None, tls: tuple[Path, Path] | None = None) -> AsyncIterator[Listener]:
    with listening("127.0.0.1", 0, tls) as listener:
        async with serving(APP, listener, share or Share(1000, 100)):
            yield listener


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(listener: Listener, trust: Path | None = None) -> Ends:
    context = ssl.create_default_context(cafile=str(trust)) if trust else None
    host, port = listener.socket.getsockname()
    name = "localhost" if trust else None
    return await asyncio.open_connection(host, port, ssl=context, server_hostname=name)


async def said(ends: Ends, *parts: bytes) -> bytes:
    """Sends all of it, and reads until the node hangs up."""
    reader, writer = ends
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
    answer = b""
    async with asyncio.timeout(_DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                answer += data
    writer.transport.abort()
    return answer


async def greeted(listener: Listener) -> bool:
    """Whether a caller who does as he should is answered."""
    return (await said(await connect(listener), _HEAD + b"Connection: close\r\n\r\n")).endswith(b"hello")


@pytest.mark.parametrize(
    ("parts", "status", "why"),
    [
        ([_HEAD, b"A: b\r\n" * (MOST_HEADERS + 1)], 431, b"header lines"),
        ([_HEAD, b"X: ", *[b"a" * 65536] * 1024], 431, b"head of a request"),
        ([_HEAD + b"X: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n"], 431, b"head of a request"),
        ([b"GET /", *[b"a" * 65536] * 100], 431, b"head of a request"),
        ([_POST + b"Content-Length: 99999999\r\n\r\n", *[bytes(65536)] * 100], 413, b"a request may have"),
        (
            [_POST + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\na\r\n" * 9000] * 100],
            413,
            b"a request may have",
        ),
        (
            [_POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * MOST_REQUEST_BYTES],
            413,
            b"a request may have",
        ),
        ([b"\x16\x03\x01 no HTTP\r\n\r\n"], 400, b"no request"),
        ([b"GET http://[x/ HTTP/1.1\r\n\r\n"], 400, b"no request"),
        ([b"GET /hello HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], 400, b"no request"),
        ([_POST + _H2C + b"Content-Length: 2\r\n\r\n{}"], 400, b"send it as HTTP/1.1"),
        (
            [_POST + _H2C + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"],
            400,
            b"as HTTP/1.1",
        ),
    ],
)
async def test_too_much(anyio_backend: object, parts: list[bytes], status: int, why: bytes) -> None:
    async with served() as listener:
        answer = await said(await connect(listener), *parts)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
        assert why in answer
        assert b"nosniff" in answer
        assert await greeted(listener)


async def test_what_is_allowed(anyio_backend: object) -> None:
    lines = b"A: b\r\n" * (MOST_HEADERS - 2)
    long = b"X: " + b"a" * (MOST_HEAD_BYTES - 1000) + b"\r\n"
    body = b"a" * (1 << 20)
    async with served() as listener:
        for more in (lines, long):
            answer = await said(await connect(listener), _HEAD + more + b"Connection: close\r\n\r\n")
            assert answer.endswith(b"hello")
        reader, writer = await connect(listener)
        writer.write(_HEAD + _H2C + b"\r\n")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        head = _POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await said(await connect(listener), head, body)).endswith(b"1048576")


async def test_pipelined_requests(anyio_backend: object) -> None:
    async with served() as listener:
        few = (_HEAD + b"\r\n") * MOST_PIPELINED + _HEAD + b"Connection: close\r\n\r\n"
        assert (await said(await connect(listener), few)).count(b"hello") == MOST_PIPELINED + 1
        many = (_HEAD + b"\r\n") * 5000
        assert (await said(await connect(listener), many)).count(b"hello") <= MOST_PIPELINED
        assert await greeted(listener)


@pytest.mark.parametrize(
    ("begun", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"GE", b" 408 "),
        (_HEAD, b" 408 "),
        (_HEAD + b"X: a", b" 408 "),
        (_POST + b"Content-Length: 10\r\n\r\n", b" 408 "),
        (_POST + b"Content-Length: 10\r\n\r\nabc", b" 408 "),
        (_POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", b" 408 "),
        (_HEAD + b"Content-Length: 10\r\n\r\n", b"hello"),  # answered, and not waited for
        (_HEAD + b"\r\n", b"hello"),
    ],
)
async def test_who_stops_is_cut_off(anyio_backend: object, short: None, begun: bytes, answer: bytes) -> None:
    async with served() as listener:
        assert answer in await said(await connect(listener), begun)


@pytest.mark.parametrize(
    ("head", "drip", "answer"),
    [
        (b"", b"\r\n", b""),
        (_HEAD, b"A: b\r\n", b" 408 "),
        (_POST + b"Content-Length: 99\r\n\r\n", b"a", b" 408 "),
    ],
)
async def test_who_drips_is_cut_off(
    anyio_backend: object, short: None, head: bytes, drip: bytes, answer: bytes
) -> None:
    async with served() as listener:
        ends = await connect(listener)
        ends[1].write(head)
        reading = asyncio.create_task(ends[0].read())
        async with asyncio.timeout(_DEADLINE_S):
            while not reading.done():
                ends[1].write(drip)
                await asyncio.wait([reading], timeout=0.05)
        ends[1].transport.abort()
        assert reading.exception() is not None or answer in reading.result()


async def test_who_leaves_in_the_middle_leaves_no_trace(
    anyio_backend: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as listener:
        ends = await connect(listener)
        ends[1].write(_POST + b"Content-Length: 10\r\n\r\nabc")
        await ends[1].drain()
        assert await greeted(listener)
        ends[1].transport.abort()
        refused = await said(await connect(listener), _POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n")
        assert b" 400 " in refused
        assert await greeted(listener)
    assert caplog.records == []


@both_loops
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_who_is_answered_before_his_body_reads_it(anyio_backend: object, version: bytes) -> None:
    """Though he wants no other answer on this connection, and sends all of it before he reads."""
    head = b"POST /refuse HTTP/%s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    async with served() as listener:
        reader, writer = await connect(listener)
        writer.write(head % (version, 50 * 65536))
        await reader.readuntil(b"connection: close\r\n")
        for _ in range(50):
            writer.write(bytes(65536))
            await writer.drain()
        async with asyncio.timeout(_DEADLINE_S):
            assert (await reader.read()).endswith(b"no")
            writer.close()
            await writer.wait_closed()
        assert await greeted(listener)


async def test_an_empty_line_behind_a_request_is_none(
    anyio_backend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LONGEST_HEAD_S", 0.3)
    async with served() as listener:
        reader, writer = await connect(listener)
        writer.write(_POST + b"Content-Length: 3\r\n\r\nabc")
        async with asyncio.timeout(_DEADLINE_S):
            await reader.readuntil(b"\r\n\r\n3")
        writer.write(b"\r\n")
        await asyncio.sleep(0.6)
        assert (await said((reader, writer), _HEAD + b"Connection: close\r\n\r\n")).endswith(b"hello")


async def test_an_answer_may_take_its_time(anyio_backend: object, short: None) -> None:
    """An event stream is longer than each time-out, and nobody makes way for another."""
    async with served(Share(1, 100)) as listener:
        reader, writer = await connect(listener)
        writer.write(b"GET /ticks HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(_DEADLINE_S):
            await reader.readuntil(b"\r\n3\n")
            assert b" 503 " in await said(await connect(listener), _HEAD)
            await reader.readuntil(b"\r\n20\n")
        writer.transport.abort()


async def test_who_waits_makes_way(anyio_backend: object) -> None:
    begun = (b"", b"GET /hello HT", _HEAD, _POST + b"Content-Length: 9\r\n\r\n")
    async with served(Share(20, 100)) as listener:
        waiting = []
        for n in range(60):
            reader, writer = await connect(listener)
            writer.write(begun[n % len(begun)])
            waiting.append((reader, writer))
            if n % 10 == 9:
                assert await greeted(listener)
        async with asyncio.timeout(_DEADLINE_S):
            for reader, _ in waiting[:39]:
                with contextlib.suppress(ConnectionError):
                    while await reader.read(65536):
                        pass
        for _, writer in waiting:
            writer.transport.abort()


async def test_who_does_not_read_his_answer_makes_way(anyio_backend: object) -> None:
    """At once: what he has not read would keep the connection for as long as he likes."""
    async with served(Share(1, 100)) as listener:
        reader, writer = await connect(listener)
        writer.write(b"GET /long HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await greeted(listener)
        assert len(await said((reader, writer))) < _LONG


async def test_many_large_heads_leave_room_for_small_ones(
    anyio_backend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.api.gate.MOST_UNFINISHED_BYTES", 1 << 20)
    async with served() as listener:
        ends = [await connect(listener) for _ in range(20)]
        answers = [asyncio.create_task(said(end, _HEAD + b"X: " + b"a" * 80_000)) for end in ends]
        async with asyncio.timeout(_DEADLINE_S):
            done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert all(b" 503 " in task.result() for task in done)
        assert await greeted(listener)
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        for _, writer in ends:
            writer.transport.abort()


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    write_certificate(tmp_path)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


@both_loops
async def test_handshakes_that_do_not_end(anyio_backend: object, short: None, tls: tuple[Path, Path]) -> None:
    async with served(tls=tls) as listener:
        for begun in (b"", b"\x16\x03\x01\x02\x00\x01\x00", _HEAD + b"\r\n"):
            assert b"hello" not in await said(await connect(listener), begun)
        request = _HEAD + b"Connection: close\r\n\r\n"
        assert (await said(await connect(listener, tls[0]), request)).endswith(b"hello")


@both_loops
async def test_handshakes_make_way(anyio_backend: object, tls: tuple[Path, Path]) -> None:
    async with served(Share(1, 100), tls) as listener:
        silent = [await connect(listener) for _ in range(20)]
        request = _HEAD + b"Connection: close\r\n\r\n"
        assert (await said(await connect(listener, tls[0]), request)).endswith(b"hello")
        for _, writer in silent:
            writer.transport.abort()
