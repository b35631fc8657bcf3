"""Playlists that make much of little, and servers that drip, beside an innocent viewer whose relay runs in
the same media process."""

import asyncio

import pytest

from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside
from tests.hostile.strangers import Script, cases, stranger
from tests.hostile.test_servers import attack, is_idle, serving

pytestmark = pytest.mark.anyio

HEAD, SEGMENT = "#EXTM3U\n", "#EXTINF:1,\na\n"
_MEGABYTE = 1 << 20


def master(variants: int) -> str:
    return HEAD + "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n" * variants


def variables(*lines: str) -> str:
    return f'{HEAD}#EXT-X-DEFINE:NAME="A",VALUE="{"x" * 60_000}"\n' + "".join(lines)


PLAYLISTS = {
    "a key without an end": f"{HEAD}#EXT-X-KEY:{'A' * _MEGABYTE}\n{SEGMENT}#EXT-X-ENDLIST\n",
    "variables": variables("#EXTINF:1,\n{$A}\n" * 100_000),
    "variables in tags": variables('#EXT-X-START:A="{$A}"\n' * 100_000, SEGMENT),
    "an address for each key": (
        f'{HEAD}#EXT-X-KEY:METHOD=AES-128,URI="{"x" * 60_000}"\n' + SEGMENT * 100_000
    ),
    "variants": master(200_000),
    "lines": HEAD + "\n" * 8_000_000,
    "short lines": HEAD + "a\n" * 4_000_000,
    "digits": f"{HEAD}#EXTINF:{'1' * 7_000_000},\na\n",
}


def period(inside: str = "", template: str = 'media="$Number$" duration="1"') -> str:
    return (
        '<Period duration="PT1S"><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f"{inside}<SegmentTemplate {template}/></Representation></AdaptationSet></Period>"
    )


def presentation(inside: str, attributes: str = "") -> str:
    return f"<MPD {attributes}>{inside}</MPD>"


MANIFESTS = {
    "periods": presentation(period() * 40_000),
    "periods of nothing": presentation(
        period(template='media="a" timescale="99999999999" duration="1"') * 9_000
    ),
    "a long namespace": presentation("<a/>" * 200_000 + period(), f'xmlns="{"u" * _MEGABYTE}"'),
    "nested": presentation("<a>" * 500_000 + "</a>" * 500_000),
    "elements": presentation("<S/>" * 1_900_000),
    "attributes": presentation(f"<S {' '.join(f'a{n}=``' for n in range(600_000))}/>".replace("`", '"')),
    "a long base": presentation(
        f"<BaseURL>{'x' * 60_000}</BaseURL>" + period("<BaseURL>a</BaseURL>") * 9_000
    ),
    "wide numbers": presentation(period(template=f'media="{"$Number%099d$" * 600_000}" duration="1"')),
}


def playlist(body: bytes, kind: str) -> Script:
    """Whatever is asked for."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)
        await writer.drain()
        writer.close()

    return answer


@pytest.mark.parametrize("kind", cases(PLAYLISTS, ["a key without an end", "variables"]))
async def test_a_playlist_that_makes_much_of_little(node: ServedNode, beside: Beside, kind: str) -> None:
    async with stranger(playlist(PLAYLISTS[kind].encode(), "application/vnd.apple.mpegurl")) as server:
        await attack(node, beside, server.url("/a.m3u8"))


@pytest.mark.parametrize("kind", cases(MANIFESTS, ["periods", "a long namespace"]))
async def test_a_manifest_that_makes_much_of_little(node: ServedNode, beside: Beside, kind: str) -> None:
    async with stranger(serving(MANIFESTS[kind].encode(), "application/dash+xml")) as server:
        await attack(node, beside, server.url("/a.mpd"), most_mb=150)


async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, for as long as somebody waits."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(1)


@pytest.mark.slow
async def test_sources_that_drip(node: ServedNode, beside: Beside) -> None:
    """More of them than a media process had threads once: who plays goes on, and who comes begins."""
    media = node.children("sluice.media")
    async with stranger(drip) as server, beside.innocent() as seen:
        runs = [await node.start(f"dripping-{n}", server.url(f"/{n}.mp4")) for n in range(280)]
        await asyncio.sleep(5)
        for run in runs:
            await node.client_stop(run)
    assert node.children("sluice.media") == media
    seen.check()
    assert await is_idle(media)
