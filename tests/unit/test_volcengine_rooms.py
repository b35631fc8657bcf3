"""GetRoomOnlineUsers and BanRoomUser (volcengine.md section 11)."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from sluice.core.errors import BadInput, RoomError
from sluice.core.ids import UserId
from sluice.core.lifecycle import Reason, State
from sluice.rooms.port import RosterEntry
from tests.unit.asgi import Answer
from tests.unit.test_volcengine_door import APP, NOW, Door, error_of
from tests.unit.test_volcengine_push import start as start_push
from tests.unit.test_volcengine_relay import start as start_relay

ONLINE, BAN = "GetRoomOnlineUsers", "BanRoomUser"


@pytest.fixture
def door() -> Door:
    return Door()


def online(door: Door, version: str = "2023-11-01", **query: str) -> Answer:
    parameters = urlencode({"AppId": APP.app_id, "RoomId": "Room1", **query})
    return door.send(ONLINE, method="GET", query=f"&{parameters}", version=version)


def ban(door: Door, version: str = "2023-11-01", **fields: Any) -> Answer:
    return door.send(BAN, json.dumps({"AppId": APP.app_id, **fields}).encode(), version=version)


@pytest.mark.parametrize("version", ["2023-08-01", "2023-11-01"])
def test_online_users(door: Door, version: str) -> None:
    door.rooms.users = (RosterEntry(UserId("relay"), (0,)), RosterEntry(UserId("viewer"), ()))
    assert online(door, version).json()["Result"] == {
        "RoomExists": True,
        "TotalUser": 2,
        "TotalInvisibleUser": 0,
        "VisibleUserList": ["relay", "viewer"],
        "InvisibleUserList": [],
    }


def test_a_room_without_users_is_none(door: Door) -> None:
    assert online(door).json()["Result"] == {"RoomExists": False}


def test_what_is_taken_and_not_used(door: Door) -> None:
    assert online(door, Property="True", RoleType="1").status == 200
    assert error_of(online(door, Property="yes"))[2] == ("invalid parameter: Property: must be true or false")


def test_the_room_has_to_be_there_to_be_asked(door: Door) -> None:
    door.rooms.error = RoomError(Reason.INTERNAL_ERROR, "try again in a second")
    for answer in (online(door), ban(door, RoomId="Room1")):
        assert error_of(answer)[:2] == (503, "ServiceUnavailableTemp")


@pytest.mark.parametrize(
    ("version", "result"),
    [
        ("2020-12-01", {"message": "success"}),
        ("2023-11-01", {"message": "success", "Message": "success"}),
    ],
)
def test_ban(door: Door, version: str, result: dict[str, str]) -> None:
    answer = ban(door, version, RoomId="Room1", UserId="user1", ForbiddenInterval=60)
    assert answer.json()["Result"] == result
    assert door.bans.until == {("Room1", "user1"): NOW + 60}
    assert door.rooms.expelled == [("Room1", "user1")]


@pytest.mark.parametrize(
    ("selectors", "key"),
    [
        ({"RoomId": "Room1"}, ("Room1", None)),
        ({"UserId": "user1", "RoomId": ""}, (None, "user1")),
        ({"RoomId": "Room1", "UserId": "user1", "IP": "192.0.2.1"}, ("Room1", "user1")),
    ],
)
def test_selectors(door: Door, selectors: dict[str, str], key: tuple[str | None, str | None]) -> None:
    assert ban(door, **selectors).status == 200
    assert door.bans.until == {key: None}
    assert door.rooms.expelled == [key]


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(None, None), (0, None), (-5, 10), (1, 10), (10, 10), (604_800, 604_800), (604_801, 604_800)],
)
def test_intervals(door: Door, interval: int | None, seconds: int | None) -> None:
    ban(door, UserId="user1", ForbiddenInterval=interval)
    assert door.bans.until == {(None, "user1"): None if seconds is None else NOW + seconds}


@pytest.mark.parametrize("selectors", [{}, {"IP": "192.0.2.1"}, {"RoomId": None, "UserId": ""}])
def test_someone_has_to_be_named(door: Door, selectors: dict[str, Any]) -> None:
    message = "invalid parameter: RoomId: give RoomId, UserId or both"
    assert error_of(ban(door, **selectors)) == (400, "InvalidParameter", message)
    assert not door.rooms.expelled


def test_tasks_of_the_removed_end(door: Door) -> None:
    start_relay(door)
    start_push(door)
    ban(door, RoomId="Room1", UserId="somebody")
    assert [task.state.live for task in door.tasks.runs] == [True, True]
    ban(door, UserId="user1")
    assert {(task.state, task.reason) for task in door.tasks.runs} == {(State.ENDED, Reason.REMOVED)}


def test_bans_without_end_are_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise BadInput("ForbiddenInterval", "too many")

    monkeypatch.setattr(door.bans, "ban", refuse)
    answer = ban(door, UserId="user1", ForbiddenInterval=60)
    assert error_of(answer)[2] == "invalid parameter: ForbiddenInterval: too many"
    assert not door.rooms.expelled, "nobody is removed for a while that is not kept"
