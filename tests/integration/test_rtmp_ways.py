"""The way into RTMP servers: logins, redirects, and addresses as ffmpeg takes them."""

import asyncio
import contextlib
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import DestinationError, SourceError
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_RTMP_IDLE_STEPS_AT_ONCE, MOST_RTMP_STEPS
from sluice.media.sink.rtmp import RtmpLimits, RtmpSink
from sluice.media.source.rtmp import RtmpSource, RtmpTimeouts
from sluice.media.units import AudioHeaders
from sluice.net.dial import Dialer
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value
from sluice.wire.rtmp_chunks import Message, write_message
from tests.integration.rtmp_server import RtmpServer, redirect, rejected, rtmp_server
from tests.unit.test_rtmp_url import FORMS

pytestmark = pytest.mark.anyio

_LOOPBACK = Dialer(AddressPolicy(["127.0.0.0/8"]))
_CHALLENGE = (
    "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=u&salt=s&challenge=c&opaque=o"
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _digest(text: str) -> str:
    return b64encode(hashlib.md5(text.encode()).digest()).decode()


def _adobe(properties: dict[str, Any]) -> Value | None:
    """A server that wants u and p."""
    app, _, query = properties["app"].partition("?")
    assert app == "live"
    assert properties["tcUrl"].endswith(f"/{properties['app']}")
    given = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    if "authmod" not in given:
        return rejected("[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ")
    if "response" not in given:
        return rejected(_CHALLENGE)
    if given["response"] != _digest(_digest("usp") + "o" + given["challenge"]):
        return rejected("[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=o")
    return None


async def _push(url: str) -> None:
    sink = RtmpSink(url, _LOOPBACK)
    try:
        await sink.connect()
        await sink.publish()
    finally:
        await sink.close()


async def _pull(url: str, media_s: float = 0.1) -> SourceError:
    """What it ends with: no server here has media."""
    source = RtmpSource(url, _LOOPBACK, RtmpTimeouts(media_s=media_s))
    with pytest.raises(SourceError) as caught:
        await source.open()
    await source.close()
    return caught.value


async def _push_error(url: str) -> DestinationError:
    with pytest.raises(DestinationError) as caught:
        await _push(url)
    return caught.value


async def test_errors_that_refuse_nothing() -> None:
    async with rtmp_server() as server:
        sink = RtmpSink(server.url(), _LOOPBACK, RtmpLimits(end_s=0.1))
        await sink.connect()
        await sink.publish()
        sink.begin(AudioHeaders(b"", 44100, 128_000), pictures=False, pictures_expected=False)
        async with asyncio.timeout(10):
            await server.settled.wait()
        assert not sink.lost.done()
        await sink.close()
        assert len(server.connects) == 1


async def test_a_login() -> None:
    async with rtmp_server(_adobe) as server:
        await _push(server.url(userinfo="u:p@"))
        assert len(server.connects) == 3
        assert server.streams == [("publish", "key")]
        assert (await _pull(server.url(userinfo="u:p@"))).reason is Reason.IDLE_TIMEOUT
        assert server.streams[1:] == [("play", "key")]


@pytest.mark.parametrize(
    ("userinfo", "words", "most"),
    [("", "rtmp://user:password@host", 1), ("u:wrong@", "refuses the user or the password", 3)],
)
async def test_a_login_that_fails_is_not_tried_again(userinfo: str, words: str, most: int) -> None:
    async with rtmp_server(_adobe) as server:
        error = await _push_error(server.url(userinfo=userinfo))
        assert words in str(error)
        assert "wrong" not in str(error)
        assert (error.reason, error.transient) == (Reason.DESTINATION_REFUSED, False)
        assert len(server.connects) == most
        refused = await _pull(server.url(userinfo=userinfo))
        assert (refused.reason, refused.transient) == (Reason.SOURCE_REFUSED, False)


async def test_a_redirect() -> None:
    async with rtmp_server() as there, rtmp_server(lambda _: redirect(there.url("other"))) as here:
        await _push(here.url("live/key?x=1", "u:p@"))
        assert there.connects[0]["app"] == "other"
        assert there.streams == [("publish", "key?x=1")]
        await _pull(here.url("live/key?x=1"))
        assert there.streams[1:] == [("play", "key?x=1")]


async def test_a_password_stays_with_its_server() -> None:
    async with rtmp_server(_adobe) as there, rtmp_server(lambda _: redirect(there.url("live"))) as here:
        error = await _push_error(here.url(userinfo="u:p@"))
        assert "wants a password" in str(error)
        assert [connect["app"] for connect in there.connects] == ["live"]


async def test_redirects_that_lead_nowhere() -> None:
    servers: list[RtmpServer] = []
    async with (
        rtmp_server(lambda _: redirect(servers[1].url("live"))) as first,
        rtmp_server(lambda _: redirect(servers[0].url("live"))) as second,
    ):
        servers += [first, second]
        text = str(await _push_error(first.url()))
        circle = f"127.0.0.1:{first.port} → 127.0.0.1:{second.port} → 127.0.0.1:{first.port}"
        assert f"the server redirects in a circle: {circle}" in text
        assert len(first.connects) == len(second.connects) == 1
    async with rtmp_server(lambda properties: redirect(server.url(properties["app"] + "x"))) as server:
        assert "redirects more than 5 times" in str(await _pull(server.url()))
        assert len(server.connects) == 6


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("rtmp://10.0.0.1/live", Reason.ADDRESS_NOT_ALLOWED),
        ("rtmp://[::1]/live", Reason.ADDRESS_NOT_ALLOWED),
        ("http://127.0.0.1/live?token=secret", Reason.DESTINATION_REFUSED),
    ],
)
async def test_redirects_to_where_nobody_may_go(location: str, reason: Reason) -> None:
    async with rtmp_server(lambda _: redirect(location)) as server:
        error = await _push_error(server.url())
    assert error.reason is reason
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("address", "app", "stream"), [row for row in FORMS if row[0].startswith("h:19/")][::6]
)
async def test_ffmpeg_asks_for_the_same(address: str, app: str, stream: str) -> None:
    async with rtmp_server() as server:
        url = f"rtmp://127.0.0.1:{server.port}{address.removeprefix('h:19')}"
        command = ["-nostdin", "-v", "quiet", "-i", url, "-f", "null", "-"]
        ffmpeg = await asyncio.create_subprocess_exec("ffmpeg", *command)
        try:
            async with asyncio.timeout(10):
                await server.asked.wait()
        finally:
            ffmpeg.kill()
            await ffmpeg.wait()
        assert (server.connects[0]["app"], *server.streams) == (app, ("play", stream))
        assert server.connects[0]["tcUrl"] == f"rtmp://127.0.0.1:{server.port}/{app}"


@asynccontextmanager
async def flooding(flood: bytes) -> AsyncIterator[RtmpServer]:
    """A server that grants everything, and then sends `flood` for ever."""
    server = RtmpServer(lambda _: None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.asked.clear()
        honest = asyncio.create_task(server.serve(reader, writer))
        asked = asyncio.create_task(server.asked.wait())
        await asyncio.wait((honest, asked), return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(flood)
                await writer.drain()
        for task in (honest, asked):
            task.cancel()
        await asyncio.wait((honest, asked))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server


#: 64 kB of each, more than one read takes.
_FLOODS = [
    write_message(5, Message(chunks.AUDIO, 1, 0, b"")) + b"\xc5" * 65_536,
    write_message(2, Message(chunks.USER_CONTROL, 0, 0, b"\0\6" + bytes(4))) * 3_000,
    write_message(2, Message(chunks.SET_CHUNK_SIZE, 0, 0, b"\0\0\0\x80")) * 3_000,
]


@pytest.mark.parametrize("flood", _FLOODS)
async def test_a_flood_ends_that_session_and_leaves_others_their_turns(flood: bytes) -> None:
    turns = 0

    async def innocent() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with flooding(flood) as server, asyncio.timeout(20):
        beside = asyncio.create_task(innocent())
        pulled = await _pull(server.url(), media_s=20)
        turns_of_pull, turns = turns, 0
        sink = RtmpSink(server.url(), _LOOPBACK, RtmpLimits(end_s=0.1))
        await sink.connect()
        await sink.publish()
        sink.begin(AudioHeaders(b"", 44100, 128_000), pictures=False, pictures_expected=False)
        pushed = await sink.lost
        await sink.close()
        beside.cancel()
    for error in (pulled, pushed):
        assert "breaks the protocol: more than 5000 chunks and messages without media" in str(error)
    assert min(turns, turns_of_pull) >= MOST_RTMP_IDLE_STEPS_AT_ONCE // MOST_RTMP_STEPS


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("rtmp://[x/live", "bracket of its IPv6 address is not closed"),
        (f"rtmp://{'x' * 64}.test/live", "longer than 63"),
        (f"rtmp://h:{'9' * 5000}/live", "its port must be 1 to 65535"),
        ("http://u:sesame@h/live?token=sesame", "have the form rtmp://host/app/stream"),
    ],
)
async def test_a_redirect_to_an_address_that_is_none(address: str, why: str) -> None:
    async with rtmp_server(lambda _: redirect(address)) as server:
        for error in (await _pull(server.url()), await _push_error(server.url())):
            assert "the server sends us to " in str(error)
            assert "which cannot be used" in str(error)
            assert why in str(error)
            assert "sesame" not in str(error)
            assert len(str(error)) < 600
