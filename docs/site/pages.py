"""The documents as files: where they are, and which English text a Chinese page translates.

A Chinese page carries `<!-- translates: docs/en/start.md sha256:… -->` with the hash of the English page, so
that it is known to be older when the English text changes.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_MARK = re.compile(r"<!-- translates: (?P<source>\S+) sha256:(?P<hash>[0-9a-f]{16}) -->")


def chinese() -> list[Path]:
    return [*sorted((DOCS / "zh").rglob("*.md")), *ROOT.glob("*.zh.md")]


def english_of(page: Path) -> Path:
    """The page that a Chinese one translates."""
    if page.parent == ROOT:
        return page.with_name(page.name.replace(".zh.md", ".md"))
    return DOCS / "en" / page.relative_to(DOCS / "zh")


@dataclass(frozen=True, slots=True)
class Mark:
    source: str  #: from the root of the repository
    hash: str

    def __str__(self) -> str:
        return f"<!-- translates: {self.source} sha256:{self.hash} -->"


def mark_now(page: Path) -> Mark:
    """What a Chinese page would carry if it were translated now. Raises FileNotFoundError."""
    english = english_of(page)
    digest = hashlib.sha256(english.read_bytes()).hexdigest()[:16]
    return Mark(english.relative_to(ROOT).as_posix(), digest)


def mark_of(page: Path) -> Mark | None:
    found = _MARK.search(page.read_text())
    return Mark(found["source"], found["hash"]) if found else None


def renew(page: Path) -> None:
    """Writes the mark of now: in its place, or as the page's last line."""
    text, mark = page.read_text(), str(mark_now(page))
    page.write_text(_MARK.sub(mark, text) if _MARK.search(text) else f"{text.rstrip()}\n\n{mark}\n")
