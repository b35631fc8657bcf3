"""What pages tell people to type works: the blocks of a page run in order, on one node.

A Chinese page with the same commands as the English one, comments aside, runs with it.
"""

import re
from pathlib import Path

import pytest

from docs.site.pages import ROOT, chinese, english_of
from tests.documents.pages import RUN_PAGES, Block, blocks_of
from tests.documents.run import Session, missing

pytestmark = pytest.mark.anyio


def _blocks(page: Path) -> list[Block]:
    """In the order in which they run."""
    blocks = [block for block in blocks_of(page) if block.told == "run"]
    return sorted(blocks, key=lambda block: not block.is_setup)  # the sort keeps the page's order


def _commands(page: Path) -> list[str]:
    return [re.sub(r"(^|\s+)(#|//) .*$", "", block.text, flags=re.MULTILINE) for block in _blocks(page)]


def _run_pages() -> list[Path]:
    translated = {page for page in chinese() if _commands(page) == _commands(english_of(page))}
    return [page for page in RUN_PAGES if page not in translated and _blocks(page)]


@pytest.mark.parametrize("page", _run_pages(), ids=lambda page: str(page.relative_to(ROOT)))
async def test_the_blocks_of_a_page_run(page: Path, session: Session) -> None:
    ran = 0
    for block in _blocks(page):
        if not missing(block):
            await session.run(block)
            ran += 1
    if not ran:
        pytest.skip("nothing that this page needs is installed")
