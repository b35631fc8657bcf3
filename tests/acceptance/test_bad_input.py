"""What is wrong gets a clear answer, in the dialect's codes or as the reason of a failed task."""

import asyncio
import socket
import uuid
from typing import Any

import aiohttp
import pytest

from sluice.client import CallFailed, Client
from sluice.core.apps import AccessKey
from tests.acceptance.node import ServedNode
from tests.integration.nginx import Nginx

pytestmark = pytest.mark.anyio


async def refusal(node: ServedNode, **changes: Any) -> dict[str, Any]:
    """The Error of a StartRelayStream that is right but for `changes`; None takes a parameter away."""
    room = f"room-{uuid.uuid4().hex[:8]}"
    params: dict[str, Any] = {
        "RoomId": room,
        "TaskId": "task",
        "UserId": "source",
        "Token": node.token(room, "source", publish=True),
        "Control": {"StreamUrl": "http://127.0.0.1:9/clip.mp4", "StreamMode": 1},
        **changes,
    }
    with pytest.raises(CallFailed) as caught:
        await node.call("StartRelayStream", **{name: v for name, v in params.items() if v is not None})
    assert caught.value.document is not None
    error: dict[str, Any] = caught.value.document["ResponseMetadata"]["Error"]
    return error


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"AppId": "f" * 24}, "InvalidParameter.NotExistAppId", "AppId does not exist"),
        ({"RoomId": None}, "InvalidParameter", "missing required parameter: RoomId"),
        ({"TaskId": "a b"}, "InvalidParameter", "TaskId"),
        ({"RoomId": "no/slash"}, "InvalidParameter.IllegalRoomID", "illegal RoomId"),
        ({"MaxIdleTime": "60"}, "InvalidParameter.Unmarshal", "MaxIdleTime"),
        ({"Control": {"StreamUrl": "file:///etc/passwd", "StreamMode": 1}}, "InvalidParameter", "http://"),
        ({"Token": "001nonsense"}, "InvalidParameter", "Token"),
    ],
)
async def test_a_refused_call_names_the_field_and_the_rule(
    node: ServedNode, changes: dict[str, Any], code: str, words: str
) -> None:
    error = await refusal(node, **changes)
    assert error["Code"] == code
    assert words in error["Message"]


async def test_a_token_for_another_room_is_refused(node: ServedNode) -> None:
    error = await refusal(node, Token=node.token("another-room", "source", publish=True))
    assert error["Code"] == "InvalidParameter"
    assert "another RoomId" in error["Message"]


async def test_a_token_that_may_not_publish_is_refused(node: ServedNode) -> None:
    error = await refusal(node, RoomId="room-x", Token=node.token("room-x", "source", publish=False))
    assert "does not allow to publish" in error["Message"]


async def test_a_wrong_signature_is_refused(node: ServedNode) -> None:
    key = AccessKey(node.credentials.access_key, "wrong", frozenset())
    client = Client(node.url, key, "")
    with pytest.raises(CallFailed) as caught:
        await asyncio.to_thread(client.call, "ListRelayStream", "2023-11-01", {"RoomId": "r"}, 1.0)
    assert caught.value.document is not None
    error = caught.value.document["ResponseMetadata"]["Error"]
    assert error["Code"] == "InvalidTimestamp"


async def test_no_signature_and_malformed_json_are_refused(node: ServedNode) -> None:
    url = f"{node.url}/?Action=StartRelayStream&Version=2023-11-01"
    async with aiohttp.ClientSession() as session, session.post(url, data=b"{") as response:
        document = await response.json()
        assert response.status == 401
        assert document["ResponseMetadata"]["Error"]["Code"] == "MissingAuthenticationToken"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("http://10.0.0.1/clip.mp4", "address_not_allowed", "--allow-networks"),
        ("{files}/page.mp4", "source_unsupported", "HTML"),
        ("{files}/hevc.mp4", "source_unsupported", "HEVC"),
    ],
)
async def test_a_source_that_can_never_play_fails_at_once(
    node: ServedNode, files: str, path: str, reason: str, words: str
) -> None:
    run = await node.start("bad-sources", path.format(files=files))
    document = await node.until_state(run, "failed")
    assert document["reason"] == reason
    assert words in document["reason_text"]


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("{files}/nothing.mp4", "source_refused", "404"),
        ("http://host.invalid/clip.mp4", "source_unreachable", "host.invalid"),
        ("http://127.0.0.1:{port}/clip.mp4", "source_unreachable", "127.0.0.1"),
        ("rtmp://127.0.0.1:{port}/live/x", "source_unreachable", "127.0.0.1"),
        ("{rtmp}", "source_refused", "no such stream"),
    ],
)
async def test_a_source_that_may_still_come_is_tried_until_the_idle_time_is_over(
    node: ServedNode, files: str, nginx: Nginx, path: str, reason: str, words: str
) -> None:
    url = path.format(files=files, port=closed_port(), rtmp=nginx.rtmp("absent", "strict"))
    run = await node.start("late-sources", url, max_idle=5)
    trying = await node.until(run, lambda task: task["reason_text"] != "")
    assert trying["state"] in ("starting", "failed")
    document = await node.until_state(run, "failed")
    assert document["reason"] == reason
    assert words in document["reason_text"]


async def test_watching_needs_a_token_of_the_room_with_the_right(node: ServedNode) -> None:
    async with aiohttp.ClientSession() as session:

        async def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
            url = node.whep_url("some-room", "source")
            async with session.post(url, data="v=0\r\n", headers=headers) as response:
                return response.status

        assert await status("") == 401
        assert await status(node.token("another-room", "guest")) == 401
        assert await status(node.token("some-room", "guest", subscribe=False)) == 403
        assert await status(node.token("some-room", "guest")) == 400


async def test_the_node_goes_on_after_all_that(node: ServedNode) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/healthz") as response:
        assert await response.json() == {"status": "ok"}
    assert len(node.children("sluice.media")) >= 1
