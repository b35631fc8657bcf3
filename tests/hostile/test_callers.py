"""Callers of the HTTP API that send too much, or nothing, beside an innocent viewer."""

import asyncio
import json
from collections.abc import Iterator

import psutil
import pytest

from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside
from tests.hostile.strangers import Said, cases, holding, say
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_PART = 1 << 16
_MANY_BYTES = 64 << 20
#: Of those who send nothing for good; what they may hold open until then is for the limits to say.
_SILENT_S = 60.0
_MANY = 1500
#: As many descriptors as a login shell has in Debian; the node may raise it to what is allowed.
_ALLOWED = 1024


def much(part: bytes) -> Iterator[bytes]:
    part *= max(1, _PART // len(part))
    for _ in range(_MANY_BYTES // len(part)):
        yield part


def posted(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: node", *headers, "", "")).encode()


def too_much_head() -> dict[str, Iterator[bytes]]:
    def begun(part: bytes, head: bytes = b"GET /healthz HTTP/1.1\r\nHost: node\r\n") -> Iterator[bytes]:
        yield head
        yield from much(part)

    return {
        "lines": begun(b"A: b\r\n"),
        "one header": begun(b"A" * 1024, b"GET /healthz HTTP/1.1\r\nHost: node\r\nX-Long: "),
        "one name": begun(b"A" * 1024, b"GET /healthz HTTP/1.1\r\nHost: node\r\nX"),
        "a path": begun(b"A" * 1024, b"GET /"),
        "a query": begun(b"A=b&", b"GET /healthz?"),
        "a method": begun(b"A" * 1024, b""),
        "folded lines": begun(b" A\r\n", b"GET /healthz HTTP/1.1\r\nHost: node\r\nX-Long: a\r\n"),
    }


def media_of(node: ServedNode) -> list[psutil.Process]:
    """None while one of the node's processes ends."""
    try:
        return node.children("sluice.media")
    except psutil.Error:
        return []


@pytest.mark.parametrize("kind", cases(too_much_head(), ["lines", "one header"]))
async def test_a_head_without_an_end_is_refused(node: ServedNode, beside: Beside, kind: str) -> None:
    async with beside.innocent() as seen:
        said = await say(node.url, too_much_head()[kind])
    assert said.refused, said
    seen.check(most_mb=30)


def bodies_of_nobody(node: ServedNode) -> dict[str, bytes]:
    """Requests that nobody may make, up to their bodies."""
    long = f"Content-Length: {_MANY_BYTES}"
    as_json = "Content-Type: application/json"
    app = node.credentials.app_id
    return {
        "native, no bearer": posted("/api/v1/tasks/task_1/control", as_json, long),
        "native, wrong bearer": posted("/api/v1/apps", "Authorization: Bearer x", as_json, long),
        "native, chunked": posted("/api/v1/bots", as_json, "Transfer-Encoding: chunked"),
        "action, unsigned": posted("/?Action=StartRelayStream&Version=2023-11-01", as_json, long),
        "bot, no token": posted("/chatroom/v3/channel/stream/push", as_json, long),
        "viewer, no token": posted(f"/whep/{app}/room/user", "Content-Type: application/sdp", long),
        "publisher, wrong token": posted(
            f"/whip/{app}/room", "Authorization: Bearer 001x", "Content-Type: application/sdp", long
        ),
        "nothing there": posted("/nothing", long),
    }


async def test_bodies_of_nobody_are_not_kept(node: ServedNode, beside: Beside) -> None:
    chunk = b"10000\r\n" + bytes(_PART) + b"\r\n"

    async def send(name: str, head: bytes) -> Said:
        part = chunk if "chunked" in name else bytes(_PART)
        return await say(node.url, [head, *[part] * (_MANY_BYTES // _PART)])

    async with beside.innocent() as seen:
        said = {name: await send(name, head) for name, head in bodies_of_nobody(node).items()}
    bot = said.pop("bot, no token")  # its dialect refuses with 200 (docs/contract/heybox.md 1.1)
    assert b'"status": "failed"' in bot.answer, bot
    assert all(one.refused for one in said.values()), said
    seen.check(most_mb=30)


async def test_bodies_of_callers_are_bounded(node: ServedNode, beside: Beside) -> None:
    """Who may call may not send whatever he likes: many bytes, deep or wide JSON, numbers without an end."""
    head = ("Content-Type: application/json", f"Authorization: Bearer {node.credentials.admin_token}")
    bodies = {
        "bytes": b"[" + b" " * _MANY_BYTES,
        "deep": b"[" * (1 << 20),
        "wide": json.dumps({f"key{n}": n for n in range(1 << 17)}).encode(),
        "digits": b'{"volume": ' + b"9" * (1 << 20) + b"}",
    }

    async def send(body: bytes) -> Said:
        begin = posted("/api/v1/tasks/task_1/control", *head, f"Content-Length: {len(body)}")
        parts = [body[at : at + _PART] for at in range(0, len(body), _PART)]
        return await say(node.url, [begin, *parts])

    async with beside.innocent() as seen:
        said = {name: await send(body) for name, body in bodies.items()}
    assert all(one.refused for one in said.values()), said
    seen.check(most_mb=60)


async def silent(node: ServedNode, begin: bytes) -> float:
    """After how long a connection is closed on which `begin` is all that ever comes."""
    return (await say(node.url, [begin], _SILENT_S)).after_s


@pytest.mark.slow
async def test_connections_that_send_nothing_are_closed(node: ServedNode, beside: Beside) -> None:
    begun = (
        b"",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nHost: node\r\nX-Half: a",
        posted("/?Action=StartRelayStream&Version=2023-11-01", "Content-Length: 1000") + b"{",
        posted("/api/v1/apps", f"Authorization: Bearer {node.credentials.admin_token}", "Content-Length: 9"),
    )
    async with beside.innocent() as seen:
        waits = [silent(node, begun[n % len(begun)]) for n in range(_MANY)]
        after_s = await asyncio.gather(*waits)
    assert max(after_s) < _SILENT_S - 1, max(after_s)
    seen.check()


async def test_a_killed_child_comes_back_while_connections_wait(node: ServedNode, beside: Beside) -> None:
    async with holding(node.url, _ALLOWED + 100):
        before = media_of(node)
        before[0].kill()
        await until(lambda: len(media := media_of(node)) >= len(before) and before[0] not in media)
        while (await say(node.url, [b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n"])).status != 200:
            await asyncio.sleep(0.1)  # it has begun, and is not ready yet
