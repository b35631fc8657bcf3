"""Pieces of Markdown."""

from collections.abc import Iterable, Sequence


def written_from(*sources: str) -> str:
    """The last line of a page: where its text really is. The site takes a title from the first one."""
    return f"<!-- Written by `scripts/docs reference` from {', '.join(sources)}: change it there. -->"


def page(*parts: str) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Empty if there are no rows."""
    lines = [_row(cells) for cells in rows]
    return "\n".join([_row(head), _row(["---"] * len(head)), *lines]) if lines else ""


def code(text: object) -> str:
    """As code; empty for nothing."""
    return f"`{text}`" if str(text) else ""


def fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def plain(text: str) -> str:
    """A docstring as one paragraph: the double backticks of its convention become single ones."""
    return " ".join(text.replace("``", "`").split())


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ").strip()
