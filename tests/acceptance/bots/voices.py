"""A node with a bot, what the bot's streams are played from, and who listens to them."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.acceptance.bots.client import Bot, create_bot
from tests.acceptance.bots.listeners import Listener, listening
from tests.acceptance.node import ServedNode


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


@dataclass
class Voices:
    """A node that speaks https, a bot of line 1, and somebody who watches over both."""

    node: ServedNode
    data: Path
    bot: Bot
    tls: ssl.SSLContext
    http: aiohttp.ClientSession
    shelf: Shelf

    async def new_bot(self, *options: str) -> Bot:
        return Bot(self.http, self.node.url, await create_bot(self.node, self.data, *options), self.tls)

    async def run_of(self, task_id: str) -> str:
        """The id of a stream in the native API."""
        return await self.node.run_of(task_id)

    async def task(self, task_id: str) -> dict[str, Any]:
        """The native document of a bot's stream."""
        return await self.node.task(await self.run_of(task_id))

    async def control(self, run_id: str, **changes: Any) -> dict[str, Any]:
        """The document then. Raises CallFailed."""
        path = f"/tasks/{run_id}/control"
        return await asyncio.to_thread(self.node.client.native, "POST", path, changes)

    @asynccontextmanager
    async def playing(
        self, channel: str, name: str, by: Bot | None = None, **options: Any
    ) -> AsyncIterator[tuple[str, Listener]]:
        """The task_id of a stream and somebody who hears it from its first packet: its source answers only
        when he listens. It is stopped at the end."""
        bot = by or self.bot
        url, opened = self.shelf.held(name)
        task_id = await bot.push(channel, url, **options)
        user = (await self.task(task_id))["user_id"]
        async with listening(self.node, channel, user, self.tls) as listener:
            opened.set()
            yield task_id, listener
            assert (await bot.stop(task_id)).document["status"] == "ok"


@contextmanager
def trusting(certificate: Path) -> Iterator[ssl.SSLContext]:
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
