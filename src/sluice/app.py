"""The composition root of a node: makes the parts from the settings, starts them in order, ends in reverse.

Everything that a node is can be read here; nothing else knows all parts.
"""

import asyncio
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Router

from sluice import __version__
from sluice.api import events, native, page, whep, whip
from sluice.api.volcengine import door
from sluice.config import Settings
from sluice.process.supervisor import ChildSpec
from sluice.rooms.client import RoomProcesses
from sluice.store.credentials import Credentials, load_apps, open_credentials
from sluice.store.thread import Store, sqlite_url
from sluice.tasks.placement import MediaProcesses
from sluice.tasks.service import TaskService

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. `first_start` tells that these credentials were made by it."""

    url: str
    credentials: Credentials
    first_start: bool


@asynccontextmanager
async def run_node(settings: Settings) -> AsyncIterator[Node]:
    """A node that serves while the context is open. Raises SluiceError and OSError when it cannot start."""
    # A short path: unix socket names are limited to 107 bytes, data folders are not.
    run_folder = Path(tempfile.mkdtemp(prefix="sluice-"))
    rooms = RoomProcesses(_room_specs(settings, run_folder))
    media = MediaProcesses(_media_specs(settings))
    try:
        async with Store(sqlite_url(settings.data)) as store:
            credentials, first_start = await store.run(
                lambda conn: open_credentials(conn, settings.data, time.time())
            )
            apps = await store.run(load_apps)
            tasks = TaskService(store, media, rooms, time.time)
            app = FastAPI(title="sluice", version=__version__, docs_url=None, redoc_url=None)
            app.include_router(native.routes(tasks, credentials.admin_token))
            app.router.routes.extend(page.routes())
            closing = asyncio.Event()
            rest = Router(
                [
                    *whip.routes(rooms, apps, time.time, settings.ice_servers),
                    *whep.routes(rooms, apps, time.time, settings.ice_servers),
                    *events.routes(rooms, apps, time.time, closing),
                ],
                default=door.front_door(tasks, apps, time.time),
            )
            app.router.routes.append(Mount("", app=_for_browsers(rest)))
            await asyncio.gather(rooms.start(), media.start())
            await tasks.open()
            try:
                async with _serving(app, settings, closing) as url:
                    yield Node(url, credentials, first_start)
            finally:
                await tasks.close()
    finally:
        await asyncio.gather(media.stop(), rooms.stop())
        shutil.rmtree(run_folder, ignore_errors=True)


def _room_specs(settings: Settings, run_folder: Path) -> list[ChildSpec]:
    public = settings.rooms.public_ip
    host = "127.0.0.1" if not public else "::" if any(":" in address for address in public) else "0.0.0.0"
    first_port = settings.rooms.media_port
    return [
        ChildSpec(
            name=f"room-{n}",
            module="sluice.rooms.engine",
            config={
                "host": host,
                "port": first_port + n if first_port else 0,
                "public_ips": list(public),
                "link": str(run_folder / f"room-{n}-{secrets.token_hex(4)}.sock"),
                "log_level": settings.log_level,
            },
        )
        for n in range(settings.rooms.processes)
    ]


def _media_specs(settings: Settings) -> list[ChildSpec]:
    config = {"allow_networks": list(settings.media.allow_networks), "log_level": settings.log_level}
    return [
        ChildSpec(name=f"media-{n}", module="sluice.media", config=config)
        for n in range(settings.media.processes)
    ]


def _for_browsers(router: Router) -> CORSMiddleware:
    """Pages of any origin may use a room's resources: the token is the right, and no cookie exists."""
    cors = CORSMiddleware(
        router,
        allow_origins=["*"],
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match"],
        expose_headers=["Location", "ETag", "Link"],
        max_age=86400,
    )
    cors.preflight_headers["Accept-Post"] = "application/sdp"  # RFC 9725 4.2
    return cors


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the node: children and tasks end in an order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serving(app: FastAPI, settings: Settings, closing: asyncio.Event) -> AsyncIterator[str]:
    """HTTP on the configured address; sets `closing` before it stops. The access log is off: addresses carry
    signatures and tokens."""
    host = settings.listen.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, settings.listen.port), family=family, backlog=1024)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        port = listener.getsockname()[1]
        yield f"http://[{host}]:{port}" if family == socket.AF_INET6 else f"http://{host}:{port}"
    finally:
        closing.set()
        server.should_exit = True
        await serving
        listener.close()


def wait_for_signal() -> "asyncio.Future[None]":
    """Done at the first SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, finish)
    return done
