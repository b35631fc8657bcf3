"""A receiver of callbacks whose behaviour a test scripts; it can die and come back at the same address."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Got:
    """One delivery: what arrived, and what of it counts for order."""

    body: bytes
    headers: dict[str, str]

    @property
    def event(self) -> dict[str, Any]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    @property
    def data(self) -> dict[str, Any]:
        document = json.loads(self.event["EventData"])
        assert isinstance(document, dict)
        return document


def verify(body: bytes, secret: str) -> bool:
    """The signature as docs/contract/callbacks.md 2 has it, written from that page alone."""
    event = json.loads(body)
    names = ["EventType", "EventData", "EventTime", "EventId", "Version", "AppId", "Nonce"]
    values = [event[name] for name in names] + [secret]
    values.sort(key=lambda value: value.encode("utf-8"))
    return bool(hashlib.sha256("".join(values).encode("utf-8")).hexdigest() == event["Signature"])


#: Answers a delivery, or hangs.
Answer = Callable[[Got, web.Request], Awaitable[web.StreamResponse]]


async def ok(got: Got, request: web.Request) -> web.StreamResponse:
    return web.Response(text="whatever")


async def fail(got: Got, request: web.Request) -> web.StreamResponse:
    return web.Response(status=500)


async def hang(got: Got, request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class Receiver:
    """An async context manager. `answer` may be changed at any time; `got` has every try, `taken` those that
    were answered with 200."""

    def __init__(self, answer: Answer = ok) -> None:
        self.answer = answer
        self.got: list[Got] = []
        self.taken: list[Got] = []
        self.under_way = self.most_under_way = 0
        self._changed = asyncio.Condition()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/callback?token=sesame"

    async def __aenter__(self) -> Self:
        await self.live()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()

    async def live(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def die(self) -> None:
        await self._runner.cleanup()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Returns when `wanted` holds, looked at after each delivery."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(wanted)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        got = Got(await request.read(), dict(request.headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.got.append(got)
            await self._tell()
            response = await self.answer(got, request)
            if response.status == 200:
                self.taken.append(got)
            return response
        finally:
            self.under_way -= 1
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
