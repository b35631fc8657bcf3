"""``sluice room``: who is in the rooms of a running node, what they send, and how it arrives."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from sluice.local_node import DataOption, UrlOption, reach
from sluice.short_names import AppFilter, AppOption, app_id, of_app
from sluice.terminal import JsonOption, print_document, print_json, print_rows, say, tell_of_more

room_cli = typer.Typer(no_args_is_help=True, help="Rooms of a running node.")

_COUNTS = ("users", "streams", "viewers", "publishers", "connecting")
_LimitOption = Annotated[int, typer.Option(min=1, max=200, help="At most so many.")]


@room_cli.command("list")
def room_list(
    app: AppFilter = None,
    limit: _LimitOption = 100,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists rooms with somebody in them, by app and room."""
    node = reach(url, data)
    query = urlencode({"limit": limit, **of_app(node, app)})
    document = node.client.native("GET", f"/rooms?{query}")
    rows = {"rooms": [room | room["counts"] for room in document["rooms"]]}
    print_rows(document if as_json else rows, "rooms", ("app_id", "room_id", *_COUNTS), as_json)
    tell_of_more(document["rooms"], limit, "rooms")


@room_cli.command("show")
def room_show(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="RoomId")],
    app: AppOption = None,
    limit: Annotated[
        int, typer.Option(min=1, max=200, help="At most so many users, streams and peers.")
    ] = 100,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shows who is in a room, what is published there, and how it reaches whom."""
    node = reach(url, data)
    path = f"/rooms/{quote(app_id(node, app), safe='')}/{quote(room, safe='')}?{urlencode({'limit': limit})}"
    document = node.client.native("GET", path)
    if as_json:
        print_json(document)
        return
    print_document({name: document[name] for name in ("app_id", "room_id")} | document["counts"], False)
    _section("users", document["users"], ("user_id", "connections"))
    streams = ("user_id", "stream", "origin", "kinds", "viewers", "pushes", "video", "audio", "wrong")
    _section("streams", [_stream(stream) for stream in document["streams"]], streams)
    peers = ("id", "user_id", "role", "state", "of_user_id", "kbps", "loss_%", "rtt_ms", "network")
    _section("peers", [_peer(peer) for peer in document["peers"]], peers)


def _section(name: str, rows: list[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
    if rows:
        say("")
        print_rows({name: rows}, name, columns, False)


def _stream(stream: Mapping[str, Any]) -> Mapping[str, Any]:
    video, audio = stream["video"], stream["audio"]
    size = f"{video['width']}x{video['height']} " if video and video["width"] else ""
    return {
        **stream,
        "video": f"{video['codec']} {size}{video['bitrate_kbps']:.0f} kbit/s" if video else None,
        "audio": f"{audio['codec']} {audio['bitrate_kbps']:.0f} kbit/s" if audio else None,
        "wrong": "; ".join(stream["wrong"].values()),
    }


def _peer(peer: Mapping[str, Any]) -> Mapping[str, Any]:
    traffic = peer["traffic"]
    return {
        **peer,
        "kbps": f"{traffic['bitrate_kbps']:.0f}",
        "loss_%": traffic["loss_percent"],
        "rtt_ms": traffic["round_trip_ms"],
    }
