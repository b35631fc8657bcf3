"""Targets: what callers of the API send: signatures, tokens, and the bodies of calls that are signed."""

import base64
import hmac
import struct
from functools import cache

from sluice.core.apps import App
from sluice.core.errors import AccessRefused
from sluice.core.ids import AppId, RoomId
from sluice.wire.signature import Policy, RequestHead, SignatureError, parse_query, read_claim, sign
from sluice.wire.token import VERSION, Grant, Privilege, make, verify
from tests.fuzz.target import Choices, Target
from tests.fuzz.wire import DATA
from tests.unit.asgi import Answer
from tests.unit.heybox import CREATE, PUSH, PUSHED, STOP, Api
from tests.unit.test_volcengine_gateway import APP, NOW, OWNER, FakeGateway

_ACTIONS = (
    "StartRelayStream",
    "UpdateRelayStream",
    "StopRelayStream",
    "ListRelayStream",
    "StartPushSingleStreamToCDN",
    "StopPushStreamToCDN",
    "GetPushSingleStreamToCDNTask",
    "CreateCallback",
    "BanRoomUser",
    "GetRoomOnlineUsers",
)
_TYPES = ("application/json", "application/x-www-form-urlencoded")


def _answered(answer: Answer) -> None:
    assert answer.status < 500, answer.body


def _signed_body(data: bytes) -> None:
    choices, gateway = Choices(data), FakeGateway()
    action = _ACTIONS[choices.number(1) % len(_ACTIONS)]
    kind = _TYPES[choices.number(1) & 1]
    _answered(gateway.send(action, choices.rest(), content_type=kind))


@cache
def _api() -> Api:
    return Api()


def _bot_body(data: bytes) -> None:
    choices, api = Choices(data), _api()
    api.now += 3600  # its rates are counted for each hour
    path = (PUSH, STOP, CREATE)[choices.number(1) % 3]
    _answered(api.send(path, token=api.token, chunks=[choices.rest()]))


def _head_of(data: bytes) -> RequestHead:
    """A request line and headers, as a server takes them apart."""
    first, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    method, _, target = first.partition(" ")
    path, _, query = target.partition("?")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return RequestHead(method, path, parse_query(query), headers)


def _claim(data: bytes) -> None:
    read_claim(_head_of(data), lambda _: OWNER, NOW, Policy(extra_hosts=("h",))).prove(b"body")


def _signed_heads() -> list[bytes]:
    head = RequestHead("POST", "/", parse_query("Action=A&Version=1"), (("Host", "h"),))
    added = sign(head, b"body", OWNER, NOW)
    lines = [f"{name}: {value}" for name, value in [*head.headers, *added.items()]]
    presigned = (
        "GET /?X-Algorithm=HMAC-SHA256&X-Credential=a%2F20261118%2Fr%2Frtc%2Frequest"
        f"&X-Date={added['X-Date']}&X-Expires=60&X-SignedHeaders=host&X-SignedQueries=Action"
        "&Action=A&X-Signature=00\nHost: h"
    )
    captured = [path.read_bytes().replace(b"\r", b"") for path in (DATA / "captures").rglob("*.raw")]
    return ["\n".join(["POST /?Action=A&Version=1", *lines]).encode(), presigned.encode(), *captured]


_TOKEN_APP = App(AppId("661e0000000000000000543c"), "key")
_ROOM = RoomId("room")


def _token(data: bytes) -> None:
    verify(data.decode("utf-8", "replace"), _TOKEN_APP, _ROOM, None, NOW)


def _signed_message(data: bytes) -> None:
    """What only an app's own key could sign, which a caller's program does with whatever it is given."""
    mac = hmac.digest(_TOKEN_APP.app_key.encode(), data, "sha256")
    packed = struct.pack("<H", len(data)) + data + struct.pack("<H", len(mac)) + mac
    text = VERSION + _TOKEN_APP.app_id + base64.b64encode(packed).decode()
    claims = verify(text, _TOKEN_APP, _ROOM, None, NOW)
    claims.may_publish((Privilege.PUBLISH,), NOW)
    claims.may_subscribe(NOW)


def _grants() -> list[bytes]:
    grant = Grant("room", "user", int(NOW), int(NOW) + 60, {Privilege.PUBLISH: 0, Privilege.SUBSCRIBE: 0})
    return [make(_TOKEN_APP, grant).encode()]


def _messages() -> list[bytes]:
    return [base64.b64decode(token[len(VERSION) + 24 :])[2:-34] for token in _grants()]


_START = (
    f'\0\0{{"AppId":"{APP.app_id}","RoomId":"r","TaskId":"t","UserId":"u","Token":"","Control":{{"StreamUrl":'
    '"http://example.com/a","StreamMode":1,"MediaType":0}}'
).encode()
TARGETS = {
    "api_body": Target(
        _signed_body,
        (),
        lambda: (_START, b"\0\1AppId=a&Control.StreamUrl=http://h&Control.StreamMode=1"),
        free_s=0.5,
    ),
    "bot_body": Target(_bot_body, (), lambda: (b"\0" + repr(PUSHED).replace("'", '"').encode(),), free_s=0.5),
    "signature": Target(_claim, (SignatureError,), _signed_heads),
    "token": Target(_token, (AccessRefused,), _grants),
    "token_message": Target(_signed_message, (AccessRefused,), _messages),
}
