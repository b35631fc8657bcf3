"""``sluice bot`` and ``sluice channel``: who may play into channels of a running node, and on which line.
A bot's token is printed once, or read from a file."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from sluice.core.bots import Line
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

bot_cli = typer.Typer(no_args_is_help=True, help="Bots of a running node, which play into channels.")
channel_cli = typer.Typer(no_args_is_help=True, help="Channels that bots play into, and their lines.")

_AppOption = Annotated[
    str | None, typer.Option("--app", help="App whose rooms they are. Default: the app of credentials.json")
]


@bot_cli.command("list")
def bot_list(url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False) -> None:
    """All bots without their tokens, in the order in which they were made."""
    document = node_client(url, data).native("GET", "/bots")
    print_rows(document, "bots", ("bot_id", "name", "enabled", "line", "rooms", "app_id"), as_json)


@bot_cli.command("create")
def bot_create(
    name: Annotated[str, typer.Option(help="What people call it.")],
    rooms: Annotated[
        str | None, typer.Option(help="ROOM_ID,… that it may enter. Default: every room")
    ] = None,
    line: Annotated[Line, typer.Option(help="Line of channels that were given none.")] = Line.TRTC,
    app: _AppOption = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that the bot has already. Default: a new one")
    ] = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a bot and prints its token this once."""
    credentials = load_credentials(data)
    wanted = given({"rooms": _items(rooms), "token": read_secret(token_file)})
    wanted |= {"name": name, "line": line.value, "app_id": app or credentials.app_id}
    print_document(client_with(url, credentials).native("POST", "/bots", wanted), as_json)


@bot_cli.command("disable")
def bot_disable(
    bot_id: int, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Refuses the bot's token until it is enabled again; its streams go on."""
    switch(node_client(url, data), f"/bots/{bot_id}", as_json, enabled=False)


@bot_cli.command("enable")
def bot_enable(
    bot_id: int, url: UrlOption = NODE_URL, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Accepts the bot's token again."""
    switch(node_client(url, data), f"/bots/{bot_id}", as_json, enabled=True)


@bot_cli.command("delete")
def bot_delete(bot_id: int, url: UrlOption = NODE_URL, data: DataOption = None) -> None:
    """Deletes the bot for ever; its streams go on until they end or `sluice task stop` ends them."""
    node_client(url, data).native("DELETE", f"/bots/{bot_id}")


@channel_cli.command("list")
def channel_list(
    app: Annotated[str | None, typer.Option(help="Only those of this app.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Channels that were made by bots or set here, newest first."""
    query = urlencode({"limit": limit} | given({"app_id": app}))
    document = node_client(url, data).native("GET", f"/channels?{query}")
    print_rows(document, "channels", ("channel_id", "line", "room_id", "name", "app_id"), as_json)


@channel_cli.command("set")
def channel_set(
    channel_id: str,
    line: Annotated[Line, typer.Option(help="From its next stream on.")],
    room: Annotated[str | None, typer.Option(help="Room that it lies in. Default: any, or as it is")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it. Default: as it is")] = None,
    app: _AppOption = None,
    url: UrlOption = NODE_URL,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Registers a channel, or gives one that there is another line."""
    credentials = load_credentials(data)
    wanted = {"line": line.value} | given({"room_id": room, "name": name})
    path = _channel_path(app or credentials.app_id, channel_id)
    print_document(client_with(url, credentials).native("PUT", path, wanted), as_json)


@channel_cli.command("delete")
def channel_delete(
    channel_id: str, app: _AppOption = None, url: UrlOption = NODE_URL, data: DataOption = None
) -> None:
    """Forgets a channel: it is on the line of the bot again. Its streams go on."""
    credentials = load_credentials(data)
    path = _channel_path(app or credentials.app_id, channel_id)
    client_with(url, credentials).native("DELETE", path)


def _channel_path(app_id: str, channel_id: str) -> str:
    return f"/channels/{quote(app_id, safe='')}/{quote(channel_id, safe='')}"


def _items(text: str | None) -> list[str] | None:
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]
