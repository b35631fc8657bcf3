"""A bot as the public ones are: the common query, an explicit null for each field that is not set, https."""

import asyncio
import json
import random
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance.node import ServedNode

#: What clients send with each call (docs/contract/heybox.md 1).
QUERY = {
    "client_type": "heybox_chat",
    "x_client_type": "web",
    "os_type": "web",
    "x_os_type": "bot",
    "x_app": "heybox_chat",
    "chat_os_type": "bot",
    "chat_version": "1.30.0",
}
ROOT = "/chatroom/v3/channel"
PUSH, STOP, CREATE = f"{ROOT}/stream/push", f"{ROOT}/stream/stop", f"{ROOT}/create"
ROOM = "3886418517665415168"
_OPTIONAL = ("volume", "callback_url", "seek_second", "repeat_num", "max_duration")
_OPERATOR = 8829829


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    document: dict[str, Any]

    @property
    def failure(self) -> tuple[int, str]:
        """`err_code` and `msg` of a refusal that looks as one must; without the rule behind the message."""
        assert self.headers["Content-Type"].startswith("application/json")
        assert self.document["status"] == "failed", self.document
        assert self.document["result"] == {}, self.document
        message, has_rule, _ = self.document["msg"].partition(" (")
        assert message.startswith("invalid parameter: ") == bool(has_rule), self.document
        return self.document["err_code"], message


class Bot:
    """`tls` trusts the certificate of a node that serves https."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, token: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._http, self._url, self._tls = http, url, tls or True
        self.token = token

    async def post(self, path: str, body: dict[str, Any] | bytes, token: str | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if given := self.token if token is None else token:
            headers["token"] = given
        async with self._http.post(
            self._url + path, params=QUERY, data=data, headers=headers, ssl=self._tls
        ) as response:
            assert response.content_type == "application/json"
            return Answer(response.status, response.headers, await response.json())

    async def push(self, channel: str, url: str, **options: Any) -> str:
        """The task_id."""
        answer = await self.post(PUSH, push_body(channel, url, **options))
        assert (answer.status, answer.document["status"], answer.document["msg"]) == (200, "ok", ""), answer
        task_id = answer.document["result"]["task_id"]
        assert isinstance(task_id, str)
        return task_id

    async def stop(self, task_id: str) -> Answer:
        return await self.post(STOP, {"task_id": task_id})

    async def create_channel(self, line: str) -> str:
        body = {"room_id": ROOM, "channel_name": "music", "channel_type": 0, "api_type": line}
        answer = await self.post(CREATE, {**body, "parent_id": None, "nonce": "1"})
        assert answer.document["status"] == "ok", answer
        return str(answer.document["result"]["channel_id"])


def push_body(channel: str, url: str, **options: Any) -> dict[str, Any]:
    body = {"room_id": ROOM, "channel_id": channel, "stream_url": url, "operator": _OPERATOR}
    return {**body, **dict.fromkeys(_OPTIONAL), **options}


def new_channel() -> str:
    return str(random.randrange(10**18, 10**19))


async def create_bot(node: ServedNode, data: Path, *options: str) -> str:
    """Makes one from the command line; its token."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sluice", "bot", "create", "--name", "music", "--json", *options),
        *("--url", node.url, "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return str(json.loads(output)["token"])
