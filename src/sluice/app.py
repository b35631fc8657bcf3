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
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
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
from sluice.api import (
    docs,
    events,
    health,
    metrics,
    native,
    native_app_callbacks,
    native_app_removal,
    native_app_secrets,
    native_apps,
    native_bots,
    native_callbacks,
    native_node,
    native_probe,
    native_rooms,
    page,
    whep,
    whip,
)
from sluice.api.admission import Admission
from sluice.api.health import Check, Health
from sluice.api.heybox.channels import ChannelHandlers
from sluice.api.heybox.gateway import ROOT as BOT_ROOT
from sluice.api.heybox.gateway import BotGateway, route_table
from sluice.api.heybox.streams import StreamHandlers
from sluice.api.hosts import KnownHosts
from sluice.api.operator import Operator
from sluice.api.proxies import TrustedProxies
from sluice.api.refusals import Refusals
from sluice.api.requests import Answers
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
from sluice.core.ids import AppId
from sluice.core.limits import LEAST_DESCRIPTORS
from sluice.core.node_figures import Counts
from sluice.core.tasks import Dialect
from sluice.net.post import Poster
from sluice.process.descriptors import Share, raise_limit, share_of_callers
from sluice.process.logs import default_form
from sluice.process.machine import usable_cores, usable_mb
from sluice.process.owned import trouble
from sluice.process.priority import may_go_before_others
from sluice.process.state import NodeState
from sluice.process.stats import tell_stats
from sluice.process.supervisor import ChildSpec
from sluice.rooms.client import RoomProcesses
from sluice.rooms.port import Rooms
from sluice.store.apps import AppRegistry
from sluice.store.bans import BanList
from sluice.store.bots import BotRegistry
from sluice.store.credentials import open_credentials
from sluice.store.credentials_file import Credentials
from sluice.store.folder import free_space, held
from sluice.store.probe import StoreProbe
from sluice.store.thread import Store, sqlite_url
from sluice.store.whereabouts import Whereabouts, of_this_process
from sluice.tasks.capacity import NodeCapacity
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import Tasks
from sluice.tasks.probes import SourceProbes
from sluice.tasks.service import KEEP_ENDED_S, TaskService, Terms
from sluice.wire.signature import Policy

#: Seconds that the end of a node waits for callbacks.
_FLUSH_S = 10.0
#: What those may take who ask for metrics alone.
_SHARE_OF_METRICS = Share(16, 16)
#: Resources that pages of any origin may use.
_ROOM_PATHS = ("/whip/", "/whep/", "/rooms/")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Node:
    """A running node. `first_start`: it made these credentials at this start. `drain`: to be called before
    the node is ended; from then on it takes no new work, and callbacks that are due are delivered first.
    `metrics_url`: where `/metrics` needs no token."""

    url: str
    credentials: Credentials
    first_start: bool
    drain: Callable[[], Awaitable[None]]
    metrics_url: str | None = None


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
    with (
        held(settings.data) as hold,
        listening(listen.host, listen.port, http.tls) as listener,
        _listening_for_metrics(settings) as for_metrics,
    ):
        async with _running(settings, listener, for_metrics, share) as node:
            with suppress(OSError):  # on a full disk commands have to be told where it is
                hold.tell(_whereabouts(settings, node))
            log.info("the node serves", url=node.url, release=__version__)
            yield node
        log.info("the node has stopped")


def _whereabouts(settings: Settings, node: Node) -> Whereabouts:
    """What commands are told. Where callers see the node is the operator's to say; without it, a node that
    listens at every address is seen at the one that its media has."""
    http, public = settings.http, settings.rooms.public_ip
    seen = node.url
    if public and settings.listen.host in ("0.0.0.0", "::"):
        name = f"[{public[0]}]" if ":" in public[0] else public[0]
        seen = f"{urlsplit(node.url).scheme}://{name}:{urlsplit(node.url).port}"
    certificate = None if http.tls is None else http.tls[0]
    return of_this_process(node.url, http.base_url or seen, certificate)


@asynccontextmanager
async def _running(
    settings: Settings, listener: Listener, for_metrics: Listener | None, share: Share
) -> AsyncIterator[Node]:
    # A short path: names of unix sockets are limited to 107 bytes, those of data folders are not.
    run_folder = Path(tempfile.mkdtemp(prefix="sluice-"))
    ledger, counts = Ledger(), Counts()
    rooms = RoomProcesses(_room_specs(settings, run_folder), ledger)
    media = MediaPool(_media_specs(settings), settings.media.most_apart, ledger)
    try:
        async with Store(sqlite_url(settings.data), counts=counts) as store:
            credentials, first_start = await store.run(
                lambda conn: open_credentials(conn, settings.data, time.time())
            )
            async with (
                AppRegistry(store, time.time) as registry,
                _callbacks(settings, store, rooms, counts) as (callbacks, presence),
            ):
                bans, bots = BanList(store, time.time), BotRegistry(store, time.time)
                state, capacity = NodeState(), NodeCapacity(_limits(settings), rooms.processes, ledger)
                terms = Terms(state, capacity, settings.keep_s or KEEP_ENDED_S, counts)
                tasks = TaskService(store, media, rooms, time.time, registry.apps, terms)
                actions = action_table(tasks, rooms, bans, callbacks)
                refusals = Refusals()
                token, tries = credentials.admin_token, settings.http.admin_tries
                operator = Operator(token, tries=tries, refusals=refusals)
                sight = _sight(store, rooms, media, tasks, callbacks, ledger, terms)
                natives = [
                    *sight.routes(operator),
                    native.routes(tasks, operator),
                    *_app_routes(registry, callbacks, tasks, rooms, operator, credentials.app_id),
                    native_bots.routes(bots, operator),
                    native_callbacks.routes(callbacks, operator),
                    native_rooms.routes(rooms, operator),
                    native_probe.routes(SourceProbes(media, registry.apps, capacity), operator),
                ]
                closing = asyncio.Event()
                guard = _admission(settings, share, refusals, state)
                in_rooms = _room_routes(settings, rooms, registry.apps, bans, guard, closing)
                bot_gateway = _bot_gateway(settings, tasks, bots, registry.apps)
                front = _surface(
                    settings, registry.apps, actions, bot_gateway, natives, in_rooms, Answers(counts)
                )
                front = _named(front, settings, refusals)
                beside = _named(sight.surface(), settings, refusals)
                async with (
                    _playing(tasks, store, media, rooms),
                    _telling(settings, ledger, store, presence, capacity),
                    serving(front, listener, share, refusals),
                    _serving_metrics(beside, for_metrics, refusals) as metrics_url,
                ):
                    # All present objects stay. Each full collection would visit them: 70 ms of silence.
                    gc.freeze()
                    drain = partial(_drain, state, callbacks)
                    try:
                        yield Node(listener.url, credentials, first_start, drain, metrics_url)
                    finally:
                        closing.set()  # event streams do not end by themselves
    finally:
        await asyncio.gather(media.stop(), rooms.stop())
        shutil.rmtree(run_folder, ignore_errors=True)


def _app_routes(
    registry: AppRegistry,
    callbacks: CallbackService,
    tasks: TaskService,
    rooms: Rooms,
    operator: Operator,
    own_app: AppId,
) -> list[APIRouter]:
    return [
        native_apps.routes(registry, operator),
        native_app_callbacks.routes(callbacks, registry.apps, operator, time.time),
        native_app_secrets.routes(registry, operator, time.time),
        native_app_removal.routes(registry, tasks, rooms, operator, own_app),
    ]


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
async def _callbacks(
    settings: Settings, store: Store, rooms: Rooms, counts: Counts
) -> AsyncIterator[tuple[CallbackService, RoomEvents]]:
    """Delivers callbacks while it is open, and writes the events of rooms into the outbox."""
    forms: dict[Dialect, Form] = {
        Dialect.VOLCENGINE: VolcengineForm(settings.callbacks.retry),
        Dialect.BOT_TRTC: TrtcForm(),
        Dialect.BOT_VOLC: VolcForm(),
    }
    registered = settings.callbacks.registrations
    async with (
        Poster(AddressPolicy(settings.media.allow_networks)) as poster,
        CallbackService(store, poster, forms, time.time, registered, settings.keep_s, counts) as callbacks,
        RoomEvents(store, time.time) as room_events,
    ):
        rooms.listen(room_events)
        yield callbacks, room_events


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is seen of a node from outside."""

    health: Health
    metrics: metrics.Metrics
    inventory: native_node.Inventory

    def routes(self, operator: Operator) -> list[APIRouter]:
        return [
            health.routes(self.health),
            metrics.routes(self.metrics, operator),
            native_node.routes(self.inventory, operator),
        ]

    def surface(self) -> FastAPI:
        """What the listener for metrics serves, and nothing else."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(metrics.routes(self.metrics))
        app.include_router(health.routes(self.health))
        return app


def _sight(
    store: Store,
    rooms: RoomProcesses,
    media: MediaPool,
    tasks: TaskService,
    callbacks: CallbackService,
    ledger: Ledger,
    terms: Terms,
) -> _Sight:
    began_at = time.time()
    checks = _checks(rooms, media, store, terms)
    reads = (tasks.figures, callbacks.figures, checks.figures)
    return _Sight(
        checks,
        metrics.Metrics(ledger, terms.counts, reads, version=__version__, began_at=began_at),
        native_node.Inventory(
            ledger,
            lambda: (*rooms.processes, *media.processes),
            tasks.figures,
            lambda: terms.capacity.load,
            checks,
            began_at,
        ),
    )


def _checks(rooms: RoomProcesses, media: MediaPool, store: Store, terms: Terms) -> Health:
    """Processes apart are not among those that must live: they come and go with those who died."""
    children = (*rooms.processes, *media.pool)
    live = [Check(native_node.NODE, trouble), *(Check(child.spec.name, child.trouble) for child in children)]
    welcome = [
        Check("store", StoreProbe(store).trouble),
        Check("draining", terms.state.trouble),
        Check("capacity", lambda: terms.capacity.load.refused_for or None),
    ]
    return Health(live, welcome)


@asynccontextmanager
async def _telling(
    settings: Settings, ledger: Ledger, store: Store, presence: RoomEvents, capacity: NodeCapacity
) -> AsyncIterator[None]:
    """The node tells its own figures while it is open, as its children do."""
    telling = tell_stats(
        lambda told: ledger.tell(native_node.NODE, native_node.NODE, told.totals, told.gauges),
        lambda: (
            {},
            {**store.gauges(), **presence.gauges(), **free_space(settings.data), **capacity.figures()},
        ),
    )
    try:
        yield
    finally:
        telling.cancel()


def _listening_for_metrics(settings: Settings) -> AbstractContextManager[Listener | None]:
    listen = settings.metrics_listen
    if listen is None:
        return nullcontext()
    return listening(listen.host, listen.port, setting="metrics_listen")


@asynccontextmanager
async def _serving_metrics(
    app: ASGIApp, listener: Listener | None, refusals: Refusals
) -> AsyncIterator[str | None]:
    """The address of `/metrics` without a token, where there is one."""
    if listener is None:
        yield None
        return
    async with serving(app, listener, _SHARE_OF_METRICS, refusals):
        yield f"{listener.url}/metrics"


def _admission(settings: Settings, share: Share, refusals: Refusals, state: NodeState) -> Admission:
    # Event streams stay open: a tenth of the connections is kept for calls, also the operator's.
    most_streams = max(1, share.connections * 9 // 10)
    return Admission(settings.http.admission, refusals, most_streams=most_streams, state=state)


def _room_routes(
    settings: Settings, rooms: Rooms, apps: Apps, bans: BanList, guard: Admission, closing: asyncio.Event
) -> list[BaseRoute]:
    return [
        *whip.routes(rooms, apps, bans, time.time, settings.ice_servers, guard),
        *whep.routes(rooms, apps, bans, time.time, settings.ice_servers, guard),
        *events.routes(rooms, apps, bans, time.time, closing, guard),
    ]


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
    answers: Answers,
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
            *docs.routes(actions, bot_gateway.bodies, __version__),
            docs.native_route(app.openapi),
            Mount("", app=gateway),
        ]
    )

    parts: dict[str, ASGIApp] = {
        "volcengine": gateway,
        "heybox": bot_gateway,
        "rooms": rooms,
        "native": app,
    }

    async def surface(scope: Scope, receive: Receive, send: Send) -> None:
        # First the gateways: the way through all routes would take longer than they do.
        path: str = scope["path"]
        if path in ("", "/"):
            api = "volcengine"
        elif path.startswith(BOT_ROOT):
            api = "heybox"
        else:
            api = "rooms" if path.startswith(_ROOM_PATHS) else "native"
        await parts[api](scope, receive, answers.counted(api, send))

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
