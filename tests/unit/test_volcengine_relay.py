"""The relay family: fields, ranges, the token, the idempotent start, stop and list
(docs/contract/volcengine.md 7, 8)."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
import structlog

from sluice.core.lifecycle import Reason, State
from sluice.core.tasks import MediaType, RelaySpec, StreamMode
from sluice.wire.token import Grant, Privilege, make
from tests.unit.asgi import Answer
from tests.unit.test_volcengine_gateway import APP, NOW, FakeGateway, error_of, list_tasks

START, STOP = "StartRelayStream", "StopRelayStream"
REPEATED = "The task has been started. Please do not call the startup task interface repeatedly"
URL = "rtmp://live.example/app/stream-key?sign=S"
TOKEN = make(APP, Grant("Room1", "user1", 0, int(NOW) + 60, {Privilege.PUBLISH: 0}))
ABSENT = object()


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def request(**changes: object) -> dict[str, Any]:
    """A start that is in order, with changes by dotted path (`Control__Loop=True`); ABSENT removes."""
    document: dict[str, Any] = {
        "AppId": APP.app_id,
        "RoomId": "Room1",
        "TaskId": "Task1",
        "UserId": "user1",
        "Token": TOKEN,
        "Control": {"StreamUrl": URL, "StreamMode": 1},
    }
    for path, value in changes.items():
        *parents, leaf = path.split("__")
        fields = document
        for parent in parents:
            fields = fields[parent]
        fields[leaf] = value
        if value is ABSENT:
            del fields[leaf]
    return copy.deepcopy(document)


def start(gateway: FakeGateway, document: dict[str, Any] | None = None, **options: Any) -> Answer:
    return gateway.send(START, json.dumps(document or request()).encode(), **options)


def spec_of(gateway: FakeGateway, **changes: object) -> RelaySpec:
    answer = start(gateway, request(**changes))
    assert answer.status == 200, answer.body
    assert answer.json()["Result"] == "ok"
    spec: RelaySpec = gateway.tasks.runs[-1].spec
    return spec


@pytest.mark.parametrize("version", ["2020-12-01", "2023-11-01"])
def test_start(gateway: FakeGateway, version: str) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = start(gateway, request(BusinessId="B1"), version=version)
    assert (answer.status, answer.json()["Result"]) == (200, "ok")
    (task,) = gateway.tasks.runs
    assert (task.app_id, task.room_id, task.task_id, task.user_id, task.business_id) == (
        APP.app_id,
        "Room1",
        "Task1",
        "user1",
        "B1",
    )
    assert task.spec == RelaySpec(url=URL, stream_mode=StreamMode.COPY)
    assert logs[0]["source"] == "rtmp://live.example/app/st***?sign=***"


def test_defaults_null_unknown_and_past_start(gateway: FakeGateway) -> None:
    spec = spec_of(
        gateway,
        MaxIdleTime=None,
        BusinessId="",
        Unknown={"a": 1},
        Control__MediaType=None,
        Control__StartTimeStamp=int(NOW) - 5,
        Control__Bitrate=None,
        Control__VideoWidth=7,
        controL=1,
    )
    assert spec == RelaySpec(url=URL, stream_mode=StreamMode.COPY, start_at=int(NOW) - 5)
    assert spec.max_idle_s == 300
    assert gateway.tasks.runs[0].business_id == ""


def test_audio_only_in_transcode_mode_needs_no_size(gateway: FakeGateway) -> None:
    spec = spec_of(
        gateway,
        MaxIdleTime=5,
        Control__MediaType=1,
        Control__StreamMode=ABSENT,
        Control__Loop=True,
        Control__FrameRate=30,
        Control__Bitrate=100000,
        Control__VideoWidth=3,
    )
    assert (spec.media_type, spec.stream_mode) == (MediaType.AUDIO, StreamMode.TRANSCODE)
    assert (spec.loop, spec.frame_rate, spec.bitrate_kbps, spec.max_idle_s) == (True, 30, 100000, 5)
    assert (spec.width, spec.height) == (None, None)


@pytest.mark.parametrize(
    "path",
    ["AppId", "RoomId", "TaskId", "UserId", "Token", "Control", "Control__StreamUrl"],
)
def test_missing(gateway: FakeGateway, path: str) -> None:
    for empty in (ABSENT, None) if path == "Control" else (ABSENT, None, ""):
        expected = (400, "InvalidParameter", f"missing required parameter: {path.replace('__', '.')}")
        assert error_of(start(gateway, request(**{path: empty}))) == expected


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("AppId", 5),
        ("RoomId", ["Room1"]),
        ("Token", True),
        ("BusinessId", 1),
        ("MaxIdleTime", "300"),
        ("MaxIdleTime", ""),
        ("MaxIdleTime", 300.0),
        ("MaxIdleTime", True),
        ("Control", []),
        ("Control", "x"),
        ("Control__StreamUrl", 1),
        ("Control__MediaType", "0"),
        ("Control__StreamMode", 1.5),
        ("Control__StartTimeStamp", "1"),
        ("Control__Loop", 1),
        ("Control__Loop", "true"),
        ("Control__VideoWidth", "640"),
        ("Control__FrameRate", 15.5),
        ("Control__Bitrate", {}),
    ],
)
def test_wrong_json_type(gateway: FakeGateway, path: str, value: object) -> None:
    # A wrong type is told before what is missing: it belongs to the body (5.3).
    status, code, message = error_of(start(gateway, request(**{"UserId": ABSENT, path: value})))
    assert (status, code) == (400, "InvalidParameter.Unmarshal")
    assert message.startswith(f"request body cannot be parsed: {path.replace('__', '.')}: ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("TaskId", "a b"),
        ("TaskId", "a" * 129),
        ("TaskId", "a\n"),
        ("UserId", "é"),
        ("BusinessId", "B****23"),
        ("MaxIdleTime", 4),
        ("MaxIdleTime", 601),
        ("Control__MediaType", 3),
        ("Control__MediaType", -1),
        ("Control__StreamMode", 2),
        ("Control__FrameRate", 0),
        ("Control__FrameRate", 31),
        ("Control__Bitrate", 0),
        ("Control__Bitrate", 100_001),
        ("Control__StartTimeStamp", -1),
        ("Control__StartTimeStamp", int(NOW) + 72 * 3600 + 1),
        ("Control__StartTimeStamp", 10**30),
        ("Control__StreamUrl", "srt://h/x"),
        ("Control__StreamUrl", "file:///etc/passwd"),
        ("Control__StreamUrl", "concat:http://h/a"),
        ("Control__StreamUrl", "live.example/app/key"),
        ("Control__StreamUrl", "rtmp://"),
        ("Control__StreamUrl", "http:///path"),
        ("Control__StreamUrl", "http://h:99999/"),
        ("Control__StreamUrl", "http://[::1/"),
        ("Control__StreamUrl", "http:// h/a"),
        ("Control__StreamUrl", "http://h/a\r\nHost: x"),
        ("Control__StreamUrl", "http://h/" + "a" * 4096),
    ],
)
def test_illegal(gateway: FakeGateway, path: str, value: object) -> None:
    status, code, message = error_of(start(gateway, request(**{path: value})))
    assert (status, code) == (400, "InvalidParameter")
    assert message.startswith(f"invalid parameter: {path.replace('__', '.')}: ")
    assert not gateway.tasks.runs


def test_texts_tell_what_to_do(gateway: FakeGateway) -> None:
    assert error_of(start(gateway, request(Control__StreamUrl="srt://h/x")))[2] == (
        "invalid parameter: Control.StreamUrl: must be an address with a host that begins with one of "
        "http://, https://, rtmp://, rtmps://"
    )
    assert error_of(start(gateway, request(MaxIdleTime=4)))[2] == (
        "invalid parameter: MaxIdleTime: must be at least 5"
    )
    assert error_of(start(gateway, request(Control__StartTimeStamp=int(NOW) + 72 * 3600 + 1)))[2] == (
        "invalid parameter: Control.StartTimeStamp: must be at most 72 h ahead"
    )


@pytest.mark.parametrize("room_id", ["Room 1", "a" * 129, "é"])
def test_illegal_room(gateway: FakeGateway, room_id: str) -> None:
    expected = (400, "InvalidParameter.IllegalRoomID", "illegal RoomId")
    assert error_of(start(gateway, request(RoomId=room_id))) == expected


@pytest.mark.parametrize("url", ["http://h", "https://h:8443/a.m3u8", "rtmp://xxx", "HTTP://h/音?x=1&y=2"])
def test_playable_addresses(gateway: FakeGateway, url: str) -> None:
    assert spec_of(gateway, Control__StreamUrl=url).url == url


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({}, "missing required parameter: Control.VideoWidth"),
        ({"Control__VideoWidth": 640}, "missing required parameter: Control.VideoHeight"),
        (
            {"Control__VideoWidth": 15, "Control__VideoHeight": 480},
            "invalid parameter: Control.VideoWidth: must be 16 to 1920",
        ),
        (
            {"Control__VideoWidth": 640, "Control__VideoHeight": 1921},
            "invalid parameter: Control.VideoHeight: must be 16 to 1920",
        ),
    ],
)
def test_transcoding_of_video(gateway: FakeGateway, size: dict[str, int], expected: str) -> None:
    for mode in (0, ABSENT):
        document = request(Control__StreamMode=mode, **size)
        assert error_of(start(gateway, document)) == (400, "InvalidParameter", expected)


def test_a_size_is_rounded_down_to_even(gateway: FakeGateway) -> None:
    spec = spec_of(gateway, Control__StreamMode=0, Control__VideoWidth=641, Control__VideoHeight=481)
    assert (spec.width, spec.height, spec.stream_mode) == (640, 480, StreamMode.TRANSCODE)


def update(gateway: FakeGateway, **control: object) -> Answer:
    document = {"AppId": APP.app_id, "RoomId": "Room1", "TaskId": "Task1", "Control": control}
    return gateway.send("UpdateRelayStream", json.dumps(document).encode())


def test_an_update_keeps_what_it_leaves_out(gateway: FakeGateway) -> None:
    start(gateway, request(Control__StreamMode=0, Control__VideoWidth=640, Control__VideoHeight=480))
    answer = update(gateway, StreamUrl="http://h/other.mp4", FrameRate=20, Loop=True)
    assert answer.json()["Result"] == "ok"
    spec = gateway.tasks.runs[0].spec
    assert (spec.url, spec.width, spec.height) == ("http://h/other.mp4", 640, 480)
    assert (spec.frame_rate, spec.loop, spec.stream_mode) == (20, True, StreamMode.TRANSCODE)


def test_an_update_to_transcoding_needs_a_size(gateway: FakeGateway) -> None:
    start(gateway, request())
    answer = error_of(update(gateway, StreamUrl="http://h/other.mp4", StreamMode=0))
    assert answer == (400, "InvalidParameter", "missing required parameter: Control.VideoWidth")


def test_an_update_needs_a_live_task_and_an_address(gateway: FakeGateway) -> None:
    assert (
        error_of(update(gateway, StreamUrl="http://h/a.mp4"))[1] == "InvalidParameter.ErrorActiveTaskNotFound"
    )
    assert error_of(update(gateway, StreamMode=1))[2] == "missing required parameter: Control.StreamUrl"


def token(room: str = "Room1", user: str = "user1", end: int = 0, **privileges: int) -> str:
    rights = {Privilege[name]: expire_at for name, expire_at in privileges.items()}
    return make(APP, Grant(room, user, 0, end, rights))


@pytest.mark.parametrize(
    ("text", "media_type", "why"),
    [
        ("001661e****543cf80", 0, "not an RTC token"),
        (token(room="Room2", PUBLISH=0), 0, "another RoomId"),
        (token(user="user2", PUBLISH=0), 0, "another UserId"),
        (token(end=int(NOW) - 1, PUBLISH=0), 0, "expired"),
        (TOKEN[:-12] + "AAAAAAA" + TOKEN[-5:], 0, "signature does not match"),
        (token(SUBSCRIBE=0), 0, "does not allow to publish"),
        (token(PUBLISH=int(NOW) - 1), 0, "does not allow to publish"),
        (token(PUBLISH_AUDIO=0), 0, "does not allow to publish"),
        (token(PUBLISH_AUDIO=0), 2, "does not allow to publish"),
        (token(PUBLISH_VIDEO=0), 1, "does not allow to publish"),
    ],
)
def test_bad_token(gateway: FakeGateway, text: str, media_type: int, why: str) -> None:
    status, code, message = error_of(start(gateway, request(Token=text, Control__MediaType=media_type)))
    assert (status, code) == (400, "InvalidParameter")
    assert message.startswith("invalid parameter: Token: ")
    assert why in message
    assert not gateway.tasks.runs


@pytest.mark.parametrize(("text", "media_type"), [(token(PUBLISH_AUDIO=0), 1), (token(PUBLISH_VIDEO=0), 2)])
def test_token_for_the_kind_that_is_published(gateway: FakeGateway, text: str, media_type: int) -> None:
    spec_of(gateway, Token=text, Control__MediaType=media_type)


@pytest.mark.parametrize("version", ["2020-12-01", "2023-11-01"])
def test_repeated_start(gateway: FakeGateway, version: str) -> None:
    spec = spec_of(gateway)
    # Validated, but neither its token nor its other parameters count (7.1, 5.3).
    again = start(gateway, request(Token="expired", Control__StreamUrl="http://other/"), version=version)
    assert (again.status, again.json()["Result"]) == (200, REPEATED)
    assert "Error" not in again.json()["ResponseMetadata"]
    assert [task.spec for task in gateway.tasks.runs] == [spec]
    assert error_of(start(gateway, request(MaxIdleTime=1)))[0] == 400


def test_a_task_that_is_stopping_is_not_started_by_an_expired_token(gateway: FakeGateway) -> None:
    """It is about to end: what is asked for is another run."""
    spec_of(gateway)
    gateway.tasks.runs[0] = replace(gateway.tasks.runs[0], state=State.STOPPING)
    assert error_of(start(gateway, request(Token="expired")))[0] == 400


def test_same_task_id_elsewhere_and_after_the_end(gateway: FakeGateway) -> None:
    spec_of(gateway)
    spec_of(gateway, RoomId="Room2", Token=token(room="Room2", PUBLISH=0))
    assert gateway.send(STOP, identity()).json()["Result"] == "ok"
    spec_of(gateway)
    assert [task.state.live for task in gateway.tasks.runs] == [False, True, True]


def test_start_that_loses_the_race(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    spec_of(gateway)

    async def not_yet(*_: object) -> None:
        return None

    live = gateway.tasks.runs[0]

    async def lost(*_: object) -> tuple[object, bool]:
        return live, False

    monkeypatch.setattr(gateway.tasks, "find_live", not_yet)
    monkeypatch.setattr(gateway.tasks, "start", lost)
    assert start(gateway).json()["Result"] == REPEATED


def identity() -> bytes:
    return json.dumps({"AppId": APP.app_id, "RoomId": "Room1", "TaskId": "Task1"}).encode()


def test_stop(gateway: FakeGateway) -> None:
    spec_of(gateway)
    assert gateway.send(STOP, identity()).json()["Result"] == "ok"
    assert (gateway.tasks.runs[0].state, gateway.tasks.runs[0].reason) == (State.ENDED, Reason.STOPPED)
    assert error_of(gateway.send(STOP, identity()))[1] == "InvalidParameter.ErrorActiveTaskNotFound"


def test_start_as_a_form(gateway: FakeGateway) -> None:
    form = (
        f"AppId={APP.app_id}&RoomId=Room1&TaskId=Task1&UserId=user1"
        f"&Token={TOKEN.replace('+', '%2B')}&MaxIdleTime=60"
        "&Control.StreamUrl=http%3A%2F%2Fh%2Fa+b&Control.StreamMode=1&Control.Loop=True"
    )
    content_type = "application/x-www-form-urlencoded"

    def send(text: str) -> Answer:
        return gateway.send(START, text.encode(), content_type=content_type)

    assert error_of(send(form.replace("a+b", "a%0Ab")))[2].startswith(
        "invalid parameter: Control.StreamUrl: "
    )
    assert error_of(send(form.replace("a+b", "%FF")))[2].endswith("must be UTF-8")
    assert send(form.replace("a+b", "a%2Bb")).json()["Result"] == "ok"
    spec = gateway.tasks.runs[0].spec
    assert (spec.url, spec.loop, spec.max_idle_s) == ("http://h/a+b", True, 60)
    for old, new in (("=60", "=6.0"), ("=True", "=yes")):
        assert error_of(send(form.replace(old, new)))[:2] == (400, "InvalidParameter")


def test_list_item(gateway: FakeGateway) -> None:
    spec_of(gateway, Control__Loop=True)
    assert list_tasks(gateway).json()["Result"] == {
        "Task": [
            {
                "AppId": APP.app_id,
                "RoomId": "Room1",
                "UserId": "user1",
                "TaskId": "Task1",
                "Status": 1,
                "CreateTime": int(NOW),
                "StreamUrl": URL,
                "StreamMode": 1,
                "MediaType": 0,
                "FrameRate": 15,
            }
        ],
        "Total": 1,
        "Offset": 1,
        "Limit": 10,
    }
    gateway.send(STOP, identity())
    assert list_tasks(gateway).json()["Result"]["Task"][0]["Status"] == 3


def names(gateway: FakeGateway, query: str) -> tuple[list[str], int, int, int]:
    answer = gateway.send(
        "ListRelayStream",
        method="GET",
        query=f"&AppId={APP.app_id}&RoomId=Room1{query}",
        version="2020-12-01",
    )
    result = answer.json()["Result"]
    return [task["TaskId"] for task in result["Task"]], result["Total"], result["Offset"], result["Limit"]


def test_list_pages(gateway: FakeGateway) -> None:
    for number in range(5):
        spec_of(gateway, TaskId=f"T{number}")
    assert names(gateway, "") == (["T4", "T3", "T2", "T1", "T0"], 5, 5, 10)
    assert names(gateway, "&Order=1&Limit=2") == (["T0", "T1"], 2, 2, 2)
    assert names(gateway, "&Limit=2&Offset=4") == (["T0"], 1, 5, 2)
    assert names(gateway, "&Offset=9999") == ([], 0, 9999, 10)


@pytest.mark.parametrize(
    "query",
    [
        "Limit=0",
        "Limit=101",
        "Limit=x",
        "Limit=",
        "Limit=1.0",
        "Limit=%2B1",
        "Limit=1_0",
        "Offset=-1",
        "Offset=10000",
        "Order=2",
        "Limit=" + "9" * 5000,
    ],
)
def test_list_ranges(gateway: FakeGateway, query: str) -> None:
    answer = gateway.send("ListRelayStream", method="GET", query=f"&AppId={APP.app_id}&RoomId=Room1&{query}")
    status, code, message = error_of(answer)
    assert (status, code) == (400, "InvalidParameter")
    assert message.startswith(f"invalid parameter: {query.partition('=')[0]}: ")


def test_list_needs_a_room(gateway: FakeGateway) -> None:
    answer = gateway.send("ListRelayStream", method="GET", query=f"&AppId={APP.app_id}&RoomId=")
    assert error_of(answer)[2] == "missing required parameter: RoomId"
