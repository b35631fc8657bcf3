"""Viewers with a token who attack the room process, beside an innocent one in the same room."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside
from tests.hostile.roamer import Roamer, roaming
from tests.hostile.strangers import Said, cases, say

pytestmark = pytest.mark.anyio

_LONG = 4_400_000
_PORTS = 3000
_DEADLINE_S = 20.0
_PART = 1 << 16
_FRAGMENT = "Content-Type: application/trickle-ice-sdpfrag"


def request(method: str, path: str, *headers: str, body: bytes = b"") -> list[bytes]:
    head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: node", *headers, f"Content-Length: {len(body)}"))
    sent = head.encode() + b"\r\n\r\n" + body
    return [sent[at : at + _PART] for at in range(0, len(sent), _PART)]


#: Gets the place of the viewer's own peer and the header with his token.
_Patch = Callable[[str, str], list[bytes]]


def patches() -> dict[str, _Patch]:
    def with_tag(tag: str, fragment: bytes = b"a=ice-ufrag:x\r\n") -> _Patch:
        return lambda place, bearer: request(
            "PATCH", place, bearer, _FRAGMENT, f"If-Match: {tag}", body=fragment
        )

    candidate = b"a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
    return {
        "one long tag": with_tag('"' + "A" * _LONG + '"'),
        "many tags": with_tag(",".join(['"a"'] * (_LONG // 4))),
        "commas": with_tag("," * _LONG),
        "tags that JSON makes longer": with_tag("\\" * 60_000),
        "many tags in a head that is allowed": with_tag("," * 60_000),
        "many candidates": with_tag("*", candidate * (65_000 // len(candidate))),
        "controls that JSON makes longer": with_tag("*", b"\x01" * 65_000),
        "a long bearer": lambda place, bearer: request(
            "PATCH", place, "Authorization: Bearer " + "A" * _LONG, _FRAGMENT, "If-Match: *"
        ),
        "a long id": lambda place, bearer: request(
            "PATCH", place + "A" * _LONG, bearer, _FRAGMENT, "If-Match: *", body=b"a"
        ),
        "many kinds": lambda place, bearer: request(
            "PATCH",
            place,
            bearer,
            "Content-Type: application/json",
            body=b'{"sends": [' + b'"audio",' * 8000 + b'"audio"]}',
        ),
    }


@pytest.mark.parametrize("kind", cases(patches(), ["one long tag", "many tags", "many candidates"]))
async def test_a_patch_ends_nobody(node: ServedNode, beside: Beside, kind: str) -> None:
    (engine,) = node.children("sluice.rooms.engine")
    user = f"patcher-{uuid4().hex[:6]}"
    bearer = f"Authorization: Bearer {node.token(beside.room, user)}"
    async with roaming(node, beside.room, user) as roamer, beside.innocent() as seen:
        said = await say(node.url, patches()[kind](roamer.place, bearer))
    assert said.refused or said.status in (200, 204), said
    assert node.children("sluice.rooms.engine") == [engine]
    seen.check(most_mb=40)


def offers() -> dict[str, bytes]:
    head = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    media = b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
    return {
        "too long": head + b"a=x\r\n" * (_LONG // 5),
        "media sections": head + media * (65_000 // len(media)),
        "formats": head + b"m=video 9 UDP/TLS/RTP/SAVPF" + b" 96" * 21_000,
        "one line": head + b"a=" + b"x" * 64_000,
        "digits": head + b"m=video " + b"9" * 60_000 + b" UDP/TLS/RTP/SAVPF 96\r\n",
        "parameters": head + media + b"a=fmtp:96 " + b"a=b;" * 16_000,
        "extensions": head + media + b"".join(b"a=extmap:%d urn:x\r\n" % n for n in range(3000)),
    }


async def test_an_offer_ends_nobody(node: ServedNode, beside: Beside) -> None:
    path = f"/whep/{node.credentials.app_id}/{beside.room}/source"
    bearer = f"Authorization: Bearer {node.token(beside.room, 'offerer')}"

    async def offer(body: bytes) -> Said:
        return await say(node.url, request("POST", path, bearer, "Content-Type: application/sdp", body=body))

    async with beside.innocent() as seen:
        said = {name: await offer(body) for name, body in offers().items()}
    assert all(one.refused for one in said.values()), said
    seen.check(most_mb=40)


@pytest.fixture
def ports() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        made = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(_PORTS)]
        for port in made:
            port.bind(("127.0.0.1", 0))
        yield made


async def test_checks_from_many_ports_open_no_paths(
    node: ServedNode, beside: Beside, ports: list[socket.socket]
) -> None:
    """The descriptors are counted while the viewer is still there."""
    (engine,) = node.children("sluice.rooms.engine")
    async with roaming(node, beside.room, "roamer") as roamer, beside.innocent() as seen:
        for port in ports:
            roamer.check_from(port)
        await served_again(roamer)
    assert node.children("sluice.rooms.engine") == [engine]
    seen.check()


async def served_again(roamer: Roamer) -> None:
    """At its own address, for which it asks until it is heard: then all others were read, or passed over."""
    before = roamer.count().packets
    async with asyncio.timeout(_DEADLINE_S):
        while roamer.count().packets < before + 10:
            roamer.check_from(roamer.socket)
            await asyncio.sleep(0.1)
            roamer.drain()
