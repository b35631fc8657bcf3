"""The family of single pushes: fields, ranges, identity, what Get answers (docs/contract/volcengine.md 9.1
to 9.3)."""

import copy
import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog

from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage
from sluice.core.rooms import StreamIndex
from sluice.core.tasks import Kind, MediaType, PushSpec
from tests.unit.asgi import Answer
from tests.unit.test_volcengine_gateway import APP, NOW, FakeGateway, error_of
from tests.unit.test_volcengine_relay import ABSENT

START, STOP, GET = "StartPushSingleStreamToCDN", "StopPushStreamToCDN", "GetPushSingleStreamToCDNTask"
REPEATED = "The task has been started. Please do not call the startup task interface repeatedly"
URL = "rtmp://cdn.example/live/stream-key?sign=S"


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def request(**changes: object) -> dict[str, Any]:
    """A start that is in order, with changes by dotted path (`Stream__UserId=…`); ABSENT removes."""
    document: dict[str, Any] = {
        "AppId": APP.app_id,
        "RoomId": "Room1",
        "TaskId": "Task1",
        "Stream": {"UserId": "user1"},
        "PushURL": URL,
        "Control": {},
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


def stop(gateway: FakeGateway, task_id: str = "Task1") -> Answer:
    body = {"AppId": APP.app_id, "RoomId": "Room1", "TaskId": task_id}
    return gateway.send(STOP, json.dumps(body).encode())


def get(gateway: FakeGateway, **query: str) -> Answer:
    return gateway.send(
        GET, method="GET", query="&" + urlencode({"AppId": APP.app_id, "RoomId": "Room1", **query})
    )


def shown(gateway: FakeGateway, **query: str) -> dict[str, Any]:
    answer = get(gateway, **query)
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json()["Result"]["PushSingleStreamToCDNTask"]
    return document


def spec_of(gateway: FakeGateway, **changes: object) -> PushSpec:
    answer = start(gateway, request(**changes))
    assert answer.status == 200, answer.body
    assert answer.json()["Result"] == "ok"
    spec: PushSpec = gateway.tasks.runs[-1].spec
    return spec


def test_defaults(gateway: FakeGateway) -> None:
    assert spec_of(gateway) == PushSpec(URL, StreamIndex.CAMERA, MediaType.AUDIO_VIDEO, 180)
    run = gateway.tasks.runs[-1]
    assert (run.kind, run.user_id, run.business_id) == (Kind.PUSH, "user1", "")


def test_all_fields(gateway: FakeGateway) -> None:
    control = {"MediaType": 1, "MaxIdleTime": 86_400}
    stream = {"UserId": "user2", "StreamType": 1}
    url = "rtmps://cdn.example:4443/app/inst/key"
    spec = spec_of(gateway, Control=control, Stream=stream, BusinessId="b", PushURL=url)
    assert spec == PushSpec(url, StreamIndex.SCREEN, MediaType.AUDIO, 86_400)
    assert gateway.tasks.runs[-1].business_id == "b"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PushURL": ABSENT}, "missing required parameter: PushURL"),
        ({"PushURL": None}, "missing required parameter: PushURL"),
        ({"Stream": ABSENT}, "missing required parameter: Stream"),
        ({"Stream__UserId": ABSENT}, "missing required parameter: Stream.UserId"),
        ({"Control": ABSENT}, "missing required parameter: Control"),
        ({"TaskId": ""}, "missing required parameter: TaskId"),
        ({"Stream__StreamType": 2}, "invalid parameter: Stream.StreamType: must be at most 1"),
        ({"Control__MediaType": 2}, "invalid parameter: Control.MediaType: must be at most 1"),
        ({"Control__MaxIdleTime": 9}, "invalid parameter: Control.MaxIdleTime: must be at least 10"),
        ({"Control__MaxIdleTime": 86_401}, "invalid parameter: Control.MaxIdleTime: must be at most 86400"),
    ],
)
def test_fields_outside_the_contract(gateway: FakeGateway, changes: dict[str, object], message: str) -> None:
    assert error_of(start(gateway, request(**changes))) == (400, "InvalidParameter", message)
    assert gateway.tasks.runs == []


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example/live/key",
        "rtmp:///live/key",
        "rtmp://cdn.example",
        "rtmp://cdn.example/",
        "rtmp://cdn.example:99999/live/key",
        "rtmp://[::1/live/key",
        "rtmp://cdn.example/live/k ey",
        "rtmp://cdn.example/live/key\r\nx",
        "rtmp://cdn.example/live/key\u2028x",
        "rtmp://cdn.example/live/" + "k" * 4096,
        "nonsense",
    ],
)
def test_addresses_that_are_no_rtmp(gateway: FakeGateway, url: str) -> None:
    expected = (400, "InvalidParameter.InvalidRtmpAddress", "invalid rtmp address")
    assert error_of(start(gateway, request(PushURL=url))) == expected


def test_old_versions_answer_business_errors_with_200(gateway: FakeGateway) -> None:
    answer = start(gateway, request(PushURL="http://x/y"), version="2020-12-01")
    assert error_of(answer)[:2] == (200, "InvalidParameter.InvalidRtmpAddress")


def test_a_repeated_start_changes_nothing(gateway: FakeGateway) -> None:
    assert start(gateway).json()["Result"] == "ok"
    assert start(gateway, request(PushURL="rtmp://other.example/a/b")).json()["Result"] == REPEATED
    assert [run.spec.url for run in gateway.tasks.runs] == [URL]
    assert stop(gateway).json()["Result"] == "ok"
    assert start(gateway).json()["Result"] == "ok", "an ended TaskId starts a new run"


def test_stop_of_what_is_not_live(gateway: FakeGateway) -> None:
    gone = (400, "InvalidParameter.ErrorActiveTaskNotFound", "active task not found")
    assert error_of(stop(gateway)) == gone
    start(gateway)
    stop(gateway)
    assert error_of(stop(gateway)) == gone


def test_get_shows_the_task(gateway: FakeGateway) -> None:
    start(gateway, request(Control={"MaxIdleTime": 20}))
    begun_ms = int(NOW * 1000)
    expected = {
        "Stream": {"UserId": "user1", "StreamType": 0},
        "PushURL": URL,
        "Control": {"MediaType": 0, "MaxIdleTime": 20},
        "StartTime": begun_ms,
        "EndTime": 0,
        "Status": 1,
        "PushStreamState": 0,
        "StopReason": "",
    }
    assert shown(gateway, TaskId="Task1") == expected
    gateway.tasks.runs[-1] = replace(gateway.tasks.runs[-1], state=State.RUNNING, stage=PushStage.PUSHING)
    assert shown(gateway, TaskId="Task1") == expected | {"Status": 2, "PushStreamState": 5}
    ended: dict[str, Any] = {
        "state": State.FAILED,
        "reason": Reason.DESTINATION_REFUSED,
        "ended_at": NOW + 1.5,
    }
    gateway.tasks.runs[-1] = replace(gateway.tasks.runs[-1], **ended)
    told = {"Status": 4, "PushStreamState": 0, "StopReason": "StartTaskFailed", "EndTime": begun_ms + 1500}
    assert shown(gateway, TaskId="Task1") == expected | told


def test_get_finds_tasks_named_after_their_user(gateway: FakeGateway) -> None:
    for task_id in ("Task1", "user9@@Task2", "user9"):
        start(gateway, request(TaskId=task_id, PushURL=f"rtmp://cdn.example/live/{task_id}"))
    assert shown(gateway, TaskId="Task1", UserId="user9")["PushURL"].endswith("/Task1")
    assert shown(gateway, TaskId="Task2", UserId="user9")["PushURL"].endswith("/user9@@Task2")
    assert shown(gateway, UserId="user9")["PushURL"].endswith("/user9")
    gone = (400, "InvalidParameter.ErrorActiveTaskNotFound", "active task not found")
    assert error_of(get(gateway, TaskId="Task2")) == gone
    missing = (400, "InvalidParameter", "missing required parameter: TaskId")
    assert error_of(get(gateway)) == missing


def test_logs_do_not_show_the_stream_key(gateway: FakeGateway) -> None:
    with structlog.testing.capture_logs() as logs:
        start(gateway)
    assert [log["target"] for log in logs if log["event"] == "push accepted"] == [
        "rtmp://cdn.example/live/st***?sign=***"
    ]
