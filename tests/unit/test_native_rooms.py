"""Rooms for the operator: pages, one room, and what is said where there is none or nobody to ask."""

import asyncio

import pytest
from fastapi import FastAPI

from sluice.api.native_rooms import routes
from sluice.api.operator import Operator
from sluice.core.errors import RoomError
from sluice.core.ids import AppId, RoomId, RunId, UserId
from sluice.core.rooms import StreamIndex, WatchOffer
from tests.testing import FakeRooms
from tests.unit.asgi import Answer, call

ADMIN = "admin-token"


class Native:
    def __init__(self) -> None:
        self.rooms = FakeRooms()
        self.app = FastAPI()
        self.app.include_router(routes(self.rooms, Operator(ADMIN)))

    def play(self, room: str, app: str = "app") -> None:
        self.rooms.play(AppId(app), RoomId(room), UserId("relay"), RunId("run_1"))

    def get(self, path: str = "", token: str = ADMIN) -> Answer:
        return call(self.app, "GET", f"/api/v1/rooms{path}", [("Authorization", f"Bearer {token}")])


@pytest.fixture
def native() -> Native:
    return Native()


def test_rooms_come_page_by_page(native: Native) -> None:
    assert native.get().json() == {"rooms": [], "next": None}
    for room in ("b", "a", "c"):
        native.play(room)
    native.play("a", app="another")
    seen, after = [], ""
    while True:
        page = native.get(f"?limit=3{after}").json()
        seen += [(room["app_id"], room["room_id"]) for room in page["rooms"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == [("another", "a"), ("app", "a"), ("app", "b"), ("app", "c")]
    counts = {"users": 1, "streams": 1, "viewers": 0, "publishers": 0, "connecting": 0}
    assert native.get().json()["rooms"][0]["counts"] == counts


def test_rooms_of_one_app(native: Native) -> None:
    for app, room in (("a", "r1"), ("app", "r1"), ("app", "r2"), ("app", "r3"), ("b", "r1")):
        native.play(room, app)
    page = native.get("?limit=2&app_id=app").json()
    assert [room["room_id"] for room in page["rooms"]] == ["r1", "r2"]
    last = native.get(f"?limit=2&app_id=app&after={page['next']}").json()
    assert ([room["room_id"] for room in last["rooms"]], last["next"]) == (["r3"], None)
    assert native.get("?app_id=none").json() == {"rooms": [], "next": None}


def test_a_room_shows_its_users_streams_and_peers(native: Native) -> None:
    native.play("room")
    offer = WatchOffer(
        AppId("app"), RoomId("room"), UserId("relay"), StreamIndex.CAMERA, UserId("bert"), "v=0"
    )
    asyncio.run(native.rooms.watch(offer))
    room = native.get("/app/room").json()
    assert room["users"] == [
        {"user_id": "relay", "connections": 1},
        {"user_id": "bert", "connections": 1},
    ]
    (stream,) = room["streams"]
    assert (stream["origin"], stream["publisher"], stream["kinds"]) == ("relay", "run_1", ["audio"])
    (peer,) = room["peers"]
    assert (peer["user_id"], peer["role"], peer["state"]) == ("bert", "viewer", "connecting")
    assert native.get("/app/room?offset=1").json()["users"] == [{"user_id": "bert", "connections": 1}]


def test_a_room_that_is_not_there_is_told_as_such(native: Native) -> None:
    answer = native.get("/app/room")
    assert (answer.status, answer.json()["error"]["code"]) == (404, "NotFound")
    assert answer.json()["error"]["message"] == "nobody is in room room of app app"


def test_a_process_that_is_dead_is_told_as_such(native: Native) -> None:
    native.rooms.error = RoomError("the room's process is being started again; try again in a second")
    for path in ("", "/app/room"):
        answer = native.get(path)
        assert (answer.status, answer.json()["error"]["code"]) == (503, "RoomError")
        assert "try again in a second" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
        ("?after=app", "after"),
        ("?after=app/a%20b", "after"),
        ("/app/room?offset=-1", "offset"),
        ("/app/a%20b", "room_id"),
        (f"/{'x' * 129}/room", "app_id"),
    ],
)
def test_what_cannot_be_asked_is_named(native: Native, path: str, field: str) -> None:
    answer = native.get(path)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "BadInput")
    assert answer.json()["error"]["message"].startswith(f"{field}: ")


def test_only_the_operator_may_ask(native: Native) -> None:
    for path in ("", "/app/room"):
        assert native.get(path, token="wrong").status == 401
