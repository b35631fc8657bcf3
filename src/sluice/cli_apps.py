"""``sluice app``: the apps of a running node. Secrets are printed once, and are read from files:
everybody on the machine sees command lines."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from sluice.exits import Misuse
from sluice.local_node import DataOption, UrlOption, reach
from sluice.secret_files import read_secret, read_text
from sluice.short_names import app_id as whole_app_id
from sluice.terminal import JsonOption, given, print_document, print_rows

app_cli = typer.Typer(no_args_is_help=True, help="Apps of a running node.")


@app_cli.command("list")
def app_list(url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lists all apps, the oldest first."""
    document = reach(url, data).client.native("GET", "/apps")
    print_rows(document, "apps", ("app_id", "relay", "push"), as_json)


@app_cli.command("create")
def app_create(
    app_id: Annotated[str | None, typer.Option(help="24 characters. Default: random")] = None,
    app_key_file: Annotated[Path | None, typer.Option(help="File with its AppKey. Default: random")] = None,
    access_key: Annotated[str | None, typer.Option(help="Its first access key. Default: random")] = None,
    secret_key_file: Annotated[
        Path | None, typer.Option(help="File with the access key's secret. Default: random")
    ] = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes an app and its first access key, and prints their secrets this once."""
    wanted = {"app_id": app_id, "app_key": read_secret(app_key_file)}
    wanted |= {"access_key": access_key, "secret_key": read_secret(secret_key_file)}
    print_document(reach(url, data).client.native("POST", "/apps", given(wanted)), as_json)


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app_cli.command("set")
def app_set(
    app_id: Annotated[
        str | None,
        typer.Argument(help="App, by its id or the beginning of it. Default: the app of credentials.json"),
    ] = None,
    relay: Annotated[Switch | None, typer.Option(help="Streams may be relayed into rooms.")] = None,
    push: Annotated[Switch | None, typer.Option(help="Streams may be pushed out.")] = None,
    user_agent: Annotated[
        str | None, typer.Option(help="Sources are asked with it; '' for sluice's.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="'Name: value' that sources are asked with, or @FILE of such lines; '' for none."),
    ] = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switches features of an app, and says what its sources are asked with; tasks that run go on."""
    wanted: dict[str, object] = {"relay": relay and relay is Switch.ON, "push": push and push is Switch.ON}
    wanted |= {"user_agent": user_agent, "headers": None if header is None else _headers(header)}
    node = reach(url, data)
    path = f"/apps/{quote(whole_app_id(node, app_id), safe='')}"
    print_document(node.client.native("PATCH", path, given(wanted)), as_json)


def _headers(texts: list[str]) -> dict[str, str]:
    """Raises Misuse."""
    lines: list[str] = []
    for text in texts:
        lines += read_text(Path(text[1:])).splitlines() if text.startswith("@") else [text]
    pairs = [line.partition(":") for line in lines if line.strip()]
    if not all(colon for _, colon, _ in pairs):
        raise Misuse("--header: write 'Name: value'")
    return {name.strip(): value.strip() for name, _, value in pairs}


@app_cli.command("delete")
def app_delete(
    app_id: Annotated[str, typer.Argument(help="App, by its id or the beginning of it.")],
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop its live tasks. Without it they keep the app.")
    ] = False,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deletes an app for ever, with its bots, channels, callbacks, bans, and the keys that reach it alone.

    Everybody leaves its rooms, and its tokens are worth nothing any more. Tasks
    that have ended stay listed.
    """
    node = reach(url, data)
    path = f"/apps/{quote(whole_app_id(node, app_id), safe='')}{'?stop=true' if stop else ''}"
    print_document(node.client.native("DELETE", path), as_json)
