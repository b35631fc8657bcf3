"""GetRoomOnlineUsers and BanRoomUser (docs/contract/volcengine.md 11)."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from sluice.core.errors import RoomError, TooManyBans
from sluice.core.ids import RoomId, RunId, UserId
from sluice.core.lifecycle import Reason, State
from tests.unit.asgi import Answer
from tests.unit.test_volcengine_gateway import APP, NOW, FakeGateway, error_of
from tests.unit.test_volcengine_push import start as start_push
from tests.unit.test_volcengine_relay import start as start_relay

ONLINE, BAN = "GetRoomOnlineUsers", "BanRoomUser"


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def online(gateway: FakeGateway, version: str = "2023-11-01", **query: str) -> Answer:
    parameters = urlencode({"AppId": APP.app_id, "RoomId": "Room1", **query})
    return gateway.send(ONLINE, method="GET", query=f"&{parameters}", version=version)


def ban(gateway: FakeGateway, version: str = "2023-11-01", **fields: Any) -> Answer:
    return gateway.send(BAN, json.dumps({"AppId": APP.app_id, **fields}).encode(), version=version)


@pytest.mark.parametrize("version", ["2023-08-01", "2023-11-01"])
def test_online_users(gateway: FakeGateway, version: str) -> None:
    room = APP.app_id, RoomId("Room1")
    gateway.rooms.play(*room, UserId("relay"), RunId("run"))
    gateway.rooms.enter(*room, UserId("viewer"), "peer")
    assert online(gateway, version).json()["Result"] == {
        "RoomExists": True,
        "TotalUser": 2,
        "TotalInvisibleUser": 0,
        "VisibleUserList": ["relay", "viewer"],
        "InvisibleUserList": [],
    }


def test_a_room_without_users_is_none(gateway: FakeGateway) -> None:
    assert online(gateway).json()["Result"] == {"RoomExists": False}


def test_what_is_taken_and_not_used(gateway: FakeGateway) -> None:
    assert online(gateway, Property="True", RoleType="1").status == 200
    assert error_of(online(gateway, Property="yes"))[2] == (
        "invalid parameter: Property: must be true or false"
    )


def test_the_room_has_to_be_there_to_be_asked(gateway: FakeGateway) -> None:
    gateway.rooms.error = RoomError("try again in a second")
    for answer in (online(gateway), ban(gateway, RoomId="Room1")):
        assert error_of(answer)[:2] == (503, "ServiceUnavailableTemp")


@pytest.mark.parametrize(
    ("version", "result"),
    [
        ("2020-12-01", {"message": "success"}),
        ("2023-11-01", {"message": "success", "Message": "success"}),
    ],
)
def test_ban(gateway: FakeGateway, version: str, result: dict[str, str]) -> None:
    answer = ban(gateway, version, RoomId="Room1", UserId="user1", ForbiddenInterval=60)
    assert answer.json()["Result"] == result
    assert gateway.bans.until == {("Room1", "user1"): NOW + 60}
    assert gateway.rooms.expelled == [("Room1", "user1")]


@pytest.mark.parametrize(
    ("selectors", "key"),
    [
        ({"RoomId": "Room1"}, ("Room1", None)),
        ({"UserId": "user1", "RoomId": ""}, (None, "user1")),
        ({"RoomId": "Room1", "UserId": "user1", "IP": "192.0.2.1"}, ("Room1", "user1")),
    ],
)
def test_selectors(
    gateway: FakeGateway, selectors: dict[str, str], key: tuple[str | None, str | None]
) -> None:
    assert ban(gateway, **selectors).status == 200
    assert gateway.bans.until == {key: None}
    assert gateway.rooms.expelled == [key]


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(None, None), (0, None), (-5, 10), (1, 10), (10, 10), (604_800, 604_800), (604_801, 604_800)],
)
def test_intervals(gateway: FakeGateway, interval: int | None, seconds: int | None) -> None:
    ban(gateway, UserId="user1", ForbiddenInterval=interval)
    assert gateway.bans.until == {(None, "user1"): None if seconds is None else NOW + seconds}


@pytest.mark.parametrize("selectors", [{}, {"IP": "192.0.2.1"}, {"RoomId": None, "UserId": ""}])
def test_someone_has_to_be_named(gateway: FakeGateway, selectors: dict[str, Any]) -> None:
    message = "invalid parameter: RoomId: give RoomId, UserId or both"
    assert error_of(ban(gateway, **selectors)) == (400, "InvalidParameter", message)
    assert not gateway.rooms.expelled


def test_tasks_of_the_removed_end(gateway: FakeGateway) -> None:
    start_relay(gateway)
    start_push(gateway)
    ban(gateway, RoomId="Room1", UserId="somebody")
    assert [task.state.live for task in gateway.tasks.runs] == [True, True]
    ban(gateway, UserId="user1")
    assert {(task.state, task.reason) for task in gateway.tasks.runs} == {(State.ENDED, Reason.REMOVED)}


def test_bans_without_end_are_refused(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise TooManyBans(7)

    monkeypatch.setattr(gateway.bans, "ban", refuse)
    answer = ban(gateway, UserId="user1", ForbiddenInterval=60)
    why = "7 bans of this app are in force; lift some (0), or close whole rooms"
    assert error_of(answer) == (400, "InvalidParameter", f"invalid parameter: ForbiddenInterval: {why}")
    assert not gateway.rooms.expelled, "nobody is removed for a while that is not kept"
