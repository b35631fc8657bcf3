"""Reads Markdown pages: their fenced blocks with what the tests are told of them, their headings and links.

A comment in the line before a fence says what becomes of it. `<!-- run -->`: it is run.
`<!-- run: setup -->`: first of the page. `<!-- run: needs=nginx -->`: skipped where the program is not
installed. `<!-- run: file=receiver.py -->`: written into the scratch folder, for a later block to start.
`<!-- shown -->`, `<!-- shown: why -->`: not run.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.site.pages import ROOT, headings_of

#: Markdown that people read: the site's pages and those of the repository.
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "tests").rglob("*.md"),
    }
    - {page for page in (ROOT / "tests").rglob("*.md") if "node_modules" in page.parts}
)
#: Those whose blocks people copy.
RUN_PAGES = [
    page
    for page in PAGES
    if (page.name.startswith("README") and page.parent == ROOT)
    or page.parent.name == "how-to"
    or page.name == "start.md"
]
_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<info>.*)$")
_COMMENT = re.compile(r"^\s*<!-- (?P<word>run|shown)(?:: (?P<rest>.*?))? -->$")
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^()\s]*(?:\([^()]*\)[^()\s]*)*)\)")
_CODE = re.compile(r"(`+).+?\1")


@dataclass(frozen=True, slots=True)
class Block:
    """`told` is `run`, `shown` or empty; `rest` is what the comment says after a colon."""

    page: Path
    line: int
    language: str
    text: str
    told: str
    rest: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_setup(self) -> bool:
        return self.rest == "setup"

    @property
    def file(self) -> str | None:
        """The name under which it is kept instead of being run."""
        found = [part.removeprefix("file=") for part in self.rest.split() if part.startswith("file=")]
        return found[0] if found else None

    @property
    def needs(self) -> tuple[str, ...]:
        """Programs without which it is skipped."""
        return tuple(part.removeprefix("needs=") for part in self.rest.split() if part.startswith("needs="))


def blocks_of(page: Path) -> list[Block]:
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        start, inside = number, []
        number += 1
        while number < len(lines) and not _closes(lines[number], opened["marks"]):
            inside.append(lines[number])
            number += 1
        number += 1
        told = _COMMENT.match(lines[start - 1]) if start else None
        language = opened["info"].strip().split(" ")[0]
        text = textwrap.dedent("\n".join(inside)) + "\n"
        yield Block(
            page,
            start + 1,
            language,
            text,
            told["word"] if told else "",
            (told["rest"] or "") if told else "",
        )


def _closes(line: str, marks: str) -> bool:
    return line.strip().startswith(marks) and not line.strip().strip(marks[0])


def prose_of(page: Path) -> str:
    """The page without its fenced blocks; its lines keep their numbers."""
    kept, marks = [], ""
    for line in page.read_text().splitlines():
        opened = _FENCE.match(line)
        if marks:
            if _closes(line, marks):
                marks = ""
            kept.append("")
        elif opened:
            marks = opened["marks"]
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def links_of(page: Path) -> list[tuple[int, str]]:
    """Line and target of each link and picture."""
    prose = "\n".join(
        _CODE.sub(lambda code: "`" * len(code[0]), line) for line in prose_of(page).splitlines()
    )
    return [(prose.count("\n", 0, found.start()) + 1, found["target"]) for found in _LINK.finditer(prose)]


def anchors_of(page: Path) -> set[str]:
    """Its headings, numbered where they repeat: as on the site, and as repositories are shown. And ids in
    HTML."""
    text = page.read_text()
    taken: set[str] = set(re.findall(r'<\w+ [^>]*id="([^"]+)"', prose_of(page)))
    seen: Counter[str] = Counter()
    for heading in headings_of(text):
        before = seen[heading.anchor]
        taken |= {f"{heading.anchor}{sign}{before}" for sign in "_-"} if before else {heading.anchor}
        seen[heading.anchor] += 1
    return taken
