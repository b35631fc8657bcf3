"""``sluice app`` and ``sluice key``: who may call a running node. Secrets are printed once, and are read from
files: command lines are seen by everybody on the machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from sluice.terminal import (
    NODE_URL,
    DataOption,
    JsonOption,
    UrlOption,
    client_with,
    given,
    load_credentials,
    node_client,
    print_document,
    print_rows,
    read_secret,
    switch,
)

app_cli = typer.Typer(no_args_is_help=True, help="Apps of a running node.")
key_cli = typer.Typer(no_args_is_help=True, help="Access keys of a running node, which sign API calls.")


@app_cli.command("list")
def app_list(url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False) -> None:
    """All apps, oldest first."""
    document = node_client(url, data).native("GET", "/apps")
    print_rows(document, "apps", ("app_id", "relay", "push"), as_json)


@app_cli.command("create")
def app_create(
    app_id: Annotated[str | None, typer.Option(help="24 characters. Default: random")] = None,
    app_key_file: Annotated[Path | None, typer.Option(help="File with its AppKey. Default: random")] = None,
    access_key: Annotated[str | None, typer.Option(help="Its first access key. Default: random")] = None,
    secret_key_file: Annotated[
        Path | None, typer.Option(help="File with the access key's secret. Default: random")
    ] = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes an app and its first access key, and prints their secrets this once."""
    wanted = {"app_id": app_id, "app_key": read_secret(app_key_file)}
    wanted |= {"access_key": access_key, "secret_key": read_secret(secret_key_file)}
    print_document(node_client(url, data).native("POST", "/apps", given(wanted)), as_json)


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app_cli.command("set")
def app_set(
    app_id: Annotated[str | None, typer.Argument(help="Default: the app of credentials.json")] = None,
    relay: Annotated[Switch | None, typer.Option(help="Streams may be relayed into rooms.")] = None,
    push: Annotated[Switch | None, typer.Option(help="Streams may be pushed out.")] = None,
    user_agent: Annotated[
        str | None, typer.Option(help="Sources are asked with it; '' for sluice's.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(help="'Name: value' that sources are asked with, or @FILE of such lines; '' for none."),
    ] = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switches features of an app, and says what its sources are asked with; tasks that run go on."""
    credentials = load_credentials(data)
    wanted: dict[str, object] = {"relay": relay and relay is Switch.ON, "push": push and push is Switch.ON}
    wanted |= {"user_agent": user_agent, "headers": None if header is None else _headers(header)}
    path = f"/apps/{quote(app_id or credentials.app_id, safe='')}"
    print_document(client_with(url, credentials).native("PATCH", path, given(wanted)), as_json)


def _headers(texts: list[str]) -> dict[str, str]:
    lines: list[str] = []
    try:
        for text in texts:
            lines += Path(text[1:]).read_text().splitlines() if text.startswith("@") else [text]
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--header") from error
    pairs = [line.partition(":") for line in lines if line.strip()]
    if not all(colon for _, colon, _ in pairs):
        raise typer.BadParameter("write 'Name: value'", param_hint="--header")
    return {name.strip(): value.strip() for name, _, value in pairs}


@key_cli.command("list")
def key_list(
    app: Annotated[str | None, typer.Option(help="Only those of this app.")] = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Access keys without their secrets, oldest first."""
    path = "/keys" if app is None else f"/keys?app_id={quote(app, safe='')}"
    document = node_client(url, data).native("GET", path)
    print_rows(document, "keys", ("access_key", "enabled", "app_ids"), as_json)


@key_cli.command("create")
def key_create(
    app: Annotated[
        list[str] | None, typer.Option(help="App that it may reach. Default: the app of credentials.json")
    ] = None,
    access_key: Annotated[str | None, typer.Option(help="Its name. Default: random")] = None,
    secret_key_file: Annotated[
        Path | None, typer.Option(help="File with its secret. Default: random")
    ] = None,
    session_token_file: Annotated[
        Path | None, typer.Option(help="File with a session token that each call must carry. Default: none")
    ] = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes an access key and prints its secret this once."""
    credentials = load_credentials(data)
    wanted = {"app_ids": app or [credentials.app_id], "access_key": access_key}
    wanted |= {"secret_key": read_secret(secret_key_file), "session_token": read_secret(session_token_file)}
    print_document(client_with(url, credentials).native("POST", "/keys", given(wanted)), as_json)


@key_cli.command("disable")
def key_disable(
    access_key: str, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Refuses the key until it is enabled again."""
    switch(node_client(url, data), _key_path(access_key), as_json, enabled=False)


@key_cli.command("enable")
def key_enable(
    access_key: str, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Accepts the key again."""
    switch(node_client(url, data), _key_path(access_key), as_json, enabled=True)


@key_cli.command("revoke")
def key_revoke(access_key: str, url: UrlOption = NODE_URL, data: DataOption = None) -> None:
    """Deletes the key for ever."""
    node_client(url, data).native("DELETE", _key_path(access_key))


def _key_path(access_key: str) -> str:
    return f"/keys/{quote(access_key, safe='')}"
