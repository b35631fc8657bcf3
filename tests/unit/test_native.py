"""The native API: bearer, documents, failures in one form, and a true OpenAPI document."""

import asyncio

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from sluice.api.native import health_routes, routes
from sluice.api.operator import Operator
from sluice.core.errors import AccessRefused, BadInput, NotNow, Overloaded, TaskNotFound
from sluice.core.ids import AppId, BusinessId, RoomId, TaskId, UserId
from sluice.core.tasks import Dialect, PlaybackChange, RelaySpec, Task
from sluice.store.errors import StoreError, StoreTrouble
from sluice.tasks.port import StartRequest
from tests.testing import FakeTasks
from tests.unit.asgi import Answer, call

ADMIN = "admin-token"


class Native:
    def __init__(self) -> None:
        self.tasks = FakeTasks(lambda: 1000.0)
        self.app = FastAPI()
        self.app.include_router(health_routes())
        self.app.include_router(routes(self.tasks, Operator(ADMIN)))

    def add(self, task_id: str) -> Task[RelaySpec]:
        identity = (AppId("app"), RoomId("room"), TaskId(task_id), UserId("user"), BusinessId(""))
        request = StartRequest(Dialect.VOLCENGINE, *identity, RelaySpec("http://h/"))
        return asyncio.run(self.tasks.start(request))[0]

    def call(self, method: str, target: str, token: str | None = ADMIN) -> Answer:
        return call(self.app, method, target, [] if token is None else [("Authorization", f"Bearer {token}")])


@pytest.fixture
def native() -> Native:
    return Native()


def test_health_needs_no_token(native: Native) -> None:
    answer = native.call("GET", "/healthz", token=None)
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_health_says_what_has_failed(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.api.native.trouble", lambda: "the sweeper ended by an error")
    answer = native.call("GET", "/healthz", token=None)
    assert (answer.status, answer.json()) == (503, {"status": "the sweeper ended by an error"})


@pytest.mark.parametrize("token", [None, "", "wrong", "admin-tokeñ", ADMIN + "x"])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks?limit=x"),
        ("GET", "/api/v1/tasks/x"),
        ("POST", "/api/v1/tasks/x/stop"),
        ("POST", "/api/v1/tasks/x/control"),
    ],
)
def test_bearer(native: Native, method: str, target: str, token: str | None) -> None:
    answer = native.call(method, target, token)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {
        "error": {
            "code": "AccessRefused",
            "message": "send the header Authorization: Bearer <admin_token of credentials.json>",
        }
    }


def test_a_defect_is_hidden_from_the_caller_and_told_to_the_log(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(native.tasks, "list_documents", fail)
    with capture_logs() as lines:
        answer = native.call("GET", "/api/v1/tasks")
    assert answer.status == 500
    message = "internal error; the log of the node tells more"
    assert answer.json() == {"error": {"code": "StoreError", "message": message}}
    assert [(line["log_level"], str(line["exc_info"])) for line in lines] == [("error", "the disk is full")]


def test_a_store_in_trouble_is_told_to_the_caller_and_is_no_defect(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreTrouble("the store is locked; try again")

    monkeypatch.setattr(native.tasks, "list_documents", fail)
    with capture_logs() as lines:
        answer = native.call("GET", "/api/v1/tasks")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    message = "the store is locked; try again"
    assert answer.json() == {"error": {"code": "StoreTrouble", "message": message}}
    assert lines == []  # the store has said it


def test_who_guesses_the_admin_token_waits() -> None:
    now = 0.0
    app = FastAPI()
    app.include_router(routes(FakeTasks(lambda: 0.0), Operator(ADMIN, tries=10, clock=lambda: now)))

    def ask(token: str) -> Answer:
        return call(app, "GET", "/api/v1/tasks", [("Authorization", f"Bearer {token}")])

    assert [ask(f"guess{n}").status for n in range(300)] == [401] * 11 + [429] * 289
    answer = ask(ADMIN)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["error"]["code"] == "TooOften"
    now = 1.0
    assert ask(ADMIN).status == 200
    assert [ask("guess").status for _ in range(20)] == [401] * 11 + [429] * 9
    assert ask(ADMIN).status == 200, "an address that has shown it is not locked out"


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_body_is_read_for_the_operator_alone(native: Native, token: str | None) -> None:
    headers = [("Content-Type", "application/json")]
    headers += [("Authorization", f"Bearer {token}")] if token else []
    chunks = [b" " * 65536] * 1000
    answer = call(native.app, "POST", "/api/v1/tasks/x/control", headers, chunks)
    assert (answer.status, answer.chunks_read) == (401, 0)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b" " * 65536, 17),
        (b"[" * 65536, 15),
        (b'{"volume": ' + b"9" * 65000 + b"}", 1),
        (b'{"seek_s": 1e999999}', 1),
        (rb'{"\ud800": 1}', 1),
        (rb'{"pause": "\ud800"}', 1),
        (b"\xff\xfe", 1),
        (b"null", 1),
    ],
)
def test_bodies_that_are_none(native: Native, body: bytes, read: int) -> None:
    headers = [("Content-Type", "application/json"), ("Authorization", f"Bearer {ADMIN}")]
    answer = call(native.app, "POST", "/api/v1/tasks/x/control", headers, [body] * read)
    assert answer.status == 400, answer.body
    assert set(answer.json()["error"]) == {"code", "message"}
    assert len(answer.body) < 1000


def test_an_empty_admin_token_opens_nothing() -> None:
    app = FastAPI()
    app.include_router(routes(FakeTasks(lambda: 0.0), Operator("")))
    for headers in ([], [("Authorization", "Bearer ")]):
        assert call(app, "GET", "/api/v1/tasks", headers).status == 401


def test_list(native: Native) -> None:
    first, second = native.add("a"), native.add("b")
    documents = native.call("GET", "/api/v1/tasks").json()["tasks"]
    assert [document["id"] for document in documents] == [second.id, first.id]
    page = native.call("GET", "/api/v1/tasks?limit=1&offset=1").json()["tasks"]
    assert [document["id"] for document in page] == [first.id]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1"])
def test_bad_page(native: Native, query: str) -> None:
    answer = native.call("GET", f"/api/v1/tasks?{query}")
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "BadInput"
    assert error["message"].startswith(query.partition("=")[0] + ": ")


def test_show_and_stop(native: Native) -> None:
    task = native.add("a")
    assert native.call("GET", f"/api/v1/tasks/{task.id}").json()["state"] == "starting"
    assert native.call("POST", f"/api/v1/tasks/{task.id}/stop").json()["state"] == "ended"
    again = native.call("POST", f"/api/v1/tasks/{task.id}/stop")
    assert again.status == 404
    message = f"the task {task.id} has ended"
    assert again.json() == {"error": {"code": "TaskNotFound", "message": message}}
    assert native.call("GET", "/api/v1/tasks/unknown").status == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [(Overloaded("the store is behind; call again"), 503), (AccessRefused("no", known=True), 403)],
)
def test_failures_of_the_core(
    native: Native, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(native.tasks, "list_documents", fail)
    answer = native.call("GET", "/api/v1/tasks")
    assert answer.status == status
    assert answer.json() == {"error": {"code": type(error).__name__, "message": str(error)}}


def control(native: Native, task: Task[RelaySpec], body: bytes) -> Answer:
    headers = [("Authorization", f"Bearer {ADMIN}"), ("Content-Type", "application/json")]
    return call(native.app, "POST", f"/api/v1/tasks/{task.id}/control", headers, [body])


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"pause": true}', PlaybackChange(paused=True)),
        (b'{"pause": false, "volume": null}', PlaybackChange(paused=False)),
        (b'{"seek_s": 12.5}', PlaybackChange(position_us=12_500_000)),
        (b'{"seek_s": 0, "volume": 0}', PlaybackChange(position_us=0, volume=0)),
        (b'{"normalize": true, "volume": 100}', PlaybackChange(volume=100, normalize=True)),
    ],
)
def test_control(native: Native, body: bytes, wanted: PlaybackChange) -> None:
    task = native.add("a")
    answer = control(native, task, body)
    assert (answer.status, answer.json()["id"]) == (200, task.id)
    assert native.tasks.controlled == [wanted]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "body"),
        (b'{"pause": null}', "body"),
        (b"", "body"),
        (b"[]", "body"),
        (b'{"pause": 1}', "pause"),
        (b'{"pause": "yes"}', "pause"),
        (b'{"seek_s": -1}', "seek_s"),
        (b'{"seek_s": NaN}', "seek_s"),
        (b'{"seek_s": 1e300}', "seek_s"),
        (b'{"seek_s": true}', "seek_s"),
        (b'{"volume": 101}', "volume"),
        (b'{"volume": -1}', "volume"),
        (b'{"volume": 50.5}', "volume"),
        (b'{"volume": true}', "volume"),
        (b'{"normalize": 0}', "normalize"),
        (b'{"loudness": 3}', "loudness"),
    ],
)
def test_controls_that_are_none(native: Native, body: bytes, field: str) -> None:
    answer = control(native, native.add("a"), body)
    assert answer.status == 400
    assert answer.json()["error"]["message"].startswith(f"{field}: ")
    assert native.tasks.controlled == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotNow("pause: the task is starting; try again when it is running"), 409),
        (BadInput("seek_s", "a live source has no positions"), 400),
        (Overloaded("try again"), 503),
        (TaskNotFound("no task x is live"), 404),
    ],
)
def test_controls_that_are_refused(native: Native, error: Exception, status: int) -> None:
    native.tasks.control_error = error
    answer = control(native, native.add("a"), b'{"pause": true}')
    assert answer.status == status
    assert answer.json() == {"error": {"code": type(error).__name__, "message": str(error)}}


def test_openapi(native: Native) -> None:
    document = native.app.openapi()
    assert set(document["paths"]) == {
        "/healthz",
        "/api/v1/tasks",
        "/api/v1/tasks/{id}",
        "/api/v1/tasks/{id}/stop",
        "/api/v1/tasks/{id}/control",
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) is path.startswith("/api/")
            assert set(operation["responses"]) == ({"200", "4XX"} if path.startswith("/api/") else {"200"})
