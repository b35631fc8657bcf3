"""What all commands share: the options for a node, its client, printing for people or as JSON."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from sluice.client import Client
from sluice.config import Settings, load_settings
from sluice.core.apps import AccessKey
from sluice.core.errors import BadInput
from sluice.store.credentials_file import Credentials, read_credentials

out = Console()
err = Console(stderr=True)

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder. Default: ./data")]
UrlOption = Annotated[str, typer.Option("--url", envvar="SLUICE_URL", help="Address of the node.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NODE_URL = "http://127.0.0.1:8080"
#: The most characters of a text that may be shortened.
_LONGEST = 24


def settings_with(flags: Mapping[str, object]) -> Settings:
    return load_settings(flags, os.environ, Path("sluice.toml"))


def load_credentials(data: Path | None) -> Credentials:
    """The credentials of the data folder's node."""
    return read_credentials(settings_with({"data": data}).data)


def client_with(url: str, credentials: Credentials) -> Client:
    key = AccessKey(credentials.access_key, credentials.secret_key, frozenset())
    return Client(url.rstrip("/"), key, credentials.admin_token)


def node_client(url: str, data: Path | None) -> Client:
    """A client with the credentials of the data folder."""
    return client_with(url, load_credentials(data))


def switch(client: Client, path: str, as_json: bool, *, enabled: bool) -> None:
    """Enables or disables what is at `path`, and prints it."""
    print_document(client.native("PATCH", path, {"enabled": enabled}), as_json)


def read_secret(path: Path | None) -> str | None:
    """The text of the file, without the end of its line."""
    try:
        return None if path is None else path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadInput(str(path), f"cannot be read: {why}") from error


def given(wanted: Mapping[str, object]) -> dict[str, object]:
    """Only the fields that were given."""
    return {name: value for name, value in wanted.items() if value is not None}


def print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_document(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    # No rich table: it would cut a secret to the width of the terminal.
    width = max(map(len, document), default=0)
    for name, value in document.items():
        text = value if isinstance(value, str) else json.dumps(value)
        out.print(f"{name:{width}}  {text}", soft_wrap=True, markup=False, highlight=False)


def print_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Prints texts, each behind its word."""
    rows = [(word, printable(text)) for word, text in lines]
    width = max((len(word) for word, _ in rows), default=0)
    for word, text in rows:
        out.print(f"{word:{width}}  {text}", soft_wrap=True, markup=False, highlight=False)


def printable(text: str) -> str:
    """A text, perhaps of a stranger, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def on_terminal() -> bool:
    return sys.stdout.isatty()


def print_rows(
    document: dict[str, Any],
    name: str,
    columns: Sequence[str],
    as_json: bool,
    shortened: Collection[str] = (),
) -> None:
    """Prints the objects of the list `name`, one per line, with their fields `columns`. On a terminal, where
    people read and not programs, long texts of the columns `shortened` lose their middle."""
    if as_json:
        print_json(document)
        return
    short = shortened if on_terminal() else ()
    lines = [list(columns)]
    for row in document[name]:
        cells = {column: _cell(row.get(column)) for column in columns}
        lines.append([_shortened(cell) if column in short else cell for column, cell in cells.items()])
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for n, line in enumerate(lines):
        # No rich table: it would cut an id to the width of the terminal, or to 80 in a pipe.
        text = "  ".join(map(set_cell_size, line, widths)).rstrip()
        out.print(text, style="" if n else "bold", soft_wrap=True, markup=False, highlight=False)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 9]}…{text[-8:]}"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return ""
    return printable(", ".join(value) if isinstance(value, list) else str(value))
