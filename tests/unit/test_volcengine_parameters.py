"""Properties of the parameters: whatever lies in a field's range is taken as it is, whatever lies outside is
refused with the field's name and the rule (docs/contract/volcengine.md 7.2, 8, 9, 11)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.tasks import LONGEST_AHEAD_S
from tests.unit.asgi import Answer
from tests.unit.test_volcengine_gateway import APP, NOW, FakeGateway, error_of
from tests.unit.test_volcengine_push import request as push_request
from tests.unit.test_volcengine_relay import ABSENT
from tests.unit.test_volcengine_relay import request as relay_request

RELAY, PUSH = "StartRelayStream", "StartPushSingleStreamToCDN"
ID_ALPHABET = "abcXYZ019_@-."
SIZE = {"Control__VideoWidth": 640, "Control__VideoHeight": 480}


def start(action: str, **changes: object) -> tuple[FakeGateway, Answer]:
    """One call at a gateway of its own, so that the limit of calls in a second is far."""
    gateway = FakeGateway()
    document = relay_request(**SIZE | changes) if action == RELAY else push_request(**changes)
    return gateway, gateway.send(action, json.dumps(document).encode())


@dataclass(frozen=True)
class Field:
    """An integer parameter; `taken` finds in the gateway's task what became of it."""

    action: str
    path: str
    low: int
    high: int
    taken: Callable[[Any], object]

    def call(self, value: object) -> tuple[FakeGateway, Answer]:
        return start(self.action, **{self.path.replace(".", "__"): value})

    def refusal(self, value: object) -> tuple[str, str]:
        gateway, answer = self.call(value)
        assert not gateway.tasks.runs
        status, code, message = error_of(answer)
        assert status == 400
        return code, message


BODY_FIELDS = [
    Field(RELAY, "MaxIdleTime", 5, 600, lambda task: task.spec.max_idle_s),
    Field(RELAY, "Control.MediaType", 0, 2, lambda task: task.spec.media_type),
    Field(RELAY, "Control.StreamMode", 0, 1, lambda task: task.spec.stream_mode),
    Field(RELAY, "Control.FrameRate", 1, 30, lambda task: task.spec.frame_rate),
    Field(RELAY, "Control.Bitrate", 1, 100_000, lambda task: task.spec.bitrate_kbps),
    Field(RELAY, "Control.StartTimeStamp", 0, int(NOW) + LONGEST_AHEAD_S, lambda task: task.spec.start_at),
    Field(PUSH, "Stream.StreamType", 0, 1, lambda task: task.spec.stream),
    Field(PUSH, "Control.MediaType", 0, 1, lambda task: task.spec.media_type),
    Field(PUSH, "Control.MaxIdleTime", 10, 86_400, lambda task: task.spec.max_idle_s),
]
each_body_field = pytest.mark.parametrize(
    "field", BODY_FIELDS, ids=lambda field: f"{field.action}.{field.path}"
)


@each_body_field
@settings(max_examples=15)
@given(data=st.data())
def test_what_lies_in_the_range_is_taken(field: Field, data: st.DataObject) -> None:
    value = data.draw(st.integers(field.low, field.high))
    gateway, answer = field.call(value)
    assert answer.json().get("Result") == "ok", answer.body
    assert field.taken(gateway.tasks.runs[0]) == value


@each_body_field
@settings(max_examples=15)
@given(data=st.data())
def test_what_lies_outside_names_field_and_rule(field: Field, data: st.DataObject) -> None:
    value = data.draw(st.integers(max_value=field.low - 1) | st.integers(min_value=field.high + 1))
    code, message = field.refusal(value)
    if field.path == "Control.StartTimeStamp" and value > field.high:
        rule = "must be at most 72 h ahead"
    else:
        rule = f"must be at least {field.low}" if value < field.low else f"must be at most {field.high}"
    assert (code, message) == ("InvalidParameter", f"invalid parameter: {field.path}: {rule}")


@each_body_field
@settings(max_examples=15)
@given(
    value=st.text()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2)
)
def test_what_is_no_integer_is_no_such_body(field: Field, value: object) -> None:
    code, message = field.refusal(value)
    assert code == "InvalidParameter.Unmarshal"
    assert message.startswith(f"request body cannot be parsed: {field.path}: ")


@each_body_field
def test_null_is_absent(field: Field) -> None:
    gateway, answer = field.call(None)
    assert answer.json().get("Result") == "ok", answer.body
    absent, _ = field.call(ABSENT)
    assert gateway.tasks.runs[0].spec == absent.tasks.runs[0].spec


@settings(max_examples=40)
@given(width=st.integers(16, 1920), height=st.integers(16, 1920))
def test_sizes_go_down_to_even(width: int, height: int) -> None:
    gateway, answer = start(
        RELAY, Control__StreamMode=0, Control__VideoWidth=width, Control__VideoHeight=height
    )
    assert answer.status == 200
    spec = gateway.tasks.runs[0].spec
    assert (spec.width, spec.height) == (width - width % 2, height - height % 2)


@settings(max_examples=20)
@given(size=st.integers(max_value=15) | st.integers(min_value=1921), name=st.sampled_from(tuple(SIZE)))
def test_sizes_outside(size: int, name: str) -> None:
    field = name.replace("__", ".")
    bound = "must be at least 16" if size < 16 else "must be at most 1920"
    for action, rule in ((RELAY, "must be 16 to 1920"), ("UpdateRelayStream", bound)):
        document = relay_request(**SIZE, Control__StreamMode=0)
        document["Control"][field.partition(".")[2]] = size
        answer = FakeGateway().send(action, json.dumps(document).encode())
        assert error_of(answer) == (400, "InvalidParameter", f"invalid parameter: {field}: {rule}")
    # What is only copied, or has no picture, has no size.
    for changes in ({"Control__StreamMode": 1}, {"Control__StreamMode": 0, "Control__MediaType": 1}):
        assert start(RELAY, **{name: size}, **changes)[1].status == 200


@settings(max_examples=40)
@given(
    value=st.text(ID_ALPHABET, min_size=1, max_size=128),
    field=st.sampled_from(("RoomId", "TaskId", "UserId", "BusinessId")),
)
def test_ids(value: str, field: str) -> None:
    gateway, _ = start(PUSH, **{"Stream__UserId" if field == "UserId" else field: value})
    names = {"RoomId": "room_id", "TaskId": "task_id", "UserId": "user_id", "BusinessId": "business_id"}
    assert getattr(gateway.tasks.runs[0], names[field]) == value


@settings(max_examples=60)
@given(
    value=st.from_regex(r"(?s).*[^a-zA-Z0-9_@\-.].*", fullmatch=True)
    | st.text(ID_ALPHABET, min_size=129, max_size=140),
    field=st.sampled_from(("AppId", "RoomId", "TaskId", "UserId", "BusinessId")),
)
def test_what_is_no_id(value: str, field: str) -> None:
    rule = "must be 1 to 128 of the characters a-z A-Z 0-9 _ @ - ."
    expected = {
        "AppId": ("InvalidParameter.IllegalAppId", "illegal AppId"),
        "RoomId": ("InvalidParameter.IllegalRoomID", "illegal RoomId"),
    }.get(field, ("InvalidParameter", f"invalid parameter: {field}: {rule}"))
    assert error_of(start(RELAY, **{field: value})[1]) == (400, *expected)


QUERY_FIELDS = [("Offset", 0, 9999), ("Limit", 1, 100), ("Order", 0, 1)]


def list_with(name: str, text: str) -> Answer:
    query = urlencode({"AppId": APP.app_id, "RoomId": "Room1", name: text})
    return FakeGateway().send("ListRelayStream", method="GET", query=f"&{query}")


@pytest.mark.parametrize(("name", "low", "high"), QUERY_FIELDS)
@settings(max_examples=15)
@given(data=st.data())
def test_integers_in_queries(name: str, low: int, high: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(low, high))
    answer = list_with(name, str(value))
    assert answer.status == 200
    if name != "Order":
        assert answer.json()["Result"][name] == value
    outside = data.draw(st.integers(max_value=low - 1) | st.integers(min_value=high + 1))
    status, code, message = error_of(list_with(name, str(outside)))
    assert (status, code) == (400, "InvalidParameter")
    assert message.startswith(f"invalid parameter: {name}: must be ")


@settings(max_examples=40)
@given(text=st.text(max_size=8).filter(lambda text: not (text.isascii() and text.isdigit())))
def test_what_is_no_integer_in_a_query(text: str) -> None:
    status, code, message = error_of(list_with("Limit", text))
    rule = "must be an integer in decimal digits"
    assert (status, code, message) == (400, "InvalidParameter", f"invalid parameter: Limit: {rule}")


@settings(max_examples=20)
@given(letters=st.tuples(*[st.booleans()] * 5), value=st.booleans())
def test_booleans_in_queries_and_forms(letters: tuple[bool, ...], value: bool) -> None:
    word = "true" if value else "false"
    text = "".join(c.upper() if up else c for c, up in zip(word, letters, strict=False))
    gateway = FakeGateway()
    token = relay_request()["Token"]
    form = {"AppId": APP.app_id, "RoomId": "Room1", "TaskId": "T", "UserId": "user1", "Token": token}
    control = {"Control.StreamUrl": "http://h/", "Control.StreamMode": "1", "Control.Loop": text}
    body = urlencode(form | control).encode()
    answer = gateway.send(RELAY, body, content_type="application/x-www-form-urlencoded")
    assert answer.json().get("Result") == "ok", answer.body
    assert gateway.tasks.runs[0].spec.loop is value


@settings(max_examples=30)
@given(
    extra=st.dictionaries(
        st.text(min_size=1, max_size=8).map(lambda name: f"X{name}"),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
        max_size=3,
    )
)
def test_unknown_fields_are_ignored(extra: dict[str, object]) -> None:
    document = relay_request() | extra
    document["Control"] |= extra
    assert FakeGateway().send(RELAY, json.dumps(document).encode()).json()["Result"] == "ok"


@settings(max_examples=60)
@given(body=st.binary(max_size=64))
def test_any_bytes_are_answered(body: bytes) -> None:
    status, code, _ = error_of(FakeGateway().send(RELAY, body))
    assert status == 400
    assert code.startswith("InvalidParameter")
