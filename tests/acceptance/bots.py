"""A bot as the public ones are: the common query, an explicit null for each field that is not set, https.

Beside it what its streams are played from, and who is told of them.
"""

import asyncio
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.acceptance.listeners import Listener, listening
from tests.acceptance.node import ServedNode
from tests.integration.receiver import Got, Receiver

#: What clients send with each call (contract/heybox.md 1).
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
    headers: dict[str, str]
    document: dict[str, Any]

    @property
    def failure(self) -> tuple[int, str]:
        """`err_code` and `msg` of a refusal that looks as one must."""
        assert self.headers["Content-Type"].startswith("application/json")
        assert self.document["status"] == "failed", self.document
        assert self.document["result"] == {}, self.document
        return self.document["err_code"], self.document["msg"]


class Bot:
    """`tls` trusts the node's certificate."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str, tls: ssl.SSLContext) -> None:
        self._http, self._url, self._tls = http, url, tls
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
            return Answer(response.status, dict(response.headers), await response.json())

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


@dataclass
class Voices:
    """A node that speaks https, a bot of line 1, and somebody who watches over both."""

    node: ServedNode
    data: Path
    bot: Bot
    tls: ssl.SSLContext
    http: aiohttp.ClientSession
    shelf: "Shelf"

    async def new_bot(self, *options: str) -> Bot:
        return Bot(self.http, self.node.url, await create_bot(self.node, self.data, *options), self.tls)

    async def task(self, task_id: str) -> dict[str, Any]:
        """The native document of a bot's stream."""
        return await self.node.task(await self.node.run_of(task_id))

    async def control(self, task_id: str, **changes: Any) -> None:
        run = await self.node.run_of(task_id)
        await asyncio.to_thread(self.node.client.native, "POST", f"/tasks/{run}/control", changes)

    @asynccontextmanager
    async def playing(
        self, channel: str, name: str, bot: Bot | None = None, **options: Any
    ) -> AsyncIterator[tuple[str, Listener]]:
        """The task_id of a stream and somebody who hears it from its first packet: its source answers only
        when he listens. It is stopped at the end."""
        bot = bot or self.bot
        url, opened = self.shelf.held(name)
        task_id = await bot.push(channel, url, **options)
        user = (await self.task(task_id))["user_id"]
        async with listening(self.node, channel, user, self.tls) as listener:
            opened.set()
            yield task_id, listener
            assert (await bot.stop(task_id)).document["status"] == "ok"


class Shelf:
    """Files over HTTP with ranges. What is held answers when it is let go; all requests are noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.requests: list[tuple[float, str]] = []  #: monotonic seconds and path
        self._held: list[asyncio.Event] = []

    def held(self, name: str) -> tuple[str, asyncio.Event]:
        """An address of its own for a file, and what lets it go."""
        self._held.append(asyncio.Event())
        return f"{self.url}/held/{len(self._held) - 1}/{name}", self._held[-1]

    def times(self, path: str) -> list[float]:
        """When it was asked for."""
        return [at for at, asked in self.requests if asked == path]

    async def _held_file(self, request: web.Request) -> web.StreamResponse:
        await self._held[int(request.match_info["number"])].wait()
        return web.FileResponse(self.folder / request.match_info["name"])

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((time.monotonic(), request.path))
        response: web.StreamResponse = await handler(request)
        return response

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Shelf"]:
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/held/{number}/{name:.*}", self._held_file)
        app.router.add_static("/", self.folder)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield self
        await runner.cleanup()


def events(receiver: Receiver, task_id: str) -> list[Got]:
    """What was told of a task, in either form."""
    return [got for got in receiver.taken if _data(got)["TaskId"] == task_id]


def trtc_told(receiver: Receiver, task_id: str) -> list[tuple[int, int]]:
    """EventType and Status of each event, which must have line 1's form (contract/callbacks.md 6)."""
    found = []
    for got in events(receiver, task_id):
        assert _has_headers(got, "trtc")
        assert got.event.keys() == {"EventGroupId", "EventType", "CallbackMsTs", "EventInfo"}
        info = got.event["EventInfo"]
        assert info.keys() == {"EventMsTs", "TaskId", "Status"}
        assert got.event["EventGroupId"] == 7
        for value in (info["EventMsTs"], got.event["CallbackMsTs"]):
            assert isinstance(value, int)
            assert abs(value / 1000 - time.time()) < 600
        found.append((got.event["EventType"], info["Status"]))
    return found


def volc_told(receiver: Receiver, task_id: str) -> list[tuple[int, int]]:
    """Status and Reason of each event, which must have line 2's form (contract/callbacks.md 7)."""
    found = []
    for got in events(receiver, task_id):
        assert _has_headers(got, "volc")
        assert got.event.keys() == {"EventId", "EventTime", "EventType", "EventData"}
        assert got.event["EventType"] == "RelayStreamStateChanged"
        assert got.event["EventTime"].endswith("+08:00")
        data = got.event["EventData"]
        names = "RoomId TaskId UserId StreamUrl Status StartTimeStamp Msg Vid Reason"
        assert data.keys() == set(names.split())
        found.append((data["Status"], data["Reason"]))
    return found


def _data(got: Got) -> dict[str, Any]:
    data: dict[str, Any] = got.event.get("EventInfo") or got.event["EventData"]
    return data


def _has_headers(got: Got, kind: str) -> bool:
    return (got.headers["SDK-Type"], got.headers["Content-Type"]) == (kind, "application/json")


@asynccontextmanager
async def trusting(certificate: Path) -> AsyncIterator[ssl.SSLContext]:
    """The operator's programs, here and below this process, trust the certificate meanwhile."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)
    try:
        yield ssl.create_default_context(cafile=str(certificate))
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before
