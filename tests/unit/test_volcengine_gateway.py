"""The gateway: envelope, order of checks, statuses per version, bodies (docs/contract/volcengine.md 1, 4,
5)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from sluice.api.volcengine import errors
from sluice.api.volcengine.actions import action_table
from sluice.api.volcengine.gateway import BODY_LIMIT, Gateway
from sluice.core.apps import AccessKey, App, Apps
from sluice.core.errors import Overloaded, RoomError
from sluice.core.ids import AppId
from sluice.core.limits import MOST_LOGGED_REFUSALS
from sluice.store.errors import StoreTrouble
from sluice.wire.signature import RequestHead, parse_query, sign
from tests.testing import FakeBans, FakeCallbacks, FakeRooms, FakeTasks
from tests.unit.asgi import Answer, call
from tests.unit.captures import GO_TIME, KEY, PYTHON_TIME, load_all

NOW = 1_795_000_000.0
APP = App(AppId("661e0000000000000000543c"), "app-key")
OTHER_APP = App(AppId("661e0000000000000000543d"), "app-key")
OWNER = AccessKey("AKLTowner", "secret", frozenset({APP.app_id}))
IDENTITY = f'{{"AppId":"{APP.app_id}","RoomId":"Room1","TaskId":"Task1"}}'.encode()
STOP, LIST = "StopRelayStream", "ListRelayStream"


@dataclass
class FakeGateway:
    """The dialect over a fake `Tasks`, with a client that signs."""

    now: float = NOW
    callbacks: FakeCallbacks = field(default_factory=FakeCallbacks)
    rooms: FakeRooms = field(default_factory=FakeRooms)
    bans: FakeBans = field(default_factory=FakeBans)
    tasks: FakeTasks = field(init=False)
    apps: Apps = field(init=False)
    app: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.tasks = FakeTasks(lambda: self.now)
        stranger = AccessKey(KEY.access_key, KEY.secret_key, frozenset())
        self.apps = Apps([APP, OTHER_APP], [OWNER, stranger])
        actions = action_table(self.tasks, self.rooms, self.bans, self.callbacks)
        self.app = Gateway(actions, self.apps, lambda: self.now)

    def send(
        self,
        action: str,
        body: bytes = b"",
        *,
        version: str = "2023-11-01",
        method: str = "POST",
        query: str = "",
        content_type: str = "application/json",
        chunks: Iterable[bytes] | None = None,
    ) -> Answer:
        text = f"Action={action}&Version={version}{query}"
        headers = (("Host", "h:1"), ("Content-Type", content_type))
        head = RequestHead(method, "/", parse_query(text), headers)
        signed = {**dict(headers), **sign(head, body, OWNER, self.now, region="ap-singapore-1")}
        return call(self.app, method, f"/?{text}", signed.items(), [body] if chunks is None else chunks)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def error_of(answer: Answer) -> tuple[int, str, str]:
    """HTTP status, code and message of a failure, whose envelope is complete."""
    document = answer.json()
    assert set(document) == {"ResponseMetadata"}
    metadata = document["ResponseMetadata"]
    assert set(metadata) == {"RequestId", "Action", "Version", "Service", "Region", "Error"}
    return answer.status, metadata["Error"]["Code"], metadata["Error"]["Message"]


def list_tasks(gateway: FakeGateway, **options: Any) -> Answer:
    return gateway.send(LIST, method="GET", query=f"&AppId={APP.app_id}&RoomId=Room1", **options)


def test_a_flood_of_refused_calls_does_not_fill_the_log(gateway: FakeGateway) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(MOST_LOGGED_REFUSALS + 100):
            assert call(gateway.app, "GET", "/?Action=ListRelayStream&Version=2023-11-01").status == 401
    assert len(logs) == MOST_LOGGED_REFUSALS


def test_success_envelope(gateway: FakeGateway) -> None:
    answer = list_tasks(gateway)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    document = answer.json()
    request_id = document["ResponseMetadata"].pop("RequestId")
    assert re.fullmatch(r"20261118110640[0-9A-F]{20}", request_id)
    assert answer.headers["x-tt-logid"] == request_id
    assert document == {
        "Result": {"Task": [], "Total": 0, "Offset": 0, "Limit": 10},
        "ResponseMetadata": {
            "Action": LIST,
            "Version": "2023-11-01",
            "Service": "rtc",
            "Region": "ap-singapore-1",
        },
    }


def test_gateway_error_carries_its_number(gateway: FakeGateway) -> None:
    answer = call(gateway.app, "GET", "/?Action=ListRelayStream&Version=2020-12-01")
    assert answer.status == 401
    metadata = answer.json()["ResponseMetadata"]
    assert metadata["Error"] == {
        "CodeN": 100003,
        "Code": "MissingAuthenticationToken",
        "Message": "Request is missing Authentication Token.",
    }
    assert metadata["Region"] == "cn-north-1"


@pytest.mark.parametrize(
    ("method", "query", "expected"),
    [
        ("GET", "", (400, "MissingParameter", "The request is missing Action parameter.")),
        ("GET", "Action=&Version=1", (400, "MissingParameter", "The request is missing Action parameter.")),
        (
            "POST",
            "Action=StopRelayStream",
            (400, "MissingParameter", "The request is missing Version parameter."),
        ),
        (
            "POST",
            "Action=StartPushMixedStreamToCDN&Version=2023-11-01",
            (
                404,
                "InvalidActionOrVersion",
                "Could not find operation StartPushMixedStreamToCDN for version 2023-11-01.",
            ),
        ),
        (
            "POST",
            "Action=StopRelayStream&Version=2023-06-01",
            (
                404,
                "InvalidActionOrVersion",
                "Could not find operation StopRelayStream for version 2023-06-01.",
            ),
        ),
        (
            "GET",
            "Action=StopRelayStream&Version=2023-11-01",
            (405, "MethodNotAllowed", "Method GET is not allowed."),
        ),
        (
            "PUT",
            "Action=ListRelayStream&Version=2020-12-01",
            (405, "MethodNotAllowed", "Method PUT is not allowed."),
        ),
        (
            "GET",
            "Action=%FF&Version=%0A",
            (404, "InvalidActionOrVersion", "Could not find operation \udcff for version \n."),
        ),
        (
            "GET",
            "Action=" + "x" * 70_000,
            (400, "InvalidParameter.SizeOverLimit", "request body is too large"),
        ),
    ],
)
def test_before_the_signature(
    gateway: FakeGateway, method: str, query: str, expected: tuple[int, str, str]
) -> None:
    assert error_of(call(gateway.app, method, f"/?{query}")) == expected


def test_unauthenticated_body_is_not_read(gateway: FakeGateway) -> None:
    answer = call(gateway.app, "POST", "/?Action=StopRelayStream&Version=2023-11-01", chunks=[b"x"] * 10)
    assert error_of(answer)[1] == "MissingAuthenticationToken"
    assert answer.chunks_read == 0


def test_body_over_the_limit_is_refused_while_it_arrives(gateway: FakeGateway) -> None:
    answer = gateway.send(STOP, chunks=[b"x" * (BODY_LIMIT // 4)] * 20)
    assert error_of(answer) == (400, "InvalidParameter.SizeOverLimit", "request body is too large")
    assert answer.chunks_read == 5


def test_body_of_exactly_the_limit(gateway: FakeGateway) -> None:
    body = IDENTITY + b" " * (BODY_LIMIT - len(IDENTITY))
    assert error_of(gateway.send(STOP, body))[1] == "InvalidParameter.ErrorActiveTaskNotFound"


def test_body_in_pieces(gateway: FakeGateway) -> None:
    pieces = [IDENTITY[at : at + 7] for at in range(0, len(IDENTITY), 7)]
    assert (
        error_of(gateway.send(STOP, IDENTITY, chunks=pieces))[1] == "InvalidParameter.ErrorActiveTaskNotFound"
    )


def test_signature_comes_before_the_body(gateway: FakeGateway) -> None:
    answer = gateway.send(STOP, IDENTITY, chunks=[b"{"])
    assert error_of(answer)[:2] == (401, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", "InvalidParameter.BodyIsEmpty", "request body is empty"),
        (b"{", "InvalidParameter.Unmarshal", "request body cannot be parsed: EOF while parsing"),
        (b"[]", "InvalidParameter.Unmarshal", "request body cannot be parsed: not a JSON object"),
        (b'"x"', "InvalidParameter.Unmarshal", "request body cannot be parsed: not a JSON object"),
        (b"null", "InvalidParameter.Unmarshal", "request body cannot be parsed: not a JSON object"),
        (b'{"a":NaN}', "InvalidParameter.Unmarshal", "request body cannot be parsed: expected value"),
        (b'{"AppId":"\xff"}', "InvalidParameter.Unmarshal", "request body cannot be parsed: invalid unicode"),
        (b'{"AppId":"\\ud800"}', "InvalidParameter.Unmarshal", "request body cannot be parsed: "),
        (b"[" * 100_000, "InvalidParameter.Unmarshal", "request body cannot be parsed: recursion limit"),
        (b'{"AppId":1}', "InvalidParameter.Unmarshal", "request body cannot be parsed: AppId: "),
        (b"{}", "InvalidParameter", "missing required parameter: AppId"),
    ],
)
def test_bodies(gateway: FakeGateway, body: bytes, code: str, message: str) -> None:
    status, found, text = error_of(gateway.send(STOP, body))
    assert (status, found) == (400, code)
    assert text.startswith(message)


def test_content_type_does_not_matter_but_for_forms(gateway: FakeGateway) -> None:
    for content_type in (
        "application/json; charset=utf-8",
        "text/plain",
        "multipart/form-data; boundary=x",
        "",
    ):
        answer = gateway.send(STOP, IDENTITY, content_type=content_type)
        assert error_of(answer)[1] == "InvalidParameter.ErrorActiveTaskNotFound"


def test_form(gateway: FakeGateway) -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    body = f"AppId={APP.app_id}&RoomId=Room1&TaskId=Task%201".encode()
    assert error_of(gateway.send(STOP, body, content_type=form))[2].startswith("invalid parameter: TaskId: ")
    for bad in (b"AppId=a&AppId.B=c", b"a=1&" * 1000):
        assert error_of(gateway.send(STOP, bad, content_type=form))[1] == "InvalidParameter.Unmarshal"


@pytest.mark.parametrize(("version", "status"), [("2020-12-01", 200), ("2023-11-01", 400)])
def test_status_of_a_business_error_per_version(gateway: FakeGateway, version: str, status: int) -> None:
    answer = gateway.send(STOP, IDENTITY, version=version)
    assert error_of(answer) == (
        status,
        "InvalidParameter.ErrorActiveTaskNotFound",
        "active task not found",
    )
    assert "CodeN" not in answer.json()["ResponseMetadata"]["Error"]


@pytest.mark.parametrize(
    ("app_id", "expected"),
    [
        ("a" * 24, (400, "InvalidParameter.NotExistAppId", "AppId does not exist")),
        (OTHER_APP.app_id, (403, "AccessDenied.NoPermissionForApp", "no permission for app")),
        ("a b", (400, "InvalidParameter.IllegalAppId", "illegal AppId")),
    ],
)
def test_apps(gateway: FakeGateway, app_id: str, expected: tuple[int, str, str]) -> None:
    assert error_of(gateway.send(STOP, IDENTITY.replace(APP.app_id.encode(), app_id.encode()))) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            Overloaded("1.2 cores needed, 0.3 free"),
            (429, "FlowLimitExceeded.TaskNumberOverLimit", "1.2 cores needed, 0.3 free"),
        ),
        (
            RoomError("room gone"),
            (503, "ServiceUnavailableTemp", "Service is unavailable temporarily."),
        ),
        (
            StoreTrouble("the store is locked; try again"),
            (
                503,
                "ServiceUnavailableTemp",
                "Service is unavailable temporarily: the store is locked; try again.",
            ),
        ),
        (RuntimeError("a secret of ours"), (500, "InternalError", "internal error")),
    ],
)
def test_failures_behind_the_gateway(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: tuple[int, str, str]
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(gateway.tasks, "stop_task", fail)
    with structlog.testing.capture_logs() as logs:
        answer = gateway.send(STOP, IDENTITY)
    assert error_of(answer) == expected
    assert b"secret of ours" not in answer.body
    assert [entry["log_level"] for entry in logs] == ["error" if expected[0] == 500 else "info"]


def test_client_that_goes_away(gateway: FakeGateway) -> None:
    with pytest.raises(ValueError, match="unpack"):  # nothing was sent
        gateway.send(STOP, IDENTITY, chunks=[])


def test_captures_get_past_the_signature() -> None:
    """The values in the captures are placeholders: the answers are business errors (captures' README)."""
    answers = {}
    for capture in load_all():
        gateway = FakeGateway(now=capture.now)
        answer = call(gateway.app, capture.head.method, capture.target, capture.head.headers, [capture.body])
        answers[capture.name] = error_of(answer)[1:]
    unknown = "InvalidActionOrVersion"
    illegal_room = ("InvalidParameter.IllegalRoomID", "illegal RoomId")
    another_app = ("AccessDenied.NoPermissionForApp", "no permission for app")
    unknown_app = ("InvalidParameter.NotExistAppId", "AppId does not exist")
    assert {name: found for name, found in answers.items() if found[0] != unknown} == {
        "go-volc-sdk-golang/01-StartRelayStream": another_app,
        "go-volc-sdk-golang/02-ListRelayStream": illegal_room,
        "go-volc-sdk-golang/03-StartPushSingleStreamToCDN": unknown_app,
        "go-volc-sdk-golang/04-StopPushStreamToCDN": unknown_app,
        "py-core/01-StartRelayStream": (
            "InvalidParameter",
            "missing required parameter: Control.VideoWidth",
        ),
        "py-core/02-ListRelayStream": illegal_room,
        "py-volcengine/01-StartRelayStream": another_app,
        "py-volcengine/02-ListRelayStream": illegal_room,
        "py-volcengine/03-StartPushSingleStreamToCDN": another_app,
        "py-volcengine/04-ListRelayStream": illegal_room,
    }
    assert len(answers) == 10
    assert GO_TIME - PYTHON_TIME == 117


def test_error_rows_are_the_contracts() -> None:
    """docs/contract/volcengine.md 5.1 and 5.2: code -> (CodeN, HTTP status)."""
    assert {row.code: (row.code_n, row.http_status) for row in errors.GATEWAY.values()} == {
        "MissingParameter": (100002, 400),
        "MissingAuthenticationToken": (100003, 401),
        "MissingRequestInfo": (100004, 400),
        "MissingSignature": (100005, 401),
        "InvalidTimestamp": (100006, 400),
        "ServiceNotFound": (100007, 404),
        "InvalidActionOrVersion": (100008, 404),
        "InvalidAccessKey": (100009, 401),
        "SignatureDoesNotMatch": (100010, 401),
        "ServiceUnavailableTemp": (100019, 503),
        "MethodNotAllowed": (100020, 405),
        "InvalidAuthorization": (100024, 400),
        "InvalidCredential": (100025, 400),
        "InvalidSecretToken": (100026, 401),
    }
    business = [row for row in vars(errors).values() if isinstance(row, errors.Row) and not row.code_n]
    assert {row.code: row.http_status for row in business} == {
        "InvalidParameter": 400,
        "InvalidParameter.IllegalRoomID": 400,
        "InvalidParameter.IllegalAppId": 400,
        "InvalidParameter.NotExistAppId": 400,
        "InvalidParameter.InvalidRtmpAddress": 400,
        "InvalidParameter.BodyIsEmpty": 400,
        "InvalidParameter.Unmarshal": 400,
        "InvalidParameter.SizeOverLimit": 400,
        "InvalidParameter.ErrorActiveTaskNotFound": 400,
        "FlowLimitExceeded.TaskNumberOverLimit": 429,
        "FlowLimitExceeded.QPSOverLimit": 429,
        "AccessDenied.NoPermissionForApp": 403,
        "AccessDenied.ServiceNotEnabled": 403,
        "InternalError": 500,
    }
    assert {row.code_n for row in business} == {None}


def test_a_path_that_is_nobodys_answers_with_an_envelope() -> None:
    answer = call(FakeGateway().app, "GET", "/elsewhere?Action=ListRelayStream&Version=2023-11-01")
    assert answer.status == 404
    error = answer.json()["ResponseMetadata"]["Error"]
    assert error["Code"] == "InvalidActionOrVersion"
