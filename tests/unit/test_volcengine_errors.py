"""Every error row that sluice uses, provoked (docs/contract/volcengine.md 4.1, 5.1, 5.2;
docs/contract/signature.md 5)."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from sluice.api.volcengine import errors
from sluice.api.volcengine.gateway import BODY_LIMIT
from sluice.core.apps import AccessKey, Feature
from sluice.core.errors import Overloaded, RoomError
from sluice.wire.signature import RequestHead, parse_query, sign
from tests.unit.asgi import Answer, call
from tests.unit.test_volcengine_gateway import APP, IDENTITY, NOW, OTHER_APP, OWNER, FakeGateway

#: In which a relay can be stopped; the first answers 200 to failures of the call itself.
VERSIONS = ("2020-12-01", "2023-11-01")
STRANGE = AccessKey("AKLTstrange", "secret", frozenset())
TAKEN_AWAY = "to be taken away"


def send(
    gateway: FakeGateway,
    version: str,
    body: bytes = IDENTITY,
    *,
    action: str = "StopRelayStream",
    method: str = "POST",
    key: AccessKey = OWNER,
    now: float = NOW,
    service: str = "rtc",
    edit: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers,
) -> Answer:
    """A signed call, with its headers edited afterwards."""
    query = f"Action={action}&Version={version}"
    head = RequestHead(method, "/", parse_query(query), (("Host", "h"),))
    headers = edit({"Host": "h", **sign(head, body, key, now, service=service)})
    lines = [(name, value) for name, value in headers.items() if value is not TAKEN_AWAY]
    return call(gateway.app, method, f"/?{query}", lines, [body])


def with_authorization(old: str, new: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {**headers, "Authorization": headers["Authorization"].replace(old, new)}


def without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {**headers, name: TAKEN_AWAY}


def body(**changes: object) -> bytes:
    return json.dumps(json.loads(IDENTITY) | changes).encode()


def without_relay(gateway: FakeGateway, version: str) -> Answer:
    gateway.apps.replace([replace(APP, features=frozenset({Feature.PUSH}))], [OWNER])
    return send(gateway, version)


def too_often(gateway: FakeGateway, version: str) -> Answer:
    answer = send(gateway, version)
    while b"QPSOverLimit" not in answer.body:
        answer = send(gateway, version)
    return answer


def wrong_session_token(gateway: FakeGateway, version: str) -> Answer:
    key = replace(OWNER, session_token="STS")
    gateway.apps.replace([APP], [key])
    return send(gateway, version, key=key)


def behind(name: str, error: Exception) -> Callable[[FakeGateway, str], Answer]:
    """The call fails behind the gateway."""

    def provoke(gateway: FakeGateway, version: str) -> Answer:
        async def fail(*_: object) -> None:
            raise error

        setattr(gateway.tasks, name, fail)
        return send(gateway, version)

    return provoke


GATEWAY: list[tuple[str, int, int, str, Callable[[FakeGateway, str], Answer]]] = [
    (
        "MissingParameter",
        100002,
        400,
        "The request is missing Action parameter.",
        lambda gateway, version: send(gateway, version, action=""),
    ),
    (
        "MissingAuthenticationToken",
        100003,
        401,
        "Request is missing Authentication Token.",
        lambda gateway, version: send(gateway, version, edit=without("Authorization")),
    ),
    (
        "MissingRequestInfo",
        100004,
        400,
        "The request is missing X-Date information.",
        lambda gateway, version: send(gateway, version, edit=without("X-Date")),
    ),
    (
        "MissingSignature",
        100005,
        401,
        "The request is missing signature.",
        lambda gateway, version: send(
            gateway, version, edit=with_authorization(" Signature=", " Signature=, S=")
        ),
    ),
    (
        "InvalidTimestamp",
        100006,
        400,
        "The Signature of the request is expired.",
        lambda gateway, version: send(gateway, version, now=NOW - 901),
    ),
    (
        "ServiceNotFound",
        100007,
        404,
        "This service[iam] not found.",
        lambda gateway, version: send(gateway, version, service="iam"),
    ),
    (
        "InvalidActionOrVersion",
        100008,
        404,
        "Could not find operation DescribeWeather for version {version}.",
        lambda gateway, version: send(gateway, version, action="DescribeWeather"),
    ),
    (
        "InvalidAccessKey",
        100009,
        401,
        "The accesskey [AKLTstrange] included in the request is invalid.",
        lambda gateway, version: send(gateway, version, key=STRANGE),
    ),
    (
        "SignatureDoesNotMatch",
        100010,
        401,
        "The request signature we calculated does not match the signature you provided. Check your Secret "
        "Access Key and signing method. Consult the service documentation for details.",
        lambda gateway, version: send(gateway, version, key=replace(OWNER, secret_key="wrong")),
    ),
    (
        "ServiceUnavailableTemp",
        100019,
        503,
        "Service is unavailable temporarily.",
        behind("stop_task", RoomError("try again in a second")),
    ),
    (
        "MethodNotAllowed",
        100020,
        405,
        "Method PUT is not allowed.",
        lambda gateway, version: send(gateway, version, method="PUT"),
    ),
    (
        "InvalidAuthorization",
        100024,
        400,
        "Invalid 'Authorization' header, Pls check authorization header.",
        lambda gateway, version: send(gateway, version, edit=with_authorization("HMAC-SHA256", "Bearer")),
    ),
    (
        "InvalidCredential",
        100025,
        400,
        "Invalid credential in 'Authorization', Pls check your authorization header.",
        lambda gateway, version: send(gateway, version, edit=with_authorization("/request", "")),
    ),
    (
        "InvalidSecretToken",
        100026,
        401,
        "Invalid secret token, msg: the session token is not the one of this access key.",
        wrong_session_token,
    ),
]
BUSINESS: list[tuple[str, int, str, Callable[[FakeGateway, str], Answer]]] = [
    (
        "InvalidParameter",
        400,
        "missing required parameter: TaskId",
        lambda gateway, version: send(gateway, version, body(TaskId=None)),
    ),
    (
        "InvalidParameter",
        400,
        "invalid parameter: TaskId: must be 1 to 128 of the characters a-z A-Z 0-9 _ @ - .",
        lambda gateway, version: send(gateway, version, body(TaskId="a b")),
    ),
    (
        "InvalidParameter.ErrorActiveTaskNotFound",
        400,
        "active task not found",
        lambda gateway, version: send(gateway, version),
    ),
    (
        "InvalidParameter.InvalidRtmpAddress",
        400,
        "invalid rtmp address",
        lambda gateway, version: send(
            gateway,
            version,
            body(Stream={"UserId": "u"}, PushURL="http://h/a/b", Control={}),
            action="StartPushSingleStreamToCDN",
        ),
    ),
    (
        "InvalidParameter.IllegalRoomID",
        400,
        "illegal RoomId",
        lambda gateway, version: send(gateway, version, body(RoomId="Room 1")),
    ),
    (
        "InvalidParameter.IllegalAppId",
        400,
        "illegal AppId",
        lambda gateway, version: send(gateway, version, body(AppId="a/b")),
    ),
    (
        "InvalidParameter.NotExistAppId",
        400,
        "AppId does not exist",
        lambda gateway, version: send(gateway, version, body(AppId="a" * 24)),
    ),
    (
        "InvalidParameter.BodyIsEmpty",
        400,
        "request body is empty",
        lambda gateway, version: send(gateway, version, b""),
    ),
    (
        "InvalidParameter.Unmarshal",
        400,
        "request body cannot be parsed: not a JSON object",
        lambda gateway, version: send(gateway, version, b"[]"),
    ),
    (
        "InvalidParameter.Unmarshal",
        400,
        "request body cannot be parsed: TaskId: input should be a valid string",
        lambda gateway, version: send(gateway, version, body(TaskId=1)),
    ),
    (
        "InvalidParameter.SizeOverLimit",
        400,
        "request body is too large",
        lambda gateway, version: send(gateway, version, b" " * (BODY_LIMIT + 1)),
    ),
    (
        "FlowLimitExceeded.TaskNumberOverLimit",
        429,
        "1.2 cores needed, 0.3 free",
        behind("stop_task", Overloaded("1.2 cores needed, 0.3 free")),
    ),
    ("FlowLimitExceeded.QPSOverLimit", 429, "QPS over limit", too_often),
    (
        "AccessDenied.ServiceNotEnabled",
        403,
        "service is not enabled",
        without_relay,
    ),
    (
        "AccessDenied.NoPermissionForApp",
        403,
        "no permission for app",
        lambda gateway, version: send(gateway, version, body(AppId=OTHER_APP.app_id)),
    ),
    ("InternalError", 500, "internal error", behind("stop_task", KeyError("of ours"))),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("code", "code_n", "status", "message", "provoke"), GATEWAY, ids=[row[0] for row in GATEWAY]
)
def test_gateway(
    version: str,
    code: str,
    code_n: int,
    status: int,
    message: str,
    provoke: Callable[[FakeGateway, str], Answer],
) -> None:
    answer = provoke(FakeGateway(), version)
    error = {"CodeN": code_n, "Code": code, "Message": message.format(version=version)}
    assert answer.status == status, "the same in every version"
    check_failure(answer, version, error)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("code", "status", "message", "provoke"), BUSINESS, ids=[row[0] for row in BUSINESS])
def test_business(
    version: str, code: str, status: int, message: str, provoke: Callable[[FakeGateway, str], Answer]
) -> None:
    answer = provoke(FakeGateway(), version)
    assert answer.status == (200 if version == "2020-12-01" else status)
    check_failure(answer, version, {"Code": code, "Message": message})


def check_failure(answer: Answer, version: str, error: dict[str, object]) -> None:
    """The envelope is complete whatever is wrong."""
    document = answer.json()
    metadata = document.pop("ResponseMetadata")
    assert document == {}
    assert metadata.pop("Error") == error
    assert metadata.pop("Action") in ("", "StopRelayStream", "DescribeWeather", "StartPushSingleStreamToCDN")
    assert metadata.pop("RequestId") == answer.headers["x-tt-logid"]
    assert metadata == {"Version": version, "Service": "rtc", "Region": "cn-north-1"}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_no_row_is_left_out() -> None:
    used = {row.code for row in vars(errors).values() if isinstance(row, errors.Row)} | set(errors.GATEWAY)
    assert used == {row[0] for row in GATEWAY} | {row[0] for row in BUSINESS}


@pytest.mark.parametrize(
    ("action", "method", "version", "status"),
    [
        ("StopRelayStream", "POST", "2020-12-01", 200),
        ("StopRelayStream", "POST", "2023-11-01", 400),
        ("StopPushStreamToCDN", "POST", "2020-12-01", 200),
        ("StopPushStreamToCDN", "POST", "2023-06-01", 200),
        ("StopPushStreamToCDN", "POST", "2023-11-01", 400),
        ("GetRoomOnlineUsers", "GET", "2023-08-01", 400),
        ("GetRoomOnlineUsers", "GET", "2023-11-01", 400),
        ("CreateCallback", "POST", "2020-12-01", 200),
    ],
)
def test_status_of_a_failed_call_in_each_version(action: str, method: str, version: str, status: int) -> None:
    answer = send(FakeGateway(), version, b"{}" if method == "POST" else b"", action=action, method=method)
    assert answer.status == status
    error = answer.json()["ResponseMetadata"]["Error"]
    assert error == {"Code": "InvalidParameter", "Message": "missing required parameter: AppId"}


ALL_VERSIONS = ("2020-12-01", "2023-06-01", "2023-08-01", "2023-11-01", "2023-07-20", "2024-01-01")


@pytest.mark.parametrize(
    ("action", "method", "versions"),
    [
        *(
            (f"{verb}RelayStream", "POST", ("2020-12-01", "2023-11-01"))
            for verb in ("Start", "Update", "Stop")
        ),
        ("ListRelayStream", "GET", ("2020-12-01", "2023-11-01")),
        ("StartPushSingleStreamToCDN", "POST", ("2020-12-01", "2023-06-01", "2023-11-01")),
        ("StopPushStreamToCDN", "POST", ("2020-12-01", "2023-06-01", "2023-11-01")),
        ("GetPushSingleStreamToCDNTask", "GET", ("2020-12-01", "2023-06-01", "2023-11-01")),
        ("StartPushMixedStreamToCDN", "POST", ()),
        ("UpdatePushMixedStreamToCDN", "POST", ()),
        ("GetPushMixedStreamToCDNTask", "GET", ()),
        ("UpdatePushSingleStreamToCDN", "POST", ()),
        ("GetRelayStream", "GET", ()),
        *((f"{verb}Callback", "POST", ("2020-12-01",)) for verb in ("Create", "Update", "Delete")),
        ("GetCallback", "GET", ("2020-12-01",)),
        ("GetRoomOnlineUsers", "GET", ("2023-08-01", "2023-11-01")),
        ("BanRoomUser", "POST", ("2020-12-01", "2023-11-01")),
    ],
)
def test_versions_and_methods_of_each_action(action: str, method: str, versions: tuple[str, ...]) -> None:
    """docs/contract/volcengine.md 2. What comes before the signature needs none."""
    for version in ALL_VERSIONS:
        codes = {
            sent: call(FakeGateway().app, sent, f"/?Version={version}&Action={action}").json()[
                "ResponseMetadata"
            ]["Error"]["Code"]
            for sent in ("GET", "POST")
        }
        if version in versions:
            other = "GET" if method == "POST" else "POST"
            assert codes == {method: "MissingAuthenticationToken", other: "MethodNotAllowed"}
        else:
            assert set(codes.values()) == {"InvalidActionOrVersion"}
