"""The operator's view of callbacks: pages, states, replay."""

import pytest
from fastapi import FastAPI

from sluice.api.native_callbacks import routes
from sluice.api.operator import Operator
from tests.testing import FakeCallbacks
from tests.unit.asgi import Answer, call

ADMIN = "admin-token"


class Native:
    def __init__(self) -> None:
        self.callbacks = FakeCallbacks()
        self.callbacks.documents = [
            {"event_id": f"e{n}", "state": state} for n, state in enumerate(("pending", "dead", "dead"))
        ]
        self.app = FastAPI()
        self.app.include_router(routes(self.callbacks, Operator(ADMIN)))

    def call(self, method: str, target: str, token: str = ADMIN) -> Answer:
        return call(self.app, method, target, [("Authorization", f"Bearer {token}")])

    def ids(self, query: str = "") -> list[str]:
        answer = self.call("GET", f"/api/v1/callbacks{query}")
        assert answer.status == 200
        return [document["event_id"] for document in answer.json()["callbacks"]]


@pytest.fixture
def native() -> Native:
    return Native()


def test_pages_and_states(native: Native) -> None:
    assert native.ids() == ["e0", "e1", "e2"]
    assert native.ids("?state=dead") == ["e1", "e2"]
    assert native.ids("?state=dead&offset=1&limit=1") == ["e2"]
    assert native.ids("?state=delivered") == []


def test_what_begins_so_and_what_is_of_an_app(native: Native) -> None:
    native.callbacks.documents[1]["app_id"] = "mine"
    assert native.ids("?app_id=mine") == ["e1"]
    assert native.ids("?begins=e") == ["e0", "e1", "e2"]
    assert native.ids("?begins=e1") == ["e1"]
    assert native.call("GET", "/api/v1/callbacks/e1").json()["event_id"] == "e1"
    assert native.call("GET", "/api/v1/callbacks/e9").status == 404


@pytest.mark.parametrize(
    "query",
    [
        "?begins=a%25",
        "?begins=" + "a" * 65,
        "?state=lost",
        "?limit=0",
        "?limit=1001",
        "?offset=-1",
        "?limit=x",
    ],
)
def test_bad_queries(native: Native, query: str) -> None:
    answer = native.call("GET", f"/api/v1/callbacks{query}")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "BadInput")


def test_replay(native: Native) -> None:
    answer = native.call("POST", "/api/v1/callbacks/e1/replay")
    assert (answer.status, answer.json()["event_id"]) == (200, "e1")
    assert native.callbacks.replayed == ["e1"]
    unknown = native.call("POST", "/api/v1/callbacks/e9/replay")
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "CallbackNotFound")


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/api/v1/callbacks"), ("POST", "/api/v1/callbacks/e1/replay")]
)
def test_the_operator_alone(native: Native, method: str, target: str) -> None:
    assert native.call(method, target, "wrong").status == 401
    assert native.callbacks.replayed == []
