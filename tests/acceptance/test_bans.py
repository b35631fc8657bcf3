"""BanRoomUser over a whole node: who is removed is out, and his tasks end."""

import asyncio
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser

from sluice.core.apps import App
from sluice.wire.token import Grant, Privilege, make
from tests.acceptance.node import ServedNode
from tests.acceptance.viewers import chromium_page

pytestmark = [pytest.mark.anyio, pytest.mark.light]

_DEADLINE_S = 20.0


def token(node: ServedNode, room: str, user: str) -> str:
    app = App(node.credentials.app_id, node.credentials.app_key)
    return make(app, Grant(room, user, 0, 0, {Privilege.SUBSCRIBE: 0, Privilege.PUBLISH: 0}))


async def event_status(node: ServedNode, http: aiohttp.ClientSession, room: str, user: str) -> int:
    """Of a request for the room's event stream, which ends with this call."""
    url = f"{node.url}/rooms/{node.credentials.app_id}/{room}/events"
    async with http.get(url, headers={"Authorization": f"Bearer {token(node, room, user)}"}) as answer:
        return answer.status


async def online(node: ServedNode, room: str) -> dict[str, Any]:
    result: dict[str, Any] = (await node.call("GetRoomOnlineUsers", RoomId=room))["Result"]
    return result


async def test_a_user_is_removed_and_barred(node: ServedNode, browser: Browser, files: str) -> None:
    room = "banned"
    run = await node.start(room, f"{files}/long.mp4", Loop=True)
    await node.until_state(run, "running")
    url = f"{node.url}/rooms/{node.credentials.app_id}/{room}/events"
    async with aiohttp.ClientSession() as http, chromium_page(browser, node.page_url(room)) as viewer:
        await viewer.until_frames(10)
        (name,) = set((await online(node, room))["VisibleUserList"]) - {"source"}
        async with http.get(url, headers={"Authorization": f"Bearer {token(node, room, 'other')}"}) as others:
            assert set((await online(node, room))["VisibleUserList"]) == {"source", name, "other"}

            await node.call("BanRoomUser", RoomId=room, UserId=name, ForbiddenInterval=60)
            left = f'event: left\ndata: {{"user_id": "{name}"}}\n\n'.encode()
            async with asyncio.timeout(_DEADLINE_S):
                while await others.content.readuntil(b"\n\n") != left:
                    pass
            await viewer.page.get_by_text("barred").wait_for(timeout=_DEADLINE_S * 1000)
            assert set((await online(node, room))["VisibleUserList"]) == {"source", "other"}
            assert await event_status(node, http, room, name) == 403
            assert await event_status(node, http, "elsewhere", name) == 200

            # Lifted, and banned from the whole app.
            await node.call("BanRoomUser", RoomId=room, UserId=name)
            assert await event_status(node, http, room, name) == 200
            await node.call("BanRoomUser", UserId=name, ForbiddenInterval=60)
            assert await event_status(node, http, "elsewhere", name) == 403

            # Everybody out; the relay ends.
            await node.call("BanRoomUser", RoomId=room, ForbiddenInterval=60)
            ended = await node.until_state(run, "ended")
            assert (ended["reason"], ended["reason_text"]) == (
                "removed",
                "the user was removed from the room",
            )
            async with asyncio.timeout(_DEADLINE_S):
                while await others.content.readany():
                    pass  # its end says so
            assert await event_status(node, http, room, "anybody") == 403
    assert await online(node, room) == {"RoomExists": False}
