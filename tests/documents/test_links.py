"""Links and anchors of the documents lead somewhere, and every fence of a page says what becomes of it."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.site.pages import ROOT
from tests.documents.pages import PAGES, RUN_PAGES, anchors_of, blocks_of, links_of

_ELSEWHERE = ("http://", "https://", "mailto:")


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _broken(page: Path, target: str) -> str | None:
    """Why a link leads nowhere."""
    path, _, anchor = unquote(target).partition("#")
    found = (page.parent / path).resolve() if path else page
    if not found.is_relative_to(ROOT) or not found.exists():
        return "no such file"
    if anchor and found.suffix == ".md" and anchor not in anchors_of(found):
        return f"no such heading in {_id(found)}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        f"{_id(page)}:{line}: {target}: {why}"
        for line, target in links_of(page)
        if not target.startswith(_ELSEWHERE) and (why := _broken(page, target))
    ]
    assert broken == []


@pytest.mark.parametrize("page", RUN_PAGES, ids=_id)
def test_every_fence_says_what_becomes_of_it(page: Path) -> None:
    silent = [block.name for block in blocks_of(page) if not block.told]
    assert silent == [], "write <!-- run --> or <!-- shown: why --> in the line before each fence"
