"""What rooms.port promises, of our own engine (a process of its own) and of the fake that other tests use.

A room engine that comes beside ours is to pass this file: it needs an `Engine` here and nothing else.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from sluice.core.errors import AccessRefused, BadInput, RoomError
from sluice.core.ids import AppId, PeerId, RoomId, RunId, UserId
from sluice.core.room_documents import PeerRole, StreamOrigin, ViewersReport
from sluice.core.rooms import (
    PatchAnswer,
    PatchOutcome,
    PeerPatch,
    PublishedStream,
    PublishOffer,
    RoomChange,
    RoomEvent,
    RoomEventKind,
    RosterEntry,
    StreamIndex,
    StreamMedia,
    WatchOffer,
)
from sluice.media.frame_link import FrameLinks
from sluice.media.pipe.frames import OutFrame
from sluice.media.sink.room import RoomSink
from sluice.process.documents import Hello
from sluice.process.link import FrameType
from sluice.process.supervisor import ChildSpec
from sluice.rooms.client import RoomProcesses
from sluice.rooms.port import Rooms
from tests.integration.waiting import until
from tests.testing import FakeRooms

pytestmark = pytest.mark.anyio

APP, ROOM, OTHER = AppId("app"), RoomId("room"), RoomId("other")
ANNA, BERT, RELAY = UserId("anna"), UserId("bert"), UserId("relay")
RUN = RunId("run_1")
CAMERA, SOUND = StreamIndex.CAMERA, StreamMedia(("audio",))
OFFERS = Path(__file__).parents[1] / "data/offers"
PUBLISH = (OFFERS / "chromium-publish.sdp").read_bytes().decode()
WATCH = PUBLISH.replace("a=sendonly", "a=recvonly")
BOTH = ("audio", "video")


class Engine(Protocol):
    rooms: Rooms

    async def play(self, user_id: UserId, run_id: RunId) -> None:
        """A media session publishes sound of this user."""
        ...

    def die(self) -> None:
        """The process that has the room dies."""
        ...


class Ours:
    def __init__(self, rooms: RoomProcesses) -> None:
        self.rooms: Rooms = rooms
        self._processes = rooms
        self._sinks: list[RoomSink] = []
        self._links = FrameLinks()

    async def play(self, user_id: UserId, run_id: RunId) -> None:
        sink = await RoomSink.open(
            self._links,
            self.rooms.link_of(APP, ROOM),
            Hello(app_id=APP, room_id=ROOM, user_id=user_id, stream=CAMERA, run_id=run_id),
            on_end=lambda replaced: None,
            on_key_frame=lambda: None,
        )
        self._sinks.append(sink)
        sink.send([OutFrame(FrameType.AUDIO, 0, b"\xf8\xff\xfe")])

    def die(self) -> None:
        (process,) = self._processes.processes
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class Fake:
    def __init__(self, rooms: FakeRooms) -> None:
        self.rooms: Rooms = rooms
        self._fake = rooms

    async def play(self, user_id: UserId, run_id: RunId) -> None:
        self._fake.play(APP, ROOM, user_id, run_id)

    def die(self) -> None:
        self._fake.lose()


class Listener:
    """What it was told of all rooms, as texts, and of losses."""

    def __init__(self) -> None:
        self.changes: list[RoomChange] = []
        self.losses: list[Callable[[AppId, RoomId], bool]] = []

    def on_change(self, change: RoomChange) -> None:
        self.changes.append(change)

    def on_loss(self, lost: Callable[[AppId, RoomId], bool]) -> None:
        self.losses.append(lost)

    @property
    def texts(self) -> list[str]:
        return [f"{change.kind.value} {change.user_id}" for change in self.changes]


@pytest.fixture(params=["ours", "fake"])
async def engine(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Engine]:
    if request.param == "fake":
        yield Fake(FakeRooms())
        return
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:  # short: names of sockets are
        link = f"{folder}/room.sock"
        config = {"host": "127.0.0.1", "port": 0, "public_ips": [], "link": link, "log_level": "error"}
        rooms = RoomProcesses([ChildSpec("room", "tests.integration.room", config)])
        await rooms.start()
        ours = Ours(rooms)
        try:
            yield ours
        finally:
            ours.close()
            await rooms.stop()


@pytest.fixture
def rooms(engine: Engine) -> Rooms:
    return engine.rooms


@pytest.fixture
def told(rooms: Rooms) -> Listener:
    listener = Listener()
    rooms.listen(listener)
    return listener


class Reader:
    """An open event stream."""

    def __init__(self, rooms: Rooms, user_id: UserId) -> None:
        self._rooms, self._user_id = rooms, user_id
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Reader":
        self._events = await self._stack.enter_async_context(self._rooms.events(APP, ROOM, self._user_id))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def next(self) -> RoomEvent | None:
        async with asyncio.timeout(10):
            return await anext(self._events, None)

    async def end(self) -> None:
        """Until there is nothing more to read."""
        while await self.next() is not None:
            pass


def watch_offer(viewer: UserId = BERT, sdp: str = WATCH) -> WatchOffer:
    return WatchOffer(APP, ROOM, ANNA, CAMERA, viewer, sdp)


def publish_offer(kinds: tuple[str, ...] = BOTH, sdp: str = PUBLISH) -> PublishOffer:
    return PublishOffer(APP, ROOM, ANNA, CAMERA, kinds, sdp)


async def names(rooms: Rooms, room_id: RoomId = ROOM) -> list[UserId]:
    return [entry.user_id for entry in await rooms.roster(APP, room_id)]


# --- virtual users -----------------------------------------------------------------------------------------


async def test_who_is_held_is_there_until_his_run_is_over(engine: Engine, told: Listener) -> None:
    rooms = engine.rooms
    assert not rooms.is_silent(APP, ROOM)
    rooms.hold(APP, ROOM, RELAY, RUN)
    rooms.hold(APP, ROOM, RELAY, RUN)
    await until(lambda: told.texts == ["joined relay"])
    assert told.changes[0].device == "server"
    engine.die()
    await until(lambda: told.texts == ["joined relay"] * 2)
    assert await names(rooms) == [RELAY]
    rooms.retire(APP, ROOM, RUN)
    await until(lambda: told.texts[2:] == ["left relay"])
    engine.die()
    await until(lambda: len(told.losses) == 2)
    rooms.hold(APP, ROOM, BERT, RunId("run_2"))
    await until(lambda: told.texts[3:] == ["joined bert"])


async def test_who_was_replaced_is_not_held(engine: Engine, told: Listener) -> None:
    rooms = engine.rooms
    await engine.play(RELAY, RUN)
    await engine.play(RELAY, RunId("run_2"))
    await until(lambda: [text for text in told.texts if "unpublished" in text] != [])
    rooms.hold(APP, ROOM, RELAY, RUN)
    rooms.retire(APP, ROOM, RunId("run_2"))
    await until(lambda: told.texts[-1] == "left relay")
    assert await names(rooms) == []


# --- who is there -----------------------------------------------------------------------------------------


async def test_nobody_is_in_a_room_that_there_is_not(rooms: Rooms) -> None:
    assert await rooms.roster(APP, ROOM) == ()


async def test_who_reads_events_is_there_and_told_of_who_comes_and_goes(rooms: Rooms, told: Listener) -> None:
    async with Reader(rooms, ANNA) as anna:
        assert await anna.next() == RoomEvent(RoomEventKind.ROSTER, roster=(RosterEntry(ANNA),))
        async with Reader(rooms, BERT) as bert:
            first = await bert.next()
            assert first == RoomEvent(RoomEventKind.ROSTER, roster=(RosterEntry(ANNA), RosterEntry(BERT)))
            assert await anna.next() == RoomEvent(RoomEventKind.JOINED, BERT)
            assert await names(rooms) == [ANNA, BERT]
            assert await names(rooms, OTHER) == []
        assert await anna.next() == RoomEvent(RoomEventKind.LEFT, BERT)
    await until(lambda: told.texts == ["joined anna", "joined bert", "left bert", "left anna"])
    assert {(change.app_id, change.room_id, change.why) for change in told.changes} == {(APP, ROOM, "left")}
    assert await rooms.roster(APP, ROOM) == ()


# --- runs -------------------------------------------------------------------------------------------------


async def test_a_run_s_user_is_there_from_its_first_media_until_it_retires(
    engine: Engine, rooms: Rooms, told: Listener
) -> None:
    assert rooms.link_of(APP, ROOM)
    async with Reader(rooms, ANNA) as anna:
        await anna.next()
        await engine.play(RELAY, RUN)
        media = RoomEvent(RoomEventKind.MEDIA, RELAY, CAMERA, media=SOUND)
        assert [await anna.next() for _ in range(3)] == [
            RoomEvent(RoomEventKind.JOINED, RELAY),
            RoomEvent(RoomEventKind.PUBLISHED, RELAY, CAMERA),
            media,
        ]
        entries = (RosterEntry(ANNA), RosterEntry(RELAY, (PublishedStream(CAMERA, SOUND),)))
        assert await rooms.roster(APP, ROOM) == entries
        async with Reader(rooms, BERT) as bert:
            first = await bert.next()
            assert first == RoomEvent(RoomEventKind.ROSTER, roster=(*entries, RosterEntry(BERT)))
            assert await bert.next() == media, "of what is published already, too"
        rooms.retire(APP, ROOM, RUN)
        left = [await anna.next() for _ in range(4)]
        assert RoomEvent(RoomEventKind.LEFT, BERT) in left
        assert [event for event in left if event and event.user_id == RELAY] == [
            RoomEvent(RoomEventKind.UNPUBLISHED, RELAY, CAMERA),
            RoomEvent(RoomEventKind.LEFT, RELAY),
        ]
    relay = [change for change in told.changes if change.user_id == RELAY]
    assert [(change.kind.value, change.stream, change.device) for change in relay] == [
        ("joined", None, "server"),
        ("published", CAMERA, ""),
        ("unpublished", CAMERA, ""),
        ("left", None, ""),
    ]
    assert relay[1].media == SOUND


async def test_a_run_that_is_not_there_may_retire(rooms: Rooms) -> None:
    rooms.retire(APP, ROOM, RUN)
    assert await rooms.roster(APP, ROOM) == ()


# --- peers ------------------------------------------------------------------------------------------------


async def test_offers_are_answered_and_hold_their_user(rooms: Rooms) -> None:
    publisher, viewer = await rooms.publish(publish_offer()), await rooms.watch(watch_offer())
    assert publisher.sdp.startswith("v=0")
    assert viewer.sdp.startswith("v=0")
    assert publisher.peer_id != viewer.peer_id
    assert publisher.etag != viewer.etag
    assert await names(rooms) == [ANNA, BERT]
    assert not await rooms.peer_sends(APP, ROOM, BERT, viewer.peer_id, ("audio",)), "it publishes nothing"
    assert not await rooms.close_peer(APP, ROOM, ANNA, viewer.peer_id), "it is another's"
    assert not await rooms.close_peer(APP, OTHER, BERT, viewer.peer_id), "it is elsewhere"
    assert await rooms.close_peer(APP, ROOM, BERT, viewer.peer_id)
    assert not await rooms.close_peer(APP, ROOM, BERT, viewer.peer_id), "it is closed"


async def test_what_is_no_offer_is_refused(rooms: Rooms) -> None:
    for ask in (rooms.watch(watch_offer(sdp="nonsense")), rooms.publish(publish_offer(sdp="nonsense"))):
        with pytest.raises(BadInput) as refused:
            await ask
        assert refused.value.field == "offer"
    assert await rooms.roster(APP, ROOM) == ()


async def test_a_kind_that_is_not_allowed_is_refused(rooms: Rooms) -> None:
    with pytest.raises(AccessRefused) as refused:
        await rooms.publish(publish_offer(("audio",)))
    assert refused.value.known
    assert await rooms.roster(APP, ROOM) == ()


async def test_patches_of_peers(rooms: Rooms) -> None:
    first = await rooms.publish(publish_offer())

    async def patch(peer_id: PeerId, user_id: UserId = ANNA) -> PatchAnswer:
        fragment = "m=audio 9 RTP/AVP 0\r\n"
        return await rooms.patch_peer(PeerPatch(APP, ROOM, user_id, peer_id, ("*",), fragment))

    assert (await patch(first.peer_id)).outcome is PatchOutcome.TAKEN
    for peer_id, user_id in ((PeerId("nobody"), ANNA), (PeerId("x" * 10_000), ANNA), (first.peer_id, BERT)):
        assert await patch(peer_id, user_id) == PatchAnswer(PatchOutcome.UNKNOWN)
    assert not await rooms.peer_sends(APP, ROOM, ANNA, PeerId("nobody"), ("audio",))
    second = await rooms.publish(publish_offer())
    assert await patch(first.peer_id) == PatchAnswer(PatchOutcome.REPLACED)
    assert (await patch(second.peer_id)).outcome is PatchOutcome.TAKEN
    assert not await rooms.close_peer(APP, ROOM, ANNA, first.peer_id)


# --- documents --------------------------------------------------------------------------------------------


async def test_rooms_show_who_is_there(engine: Engine, rooms: Rooms, told: Listener) -> None:
    assert await rooms.rooms(None, 10) == ()
    assert await rooms.room(APP, ROOM, offset=0, limit=10) is None
    async with Reader(rooms, ANNA):
        await engine.play(RELAY, RUN)
        await until(lambda: "published relay" in told.texts)
        answer = await rooms.watch(WatchOffer(APP, ROOM, RELAY, CAMERA, BERT, WATCH))
        (summary,) = await rooms.rooms(None, 10)
        assert (summary.app_id, summary.room_id) == (APP, ROOM)
        assert (summary.counts.users, summary.counts.streams, summary.counts.connecting) == (3, 1, 1)
        assert await rooms.rooms((APP, ROOM), 10) == ()
        room = await rooms.room(APP, ROOM, offset=0, limit=10)
        assert room is not None
        assert room.counts == summary.counts
        assert {user.user_id: user.connections for user in room.users} == {ANNA: 1, BERT: 1, RELAY: 1}
        (stream,) = room.streams
        assert (stream.user_id, stream.origin, stream.publisher) == (RELAY, StreamOrigin.RELAY, RUN)
        assert stream.kinds == ("audio",)
        (peer,) = room.peers
        assert (peer.id, peer.user_id, peer.of_user_id) == (answer.peer_id, BERT, RELAY)
        assert (peer.role, peer.state) == (PeerRole.VIEWER, "connecting")
        beyond = await rooms.room(APP, ROOM, offset=3, limit=10)
        assert beyond is not None
        assert (beyond.counts, beyond.users, beyond.peers) == (room.counts, (), ())


async def test_viewers_are_told_of_those_who_are_asked_for(engine: Engine, rooms: Rooms) -> None:
    watched = {(APP, ROOM, RELAY), (APP, OTHER, ANNA)}
    assert await rooms.viewers(set()) == {}
    assert await rooms.viewers(watched) == dict.fromkeys(watched, ViewersReport(0))


# --- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room_id", [ROOM, None])
async def test_who_is_expelled_leaves_at_once(
    engine: Engine, rooms: Rooms, told: Listener, room_id: RoomId | None
) -> None:
    async with Reader(rooms, ANNA) as anna, Reader(rooms, BERT) as bert:
        viewer = await rooms.watch(watch_offer(ANNA))
        await engine.play(RELAY, RUN)
        await until(lambda: "published relay" in told.texts)
        await rooms.expel(APP, OTHER, ANNA)
        await rooms.expel(AppId("another"), room_id, ANNA)
        assert await names(rooms) == [ANNA, BERT, RELAY]
        await rooms.expel(APP, room_id, ANNA)
        assert await names(rooms) == [BERT, RELAY]
        await anna.end()
        assert not await rooms.close_peer(APP, ROOM, ANNA, viewer.peer_id)
        await rooms.expel(APP, room_id, None)
        assert await rooms.roster(APP, ROOM) == ()
        await bert.end()
    await until(lambda: "left relay" in told.texts)
    left = {change.user_id: change.why for change in told.changes if change.kind is RoomEventKind.LEFT}
    assert left == dict.fromkeys((ANNA, BERT, RELAY), "removed")
    assert told.texts.index("unpublished relay") < told.texts.index("left relay")


async def test_a_loss_is_told_once_and_ends_what_is_there(
    engine: Engine, rooms: Rooms, told: Listener
) -> None:
    async with Reader(rooms, ANNA) as anna:
        viewer = await rooms.watch(watch_offer(ANNA))
        await engine.play(RELAY, RUN)
        await until(lambda: "published relay" in told.texts)
        before = list(told.texts)
        engine.die()
        await anna.end()
        (lost,) = told.losses
        assert lost(APP, ROOM)
    async with asyncio.timeout(20):
        while (users := await _roster_again(rooms)) is None:
            await asyncio.sleep(0.02)
    assert users == ()
    assert not await rooms.close_peer(APP, ROOM, ANNA, viewer.peer_id)
    assert told.texts == before, "the loss is all that is told"
    async with Reader(rooms, ANNA) as anna:
        assert await anna.next() == RoomEvent(RoomEventKind.ROSTER, roster=(RosterEntry(ANNA),))
        await until(lambda: told.texts[len(before) :] == ["joined anna"])


async def _roster_again(rooms: Rooms) -> tuple[RosterEntry, ...] | None:
    """None while the engine begins again."""
    try:
        return await rooms.roster(APP, ROOM)
    except RoomError:
        return None
