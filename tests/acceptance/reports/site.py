"""An HTTP server whose paths behave as servers of the world do: the folder of the clips, and a handler for
each behaviour. It notes what it was asked for.
"""

import asyncio
import contextlib
import gzip
import mimetypes
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CHUNK = 1 << 15
_TICK_S = 0.04


class Site:
    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.asked: list[str] = []
        self._folder = folder
        self._handlers: dict[str, Handler] = {}

    def add(self, path: str, handler: Handler) -> str:
        """The address of what `handler` answers."""
        self._handlers[f"/{path}"] = handler
        return f"{self.url}/{path}"

    def of(self, path: Path) -> str:
        """The address of a file, which is served with ranges."""
        return f"{self.url}/{path.relative_to(self._folder)}"

    def asked_of(self, folder: str, since: int) -> list[str]:
        """Requests for what is in the folder, after the first `since` of all."""
        return [path for path in self.asked[since:] if path.startswith(f"/{folder}/")]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        handler = self._handlers.get(request.path)
        if handler is not None:
            return await handler(request)
        return file_part(self._folder / request.path.lstrip("/"), request)


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[Site]:
    site = Site(folder)
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield site
    finally:
        await runner.cleanup()


def file_part(path: Path, request: web.Request) -> web.Response:
    """What is asked for of a file: all of it, or a range."""
    if not path.is_file():
        raise web.HTTPNotFound
    data, asked = path.read_bytes(), request.http_range
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": mimetypes.guess_type(path)[0] or "application/octet-stream",
    }
    if asked.start is None and asked.stop is None:
        return web.Response(body=data, headers=headers)
    begin, end, _ = asked.indices(len(data))
    if begin >= end:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return web.Response(status=206, body=data[begin:end], headers=headers)


# --- behaviours ---------------------------------------------------------------------------------------------


def without_range(path: Path, content_type: str = "application/octet-stream", length: bool = True) -> Handler:
    """The whole file whatever is asked for, at the pace of the reader."""

    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.content_length = len(data) if length else None
        await response.prepare(request)
        for at in range(0, len(data), _CHUNK):
            await response.write(data[at : at + _CHUNK])
        return response

    return answer


def short_body(path: Path, length: int, *, announced: int | None = None) -> Handler:
    """`length` bytes and the end of the connection, where more were announced. No ranges."""

    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = announced or len(data)
        await response.prepare(request)
        await response.write(data[:length])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def capped(path: Path, most: int) -> Handler:
    """Answers at most so many bytes for each request, and says so."""

    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = request.http_range
        begin = asked.start or 0
        end = min(asked.stop or len(data), begin + most, len(data))
        headers = {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}", "Accept-Ranges": "bytes"}
        return web.Response(status=206, body=data[begin:end], headers=headers)

    return answer


def packed(path: Path, content_type: str) -> Handler:
    """With Content-Encoding: gzip, whatever is asked for."""

    body = gzip.compress(path.read_bytes())

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip", "Content-Type": content_type}
        return web.Response(body=body, headers=headers)

    return answer


def text(body: str | Callable[[], str], content_type: str = "application/vnd.apple.mpegurl") -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body if isinstance(body, str) else body(), content_type=content_type)

    return answer


def redirect(to: str, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": to, **headers})

    return answer


def raw_redirect(to: str) -> Handler:
    """With a Location that is written as people would, in UTF-8."""

    async def answer(request: web.Request) -> web.StreamResponse:
        head = f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return _written(request, head.encode())

    return answer


def _written(request: web.Request, data: bytes) -> web.StreamResponse:
    """Writes bytes of our own and hangs up; the answer is for nobody."""
    transport: Any = request.transport
    transport.write(data)
    transport.close()
    return web.Response()


def icy(data: bytes, seconds: float) -> Handler:
    """As SHOUTcast 1 begins its answer: no HTTP status line."""

    async def answer(request: web.Request) -> web.StreamResponse:
        transport: Any = request.transport
        transport.write(b"ICY 200 OK\r\nicy-name:test\r\ncontent-type:audio/mpeg\r\n\r\n")
        began, sent = time.monotonic(), 0
        while not transport.is_closing() and sent < len(data):
            due = int((time.monotonic() - began + 2) * len(data) / seconds)
            transport.write(data[sent:due])
            sent = max(sent, due)
            await asyncio.sleep(_TICK_S)
        return _written(request, b"")

    return answer


def after_cookie(then: Handler) -> Handler:
    """A redirect to itself that sets a cookie, until that comes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "pass" not in request.cookies:
            return web.Response(
                status=302, headers={"Location": request.path, "Set-Cookie": "pass=1; Path=/"}
            )
        return await then(request)

    return answer


def status(code: int) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code)

    return answer


def at_first(bad: Handler, then: Handler, times: int = 1) -> Handler:
    """`bad` for the first requests, then the other."""
    asked: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked[request.path] += 1
        return await (bad if asked[request.path] <= times else then)(request)

    return answer


def live(
    data: bytes,
    seconds: float,
    content_type: str,
    *,
    burst_s: float = 0.0,
    lasts_s: float = 1e9,
    headers: Mapping[str, str] | None = None,
) -> Handler:
    """Endless: `data` at its pace behind a burst, from its beginning for each who comes. Then silence, or the
    end of the connection after `lasts_s`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type, **(headers or {})})
        response.force_close()
        await response.prepare(request)
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < lasts_s:
            due = min(len(data), int((passed + burst_s) * len(data) / seconds))
            if due > sent:
                await response.write(data[sent:due])
                sent = due
            await asyncio.sleep(_TICK_S)
        return response

    return answer


def live_parts(parts: list[tuple[float, bytes]], content_type: str, *, lasts_s: float = 1e9) -> Handler:
    """Endless: each part when its second has come."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.force_close()
        await response.prepare(request)
        began = time.monotonic()
        for at_s, part in parts:
            await asyncio.sleep(began + at_s - time.monotonic())
            await response.write(part)
        await asyncio.sleep(max(0.0, began + lasts_s - time.monotonic()))
        return response

    return answer


def closing(then: Handler) -> Handler:
    """Closes the connection behind each answer, of which the answer says nothing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await then(request)
        await response.prepare(request)
        await response.write_eof()
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def piped(*words: object, content_type: str) -> Handler:
    """What ffmpeg writes, as it writes it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        command = ("ffmpeg", "-nostdin", "-v", "fatal", *map(str, words), "-")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(_CHUNK):
                await response.write(data)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
        return response

    return answer
