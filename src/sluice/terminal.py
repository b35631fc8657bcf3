"""What all commands print, for people or as one JSON document.

Colours are for terminals alone, and for none that asks for none (https://no-color.org). Nothing is cut to the
width of a terminal: an id that is cut is worth nothing. Whoever stops reading ends the command.
"""

import io
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
from rich.cells import cell_len, set_cell_size

from sluice.exits import Exit

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
#: Of lists of which the native API gives a thousand rows at once.
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
#: The most characters of a text that may be shortened.
_LONGEST = 24


class Style(Enum):
    BOLD = "1"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


def open_streams() -> None:
    """To be called once: no locale and no closed stream keeps a command from printing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed by whoever began the command (`>&-`)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, style: Style | None = None, *, end: str = "\n") -> None:
    """To standard output. Ends the command where nobody reads it any more."""
    try:
        sys.stdout.write(_styled(sys.stdout, text, style) + end)
    except BrokenPipeError:
        leave_unread()


def tell(text: str, style: Style | None = None) -> None:
    """To standard error, one line for people."""
    try:
        sys.stderr.write(_styled(sys.stderr, printable(text), style) + "\n")
    except OSError:  # nobody is there to be told
        return


def flush() -> None:
    """Writes out what was said. Ends the command where nobody reads it any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        leave_unread()


def leave_unread() -> NoReturn:
    # What is left in the buffer goes nowhere; the interpreter would complain of it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(Exit.UNREAD)


def _styled(stream: TextIO, text: str, style: Style | None) -> str:
    return f"\x1b[{style.value}m{text}\x1b[0m" if style is not None and is_colourful(stream) else text


def is_colourful(stream: TextIO) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb")
    return not plain and stream.isatty()


def on_terminal() -> bool:
    return sys.stdout.isatty()


def given(wanted: Mapping[str, object]) -> dict[str, object]:
    """Only the fields that were given."""
    return {name: value for name, value in wanted.items() if value is not None}


def print_json(document: Mapping[str, Any]) -> None:
    say(json.dumps(document, indent=2, ensure_ascii=False))


def print_document(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    width = max(map(len, document), default=0)
    for name, value in document.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"{name:{width}}  {printable(text)}".rstrip())


def print_text(name: str, text: str, as_json: bool) -> None:
    """One text alone, for scripts that take it as it is."""
    if as_json:
        print_json({name: text})
    else:
        say(text)


def print_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Prints texts, each behind its word."""
    rows = [(word, printable(text)) for word, text in lines]
    width = max((len(word) for word, _ in rows), default=0)
    for word, text in rows:
        say(f"{word:{width}}  {text}")


def printable(text: str) -> str:
    """A text, perhaps of a stranger, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def print_rows(
    document: Mapping[str, Any],
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
        say("  ".join(map(set_cell_size, line, widths)).rstrip(), None if n else Style.BOLD)


def tell_of_more(rows: Collection[object], limit: int, what: str) -> None:
    """Says that a list may go on where it has as many rows as were asked for."""
    if len(rows) >= limit:
        tell(f"sluice: there may be more {what} than --limit {limit} shows")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 9]}…{text[-8:]}"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return ""
    return printable(", ".join(map(str, value)) if isinstance(value, list) else str(value))
