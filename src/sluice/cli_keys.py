"""``sluice key``: the access keys of a running node, which sign API calls. A secret is printed once, or read
from a file."""

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlencode

import typer

from sluice.local_node import DataOption, UrlOption, reach
from sluice.secret_files import read_secret
from sluice.short_names import AppFilter, KeyArgument, app_id, key_path, of_app
from sluice.terminal import JsonOption, given, print_document, print_rows

key_cli = typer.Typer(no_args_is_help=True, help="Access keys of a running node, which sign API calls.")


@key_cli.command("list")
def key_list(
    app: AppFilter = None, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Lists access keys without their secrets, the oldest first."""
    node = reach(url, data)
    document = node.client.native("GET", f"/keys?{urlencode(of_app(node, app))}")
    print_rows(document, "keys", ("access_key", "enabled", "app_ids"), as_json)


@key_cli.command("create")
def key_create(
    app: Annotated[
        list[str] | None,
        typer.Option(
            help="App that it may reach, by its id or the beginning of it; may be given several times. "
            "Default: the app of credentials.json"
        ),
    ] = None,
    access_key: Annotated[str | None, typer.Option(help="Its name. Default: random")] = None,
    secret_key_file: Annotated[
        Path | None, typer.Option(help="File with its secret. Default: random")
    ] = None,
    session_token_file: Annotated[
        Path | None, typer.Option(help="File with a session token that each call must carry. Default: none")
    ] = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes an access key and prints its secret this once."""
    secrets = {
        "secret_key": read_secret(secret_key_file),
        "session_token": read_secret(session_token_file),
    }
    node = reach(url, data)
    apps = [app_id(node, one) for one in app] if app else [app_id(node, None)]
    wanted = given({"app_ids": apps, "access_key": access_key, **secrets})
    print_document(node.client.native("POST", "/keys", wanted), as_json)


@key_cli.command("disable")
def key_disable(
    access_key: KeyArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Refuses the key until it is enabled again."""
    client = reach(url, data).client
    print_document(client.native("PATCH", key_path(client, access_key), {"enabled": False}), as_json)


@key_cli.command("enable")
def key_enable(
    access_key: KeyArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Accepts the key again."""
    client = reach(url, data).client
    print_document(client.native("PATCH", key_path(client, access_key), {"enabled": True}), as_json)


@key_cli.command("revoke")
def key_revoke(
    access_key: KeyArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Deletes the key for ever."""
    client = reach(url, data).client
    path = key_path(client, access_key)
    client.native("DELETE", path)
    print_document({"access_key": unquote(path.rpartition("/")[2]), "revoked": True}, as_json)
