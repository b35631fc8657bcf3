"""A whole life of tasks with the vendor's SDKs, unmodified: only the host is ours."""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.node import ServedNode

pytestmark = [pytest.mark.anyio, pytest.mark.light]

SDKS = Path(__file__).parent / "sdks"
REPEATED = "The task has been started. Please do not call the startup task interface repeatedly"
NOT_FOUND = {"Error": "InvalidParameter.ErrorActiveTaskNotFound"}
OK = {"Result": "ok"}
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Call:
    """`expected` is the whole answer; what is only known later is looked at by the test."""

    method: str
    action: str
    parameters: dict[str, Any]
    expected: dict[str, Any] | None = field(default_factory=lambda: OK)


def relay_life(node: ServedNode, room: str, url: str) -> list[Call]:
    where = {"AppId": node.credentials.app_id, "RoomId": room}
    task = {**where, "TaskId": "Task1"}
    control = {"StreamUrl": f"{url}?a=1&b=音", "StreamMode": 1, "Loop": True}
    token = node.token(room, "source", publish=True, subscribe=False)
    start = {**task, "UserId": "source", "Token": token, "MaxIdleTime": 60, "Control": control}
    return [
        Call("POST", "StartRelayStream", start),
        Call("POST", "StartRelayStream", start, {"Result": REPEATED}),
        Call("GET", "ListRelayStream", {**where, "Limit": 10, "Offset": 0}, None),
        Call("POST", "UpdateRelayStream", {**task, "Control": {"StreamUrl": f"{url}?updated=true"}}),
        Call("GET", "ListRelayStream", {**where, "Limit": 1, "Order": 1}, None),
        Call("POST", "StopRelayStream", task),
        Call("POST", "StopRelayStream", task, NOT_FOUND),
    ]


def push_life(node: ServedNode, room: str) -> list[Call]:
    where = {"AppId": node.credentials.app_id, "RoomId": room}
    task = {**where, "TaskId": "Push1"}
    start = {**task, "Stream": {"UserId": "publisher"}, "PushURL": "rtmp://127.0.0.1/live/key", "Control": {}}
    return [
        Call("POST", "StartPushSingleStreamToCDN", start),
        Call("POST", "StartPushSingleStreamToCDN", start, {"Result": REPEATED}),
        Call("GET", "GetPushSingleStreamToCDNTask", task, None),
        Call("POST", "StopPushStreamToCDN", task),
        Call("POST", "StopPushStreamToCDN", task, NOT_FOUND),
        Call("GET", "GetPushSingleStreamToCDNTask", task, None),
    ]


async def drive(
    program: list[str], node: ServedNode, version: str, calls: list[Call]
) -> list[dict[str, Any]]:
    job = {
        "host": node.url.removeprefix("http://"),
        "access_key": node.credentials.access_key,
        "secret_key": node.credentials.secret_key,
        "calls": [
            {"method": call.method, "action": call.action, "version": version, "parameters": call.parameters}
            for call in calls
        ],
    }
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=SDKS
    )
    async with asyncio.timeout(_DEADLINE_S):
        output, _ = await process.communicate(json.dumps(job).encode())
    assert process.returncode == 0
    answers: list[dict[str, Any]] = json.loads(output)
    return answers


@pytest.mark.parametrize("version", ["2020-12-01", "2023-11-01"])
@pytest.mark.parametrize(
    "program",
    [
        [sys.executable, "volcengine_sdk.py"],
        [sys.executable, "volcengine_python_sdk.py"],
        ["node", "openapi_sdk.cjs"],
    ],
    ids=["volcengine", "volcengine-python-sdk", "@volcengine/openapi"],
)
async def test_a_life(node: ServedNode, files: str, program: list[str], version: str) -> None:
    room = f"{program[-1].partition('.')[0]}-{version}"
    url = f"{files}/long.mp4"
    relay, push = relay_life(node, room, url), push_life(node, room)
    answers = await drive(program, node, version, relay + push)
    expected = [call.expected for call in relay + push]
    assert [answer if wanted else None for answer, wanted in zip(answers, expected, strict=True)] == expected

    first, second = (answers[n]["Result"] for n in (2, 4))
    assert (first["Total"], first["Offset"], first["Limit"]) == (1, 1, 10)
    assert first["Task"][0]["StreamUrl"] == f"{url}?a=1&b=音"
    assert (first["Task"][0]["TaskId"], first["Task"][0]["UserId"]) == ("Task1", "source")
    assert second["Task"][0]["StreamUrl"] == f"{url}?updated=true"

    live, ended = (answers[len(relay) + n]["Result"]["PushSingleStreamToCDNTask"] for n in (2, 5))
    assert (live["PushURL"], live["Stream"]) == (
        "rtmp://127.0.0.1/live/key",
        {"UserId": "publisher", "StreamType": 0},
    )
    assert (live["Status"] in (1, 2), live["EndTime"], live["StopReason"]) == (True, 0, "")
    assert ended["Status"] in (2, 3)
