"""A room's event stream: the roster, then changes; whoever holds it open is in the room."""

import asyncio
from urllib.parse import urlencode

import pytest
from starlette.routing import Router
from starlette.types import Message

from sluice.api import events
from sluice.core.apps import App, Apps
from sluice.core.errors import RoomError
from sluice.core.ids import AppId, RoomId, RunId, UserId
from sluice.core.rooms import StreamIndex, StreamMedia
from sluice.wire.token import Grant, Privilege, make
from tests.testing import FakeBans, FakeRooms
from tests.unit.asgi import call

NOW = 1_800_000_000
APP = App(AppId("a" * 24), "key")
PATH = f"/rooms/{APP.app_id}/room/events"
TOKEN = make(APP, Grant("room", "viewer", NOW, 0, {Privilege.SUBSCRIBE: 0}))
QUERY = urlencode({"token": TOKEN})
BEARER = [("Authorization", f"Bearer {TOKEN}")]


class Reader:
    """Holds an event stream open over ASGI; `text` grows as it is told."""

    def __init__(self, rooms: FakeRooms, closing: asyncio.Event | None = None) -> None:
        self.text = ""
        self._app = app(rooms, closing=closing)
        self._gone = asyncio.Event()
        self._news = asyncio.Condition()

    async def run(self) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": PATH,
            "query_string": QUERY.encode(),
            "headers": [],
        }
        await self._app(scope, self._receive, self._send)

    async def until(self, text: str) -> None:
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: text in self.text)

    def go(self) -> None:
        self._gone.set()

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        async with self._news:
            self.text += message.get("body", b"").decode()
            self._news.notify_all()


def app(rooms: FakeRooms, bans: FakeBans | None = None, closing: asyncio.Event | None = None) -> Router:
    closing = closing or asyncio.Event()
    return Router(events.routes(rooms, Apps([APP]), bans or FakeBans(), lambda: float(NOW), closing))


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (PATH, [], 401),
        (f"{PATH}?token=nonsense", [], 401),
        (f"/rooms/{APP.app_id}/other/events", BEARER, 401),
        (f"/rooms/{APP.app_id}/ro%20om/events", BEARER, 400),
    ],
)
def test_who_may_not_listen(path: str, headers: list[tuple[str, str]], status: int) -> None:
    rooms = FakeRooms()
    assert call(app(rooms), "GET", path, headers).status == status
    assert rooms.present == []


def test_a_barred_user_may_not_listen() -> None:
    rooms, bans = FakeRooms(), FakeBans()
    bans.until[RoomId("room"), None] = NOW + 60
    answer = call(app(rooms, bans), "GET", PATH, BEARER)
    assert (answer.status, answer.body) == (403, b"this user is barred from the room")


def test_a_ban_that_comes_while_the_user_is_let_in_ends_the_stream() -> None:
    rooms, bans = FakeRooms(), FakeBans()

    def ban_once_he_is_in() -> None:
        if rooms.present:
            bans.until[None, UserId("viewer")] = NOW + 60

    bans.on_ask = ban_once_he_is_in
    answer = call(app(rooms, bans), "GET", PATH, BEARER)
    assert (answer.status, answer.body) == (200, b"")
    assert rooms.present == []


def test_a_header_wins_over_the_address() -> None:
    assert (
        call(app(FakeRooms()), "GET", f"{PATH}?token={TOKEN}", [("Authorization", "Bearer x")]).status == 401
    )


def test_roster_first_then_changes_until_the_rooms_end_it() -> None:
    async def scenario() -> str:
        rooms, room = FakeRooms(), (APP.app_id, RoomId("room"))
        rooms.play(*room, UserId("relay"), RunId("run_1"))
        reader = Reader(rooms)
        reading = asyncio.create_task(reader.run())
        await reader.until("event: media")
        assert rooms.present == ["viewer"]
        rooms.retire(*room, RunId("run_1"))
        media = StreamMedia(("audio",), {"video": "no key frame has come yet"})
        rooms.play(*room, UserId("anna"), RunId("run_2"), media, StreamIndex.SCREEN)
        await reader.until("no key frame")
        rooms.lose()
        async with asyncio.timeout(5):
            await reading
        assert rooms.present == []
        return reader.text

    assert asyncio.run(scenario()) == (
        'event: roster\ndata: {"users": [{"user_id": "relay", "streams": [0]}, '
        '{"user_id": "viewer", "streams": []}]}\n\n'
        'event: media\ndata: {"user_id": "relay", "stream": 0, "media": ["audio"], "trouble": {}}\n\n'
        'event: unpublished\ndata: {"user_id": "relay", "stream": 0}\n\n'
        'event: left\ndata: {"user_id": "relay"}\n\n'
        'event: joined\ndata: {"user_id": "anna"}\n\n'
        'event: published\ndata: {"user_id": "anna", "stream": 1}\n\n'
        'event: media\ndata: {"user_id": "anna", "stream": 1, "media": ["audio"], '
        '"trouble": {"video": "no key frame has come yet"}}\n\n'
    )


def test_a_reader_that_goes_leaves_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_KEEP_ALIVE_S", 0.0)

    async def scenario() -> None:
        rooms = FakeRooms()
        reader = Reader(rooms)
        reading = asyncio.create_task(reader.run())
        await reader.until(": still here\n\n")
        assert rooms.present == ["viewer"]
        reader.go()
        async with asyncio.timeout(5):
            await reading
        assert rooms.present == []
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(scenario())


def test_streams_end_when_the_server_stops() -> None:
    async def scenario() -> None:
        rooms, closing = FakeRooms(), asyncio.Event()
        reader = Reader(rooms, closing)
        reading = asyncio.create_task(reader.run())
        await reader.until("roster")
        closing.set()
        async with asyncio.timeout(5):
            await reading
        assert rooms.present == []

    asyncio.run(scenario())


def test_a_room_that_is_being_started_again_ends_the_stream() -> None:
    rooms = FakeRooms()
    rooms.error = RoomError("try again")
    answer = call(app(rooms), "GET", PATH, BEARER)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
