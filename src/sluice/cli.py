"""The command ``sluice``: serve a node, or talk to one. Prints for people, with --json one JSON document."""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

import structlog
import typer
import uvloop

from sluice import __version__
from sluice.cli_apps import app_cli, key_cli
from sluice.cli_backup import backup, restore
from sluice.cli_bots import bot_cli, channel_cli
from sluice.cli_doctor import doctor
from sluice.cli_node import node_cli, process_cli
from sluice.cli_probe import probe
from sluice.client import CallFailed, read_params
from sluice.config import Settings
from sluice.core.apps import App
from sluice.core.errors import BadInput, SluiceError
from sluice.core.ids import is_valid_id
from sluice.process.logs import LogFile, configure_logging
from sluice.process.owned import log_stray_errors
from sluice.store.credentials_file import FILE_NAME
from sluice.terminal import (
    NODE_URL,
    DataOption,
    JsonOption,
    UrlOption,
    client_with,
    err,
    load_credentials,
    node_client,
    out,
    print_document,
    print_json,
    print_rows,
    settings_with,
)
from sluice.wire.token import Grant, Privilege, make

if TYPE_CHECKING:
    from sluice.app import Node
    from sluice.demo_check import Figures

log = structlog.get_logger()

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # of the commands below, too
    help=__doc__,
)
task_cli = typer.Typer(no_args_is_help=True, help="Tasks of a running node.")
cli.add_typer(task_cli, name="task")
cli.add_typer(app_cli, name="app")
cli.add_typer(key_cli, name="key")
cli.add_typer(bot_cli, name="bot")
cli.add_typer(channel_cli, name="channel")
cli.add_typer(node_cli, name="node")
cli.add_typer(process_cli, name="process")
cli.command()(probe)
callback_cli = typer.Typer(no_args_is_help=True, help="Events that a running node tells to callers.")
cli.add_typer(callback_cli, name="callback")
cli.command()(backup)
cli.command()(restore)
cli.command()(doctor)


def main() -> None:
    """Entry point: errors of sluice are one line for a person, and exit status 1."""
    try:
        cli()
    except SluiceError as error:
        text = str(error)
    except OSError as error:
        text = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    except UnicodeEncodeError as error:  # bytes of the command line that are no UTF-8
        text = f"{error.object!r} is no text in UTF-8"
    err.print(f"sluice: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sluice {__version__}")
        raise typer.Exit


@cli.callback(help=__doc__)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the release.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


_ProxiesOption = Annotated[
    str | None,
    typer.Option(help="CIDR,… of proxies whose X-Forwarded-For, -Proto, -Host, -Prefix count."),
]
_HostsOption = Annotated[
    str | None,
    typer.Option(
        help="NAME,… that callers know the node by, besides addresses, localhost and --base-url; *: any."
    ),
]

_CapacityOption = Annotated[
    str | None,
    typer.Option(
        help="CORES for tasks; off: none is refused or gives way. Default: three quarters of the machine's"
    ),
]
_ChannelStreamsOption = Annotated[
    int | None,
    typer.Option(help="At most so many streams of bots in one channel at once. Default: any number"),
]
_BotStreamsOption = Annotated[
    int | None,
    typer.Option(help="At most so many streams of one bot at once, in all channels. Default: any number"),
]
_RegisteredOption = Annotated[
    bool | None,
    typer.Option(help="Bots play only into channels that they made or `sluice channel set` named."),
]
_RetryOption = Annotated[
    str | None,
    typer.Option(help="long: a callback is tried for 24 h; vendor: three times. Default: long"),
]
_FormatOption = Annotated[
    str | None, typer.Option(help="console or json. Default: console on a terminal, else json")
]
_LogFileOption = Annotated[
    Path | None, typer.Option(help="Log into this file, which may be moved away meanwhile.")
]
_KeepOption = Annotated[
    str | None,
    typer.Option(
        help="72h, 30d, …: ended tasks and settled callbacks are kept so long. Default: 7d, delivered "
        "callbacks for an hour"
    ),
]
_MetricsOption = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of a further listener, whose /metrics needs no token. Default: none"),
]
_LevelOption = Annotated[str | None, typer.Option(help="debug, info, warning or error. Default: info")]

# --- nodes ------------------------------------------------------------------------------------------------


@cli.command()
def serve(  # noqa: PLR0913 - every setting is an option
    context: typer.Context,
    data: DataOption = None,
    listen: Annotated[str | None, typer.Option(help="HTTP address. Default: 127.0.0.1:8080")] = None,
    metrics_listen: _MetricsOption = None,
    media_port: Annotated[
        int | None, typer.Option(help="UDP port of the first room process, 0 for any. Default: 40000")
    ] = None,
    public_ip: Annotated[
        list[str] | None,
        typer.Option(help="Address that browsers reach the media port at; without it: loopback only."),
    ] = None,
    room_processes: Annotated[int | None, typer.Option(help="Default: one per four cores")] = None,
    media_processes: Annotated[int | None, typer.Option(help="Default: one per core")] = None,
    allow_networks: Annotated[
        str | None, typer.Option(help="CIDR,… that sources may be in, besides public addresses.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate chain; read again when it changes.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    trusted_proxies: _ProxiesOption = None,
    base_url: Annotated[str | None, typer.Option(help="https://host/path that callers see.")] = None,
    signed_hosts: Annotated[
        str | None, typer.Option(help="HOST,… that callers sign where a proxy sends another one.")
    ] = None,
    hosts: _HostsOption = None,
    allow_unsigned_bodies: Annotated[
        bool | None, typer.Option(help="Presigned calls may have a body, which nothing protects.")
    ] = None,
    callback_retry: _RetryOption = None,
    most_streams: _ChannelStreamsOption = None,
    most_bot_streams: _BotStreamsOption = None,
    require_registered_channels: _RegisteredOption = None,
    capacity: _CapacityOption = None,
    keep: _KeepOption = None,
    log_level: _LevelOption = None,
    log_format: _FormatOption = None,
    log_file: _LogFileOption = None,
) -> None:
    """Runs a node until SIGINT or SIGTERM; a second one ends it at once. Flags win over SLUICE_* variables,
    these over ./sluice.toml.

    SLUICE_ICE_SERVER, or ice_server there, names STUN and TURN servers that browsers are told of:
    stun:host:port or turn:user:password@host:port. No flag: others could read the password. most_kept_mb
    (256) is what a room process may keep of pictures for late viewers. Memory and number of media processes,
    fair shares of connections, peers, event streams and tries are settings too: most_… in sluice/config.py,
    which says what each is.
    """
    # Each option has the name of its setting.
    settings = settings_with({**context.params, "public_ip": tuple(public_ip) if public_ip else None})
    opened = configure_logging(settings.log.level, settings.log.form, settings.log.file)
    structlog.contextvars.bind_contextvars(process="node")
    uvloop.run(_serve(settings, opened))


async def _serve(settings: Settings, log_file: LogFile | None) -> None:
    from sluice import app  # the whole node is needed here alone: other commands start in half the time

    log_stray_errors()
    stopped = app.wait_for_signal()
    _heed_hangup(log_file, stopped)
    async with app.run_node(settings) as node:
        if node.first_start:
            _show_credentials(node, settings.data)
        if node.metrics_url is not None:
            out.print(f"Metrics for Prometheus at {node.metrics_url}", highlight=False, soft_wrap=True)
        out.print(f"sluice {__version__} serves at {node.url}", highlight=False, soft_wrap=True)
        await stopped
        await node.drain()


def _heed_hangup(log_file: LogFile | None, stopped: "asyncio.Future[None]") -> None:
    """SIGHUP opens the log again. A terminal says with it that it is gone, which ends the node."""

    def open_again() -> None:
        if log_file is not None:
            log_file.open()
            log.info("the log was opened again")
        elif sys.stderr.isatty() and not stopped.done():
            stopped.set_result(None)

    if log_file is not None or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, open_again)


def _show_credentials(node: "Node", data: Path) -> None:
    """Prints the secrets only on a terminal: other outputs are kept, and read by others."""
    if not sys.stdout.isatty():
        text = f"First start: the app {node.credentials.app_id}; its keys stand in {data / FILE_NAME}"
        out.print(text, highlight=False, soft_wrap=True)
        return
    out.print("First start: one app and its keys")
    print_document(asdict(node.credentials), as_json=False)
    out.print(f"They are shown this once and stand in {data / FILE_NAME}.", highlight=False, soft_wrap=True)


@cli.command()
def demo(
    check: Annotated[bool, typer.Option("--check", help="Watch it, print figures, exit 0 or 1.")] = False,
    data: DataOption = None,
    listen: Annotated[str, typer.Option(help="HTTP address.")] = "127.0.0.1:0",
) -> None:
    """Plays a sample clip into a room of a node of its own and says where to see and hear it."""
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        flags = {"data": data or Path(folder), "listen": listen, "media_port": 0, "log_level": "warning"}
        settings = settings_with(flags)
        configure_logging(settings.log.level)
        if not uvloop.run(_demo(settings, check=check)):
            sys.exit(1)


async def _demo(settings: Settings, *, check: bool) -> bool:
    from sluice import app
    from sluice import demo as sample  # FFmpeg is needed here alone

    measure = _demo_measure() if check else None
    stopped = app.wait_for_signal()
    async with sample.running_demo(settings) as (node, page):
        if measure is not None:
            figures = await measure(node)
            out.print(f"{'ok' if figures.good else 'FAILED'}: {figures}", highlight=False, soft_wrap=True)
            return figures.good
        out.print("See and hear it at", page, soft_wrap=True, highlight=False)
        out.print("Ctrl-C ends it.")
        await stopped
        return True


def _demo_measure() -> "Callable[[Node], Awaitable[Figures]]":
    """Raises BadInput if the viewer is not installed."""
    try:
        from sluice.demo_check import measure
    except ModuleNotFoundError as error:
        raise BadInput(
            "--check", f"needs {error.name}; install it with: pip install 'sluice[demo]'"
        ) from error
    return measure


# --- calls ------------------------------------------------------------------------------------------------


_PARAMS = """Name=value. Control.StreamUrl=… nests, EventList.0=… EventList.1=… makes a list, and a value
that begins with { or [ is JSON."""


@cli.command()
def call(
    action: Annotated[str, typer.Argument(help="StartRelayStream, StopRelayStream, ListRelayStream, …")],
    params: Annotated[list[str] | None, typer.Argument(help=_PARAMS)] = None,
    version: Annotated[str, typer.Option(help="API version.")] = "2023-11-01",
    url: UrlOption = NODE_URL,
    data: DataOption = None,
) -> None:
    """Signs and sends one call of the OpenAPI; prints the answer. AppId is filled in when left out."""
    credentials = load_credentials(data)
    document = {"AppId": credentials.app_id, **read_params(params or [])}
    try:
        print_json(client_with(url, credentials).call(action, version, document, time.time()))
    except CallFailed as error:
        if error.document is None:
            raise
        print_json(error.document)
        sys.exit(1)


@cli.command()
def token(
    room: Annotated[str, typer.Option(help="RoomId")],
    user: Annotated[str, typer.Option(help="UserId")],
    publish: Annotated[bool, typer.Option(help="May publish.")] = True,
    subscribe: Annotated[bool, typer.Option(help="May watch.")] = True,
    seconds: Annotated[int, typer.Option(min=1, help="Valid for so long.")] = 86400,
    data: DataOption = None,
) -> None:
    """Prints an RTC token for a user in a room."""
    for option, id in (("--room", room), ("--user", user)):
        if not is_valid_id(id):
            raise BadInput(option, "write 1 to 128 of a-z A-Z 0-9 _ @ - .")
    credentials = load_credentials(data)
    now = int(time.time())
    wanted = {Privilege.PUBLISH: publish, Privilege.SUBSCRIBE: subscribe}
    privileges = {privilege: now + seconds for privilege, given in wanted.items() if given}
    app = App(credentials.app_id, credentials.app_key)
    print(make(app, Grant(room, user, now, now + seconds, privileges)))


@task_cli.command("list")
def task_list(url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False) -> None:
    """All tasks, newest first."""
    document = node_client(url, data).native("GET", "/tasks")
    # Only for people: with --json the node's documents are printed as they are.
    addresses = {
        "tasks": [task | {"address": task.get("source", task.get("target"))} for task in document["tasks"]]
    }
    names = ("id", "kind", "room_id", "task_id", "user_id", "state", "reason_text", "address")
    # The node's own ids stay whole: `task show` and its like take them.
    shortened = ("room_id", "task_id", "user_id")
    print_rows(document if as_json else addresses, "tasks", names, as_json, shortened)


def _task_path(id: str) -> str:
    return f"/tasks/{quote(id, safe='')}"


@task_cli.command("show")
def task_show(
    id: str, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """One task."""
    print_document(node_client(url, data).native("GET", _task_path(id)), as_json)


@task_cli.command("stop")
def task_stop(
    id: str, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Stops a task."""
    print_document(node_client(url, data).native("POST", f"{_task_path(id)}/stop"), as_json)


@task_cli.command("control")
def task_control(
    id: str,
    pause: Annotated[
        bool | None, typer.Option("--pause/--resume", help="Let a recording stand still, or go on.")
    ] = None,
    seek: Annotated[
        float | None, typer.Option(help="Go on at this position of the recording, in seconds.")
    ] = None,
    volume: Annotated[
        int | None, typer.Option(help="Percent of the amplitude; 100 is as the source has it.")
    ] = None,
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="Make the loudness even (EBU R 128).")
    ] = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Changes how a relay plays: all that is given, or nothing."""
    wanted = {"pause": pause, "seek_s": seek, "volume": volume, "normalize": normalize}
    body = {name: value for name, value in wanted.items() if value is not None}
    client = node_client(url, data)
    print_document(client.native("POST", f"{_task_path(id)}/control", body), as_json)


@callback_cli.command("list")
def callback_list(
    state: Annotated[str | None, typer.Option(help="pending, dead or delivered. Default: all")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Events, newest first."""
    query = urlencode({"limit": limit} | ({"state": state} if state else {}))
    document = node_client(url, data).native("GET", f"/callbacks?{query}")
    names = ("event_id", "event", "room_id", "task_id", "state", "attempts", "last_error", "url")
    print_rows(document, "callbacks", names, as_json)


@callback_cli.command("replay")
def callback_replay(
    event_id: str, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Sends an event again, at once and outside the order."""
    path = f"/callbacks/{quote(event_id, safe='')}/replay"
    print_document(node_client(url, data).native("POST", path), as_json)
