"""``sluice bot`` and ``sluice channel``: who may play into channels of a running node, and on which line.
A bot's token is printed once, or read from a file."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from sluice.core.bots import Line
from sluice.local_node import DataOption, LocalNode, UrlOption, reach
from sluice.secret_files import read_secret
from sluice.short_names import AppFilter, AppOption, BotArgument, app_id, bot_path, of_app
from sluice.terminal import JsonOption, LimitOption, given, print_document, print_rows, tell_of_more

bot_cli = typer.Typer(no_args_is_help=True, help="Bots of a running node, which play into channels.")
channel_cli = typer.Typer(no_args_is_help=True, help="Channels that bots play into, and their lines.")

_ChannelArgument = Annotated[str, typer.Argument(metavar="CHANNEL", help="Id of the channel, whole.")]


@bot_cli.command("list")
def bot_list(
    app: AppFilter = None, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Lists bots without their tokens, in the order in which they were made."""
    node = reach(url, data)
    document = node.client.native("GET", "/bots")
    if app is not None:
        wanted = app_id(node, app)
        document = {"bots": [bot for bot in document["bots"] if bot["app_id"] == wanted]}
    print_rows(document, "bots", ("bot_id", "name", "enabled", "line", "rooms", "app_id"), as_json)


@bot_cli.command("create")
def bot_create(
    name: Annotated[str, typer.Option(help="What people call it.")],
    rooms: Annotated[
        str | None, typer.Option(help="ROOM_ID,… that it may enter. Default: every room")
    ] = None,
    line: Annotated[Line, typer.Option(help="Line of channels that were given none.")] = Line.TRTC,
    app: AppOption = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that the bot has already. Default: a new one")
    ] = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a bot and prints its token this once."""
    wanted = given({"rooms": _items(rooms), "token": read_secret(token_file)})
    node = reach(url, data)
    wanted |= {"name": name, "line": line.value, "app_id": app_id(node, app)}
    print_document(node.client.native("POST", "/bots", wanted), as_json)


@bot_cli.command("disable")
def bot_disable(
    bot: BotArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Refuses the bot's token until it is enabled again; its streams go on."""
    client = reach(url, data).client
    print_document(client.native("PATCH", bot_path(client, bot), {"enabled": False}), as_json)


@bot_cli.command("enable")
def bot_enable(
    bot: BotArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Accepts the bot's token again."""
    client = reach(url, data).client
    print_document(client.native("PATCH", bot_path(client, bot), {"enabled": True}), as_json)


@bot_cli.command("delete")
def bot_delete(
    bot: BotArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Deletes the bot for ever; its streams go on until they end or `sluice task stop` ends them."""
    client = reach(url, data).client
    path = bot_path(client, bot)
    client.native("DELETE", path)
    print_document({"bot_id": int(path.rpartition("/")[2]), "deleted": True}, as_json)


@channel_cli.command("list")
def channel_list(
    app: AppFilter = None,
    limit: LimitOption = 100,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists channels that were made by bots or set here, the newest first."""
    node = reach(url, data)
    query = urlencode({"limit": limit, **of_app(node, app)})
    document = node.client.native("GET", f"/channels?{query}")
    print_rows(document, "channels", ("channel_id", "line", "room_id", "name", "app_id"), as_json)
    tell_of_more(document["channels"], limit, "channels")


@channel_cli.command("set")
def channel_set(
    channel_id: _ChannelArgument,
    line: Annotated[Line, typer.Option(help="From its next stream on.")],
    room: Annotated[str | None, typer.Option(help="Room that it lies in. Default: any, or as it is")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it. Default: as it is")] = None,
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Registers a channel, or gives one that there is another line."""
    wanted = {"line": line.value} | given({"room_id": room, "name": name})
    node = reach(url, data)
    print_document(node.client.native("PUT", _channel_path(node, app, channel_id), wanted), as_json)


@channel_cli.command("delete")
def channel_delete(
    channel_id: _ChannelArgument,
    app: AppOption = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forgets a channel: it is on the line of the bot again. Its streams go on."""
    node = reach(url, data)
    path = _channel_path(node, app, channel_id)
    node.client.native("DELETE", path)
    print_document({"app_id": app_id(node, app), "channel_id": channel_id, "deleted": True}, as_json)


def _channel_path(node: LocalNode, app: str | None, channel_id: str) -> str:
    return f"/channels/{quote(app_id(node, app), safe='')}/{quote(channel_id, safe='')}"


def _items(text: str | None) -> list[str] | None:
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]
