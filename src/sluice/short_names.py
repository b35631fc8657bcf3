"""Shortened names: whoever writes the beginning of an id means the only thing whose id begins so.

A whole name always means what it says, even if others begin with it. The candidates of a beginning that fits
several are named.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from sluice.client import Client, NothingThere
from sluice.exits import Ambiguous, Misuse
from sluice.local_node import LocalNode

#: How many candidates a message names.
_SHOWN = 5
_RUN, _RUN_LENGTH, _EVENT_LENGTH, _APP_LENGTH = "run_", 24, 36, 24

AppOption = Annotated[
    str | None,
    typer.Option("--app", help="App, by its id or the beginning of it. Default: the app of credentials.json"),
]
AppFilter = Annotated[
    str | None, typer.Option("--app", help="Only those of this app, by its id or the beginning of it.")
]
TaskArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the task as `task list` shows it, or the beginning of it.")
]
EventArgument = Annotated[
    str,
    typer.Argument(metavar="EVENT", help="Id as `callback list` shows it, or the beginning of it."),
]
KeyArgument = Annotated[str, typer.Argument(metavar="ACCESS_KEY", help="Access key, or the beginning of it.")]
BotArgument = Annotated[
    str, typer.Argument(metavar="BOT", help="Number of the bot, or its name or the beginning of it.")
]


def chosen(what: str, text: str, names: Iterable[str], *, more: bool = False) -> str:
    """The one name that begins with `text`. `more` says that `names` are not all there are. Raises
    NothingThere, Ambiguous, and Misuse for an empty text."""
    if not text:
        raise Misuse(f"the name of the {what} is empty")
    fitting = sorted({name for name in names if name.startswith(text)})
    if text in fitting:
        return text
    if not fitting:
        raise NothingThere(f"there is no {what} {text}")
    if len(fitting) > 1:
        further = more or len(fitting) > _SHOWN
        shown = ", ".join(fitting[:_SHOWN]) + (", …" if further else "")
        raise Ambiguous(f"{text} fits several: {shown}; write more of the {what}")
    return fitting[0]


def task_path(client: Client, text: str) -> str:
    """The path of a task in the native API."""
    begins = text if text.startswith(_RUN) else _RUN + text
    return f"/tasks/{_found(client, 'task', begins if text else text, '/tasks', 'id', _RUN_LENGTH)}"


def event_path(client: Client, text: str) -> str:
    return f"/callbacks/{_found(client, 'event', text, '/callbacks', 'event_id', _EVENT_LENGTH)}"


def _found(client: Client, what: str, text: str, path: str, field: str, whole: int) -> str:
    if len(text) >= whole or not text:  # there is nothing to look for
        return quote(text or chosen(what, text, ()), safe="")
    query = urlencode({"begins": text, "limit": _SHOWN + 1})
    rows = client.native("GET", f"{path}?{query}")[path.strip("/")]
    names = [str(row[field]) for row in rows]
    return chosen(what, text, names, more=len(names) > _SHOWN)


def app_id(node: LocalNode, text: str | None) -> str:
    """Without a text: the app of credentials.json."""
    if text is None:
        return node.credentials.app_id
    if len(text) == _APP_LENGTH:
        return text
    return chosen("app", text, _column(node.client, "/apps", "apps", "app_id"))


def of_app(node: LocalNode, text: str | None) -> Mapping[str, object]:
    """The filter of a list; empty for all apps."""
    return {} if text is None else {"app_id": app_id(node, text)}


def key_path(client: Client, text: str) -> str:
    name = chosen("access key", text, _column(client, "/keys", "keys", "access_key"))
    return f"/keys/{quote(name, safe='')}"


def bot_path(client: Client, text: str) -> str:
    """By number, which is whole, or by name."""
    if text.isascii() and text.isdecimal():
        return f"/bots/{text}"
    bots = client.native("GET", "/bots")["bots"]
    name = chosen("bot", text, [bot["name"] for bot in bots])
    numbers = [str(bot["bot_id"]) for bot in bots if bot["name"] == name]
    if len(numbers) > 1:
        raise Ambiguous(f"several bots have the name {name}: {', '.join(numbers)}; write the number of one")
    return f"/bots/{numbers[0]}"


def _column(client: Client, path: str, name: str, field: str) -> list[str]:
    return [str(row[field]) for row in client.native("GET", path)[name]]
