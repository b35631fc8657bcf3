"""Servers of sources that send what nobody can play, beside an innocent viewer whose relay runs in the same
media process."""

import asyncio

import psutil
import pytest

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import encode
from sluice.wire.rtmp_chunks import Message, write_message
from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside, busy_s
from tests.hostile.bombs import changed, edits, pictures, samples
from tests.hostile.bombs import chunks as claimed_chunks
from tests.hostile.conftest import ENCODED
from tests.hostile.strangers import Script, cases, listening, stranger, write_for_ever
from tests.integration.nginx import Nginx
from tests.integration.rtmp_server import RtmpServer

pytestmark = pytest.mark.anyio

_FLOOD_BYTES = 1 << 18
_IDLE_S = 5
_ENDED_S = 40.0
_LOOK_S = 1.0
#: Of one core, for an innocent relay and a process without a thread that spins.
_BUSY = 0.5


async def ended_with_a_text(node: ServedNode, run: str) -> None:
    """By itself: what a stranger sends is never the reason of an internal error or of a crash."""
    async with asyncio.timeout(_ENDED_S):
        while (document := await node.task(run))["state"] not in ("failed", "ended"):
            await asyncio.sleep(0.1)
    assert document["reason_text"], document
    assert document["reason"] not in ("internal_error", "media_crash"), document


async def is_idle(processes: list[psutil.Process]) -> bool:
    """Whether no thread spins."""
    before = busy_s(processes)
    await asyncio.sleep(_LOOK_S)
    return busy_s(processes) - before < _BUSY * _LOOK_S


async def attack(
    node: ServedNode, beside: Beside, url: str, *, most_mb: float = 100.0, **control: object
) -> None:
    """The task ends with a text, nobody dies or notices, and nothing works on afterwards."""
    media = node.children("sluice.media")
    async with beside.innocent() as seen:
        run = await node.start("attacked", url, max_idle=_IDLE_S, **control)
        await ended_with_a_text(node, run)
    assert set(media) <= set(node.children("sluice.media"))
    seen.check(most_mb=most_mb)
    assert await is_idle(media)


# --- RTMP -------------------------------------------------------------------------------------------------


class FloodingServer(RtmpServer):
    """Grants everything, and then sends `flood` again and again, as fast as the node reads."""

    def __init__(self, flood: bytes) -> None:
        super().__init__(lambda _: None)
        self._flood = flood

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        honest = asyncio.create_task(super().serve(reader, writer))
        try:
            asked = asyncio.create_task(self.asked.wait())
            await asyncio.wait((asked, honest), return_when=asyncio.FIRST_COMPLETED)
            if not honest.done():
                await write_for_ever(writer, self._flood)
        except ConnectionError:
            pass  # the node has had enough
        finally:
            honest.cancel()
            await asyncio.gather(honest, return_exceptions=True)
            writer.transport.abort()


def message(type_id: int, body: bytes, chunk_size: int = chunks.DEFAULT_CHUNK_SIZE) -> bytes:
    return write_message(5, Message(type_id, 1, 0, body), chunk_size)


def flood(part: bytes) -> bytes:
    return part * max(1, _FLOOD_BYTES // len(part))


#: One byte each: a chunk that repeats the header of the message before it, which has no body.
_EMPTY = b"\xc5"
_ONE_BYTE_CHUNKS = message(chunks.SET_CHUNK_SIZE, (1).to_bytes(4, "big"))
FLOODS = {
    "empty messages": flood(message(chunks.AUDIO, b"") + _EMPTY * 4096),
    "empty data": flood(message(chunks.DATA_AMF0, b"") + _EMPTY * 4096),
    "empty commands": flood(message(chunks.COMMAND_AMF0, b"") + _EMPTY * 4096),
    "nulls": message(chunks.DATA_AMF0, encode("onMetaData") + b"\x05" * 100_000),
    "nulls in a command": message(chunks.COMMAND_AMF0, encode("onStatus", 0.0) + b"\x05" * 100_000),
    "nested objects": message(chunks.DATA_AMF0, encode("onMetaData") + b"\x03\0\1a" * 20_000),
    "empty strings": message(chunks.DATA_AMF0, encode("onMetaData") + b"\x02\0\0" * 60_000),
    "pings": flood(message(chunks.USER_CONTROL, b"\0\6" + bytes(4))),
    "chunks of one byte": _ONE_BYTE_CHUNKS + message(chunks.VIDEO, bytes(300_000), 1),
    "chunk sizes": flood(message(chunks.SET_CHUNK_SIZE, (1).to_bytes(4, "big"))),
    "empty tags": message(chunks.AGGREGATE, (b"\x08" + bytes(14)) * 20_000),
    "unknown types": flood(message(99, b"")),
    "results": flood(message(chunks.COMMAND_AMF0, encode("_result", 1.0))),
}


@pytest.mark.parametrize("kind", cases(FLOODS, ["empty messages"]))
async def test_a_flood_of_rtmp(node: ServedNode, beside: Beside, kind: str) -> None:
    server = FloodingServer(FLOODS[kind])
    async with listening(server.serve) as server.port:
        await attack(node, beside, server.url())


# --- DASH -------------------------------------------------------------------------------------------------


def manifest(template: str, duration: str = "PT2H", timeline: str = "", kind: str = "static") -> str:
    return (
        f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="{kind}" mediaPresentationDuration="{duration}">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="1" '
        f'codecs="avc1.42c01e"><SegmentTemplate initialization="i.mp4" media="$Number$.m4s" {template}>'
        f"{timeline}</SegmentTemplate></Representation></AdaptationSet></Period></MPD>"
    )


def timeline(*entries: str) -> str:
    return f"<SegmentTimeline>{''.join(entries)}</SegmentTimeline>"


MANIFESTS = {
    "a huge repeat": manifest('timescale="1"', timeline=timeline('<S t="0" d="1" r="2147483647"/>')),
    "a day of seconds": manifest(
        'timescale="1"', "PT27H", timeline=timeline('<S t="0" d="1" r="2147483647"/>')
    ),
    "a repeat of many digits": manifest(
        'timescale="1"', timeline=timeline(f'<S t="0" d="1" r="{"9" * 4000}"/>')
    ),
    "huge repeats": manifest(
        'timescale="1000000000"', timeline=timeline(*['<S d="1" r="2000000000"/>'] * 2000)
    ),
    "up to the end": manifest('timescale="4000000000"', timeline=timeline('<S t="0" d="1" r="-1"/>')),
    "behind the end": manifest(
        'timescale="1"', "PT1S", timeline=timeline('<S t="9000000000" d="1" r="2147483647"/>')
    ),
    "a tiny duration": manifest('timescale="4000000000" duration="1"'),
    "a tiny duration, live": manifest('timescale="4000000000" duration="1"', kind="dynamic"),
    "a live repeat": manifest(
        'timescale="1"', timeline=timeline('<S t="0" d="1" r="2147483647"/>'), kind="dynamic"
    ),
    "a long life": manifest('timescale="1" duration="1"', "P99999999999D"),
    "a huge offset": manifest(
        f'timescale="1" presentationTimeOffset="{"9" * 400}"', timeline=timeline('<S d="1" r="-1"/>')
    ),
    "huge numbers": manifest(f'timescale="1" duration="1" startNumber="{10**300}" endNumber="{10**301}"'),
}


def serving(body: bytes, kind: str) -> Script:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b".mpd" in request.partition(b"\r\n")[0]:
            writer.write(head.encode() + body)
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    return answer


@pytest.mark.parametrize("kind", cases(MANIFESTS, ["a huge repeat", "a tiny duration", "up to the end"]))
async def test_a_manifest_that_claims_much(node: ServedNode, beside: Beside, kind: str) -> None:
    async with stranger(serving(MANIFESTS[kind].encode(), "application/dash+xml")) as server:
        await attack(node, beside, server.url("/live.mpd"))


async def test_a_manifest_that_spins_is_left_at_a_stop(node: ServedNode, beside: Beside) -> None:
    media = node.children("sluice.media")
    async with stranger(serving(MANIFESTS["a huge repeat"].encode(), "application/dash+xml")) as server:
        async with beside.innocent() as seen:
            run = await node.start("attacked", server.url("/live.mpd"))
            await node.client_stop(run)
            await ended_with_a_text(node, run)
        seen.check()
    assert await is_idle(media)


# --- files ------------------------------------------------------------------------------------------------

BOMBS = {
    "samples": samples(60_000_000),
    "as many samples as there can be": samples(0xFFFFFFFF),
    "entries that are not there": claimed_chunks(0x0FFFFFFF),
    "edits": edits(200_000),
    "pictures of 16000 pixels": pictures(1000, 1000),
    "pictures of 5000 pixels": pictures(313, 313),
    "long pictures": pictures(32_000, 1),
}


@pytest.mark.parametrize("mode", ["copied", "encoded"])
@pytest.mark.parametrize("kind", cases(BOMBS, ["samples", "pictures of 16000 pixels"]))
async def test_a_file_that_claims_much(
    node: ServedNode, beside: Beside, origin: Nginx, honest_mp4: bytes, kind: str, mode: str
) -> None:
    (origin.www / "bomb.mp4").write_bytes(changed(honest_mp4, BOMBS[kind]))
    control = ENCODED if mode == "encoded" else {}
    await attack(node, beside, origin.http("bomb.mp4"), most_mb=200, **control)
