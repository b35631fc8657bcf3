"""The composition root of a node: makes the parts, starts them in order, ends them in reverse.

All parts of a node are here; no other module knows them all.
"""

import asyncio
import gc
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from sluice import __version__
from sluice.api import docs, events, native, native_apps, native_bots, native_callbacks, page, whep, whip
from sluice.api.admission import Admission
from sluice.api.heybox.channels import ChannelHandlers
from sluice.api.heybox.gateway import ROOT as BOT_ROOT
from sluice.api.heybox.gateway import BotGateway, route_table
from sluice.api.heybox.streams import StreamHandlers
from sluice.api.hosts import KnownHosts
from sluice.api.operator import Operator
from sluice.api.proxies import TrustedProxies
from sluice.api.refusals import Refusals
from sluice.api.server import Listener, listening, serving
from sluice.api.volcengine.actions import Action, action_table
from sluice.api.volcengine.gateway import Gateway
from sluice.callbacks.forms.form import Form
from sluice.callbacks.forms.trtc import TrtcForm
from sluice.callbacks.forms.volc import VolcForm
from sluice.callbacks.forms.volcengine import VolcengineForm
from sluice.callbacks.rooms import RoomEvents
from sluice.callbacks.service import CallbackService
from sluice.config import Settings
from sluice.core.addresses import AddressPolicy
from sluice.core.apps import Apps
from sluice.core.capacity import Capacity, cores_for_tasks, mb_for_tasks
from sluice.core.errors import BadInput
from sluice.core.figures import Ledger
from sluice.core.limits import LEAST_DESCRIPTORS
from sluice.core.tasks import Dialect
from sluice.net.post import Poster
from sluice.process.descriptors import Share, raise_limit, share_of_callers
from sluice.process.logs import default_form
from sluice.process.machine import usable_cores, usable_mb
from sluice.process.priority import may_go_before_others
from sluice.process.state import NodeState
from sluice.process.supervisor import ChildSpec
from sluice.rooms.client import RoomProcesses
from sluice.rooms.port import Rooms
from sluice.store.apps import AppRegistry
from sluice.store.bans import BanList
from sluice.store.bots import BotRegistry
from sluice.store.credentials import Credentials, open_credentials
from sluice.store.folder import held
from sluice.store.thread import Store, sqlite_url
from sluice.tasks.capacity import NodeCapacity
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import Tasks
from sluice.tasks.service import KEEP_ENDED_S, TaskService
from sluice.wire.signature import Policy

#: Seconds that the end of a node waits for callbacks.
_FLUSH_S = 10.0
#: Resources that pages of any origin may use.
_ROOM_PATHS = ("/whip/", "/whep/", "/rooms/")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. `first_start`: it made these credentials at this start. `drain`: to be called before
    the node is ended; from then on it takes no new work, and callbacks that are due are delivered first."""

    url: str
    credentials: Credentials
    first_start: bool
    drain: Callable[[], Awaitable[None]]


@asynccontextmanager
async def run_node(settings: Settings) -> AsyncIterator[Node]:
    """A node that serves while the context is open. Raises SluiceError and OSError when it cannot start."""
    listen, http = settings.listen, settings.http
    descriptors = raise_limit()
    if descriptors < LEAST_DESCRIPTORS:
        raise BadInput(
            "open files",
            f"the system allows {descriptors}, a node needs {LEAST_DESCRIPTORS}; raise it: LimitNOFILE=65536 "
            "in the unit of systemd, --ulimit nofile=65536 of docker, or ulimit -n",
        )
    share = share_of_callers(descriptors, http.most_connections)
    # First what another node or program may hold, before anything is begun that would have to be ended again.
    with held(settings.data), listening(listen.host, listen.port, http.tls) as listener:
        async with _running(settings, listener, share) as node:
            log.info("the node serves", url=node.url, release=__version__)
            yield node
        log.info("the node has stopped")


@asynccontextmanager
async def _running(settings: Settings, listener: Listener, share: Share) -> AsyncIterator[Node]:
    # A short path: names of unix sockets are limited to 107 bytes, those of data folders are not.
    run_folder = Path(tempfile.mkdtemp(prefix="sluice-"))
    ledger = Ledger()
    rooms = RoomProcesses(_room_specs(settings, run_folder), ledger)
    media = MediaPool(_media_specs(settings), settings.media.most_apart, ledger)
    try:
        async with Store(sqlite_url(settings.data)) as store:
            credentials, first_start = await store.run(
                lambda conn: open_credentials(conn, settings.data, time.time())
            )
            async with (
                AppRegistry(store, time.time) as registry,
                _callbacks(settings, store, rooms) as callbacks,
            ):
                bans, bots = BanList(store, time.time), BotRegistry(store, time.time)
                state, keep_s = NodeState(), settings.keep_s or KEEP_ENDED_S
                capacity = NodeCapacity(_limits(settings), rooms.processes, ledger)
                tasks = TaskService(
                    store, media, rooms, time.time, registry.apps, state, keep_s, capacity=capacity
                )
                actions = action_table(tasks, rooms, bans, callbacks)
                refusals = Refusals()
                operator = Operator(
                    credentials.admin_token, tries=settings.http.admin_tries, refusals=refusals
                )
                natives = [
                    native.health_routes(),
                    native.routes(tasks, operator),
                    native_apps.routes(registry, operator),
                    native_bots.routes(bots, operator),
                    native_callbacks.routes(callbacks, operator),
                ]
                closing = asyncio.Event()
                # Event streams stay open: a tenth of the connections is kept for calls, also the operator's.
                most_streams = max(1, share.connections * 9 // 10)
                guard = Admission(settings.http.admission, refusals, most_streams=most_streams, state=state)
                in_rooms = [
                    *whip.routes(rooms, registry.apps, bans, time.time, settings.ice_servers, guard),
                    *whep.routes(rooms, registry.apps, bans, time.time, settings.ice_servers, guard),
                    *events.routes(rooms, registry.apps, bans, time.time, closing, guard),
                ]
                bot_gateway = _bot_gateway(settings, tasks, bots, registry.apps)
                front = _surface(settings, registry.apps, actions, bot_gateway, natives, in_rooms)
                front = _named(front, settings, refusals)
                async with (
                    _playing(tasks, store, media, rooms),
                    serving(front, listener, share, refusals),
                ):
                    # All present objects stay. Each full collection would visit them: 70 ms of silence.
                    gc.freeze()
                    drain = partial(_drain, state, callbacks)
                    try:
                        yield Node(listener.url, credentials, first_start, drain)
                    finally:
                        closing.set()  # event streams do not end by themselves
    finally:
        await asyncio.gather(media.stop(), rooms.stop())
        shutil.rmtree(run_folder, ignore_errors=True)


@asynccontextmanager
async def _playing(
    tasks: TaskService, store: Store, media: MediaPool, rooms: RoomProcesses
) -> AsyncIterator[None]:
    """Tasks play while it is open. Then they are left for the next start, as far as they came, and everybody
    has left the rooms."""
    await asyncio.gather(rooms.start(), media.start())
    await tasks.open()
    try:
        yield
    finally:
        store.hurry()
        await tasks.close()
        await asyncio.gather(media.stop(), rooms.stop())


async def _drain(state: NodeState, callbacks: CallbackService) -> None:
    state.drain()
    log.info("the node is being stopped", callbacks_s=_FLUSH_S)
    await callbacks.flush(_FLUSH_S)


@asynccontextmanager
async def _callbacks(settings: Settings, store: Store, rooms: Rooms) -> AsyncIterator[CallbackService]:
    """Delivers callbacks while it is open, and writes the events of rooms into the outbox."""
    forms: dict[Dialect, Form] = {
        Dialect.VOLCENGINE: VolcengineForm(settings.callbacks.retry),
        Dialect.BOT_TRTC: TrtcForm(),
        Dialect.BOT_VOLC: VolcForm(),
    }
    registered = settings.callbacks.registrations
    async with (
        Poster(AddressPolicy(settings.media.allow_networks)) as poster,
        CallbackService(store, poster, forms, time.time, registered, settings.keep_s) as callbacks,
        RoomEvents(store, time.time) as room_events,
    ):
        rooms.listen(room_events)
        yield callbacks


def _limits(settings: Settings) -> Capacity:
    """What tasks may take of this machine."""
    if settings.capacity == 0:
        return Capacity()
    media = settings.media
    return Capacity(
        settings.capacity or cores_for_tasks(usable_cores()),
        mb_for_tasks(usable_mb(), media.most_mb, media.processes),
    )


def _bot_gateway(settings: Settings, tasks: Tasks, bots: BotRegistry, apps: Apps) -> BotGateway:
    streams = StreamHandlers(
        tasks,
        bots,
        apps,
        AddressPolicy(settings.media.allow_networks),
        settings.bots.limits,
        registered_only=settings.bots.registered_only,
    )
    return BotGateway(route_table(streams, ChannelHandlers(bots)), bots, time.time)


def _nice(kind: str) -> int:
    """Packets of rooms go before conversions."""
    before, after = (-5, 0) if may_go_before_others() else (0, 5)
    return before if kind == "room" else after


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
                "most_kept_mb": settings.rooms.most_kept_mb,
                "seats": astuple(settings.rooms.seats),
                "nice": _nice("room"),
                **_log_config(settings),
            },
        )
        for n in range(settings.rooms.processes)
    ]


def _log_config(settings: Settings) -> dict[str, str | None]:
    log = settings.log
    return {
        "log_level": log.level,
        "log_format": log.form or default_form(log.file),
        "log_file": str(log.file) if log.file else None,
    }


def _media_specs(settings: Settings) -> list[ChildSpec]:
    config = {
        "allow_networks": list(settings.media.allow_networks),
        "most_mb": settings.media.most_mb,
        "nice": _nice("media"),
        **_log_config(settings),
    }
    return [
        ChildSpec(name=f"media-{n}", module="sluice.media", config=config)
        for n in range(settings.media.processes)
    ]


def _surface(
    settings: Settings,
    apps: Apps,
    actions: Sequence[Action[Any]],
    bot_gateway: BotGateway,
    natives: Iterable[APIRouter],
    in_rooms: Sequence[BaseRoute],
) -> ASGIApp:
    """Everything that HTTP reaches. The signed dialect answers what no other route takes."""
    app = FastAPI(title="sluice", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    for router in natives:
        app.include_router(router)
    http = settings.http
    hosts = (*http.signed_hosts, *filter(None, [urlsplit(http.base_url).netloc]))
    policy = Policy(extra_hosts=hosts, allow_unsigned_body=http.unsigned_bodies)
    gateway = Gateway(actions, apps, time.time, policy)
    rooms = _for_browsers(Router(in_rooms, default=gateway))
    app.router.routes.extend(
        [
            *page.routes(),
            *docs.routes(actions, __version__),
            docs.native_route(app.openapi),
            Mount("", app=gateway),
        ]
    )

    async def surface(scope: Scope, receive: Receive, send: Send) -> None:
        # First the gateways: the way through all routes would take longer than they do.
        path: str = scope["path"]
        if path in ("", "/"):
            part: ASGIApp = gateway
        elif path.startswith(BOT_ROOT):
            part = bot_gateway
        else:
            part = rooms if path.startswith(_ROOM_PATHS) else app
        await part(scope, receive, send)

    return surface


def _named(surface: ASGIApp, settings: Settings, refusals: Refusals) -> ASGIApp:
    """The surface behind trusted proxies, answering only to the names of the node."""
    http, base = settings.http, urlsplit(settings.http.base_url)
    if http.tls is None:
        names = (*http.hosts, *http.signed_hosts, *filter(None, [base.netloc]), settings.listen.host)
        surface = KnownHosts(surface, names, refusals, open_root=BOT_ROOT)
    return TrustedProxies(surface, http.trusted_proxies, base.path)


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


def wait_for_signal() -> "asyncio.Future[None]":
    """Done at the first SIGINT or SIGTERM. The second ends the process at once, and its children with it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(number: int) -> None:
        if done.done():
            log.warning("the node ends at once", signal=signal.Signals(number).name)
            os._exit(128 + number)  # not the signal's own action, which process 1 of a container has not
        done.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, finish, number)
    return done
