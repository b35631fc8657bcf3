"""Bots and channels from the command line, and a bot's calls, on a running node and over its restart."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.test_apps import sluice

pytestmark = [pytest.mark.anyio, pytest.mark.light]

PUSHED = {
    "room_id": "3886418517665415168",
    "channel_id": "3886418645352636424",
    # Names below .invalid are never found: it lives as long as it is tried, and leaves the machine alone.
    "stream_url": "http://source.invalid/audio.mp3",
    "operator": 8829829,
    "volume": None,
}


async def call(node: ServedNode, token: str, path: str, **body: object) -> dict[str, Any]:
    """The envelope of a call as bots make it."""
    url = f"{node.url}/chatroom/v3/channel/{path}?client_type=heybox_chat&x_os_type=bot"
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, json=body, headers={"token": token}) as answer,
    ):
        assert answer.status == 200
        assert int(answer.headers["X-RateLimit-Remaining"]) < 300
        document: dict[str, Any] = await answer.json()
        return document


async def test_a_life_of_bots(tmp_path: Path) -> None:
    data, own = tmp_path / "data", tmp_path / "token"
    own.write_text("MTIzNDU2Nzg7MTcwMDAwMDAwMDAwMDAwMDAwMDsxMjM0NTY3ODkwMTIzNDU2Nzg5\n")
    theirs = own.read_text().strip()
    refused = {"msg": "invalid token", "result": {}, "status": "failed", "err_code": 401}
    async with serve_node(data, "--most-streams", "2", "--require-registered-channels") as node:
        made = json.loads(await sluice(node, data, "bot", "create", "--name", "dj", "--json"))
        token = made["token"]
        options = ("--rooms", "1,2", "--line", "volc", "--token-file", str(own))
        await sluice(node, data, "bot", "create", "--name", "from elsewhere", *options)
        shown = await sluice(node, data, "bot", "list", "--json")
        assert [bot["rooms"] for bot in json.loads(shown)["bots"]] == [[], ["1", "2"]]
        assert not any(secret in shown for secret in (token, theirs))

        assert (await call(node, token, "stream/push", **PUSHED))["msg"] == "channel not found"
        channel = PUSHED["channel_id"]
        await sluice(node, data, "channel", "set", str(channel), "--line", "volc", "--name", "Music")
        assert "Music" in await sluice(node, data, "channel", "list")
        assert (await call(node, theirs, "stream/push", **PUSHED))["msg"] == "permission denied"
        first = (await call(node, token, "stream/push", **PUSHED))["result"]
        second = (await call(node, token, "stream/push", **PUSHED))["result"]
        assert (await call(node, token, "stream/push", **PUSHED))["msg"] == "too many streams"
        run = await node.task(await node.run_of(first["task_id"]))
        assert (run["dialect"], run["room_id"]) == ("bot_volc", channel)
        assert run["user_id"].startswith(f"bot-{made['bot_id']}-")
        assert (await call(node, theirs, "stream/stop", **first))["msg"] == "task not found"
        stopped = {"msg": "", "result": {}, "status": "ok"}
        assert await call(node, token, "stream/stop", **first) == stopped
        assert await call(node, token, "stream/stop", **first) == stopped
        await sluice(node, data, "bot", "disable", str(made["bot_id"]))
        assert await call(node, token, "stream/stop", **second) == refused
    async with serve_node(data) as node:
        assert await call(node, token, "stream/stop", **second) == refused
        await sluice(node, data, "bot", "enable", str(made["bot_id"]))
        assert await call(node, token, "stream/stop", **second) == stopped
        over = await node.task(await node.run_of(second["task_id"]))
        assert over["state"] in ("stopping", "ended", "failed")
        created = {"room_id": "1", "channel_name": "new", "channel_type": 0, "api_type": "trtc"}
        channel = (await call(node, theirs, "create", **created))["result"]["channel_id"]
        assert str(channel) in await sluice(node, data, "channel", "list")
        await sluice(node, data, "channel", "delete", str(channel))
        await sluice(node, data, "bot", "delete", "2")
        assert await call(node, theirs, "create", **created) == refused
