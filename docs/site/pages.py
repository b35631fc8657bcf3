"""The documents as files: where they are, and which English text a Chinese page translates.

A Chinese page carries `<!-- translates: docs/en/start.md sha256:… -->` with the hash of the English page, so
that it is known to be older when the English text changes.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_MARK = re.compile(r"<!-- translates: (?P<source>\S+) sha256:(?P<hash>[0-9a-f]{16}) -->")


_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_HEADING = re.compile(r"^(?P<level>#{1,6}) +(?P<text>.*?)(?: +\{ *#(?P<id>[\w-]+) *\})?$")


@dataclass(frozen=True, slots=True)
class Heading:
    line: int  #: counted from 0
    level: int
    anchor: str


def headings_of(text: str) -> list[Heading]:
    found, fence = [], ""
    for number, line in enumerate(text.splitlines()):
        if fenced := _FENCE.match(line):
            fence = "" if fence and fenced[1].startswith(fence) else fence or fenced[1]
        elif not fence and (heading := _HEADING.match(line)):
            anchor = heading["id"] or anchor_of(heading["text"])
            found.append(Heading(number, len(heading["level"]), anchor))
    return found


def anchor_of(heading: str) -> str:
    """As the site and repositories make it."""
    text = re.sub(r"<[^>]*>", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
    text = unicodedata.normalize("NFC", text.replace("`", "").replace("*", ""))
    return re.sub(r"[^\w\s-]", "", text).strip().lower().replace(" ", "-")


def with_english_anchors(page: Path, text: str) -> str:
    """A Chinese page whose headings can be reached by the anchors of the English ones, too. English pages
    that stand in for Chinese ones link to it."""
    lines, english = text.splitlines(), headings_of(english_of(page).read_text())
    for here, there in zip(headings_of(text), english, strict=False):
        lines[here.line] += f' <a id="{there.anchor}"></a>'
    return "\n".join(lines)


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
