"""``sluice callback``: who is told of an app's events, and the events that wait, were told or given up."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from sluice.local_node import DataOption, LocalNode, UrlOption, reach
from sluice.secret_files import read_secret
from sluice.short_names import AppFilter, AppOption, EventArgument, app_id, event_path, of_app
from sluice.terminal import JsonOption, LimitOption, given, print_document, print_rows, tell_of_more

callback_cli = typer.Typer(no_args_is_help=True, help="Callbacks: who is told, and what was told.")

_BusinessOption = Annotated[
    str | None, typer.Option("--business", help="BusinessId. Default: all that have no callback of their own")
]


class _State(StrEnum):
    PENDING = "pending"
    DEAD = "dead"
    DELIVERED = "delivered"


@callback_cli.command("create")
def callback_create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="http(s) address that events go to.")],
    event: Annotated[
        list[str] | None, typer.Option(help="Name of an event, such as RelayStreamStateChanged. Default: all")
    ] = None,
    business: _BusinessOption = None,
    secret_file: Annotated[
        Path | None, typer.Option(help="File with the secret that signs. Default: a new one")
    ] = None,
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Registers an address for the events of an app, and prints the secret that signs them this once."""
    secret = read_secret(secret_file)
    node = reach(url, data)
    wanted = given({"url": address, "events": event, "business_id": business, "secret": secret})
    print_document(node.client.native("POST", _path(node, app), wanted), as_json)


@callback_cli.command("delete")
def callback_delete(
    business: _BusinessOption = None,
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ends the registration of an app, or of one business of it; what still waits for it is given up."""
    node = reach(url, data)
    of = {"app_id": app_id(node, app), "business_id": business or ""}
    path = f"{_path(node, of['app_id'])}?{urlencode({'business_id': of['business_id']})}"
    node.client.native("DELETE", path)
    print_document({**of, "deleted": True}, as_json)


@callback_cli.command("receivers")
def callback_receivers(
    app: AppOption = None, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Lists who is registered for the events of an app."""
    node = reach(url, data)
    document = node.client.native("GET", _path(node, app))
    names = ("app_id", "business_id", "url", "from_config", "events")
    print_rows(document, "registrations", names, as_json)


@callback_cli.command("list")
def callback_list(
    state: Annotated[_State | None, typer.Option(help="Only those in this state. Default: all")] = None,
    app: AppFilter = None,
    limit: LimitOption = 100,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists events, the newest first."""
    node = reach(url, data)
    query = urlencode({"limit": limit, **given({"state": state and state.value}), **of_app(node, app)})
    document = node.client.native("GET", f"/callbacks?{query}")
    names = ("event_id", "event", "room_id", "task_id", "state", "attempts", "last_error", "url")
    print_rows(document, "callbacks", names, as_json, ("room_id", "task_id"))
    tell_of_more(document["callbacks"], limit, "events")


@callback_cli.command("show")
def callback_show(
    event: EventArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Shows one event: where it goes, how often that was tried, and what the last try met."""
    client = reach(url, data).client
    print_document(client.native("GET", event_path(client, event)), as_json)


@callback_cli.command("replay")
def callback_replay(
    event: EventArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Sends an event again, at once and outside the order."""
    client = reach(url, data).client
    print_document(client.native("POST", f"{event_path(client, event)}/replay"), as_json)


def _path(node: LocalNode, app: str | None) -> str:
    return f"/apps/{quote(app_id(node, app), safe='')}/callbacks"
