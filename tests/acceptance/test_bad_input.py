"""A call that is wrong is refused with a clear answer in the dialect's codes."""

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest

from sluice.client import CallFailed, Client
from sluice.core.apps import AccessKey
from tests.acceptance.node import ServedNode

pytestmark = [pytest.mark.anyio, pytest.mark.light]


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


def control(**changes: Any) -> dict[str, Any]:
    """A Control of mode 0 that is in order but for `changes`."""
    usual = {
        "StreamUrl": "http://127.0.0.1:9/clip.mp4",
        "StreamMode": 0,
        "VideoWidth": 320,
        "VideoHeight": 180,
    }
    return usual | changes


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
        ({"MaxIdleTime": 4}, "InvalidParameter", "MaxIdleTime: must be at least 5"),
        ({"Control": control(VideoWidth=8)}, "InvalidParameter", "Control.VideoWidth: must be 16 to 1920"),
        (
            {"Control": control(VideoHeight=1922)},
            "InvalidParameter",
            "Control.VideoHeight: must be 16 to 1920",
        ),
        (
            {"Control": control(VideoWidth=None)},
            "InvalidParameter",
            "missing required parameter: Control.VideoWidth",
        ),
        ({"Control": control(FrameRate=31)}, "InvalidParameter", "Control.FrameRate: must be at most 30"),
        ({"Control": control(Bitrate=0)}, "InvalidParameter", "Control.Bitrate: must be at least 1"),
        ({"Control": control(MediaType=3)}, "InvalidParameter", "Control.MediaType: must be at most 2"),
        ({"Control": control(StreamMode="1")}, "InvalidParameter.Unmarshal", "Control.StreamMode"),
        ({"Control": control(StartTimeStamp=1 << 40)}, "InvalidParameter", "at most 72 h ahead"),
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
        assert await response.json() == {"status": "ok", "failing": []}
    assert len(node.children("sluice.media")) >= 1
