"""A real room process with real publishers and aiortc as viewers: what arrives is what was sent."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aioice.ice
import pytest

from sluice.core.rooms import PeerAnswer
from sluice.process.control import AskRoster, Done, Enter, Expel, Refused, Retire, Roster
from sluice.process.link import FrameType, pack_frame
from tests.integration.room import (
    APP,
    CONSENT_S,
    ROOM,
    USER,
    Publisher,
    RoomServer,
    Viewer,
    clip,
    room_server,
    slices,
)

pytestmark = pytest.mark.anyio

KEY = slices(clip()[0])[0]  #: the clip's key frame


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def eager_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)


@pytest.fixture
async def server(anyio_backend: str, eager_consent: None) -> AsyncIterator[RoomServer]:
    async with room_server() as server:
        yield server


@asynccontextmanager
async def publishing(server: RoomServer, run_id: str = "run_1") -> AsyncIterator[Publisher]:
    publisher = Publisher(server.link, run_id)
    await publisher.connect()
    playing = asyncio.create_task(publisher.play())
    try:
        yield publisher
    finally:
        playing.cancel()
        publisher.link.close()


@asynccontextmanager
async def watching(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch, name: str = "anna"
) -> AsyncIterator[Viewer]:
    viewer = Viewer(server, name)
    try:
        await viewer.join(monkeypatch)
        yield viewer
    finally:
        await viewer.close()


def assert_part_of(received: list[str], sent: list[str]) -> None:
    """In order and without a gap, beginning with a key frame."""
    assert received[0] == KEY
    starts = [at for at, found in enumerate(sent) if found == KEY]
    assert any(sent[at : at + len(received)] == received for at in starts)


async def test_viewers_get_what_is_published_whenever_they_join(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(server, monkeypatch) as early:
        async with publishing(server) as publisher:
            await early.until(70)
            async with watching(server, monkeypatch, "bert") as late:
                await late.until(60)
                await early.until(140)
                assert_part_of(late.slices[:50], publisher.sent)
        assert_part_of(early.slices, publisher.sent)
        assert len(early.sources()) == 1
    await server.until(f"published {USER}", "joined anna", "joined bert", "left anna", "left bert")


async def test_a_late_viewer_needs_nothing_new_from_the_publisher(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(server.link, "run_1")
    await publisher.connect()
    await publisher.play(20)
    await server.until(f"published {USER}")
    async with watching(server, monkeypatch) as viewer:
        async with asyncio.timeout(20):
            while len(viewer.slices) < 19:  # aiortc hands on a frame when the next one begins
                await asyncio.sleep(0.01)
        assert viewer.slices == publisher.sent[:19]
    publisher.link.close()


async def test_the_viewer_goes_on_when_the_publisher_comes_back(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(server, monkeypatch) as viewer:
        async with publishing(server):
            await viewer.until(20)
        before, seen = viewer.sources(), len(viewer.slices)
        async with publishing(server) as again:
            await viewer.until(seen + 60)
        assert viewer.sources() == before, "one stream for the viewer, whatever happens behind it"
        assert_part_of(viewer.slices[viewer.slices.index(KEY, seen) :], again.sent)
        assert viewer.peer.connectionState == "connected"
    assert server.changes.count(f"published {USER}") == 1
    assert f"left {USER}" not in server.changes


async def test_a_second_publisher_replaces_the_first_for_good(server: RoomServer) -> None:
    async with publishing(server, "run_1") as first, publishing(server, "run_2") as second:
        async with asyncio.timeout(5):
            assert await first.end is True
            # Whatever its session thinks, it may not take the place back.
            await first.connect()
            assert await first.end is True
        assert not second.end.done()


async def test_a_run_that_is_over_cannot_come_back(server: RoomServer) -> None:
    async with publishing(server) as publisher:
        await server.until(f"published {USER}")
        reply = await server.process.request(Retire(app_id=APP, room_id=ROOM, run_id="run_1"))
        assert reply == Done(found=True)
        await server.until(f"unpublished {USER}", f"left {USER}")
        async with asyncio.timeout(5):
            await publisher.end
            await publisher.connect()
            assert await publisher.end is True
    roster = await server.process.request(Enter(app_id=APP, room_id=ROOM, user_id="bert", presence="p"))
    assert isinstance(roster, Roster)
    assert [user.user_id for user in roster.users] == ["bert"]


async def test_a_peer_that_vanishes_is_removed(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 3600)
    async with publishing(server), watching(server, monkeypatch) as viewer:
        await viewer.until(5)
        await server.until("left anna")
        assert not await server.close(viewer.answer)


async def test_a_peer_that_checks_stays_and_one_that_is_closed_hears_it(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()
    async with publishing(server), watching(server, monkeypatch) as viewer:

        @viewer.peer.on("connectionstatechange")
        def on_change() -> None:
            if viewer.peer.connectionState == "closed":
                closed.set()

        await viewer.until(1)
        loop = asyncio.get_running_loop()
        enough = loop.time() + CONSENT_S + 0.5
        while loop.time() < enough:
            await viewer.until(len(viewer.slices) + 1)
        assert "left anna" not in server.changes
        assert not await server.close(viewer.answer, user="bert"), "it is not his"
        assert not await server.close(viewer.answer, room="elsewhere")
        assert await server.close(viewer.answer)
        assert not await server.close(viewer.answer)
        async with asyncio.timeout(5):
            await closed.wait()
        await server.until("left anna")


async def test_a_peer_with_another_certificate_gets_nothing(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forge(sdp: str) -> str:
        lines = [
            f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}" if line.startswith("a=fingerprint") else line
            for line in sdp.splitlines()
        ]
        return "\r\n".join(lines) + "\r\n"

    viewer = Viewer(server)
    async with publishing(server):
        await viewer.join(monkeypatch, forge)
        await server.until("joined anna", "left anna")
    assert (viewer.slices, viewer.sounds) == ([], 0)
    await viewer.close()


@pytest.mark.parametrize(
    ("sdp", "why"),
    [
        ("hello", "must begin with v=0"),
        (
            "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 A\r\n"
            "m=video 9 UDP/TLS/RTP/SAVPF 300\r\na=recvonly\r\na=rtpmap:300 H264/90000\r\n"
            "a=fmtp:300 packetization-mode=1\r\n",
            "payload types of a bundle",
        ),
    ],
)
async def test_offers_that_cannot_be_answered(server: RoomServer, sdp: str, why: str) -> None:
    reply = await server.watch(sdp)
    assert isinstance(reply, Refused)
    assert reply.field == "offer"
    assert why in reply.why
    assert server.changes == []


async def test_garbage_on_the_port_harms_nobody(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with publishing(server) as publisher, watching(server, monkeypatch) as viewer:
        await viewer.until(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.connect(("127.0.0.1", server.media_port))
            for first in range(256):
                for size in (0, 1, 20, 2000):
                    stranger.send(bytes([first]) + os.urandom(size))
            stranger.send(b"")
        seen = len(viewer.slices)
        await viewer.until(seen + 30)
        assert_part_of(viewer.slices, publisher.sent)
    assert server.process.restarts == 0


async def test_garbage_on_the_frame_socket_harms_nobody(server: RoomServer) -> None:
    async with publishing(server) as publisher:
        for garbage in (b"\xff" * 100, b"\0" * 16, b"GET / HTTP/1.1\r\n\r\n", bytes(15)):
            reader, writer = await asyncio.open_unix_connection(server.link)
            writer.write(garbage)
            writer.write_eof()
            async with asyncio.timeout(5):
                # What is a frame ends its channel, anything else the link.
                assert await reader.read() in (b"", pack_frame(FrameType.END, b""))
            writer.close()
            await writer.wait_closed()
        await server.until(f"published {USER}")
        assert not publisher.end.done()


async def test_a_killed_room_process_comes_back_empty(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with publishing(server) as publisher:
        await server.until(f"published {USER}")
        assert server.process.pid is not None
        os.kill(server.process.pid, 9)
        async with asyncio.timeout(10):
            assert await publisher.end is False
            while server.process.restarts == 0 or server.process.ready is None:
                await asyncio.sleep(0.01)
    async with publishing(server), watching(server, monkeypatch) as viewer:
        await viewer.until(5)
        assert isinstance(viewer.answer, PeerAnswer)


async def test_the_roster_can_be_asked_for(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = AskRoster(app_id=APP, room_id=ROOM)
    assert await server.process.request(asked) == Roster(number=0, users=())
    async with watching(server, monkeypatch), publishing(server):
        await server.until(f"published {USER}")
        roster = await server.process.request(asked)
        assert isinstance(roster, Roster)
        published = {user.user_id: [stream.stream for stream in user.streams] for user in roster.users}
        assert published == {"anna": [], USER: [0]}


@pytest.mark.parametrize("room_id", [ROOM, ""])
async def test_who_is_expelled_loses_his_peers(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch, room_id: str
) -> None:
    async with publishing(server) as publisher, watching(server, monkeypatch) as anna:
        await anna.until(10)  # his decoder is made, and the next one is the next viewer's
        async with watching(server, monkeypatch, "bert") as bert:
            await bert.until(10)
            elsewhere = Expel(app_id=APP, room_id="elsewhere", user_id="anna")
            assert await server.process.request(elsewhere) == Done(found=False)
            expelled = Expel(app_id=APP, room_id=room_id, user_id="anna")
            assert await server.process.request(expelled) == Done(found=True)
            await server.until("left anna")
            assert not await server.close(anna.answer)
            await bert.until(len(bert.slices) + 20)
            assert "left bert" not in server.changes

            everybody = Expel(app_id=APP, room_id=room_id, user_id="")
            assert await server.process.request(everybody) == Done(found=True)
            await server.until("left bert", f"unpublished {USER}", f"left {USER}")
            async with asyncio.timeout(20):
                await publisher.end
