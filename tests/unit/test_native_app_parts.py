"""What belongs to an app: its callbacks, what its secrets make, and its end."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI

from sluice.api import native_app_callbacks, native_app_removal, native_app_secrets, native_apps
from sluice.api.operator import Operator
from sluice.core.errors import RoomError
from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.tasks import Dialect, MediaType, RelaySpec, StreamMode, Task
from sluice.store.apps import AppRegistry
from sluice.store.tasks import insert_task
from sluice.store.thread import Store
from sluice.tasks.port import StartRequest
from sluice.wire.signature import RequestHead, parse_query, read_claim
from sluice.wire.token import Privilege, verify
from tests.testing import FakeCallbacks, FakeRooms, FakeTasks, MemoryStore
from tests.unit.asgi import Answer, call

ADMIN, NOW = "admin-token", 1_800_000_000.0
OWN = "c" * 24
SPEC = RelaySpec("http://h/a.mp4", MediaType.AUDIO_VIDEO, StreamMode.COPY)


class Node:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.registry = AppRegistry(cast(Store, store), lambda: NOW)
        self.callbacks, self.tasks, self.rooms = FakeCallbacks(), FakeTasks(lambda: NOW), FakeRooms()
        operator = Operator(ADMIN)
        self.app = FastAPI()
        for router in (
            native_apps.routes(self.registry, operator),
            native_app_callbacks.routes(self.callbacks, self.registry.apps, operator, lambda: NOW),
            native_app_secrets.routes(self.registry, operator, lambda: NOW),
            native_app_removal.routes(self.registry, self.tasks, self.rooms, operator, AppId(OWN)),
        ):
            self.app.include_router(router)
        self.made = self.call("POST", "/apps").json()
        self.id = self.made["app_id"]

    def call(self, method: str, path: str, document: object = None, token: str = ADMIN) -> Answer:
        headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")]
        body = json.dumps({} if document is None and method == "POST" else document).encode()
        return call(self.app, method, f"/api/v1{path}", headers, [body if method == "POST" else b""])

    def of_app(self, method: str, path: str, document: object = None) -> Answer:
        return self.call(method, f"/apps/{self.id}{path}", document)

    def start(self) -> Task[RelaySpec]:
        """A live task, for those who ask the tasks and for those who ask the store."""
        names = (AppId(self.id), RoomId("room"), TaskId("task"), UserId("relay"), BusinessId(""))
        task, _ = asyncio.run(self.tasks.start(StartRequest(Dialect.VOLCENGINE, *names, SPEC)))
        asyncio.run(self.store.run(lambda conn: insert_task(conn, task)))
        return task


@pytest.fixture
def node() -> Iterator[Node]:
    store = MemoryStore()
    yield Node(store)
    store.close()


def error(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["message"]


# --- callbacks --------------------------------------------------------------------------------------------


def test_a_registration_comes_with_its_secret_once(node: Node) -> None:
    made = node.of_app("POST", "/callbacks", {"url": "https://h/cb?token=abc", "events": ["RoomCreate"]})
    assert made.status == 201
    assert len(made.json()["secret"]) == 64
    assert made.json()["events"] == ["RoomCreate"]
    listed = node.of_app("GET", "/callbacks").json()["registrations"]
    assert [one["business_id"] for one in listed] == [""]
    assert "secret" not in listed[0]
    assert "abc" not in listed[0]["url"]
    assert error(node.of_app("POST", "/callbacks", {"url": "https://h/"}))[0] == 409
    other = node.of_app("POST", "/callbacks", {"url": "https://h/", "business_id": "b", "secret": "mine"})
    assert other.json()["secret"] == "mine"
    assert len(other.json()["events"]) > 10, "all of them"


def test_the_end_of_a_registration(node: Node) -> None:
    node.of_app("POST", "/callbacks", {"url": "https://h/", "business_id": "b"})
    assert error(node.of_app("DELETE", "/callbacks"))[0] == 404
    assert node.of_app("DELETE", "/callbacks?business_id=b").status == 204
    assert node.callbacks.registered == {}


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"url": "ftp://h/"}, "url: "),
        ({"url": "https://h/", "events": ["RoomCreated"]}, "did you mean RoomCreate?"),
        ({"url": "https://h/", "events": []}, "events: must name at least one event"),
        ({"url": "https://h/", "secret": ""}, "secret: "),
        ({"url": "https://h/", "business_id": "a b"}, "business_id: "),
        ({}, "url: "),
    ],
)
def test_what_cannot_be_registered(node: Node, wanted: dict[str, Any], why: str) -> None:
    status, message = error(node.of_app("POST", "/callbacks", wanted))
    assert status == 400
    assert why in message


# --- secrets ----------------------------------------------------------------------------------------------


def test_a_token(node: Node) -> None:
    wanted = {"room_id": "room", "user_id": "anna", "publish": False, "seconds": 60}
    made = node.of_app("POST", "/tokens", wanted).json()
    app = node.registry.apps.app(node.id)
    assert app is not None
    claims = verify(made["token"], app, RoomId("room"), UserId("anna"), NOW)
    assert claims.expire_at == made["expires_at"] == NOW + 60
    assert claims.may_subscribe(NOW)
    assert not claims.may_publish([Privilege.PUBLISH_AUDIO], NOW)
    assert node.made["app_key"] not in json.dumps(made)


@pytest.mark.parametrize(
    "wrong", [{"room_id": ""}, {"user_id": "a b"}, {"seconds": 0}, {"seconds": 1 << 40}, {"room_id": None}]
)
def test_what_no_token_can_say(node: Node, wrong: dict[str, Any]) -> None:
    assert node.of_app("POST", "/tokens", {"room_id": "r", "user_id": "u", **wrong}).status == 400


def test_a_signature_is_that_of_a_key_of_the_app(node: Node) -> None:
    query, body = urlencode({"Action": "StopRelayStream", "Version": "2023-11-01"}), '{"RoomId": "é"}'
    wanted = {"method": "POST", "query": query, "host": "h:1", "content_type": "application/json"}
    headers = node.of_app("POST", "/signatures", {**wanted, "body": body}).json()["headers"]
    lines = (("Host", "h:1"), ("Content-Type", "application/json"), *headers.items())
    head = RequestHead("POST", "/", parse_query(query), lines)
    claim = read_claim(head, node.registry.apps.access_key, NOW)
    assert claim.prove(body.encode()).access_key == node.made["access_key"]
    assert node.made["secret_key"] not in json.dumps(headers)


@pytest.mark.parametrize(
    "wrong", [{"body": "\ud800"}, {"query": "a\nb"}, {"host": "é"}, {"method": "DELETE"}, {"host": None}]
)
def test_what_no_call_can_be(node: Node, wrong: dict[str, Any]) -> None:
    assert (
        node.of_app("POST", "/signatures", {"method": "POST", "query": "", "host": "h", **wrong}).status
        == 400
    )


def test_an_app_without_a_key_that_could_sign(node: Node) -> None:
    node.call("POST", "/keys", {"app_ids": [node.id], "session_token": "t"})
    asyncio.run(node.registry.enable_key(node.made["access_key"], False))
    wanted = {"method": "GET", "query": "", "host": "h"}
    status, message = error(node.of_app("POST", "/signatures", wanted))
    assert status == 404
    assert message.endswith(f"sluice key create --app {node.id}")


# --- the end ----------------------------------------------------------------------------------------------


def test_an_app_goes_with_the_keys_that_are_its_own(node: Node) -> None:
    other = node.call("POST", "/apps").json()
    shared = node.call("POST", "/keys", {"app_ids": [node.id, other["app_id"]]}).json()["access_key"]
    removed = node.of_app("DELETE", "").json()
    assert removed == {"app_id": node.id, "tasks": 0, "keys": [node.made["access_key"]]}
    known = node.registry.apps
    assert (known.app(node.id), known.access_key(node.made["access_key"])) == (None, None)
    assert known.access_key(shared) is not None
    assert error(node.of_app("DELETE", "")) == (404, f"there is no app {node.id}")
    for path in ("/callbacks", "/tokens", "/signatures"):
        wanted = {"room_id": "r", "user_id": "u"} if path == "/tokens" else {"url": "https://h/"}
        wanted = {"method": "GET", "query": "", "host": "h"} if path == "/signatures" else wanted
        assert error(node.of_app("POST", path, wanted)) == (404, f"there is no app {node.id}")


def test_live_tasks_keep_an_app(node: Node) -> None:
    task = node.start()
    status, message = error(node.of_app("DELETE", ""))
    assert status == 409
    assert f"are live: 1 ({task.id}); stop them first" in message
    assert node.registry.apps.app(node.id) is not None
    assert node.of_app("DELETE", "?stop=true").json()["tasks"] == 1
    assert not node.tasks.runs[0].state.live


def test_everybody_leaves_the_rooms_of_a_deleted_app(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.rooms.play(AppId(node.id), RoomId("room"), UserId("relay"), RunId("run_1"))
    node.of_app("DELETE", "")
    assert asyncio.run(node.rooms.roster(AppId(node.id), RoomId("room"))) == ()

    async def fail(*_: object) -> None:
        raise RoomError("its process is away")

    monkeypatch.setattr(node.rooms, "expel", fail)
    again = node.call("POST", "/apps").json()["app_id"]
    assert node.call("DELETE", f"/apps/{again}").status == 200, "who was there has left with the process"


def test_the_app_of_the_credentials_stays(node: Node) -> None:
    node.call("POST", "/apps", {"app_id": OWN})
    status, message = error(node.call("DELETE", f"/apps/{OWN}"))
    assert status == 409
    assert "credentials.json" in message
    assert node.registry.apps.app(OWN) is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("POST", "/tokens"), ("POST", "/signatures"), ("GET", "/callbacks")],
)
def test_all_of_it_is_the_operators(node: Node, method: str, path: str) -> None:
    assert node.call(method, f"/apps/{node.id}{path}", token="wrong").status == 401
