"""``sluice call``, ``token`` and ``link``: what programs and people of an app need, made here by hand."""

import secrets
import sys
import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from sluice.client import CallFailed, read_params, room_page
from sluice.core.apps import App
from sluice.core.ids import is_valid_id
from sluice.exits import Exit, Misuse
from sluice.local_node import DataOption, LocalNode, UrlOption, load_credentials, reach
from sluice.short_names import AppOption, app_id
from sluice.terminal import JsonOption, print_json, print_text
from sluice.wire.token import LONGEST_GRANT_S, grant_for, make

_PARAMS = """Name=value. Control.StreamUrl=… nests, EventList.0=… EventList.1=… makes a list, and a value
that begins with { or [ is JSON."""
_DAY_S = 86400
_RoomOption = Annotated[str, typer.Option("--room", help="RoomId")]
_SubscribeOption = Annotated[bool, typer.Option(help="May watch.")]
_SecondsOption = Annotated[int, typer.Option(min=1, max=LONGEST_GRANT_S, help="Valid for so long.")]


def call(
    action: Annotated[str, typer.Argument(help="StartRelayStream, StopRelayStream, ListRelayStream, …")],
    params: Annotated[list[str] | None, typer.Argument(help=_PARAMS)] = None,
    version: Annotated[str, typer.Option(help="API version.")] = "2023-11-01",
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Changes nothing: the answer is JSON.")] = False,
) -> None:
    """Signs and sends one call of the OpenAPI, and prints the answer.

    AppId is filled in when left out. For the app of credentials.json its access
    key signs, for any other app the node.
    """
    try:
        given = read_params(params or [])
    except CallFailed as error:
        raise Misuse(str(error)) from error
    node = reach(url, data)
    wanted = app_id(node, app)
    signer = None if wanted == node.credentials.app_id else wanted
    try:
        print_json(node.client.call(action, version, {"AppId": wanted, **given}, time.time(), signer))
    except CallFailed as error:
        if error.document is None or "ResponseMetadata" not in error.document:
            raise
        print_json(error.document)
        sys.exit(Exit.FAILED)


def token(  # noqa: PLR0913 - every field is an option
    room: _RoomOption,
    user: Annotated[str, typer.Option(help="UserId")],
    publish: Annotated[bool, typer.Option(help="May publish.")] = True,
    subscribe: _SubscribeOption = True,
    seconds: _SecondsOption = _DAY_S,
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prints an RTC token for a user in a room.

    For the app of credentials.json no node has to run.
    """
    wanted = _wanted(room, user, publish, subscribe, seconds)
    if app is None:
        credentials = load_credentials(data)
        grant = grant_for(now=int(time.time()), **wanted)
        made = make(App(credentials.app_id, credentials.app_key), grant)
    else:
        node = reach(url, data)
        made = _token_of(node, app_id(node, app), wanted)
    print_text("token", made, as_json)


def link(  # noqa: PLR0913 - every field is an option
    room: _RoomOption,
    user: Annotated[str | None, typer.Option(help="UserId. Default: a new guest")] = None,
    publish: Annotated[bool, typer.Option(help="May publish.")] = False,
    subscribe: _SubscribeOption = True,
    seconds: _SecondsOption = _DAY_S,
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prints the address of the page that shows a room, with a token in it.

    Whoever has it enters as this user. It begins with --base-url of the node,
    or with the address at which the node is reached.
    """
    wanted = _wanted(room, user or f"guest-{secrets.token_hex(4)}", publish, subscribe, seconds)
    node = reach(url, data)
    id = app_id(node, app)
    print_text("url", room_page(node.public_url, id, room, _token_of(node, id, wanted)), as_json)


def _wanted(room: str, user: str, publish: bool, subscribe: bool, seconds: int) -> dict[str, Any]:
    for option, id in (("--room", room), ("--user", user)):
        if not is_valid_id(id):
            raise Misuse(f"{option}: write 1 to 128 of a-z A-Z 0-9 _ @ - .")
    return {
        "room_id": room,
        "user_id": user,
        "publish": publish,
        "subscribe": subscribe,
        "seconds": seconds,
    }


def _token_of(node: LocalNode, app: str, wanted: dict[str, Any]) -> str:
    """The node knows the keys of all apps."""
    return str(node.client.native("POST", f"/apps/{quote(app, safe='')}/tokens", wanted)["token"])
