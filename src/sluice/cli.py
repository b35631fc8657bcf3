"""The command ``sluice``: serve a node, or talk to one. Prints for people, with --json one JSON document."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from sluice import __version__
from sluice.app import Node, run_node, wait_for_signal
from sluice.client import CallFailed, Client, read_params
from sluice.config import Settings, load_settings
from sluice.core.apps import AccessKey, App
from sluice.core.errors import SluiceError
from sluice.process.child import configure_logging
from sluice.store.credentials import FILE_NAME, Credentials, read_credentials
from sluice.wire.token import Grant, Privilege, make

cli = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__)
task_cli = typer.Typer(no_args_is_help=True, help="Tasks of a running node.")
cli.add_typer(task_cli, name="task")

out = Console()
err = Console(stderr=True)

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder. Default: ./data")]
UrlOption = Annotated[str, typer.Option("--url", envvar="SLUICE_URL", help="Address of the node.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_URL = "http://127.0.0.1:8080"


def main() -> None:
    """Entry point: errors of sluice are one line for a person, and exit status 1."""
    try:
        cli()
    except SluiceError as error:
        err.print(f"sluice: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except OSError as error:
        err.print(f"sluice: {error.strerror or error}", style="red", markup=False, highlight=False)
        sys.exit(1)


# --- nodes ------------------------------------------------------------------------------------------------


@cli.command()
def serve(
    data: DataOption = None,
    listen: Annotated[str | None, typer.Option(help="HTTP address. Default: 127.0.0.1:8080")] = None,
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
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error. Default: info")
    ] = None,
) -> None:
    """Runs a node until SIGINT or SIGTERM. Flags win over SLUICE_* variables, these over ./sluice.toml.

    SLUICE_ICE_SERVER, or ice_server there, names STUN and TURN servers that browsers are told of:
    stun:host:port or turn:user:password@host:port. No flag: others could read the password.
    """
    flags = {
        "data": data,
        "listen": listen,
        "media_port": media_port,
        "public_ip": tuple(public_ip) if public_ip else None,
        "room_processes": room_processes,
        "media_processes": media_processes,
        "allow_networks": allow_networks,
        "log_level": log_level,
    }
    settings = _settings(flags)
    configure_logging(settings.log_level)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stopped = wait_for_signal()
    async with run_node(settings) as node:
        if node.first_start:
            _show_credentials(node, settings.data)
        out.print(f"sluice {__version__} serves at {node.url}", highlight=False)
        await stopped


def _show_credentials(node: Node, data: Path) -> None:
    table = Table(title="First start: one app and its keys", show_header=False)
    for name, value in asdict(node.credentials).items():
        table.add_row(name, value)
    out.print(table)
    out.print(f"They are shown this once and stand in {data / FILE_NAME}.", highlight=False)


@cli.command()
def demo(
    check: Annotated[bool, typer.Option("--check", help="Watch it, print figures, exit 0 or 1.")] = False,
    data: DataOption = None,
    listen: Annotated[str, typer.Option(help="HTTP address.")] = "127.0.0.1:0",
) -> None:
    """Plays a sample clip into a room of a node of its own and says where to see and hear it."""
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        flags = {"data": data or Path(folder), "listen": listen, "media_port": 0, "log_level": "warning"}
        settings = _settings(flags)
        configure_logging(settings.log_level)
        if not uvloop.run(_demo(settings, check=check)):
            sys.exit(1)


async def _demo(settings: Settings, *, check: bool) -> bool:
    from sluice import demo as sample  # aiortc and FFmpeg are needed here alone

    stopped = wait_for_signal()
    async with sample.running_demo(settings) as (node, page):
        if check:
            figures = await sample.measure(node)
            out.print(f"{'ok' if figures.good else 'FAILED'}: {figures}", highlight=False, soft_wrap=True)
            return figures.good
        out.print("See and hear it at", page, soft_wrap=True, highlight=False)
        out.print("Ctrl-C ends it.")
        await stopped
        return True


# --- calls ------------------------------------------------------------------------------------------------


@cli.command()
def call(
    action: Annotated[str, typer.Argument(help="StartRelayStream, StopRelayStream, ListRelayStream, …")],
    params: Annotated[list[str] | None, typer.Argument(help="Name=value; Control.StreamUrl=… nests.")] = None,
    version: Annotated[str, typer.Option(help="API version.")] = "2023-11-01",
    url: UrlOption = _URL,
    data: DataOption = None,
) -> None:
    """Signs and sends one call of the OpenAPI; prints the answer. AppId is filled in when left out."""
    credentials = _credentials(data)
    document = {"AppId": credentials.app_id, **read_params(params or [])}
    try:
        _print_json(_client(url, credentials).call(action, version, document, time.time()))
    except CallFailed as error:
        if error.document is None:
            raise
        _print_json(error.document)
        sys.exit(1)


@cli.command()
def token(
    room: Annotated[str, typer.Option(help="RoomId")],
    user: Annotated[str, typer.Option(help="UserId")],
    publish: Annotated[bool, typer.Option(help="May publish.")] = True,
    subscribe: Annotated[bool, typer.Option(help="May watch.")] = True,
    seconds: Annotated[int, typer.Option(help="Valid for so long.")] = 86400,
    data: DataOption = None,
) -> None:
    """Prints an RTC token for a user in a room."""
    credentials = _credentials(data)
    now = int(time.time())
    wanted = {Privilege.PUBLISH: publish, Privilege.SUBSCRIBE: subscribe}
    privileges = {privilege: now + seconds for privilege, given in wanted.items() if given}
    app = App(credentials.app_id, credentials.app_key)
    print(make(app, Grant(room, user, now, now + seconds, privileges)))


@task_cli.command("list")
def task_list(url: UrlOption = _URL, data: DataOption = None, as_json: JsonOption = False) -> None:
    """All tasks, newest first."""
    document = _client(url, _credentials(data)).native("GET", "/tasks")
    if as_json:
        _print_json(document)
        return
    table = Table("id", "room", "task", "user", "state", "reason", "source")
    for task in document["tasks"]:
        names = ("id", "room_id", "task_id", "user_id", "state", "reason_text", "source")
        table.add_row(*(str(task[name]) for name in names))
    out.print(table)


@task_cli.command("show")
def task_show(id: str, url: UrlOption = _URL, data: DataOption = None, as_json: JsonOption = False) -> None:
    """One task."""
    _print_task(_client(url, _credentials(data)).native("GET", f"/tasks/{id}"), as_json)


@task_cli.command("stop")
def task_stop(id: str, url: UrlOption = _URL, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Stops a task."""
    _print_task(_client(url, _credentials(data)).native("POST", f"/tasks/{id}/stop"), as_json)


# --- inside -----------------------------------------------------------------------------------------------


def _settings(flags: Mapping[str, object]) -> Settings:
    return load_settings(flags, os.environ, Path("sluice.toml"))


def _credentials(data: Path | None) -> Credentials:
    return read_credentials(_settings({"data": data}).data)


def _client(url: str, credentials: Credentials) -> Client:
    key = AccessKey(credentials.access_key, credentials.secret_key, frozenset())
    return Client(url.rstrip("/"), key, credentials.admin_token)


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _print_task(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(document)
        return
    table = Table(show_header=False)
    for name, value in document.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    out.print(table)
