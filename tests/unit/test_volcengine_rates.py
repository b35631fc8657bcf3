"""How often an app may call an action, and whose calls count (docs/contract/volcengine.md 6)."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from sluice.core.apps import AccessKey, App
from sluice.core.ids import AppId
from tests.unit.asgi import Answer
from tests.unit.test_volcengine_gateway import APP, IDENTITY, OTHER_APP, OWNER, FakeGateway, list_tasks

QPS = b"FlowLimitExceeded.QPSOverLimit"


class Clock:
    """The window's own."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=clock.time))
    return clock


@pytest.fixture
def gateway(clock: Clock) -> FakeGateway:
    return FakeGateway()


def stop(gateway: FakeGateway, body: bytes = IDENTITY, **options: Any) -> Answer:
    return gateway.send("StopRelayStream", body, **options)


def accepted(gateway: FakeGateway, most: int, *, action: str, body: bytes = IDENTITY, **options: Any) -> int:
    """How many of `most` calls were not over the limit."""
    return sum(QPS not in gateway.send(action, body, **options).body for _ in range(most))


def test_150_in_any_second(gateway: FakeGateway, clock: Clock) -> None:
    assert accepted(gateway, 160, action="StopRelayStream") == 150
    clock.now += 0.99
    assert QPS in stop(gateway).body
    clock.now += 0.02
    assert accepted(gateway, 160, action="StopRelayStream") == 150


@pytest.mark.parametrize(
    ("action", "method", "version", "rate"),
    [
        ("GetPushSingleStreamToCDNTask", "GET", "2023-06-01", 150),
        ("GetRoomOnlineUsers", "GET", "2023-11-01", 40),
        ("BanRoomUser", "POST", "2023-11-01", 40),
        ("BanRoomUser", "POST", "2020-12-01", 20),
        ("CreateCallback", "POST", "2020-12-01", 20),
        ("GetCallback", "GET", "2020-12-01", 20),
    ],
)
def test_rates(gateway: FakeGateway, action: str, method: str, version: str, rate: int) -> None:
    # What the parameters are does not matter: calls are counted before.
    body = b"{}" if method == "POST" else b""
    assert accepted(gateway, rate + 5, action=action, body=body, method=method, version=version) == rate


def test_each_action_has_its_own_window_and_versions_share_it(gateway: FakeGateway) -> None:
    assert accepted(gateway, 150, action="StopRelayStream", version="2020-12-01") == 150
    assert QPS in stop(gateway).body
    assert list_tasks(gateway).status == 200


def test_each_app_has_its_own_window_and_its_keys_share_it(gateway: FakeGateway) -> None:
    second = App(AppId("661e00000000000000005444"), "k")
    owner = AccessKey(OWNER.access_key, OWNER.secret_key, frozenset({APP.app_id, second.app_id}))
    gateway.apps.replace([APP, second], [owner])
    assert accepted(gateway, 160, action="StopRelayStream") == 150
    assert QPS not in stop(gateway, IDENTITY.replace(APP.app_id.encode(), second.app_id.encode())).body


@pytest.mark.parametrize("app_id", [OTHER_APP.app_id, "u" * 24, "", None, 5, ["a"]])
def test_an_app_that_the_key_may_not_reach_counts_for_the_key(gateway: FakeGateway, app_id: object) -> None:
    """Else anybody could use up the calls of others, and grow the table without end."""
    body = json.dumps({"AppId": app_id}).encode()
    assert accepted(gateway, 160, action="StopRelayStream", body=body) == 150
    another = json.dumps({"AppId": "v" * 24}).encode()
    assert QPS in stop(gateway, another).body, "all of them together"
    assert QPS not in stop(gateway).body, "the key's own app is not touched"


def test_the_place_among_the_checks(gateway: FakeGateway) -> None:
    accepted(gateway, 150, action="StopRelayStream")
    assert b"SignatureDoesNotMatch" in gateway.send("StopRelayStream", IDENTITY, chunks=[b"{}"]).body
    assert b"Unmarshal" in stop(gateway, b"[]").body
    missing = json.dumps({"AppId": APP.app_id}).encode()
    assert QPS in stop(gateway, missing).body
    assert QPS in stop(gateway, IDENTITY.replace(b"Room1", b"Room 1")).body


def test_both_statuses(gateway: FakeGateway) -> None:
    accepted(gateway, 150, action="StopRelayStream")
    assert stop(gateway).status == 429
    assert stop(gateway, version="2020-12-01").status == 200
