"""Apps and access keys: over the native API, in the database, and in the copy that each node keeps."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi import FastAPI

from sluice.api.native_apps import routes
from sluice.api.operator import Operator
from sluice.core.apps import Feature
from sluice.store import apps as module
from sluice.store.apps import AppRegistry
from sluice.store.thread import Store
from tests.testing import MemoryStore
from tests.unit.asgi import Answer, call

ADMIN = "admin-token"
OWN = {"app_id": "661e0000000000000000543c", "app_key": "k", "access_key": "AKLTmine", "secret_key": "c2Vj=="}


class Node:
    def __init__(self, store: MemoryStore) -> None:
        self.registry = AppRegistry(cast(Store, store), lambda: 1000.0)
        self.app = FastAPI()
        self.app.include_router(routes(self.registry, Operator(ADMIN)))

    def call(self, method: str, path: str, document: object = None, token: str = ADMIN) -> Answer:
        headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")]
        body = b"" if document is None else json.dumps(document).encode()
        return call(self.app, method, f"/api/v1{path}", headers, [body])

    def made(self, path: str, **wanted: object) -> dict[str, Any]:
        answer = self.call("POST", path, wanted)
        assert answer.status == 201, answer.body
        document: dict[str, Any] = answer.json()
        return document


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


@pytest.fixture
def node(store: MemoryStore) -> Node:
    return Node(store)


def test_an_app_comes_with_a_key_and_is_known_at_once(node: Node) -> None:
    made = node.made("/apps")
    shown = {"app_id", "relay", "push", "user_agent", "headers", "created_at"}
    assert set(made) == shown | {"app_key", "access_key", "secret_key"}
    assert len(made["app_id"]) == 24
    app, key = node.registry.apps.app(made["app_id"]), node.registry.apps.access_key(made["access_key"])
    assert app is not None
    assert key is not None
    assert (app.app_key, app.features) == (made["app_key"], frozenset(Feature))
    assert (key.secret_key, key.app_ids) == (made["secret_key"], frozenset({made["app_id"]}))


def test_what_sources_are_asked_with(node: Node, store: MemoryStore) -> None:
    path = f"/apps/{node.made('/apps')['app_id']}"
    wanted = {"user_agent": "Player/1", "headers": {"Referer": "https://site/", "X-Api-Key": "secret"}}
    shown = node.call("PATCH", path, wanted).json()
    assert shown["user_agent"] == "Player/1"
    assert shown["headers"] == {"Referer": "https://site/", "X-Api-Key": "***"}
    assert "secret" not in json.dumps(node.call("GET", "/apps").json())
    node.call("PATCH", path, {"relay": False})
    app = node.registry.apps.app(shown["app_id"])
    assert app is not None
    assert app.source_headers.headers == (("Referer", "https://site/"), ("X-Api-Key", "secret"))
    emptied = node.call("PATCH", path, {"user_agent": "", "headers": {}}).json()
    assert (emptied["user_agent"], emptied["headers"]) == ("", {})


@pytest.mark.parametrize(
    "wanted",
    [
        {"user_agent": "a\nb"},
        {"headers": {"Host": "x"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"Connection": "close"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X": 5}},
    ],
)
def test_headers_that_no_request_may_have(node: Node, wanted: dict[str, object]) -> None:
    path = f"/apps/{node.made('/apps')['app_id']}"
    assert node.call("PATCH", path, wanted).status == 400


def test_what_the_operator_brings_along(node: Node) -> None:
    made = node.made("/apps", **OWN)
    assert {name: made[name] for name in OWN} == OWN
    again = node.call("POST", "/apps", {"app_id": OWN["app_id"]})
    assert (again.status, again.json()["error"]["code"]) == (400, "BadInput")
    taken = node.call("POST", "/apps", {"access_key": "AKLTmine"})
    assert "there is an access key AKLTmine already" in taken.json()["error"]["message"]
    assert len(node.call("GET", "/apps").json()["apps"]) == 1, "nothing of what failed stays"


@pytest.mark.parametrize(
    "wanted",
    [
        {"app_id": "a" * 23},
        {"app_id": "a" * 23 + "/"},
        {"app_key": ""},
        {"app_key": "with space"},
        {"access_key": "A/B"},
        {"access_key": "A,B"},
        {"secret_key": "s" * 257},
        {"name": "unknown"},
    ],
)
def test_what_no_app_can_have(node: Node, wanted: dict[str, str]) -> None:
    answer = node.call("POST", "/apps", wanted)
    assert answer.status == 400
    assert answer.json()["error"]["message"].startswith(next(iter(wanted)))


def test_lists_show_no_secrets(node: Node) -> None:
    made = node.made("/apps")
    key = node.made("/keys", app_ids=[made["app_id"]], session_token="STS-secret")
    shown = node.call("GET", "/apps").body + node.call("GET", "/keys").body
    assert made["app_id"].encode() in shown
    for secret in (made["app_key"], made["secret_key"], key["secret_key"], "STS-secret"):
        assert secret.encode() not in shown


def test_features(node: Node) -> None:
    app_id = node.made("/apps")["app_id"]
    changed = node.call("PATCH", f"/apps/{app_id}", {"relay": False})
    assert (changed.json()["relay"], changed.json()["push"]) == (False, True)
    app = node.registry.apps.app(app_id)
    assert app is not None
    assert app.features == {Feature.PUSH}
    assert node.call("PATCH", f"/apps/{app_id}", {"relay": True, "push": False}).json()["relay"] is True
    assert node.call("PATCH", f"/apps/{app_id}", {}).json()["push"] is False
    assert node.call("PATCH", "/apps/unknown", {"relay": True}).status == 404


def test_keys(node: Node) -> None:
    one, two = node.made("/apps"), node.made("/apps")
    key = node.made("/keys", app_ids=[one["app_id"], two["app_id"]])
    name, known = key["access_key"], node.registry.apps
    assert key["app_ids"] == sorted([one["app_id"], two["app_id"]])
    of_two = node.call("GET", f"/keys?app_id={two['app_id']}").json()["keys"]
    assert {entry["access_key"] for entry in of_two} == {two["access_key"], name}

    assert node.call("PATCH", f"/keys/{name}", {"enabled": False}).json()["enabled"] is False
    assert known.access_key(name) is None
    assert known.access_key(one["access_key"]) is not None
    node.call("PATCH", f"/keys/{name}", {"enabled": True})
    assert known.access_key(name) is not None

    assert node.call("DELETE", f"/keys/{name}").status == 204
    assert known.access_key(name) is None
    for answer in (
        node.call("DELETE", f"/keys/{name}"),
        node.call("PATCH", f"/keys/{name}", {"enabled": True}),
    ):
        assert (answer.status, answer.json()["error"]["code"]) == (404, "NotFound")


def test_a_key_needs_apps_that_there_are(node: Node) -> None:
    assert node.call("POST", "/keys", {"app_ids": []}).status == 400
    assert node.call("POST", "/keys", {"app_ids": ["unknown"]}).status == 404
    assert node.call("GET", "/keys").json() == {"keys": []}


def test_a_session_token(node: Node) -> None:
    app_id = node.made("/apps")["app_id"]
    key = node.made("/keys", app_ids=[app_id], session_token="STS")
    assert key["has_session_token"] is True
    known = node.registry.apps.access_key(key["access_key"])
    assert known is not None
    assert known.session_token == "STS"


@pytest.mark.parametrize(("method", "path"), [("GET", "/apps"), ("POST", "/apps"), ("DELETE", "/keys/x")])
def test_all_of_it_is_the_operators(node: Node, method: str, path: str) -> None:
    assert node.call(method, path, token="wrong").status == 401


def test_what_another_process_changes_is_seen(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    node, other = Node(store), Node(store)
    made = node.made("/apps")
    assert other.registry.apps.app(made["app_id"]) is None
    asyncio.run(other.registry.refresh())
    copy = other.registry.apps
    assert copy.access_key(made["access_key"]) is not None
    monkeypatch.setattr(module, "list_keys", lambda _: pytest.fail("read again without a change"))
    asyncio.run(other.registry.refresh())
    monkeypatch.undo()
    monkeypatch.setattr(module, "_POLL_S", 0.0)
    node.call("PATCH", f"/keys/{made['access_key']}", {"enabled": False})

    async def until_refused() -> None:
        async with other.registry, asyncio.timeout(10):
            while copy.access_key(made["access_key"]) is not None:
                await asyncio.sleep(0)

    asyncio.run(until_refused())
