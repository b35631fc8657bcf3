"""Bots and channels over the native API."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from sluice.api.native_bots import routes
from sluice.api.operator import Operator
from tests.unit.asgi import Answer, call
from tests.unit.heybox import APP, PUSHED, Api, failed, making, ok

ADMIN = "admin-token"
CHANNEL = f"/channels/{APP.app_id}/{PUSHED['channel_id']}"


@pytest.fixture
def api() -> Iterator[Api]:
    yield from making()


class ByOperator:
    def __init__(self, api: Api) -> None:
        self.app = FastAPI()
        self.app.include_router(routes(api.bots, Operator(ADMIN)))

    def call(self, method: str, path: str, document: object = None, token: str = ADMIN) -> Answer:
        headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")]
        body = b"" if document is None else json.dumps(document).encode()
        return call(self.app, method, f"/api/v1{path}", headers, [body])

    def made(self, **wanted: object) -> dict[str, Any]:
        answer = self.call("POST", "/bots", {"name": "dj", "app_id": APP.app_id} | wanted)
        assert answer.status == 201, answer.body
        document: dict[str, Any] = answer.json()
        return document


@pytest.fixture
def operator(api: Api) -> ByOperator:
    return ByOperator(api)


def test_a_bot_comes_with_a_token_that_is_shown_once(api: Api, operator: ByOperator) -> None:
    made = operator.made()
    assert {name: made[name] for name in ("name", "app_id", "line", "rooms", "enabled")} == {
        "name": "dj",
        "app_id": APP.app_id,
        "line": "trtc",
        "rooms": [],
        "enabled": True,
    }
    assert api.pushed(made["token"]).bot_id == made["bot_id"]
    listed = operator.call("GET", "/bots")
    assert made["token"].encode() not in listed.body
    assert [bot["name"] for bot in listed.json()["bots"]] == ["bot", "guest", "dj"]
    del made["token"]
    assert listed.json()["bots"][-1] == made


def test_what_the_operator_brings_along(api: Api, operator: ByOperator) -> None:
    token = "MTIzNDU2Nzg7MTcwMDAwMDAwMDAwMDAwMDAwMDsxMjM0NTY3ODkwMTIzNDU2Nzg5"
    made = operator.made(token=token, line="volc", rooms=["5", "4", "5"])
    assert (made["token"], made["line"], made["rooms"]) == (token, "volc", ["4", "5"])
    ok(api.push(token, room_id="4"))
    assert failed(api.push(token, room_id="6")) == (403, "permission denied")
    again = operator.call("POST", "/bots", {"name": "second", "app_id": APP.app_id, "token": token})
    assert (again.status, again.json()["error"]["code"]) == (400, "BadInput")
    assert token.encode() not in again.body
    assert len(operator.call("GET", "/bots").json()["bots"]) == 3


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"line": "agora"}, "line"),
        ({"rooms": []}, "rooms"),
        ({"rooms": ["a b"]}, "0"),
        ({"token": "short"}, "token"),
        ({"token": "with space, and long enough"}, "token"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_no_bot_can_have(operator: ByOperator, wanted: dict[str, object], field: str) -> None:
    answer = operator.call("POST", "/bots", {"name": "dj", "app_id": APP.app_id} | wanted)
    assert answer.status == 400
    assert answer.json()["error"]["message"].startswith(f"{field}: ")


def test_a_bot_needs_an_app_that_there_is(operator: ByOperator) -> None:
    assert operator.call("POST", "/bots", {"name": "dj", "app_id": "unknown"}).status == 404


def test_disabled_enabled_deleted(api: Api, operator: ByOperator) -> None:
    path = f"/bots/{api.bot.bot_id}"
    assert operator.call("PATCH", path, {"enabled": False}).json()["enabled"] is False
    assert failed(api.push()) == (401, "invalid token")
    assert operator.call("PATCH", path, {"enabled": True}).json()["enabled"] is True
    ok(api.push())
    assert operator.call("DELETE", path).status == 204
    assert failed(api.push()) == (401, "invalid token")
    for answer in (operator.call("DELETE", path), operator.call("PATCH", path, {"enabled": True})):
        assert (answer.status, answer.json()["error"]["code"]) == (404, "NotFound")
    assert operator.call("DELETE", f"/bots/{2**31}").status == 400


def test_channels(api: Api, operator: ByOperator) -> None:
    made = operator.call("PUT", CHANNEL, {"line": "volc"})
    assert made.status == 200
    assert made.json() | {"created_at": 0} == {
        "app_id": APP.app_id,
        "channel_id": PUSHED["channel_id"],
        "line": "volc",
        "room_id": None,
        "name": "",
        "created_at": 0,
    }
    assert api.pushed().dialect.value == "bot_volc"

    set_again = operator.call("PUT", CHANNEL, {"line": "volc", "room_id": "5", "name": "Music"}).json()
    assert (set_again["room_id"], set_again["name"]) == ("5", "Music")
    kept = operator.call("PUT", CHANNEL, {"line": "trtc"}).json()
    assert kept == set_again | {"line": "trtc"}
    assert operator.call("GET", "/channels").json() == {"channels": [kept]}
    assert operator.call("GET", f"/channels?app_id={APP.app_id}&limit=1").json() == {"channels": [kept]}
    assert operator.call("GET", "/channels?app_id=another").json() == {"channels": []}
    assert operator.call("GET", "/channels?offset=1").json() == {"channels": []}

    assert operator.call("DELETE", CHANNEL).status == 204
    assert operator.call("DELETE", CHANNEL).status == 404
    api.pushed()


@pytest.mark.parametrize(
    ("path", "wanted", "status"),
    [
        ("/channels/unknown/5", {"line": "volc"}, 404),
        (f"/channels/{APP.app_id}/a%20b", {"line": "volc"}, 400),
        (CHANNEL, {}, 400),
        (CHANNEL, {"line": "agora"}, 400),
        (CHANNEL, {"line": "volc", "room_id": ""}, 400),
        (CHANNEL, {"line": "volc", "name": ""}, 400),
    ],
)
def test_what_no_channel_can_be(
    operator: ByOperator, path: str, wanted: dict[str, object], status: int
) -> None:
    assert operator.call("PUT", path, wanted).status == status


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/bots"), ("POST", "/bots"), ("DELETE", "/bots/1"), ("PUT", CHANNEL)]
)
def test_all_of_it_is_the_operators(operator: ByOperator, method: str, path: str) -> None:
    assert operator.call(method, path, token="wrong").status == 401
