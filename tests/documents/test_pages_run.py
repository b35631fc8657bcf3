"""What pages tell people to type works: the blocks of a page run in order, on one node."""

from pathlib import Path

import pytest

from tests.documents.pages import ROOT, RUN_PAGES, blocks_of
from tests.documents.run import Session, missing

pytestmark = pytest.mark.anyio


def _run_pages() -> list[Path]:
    return [page for page in RUN_PAGES if any(block.told == "run" for block in blocks_of(page))]


@pytest.mark.parametrize("page", _run_pages(), ids=lambda page: str(page.relative_to(ROOT)))
async def test_the_blocks_of_a_page_run(page: Path, session: Session) -> None:
    blocks = [block for block in blocks_of(page) if block.told == "run"]
    ran = 0
    for block in sorted(blocks, key=lambda block: not block.is_setup):  # the sort keeps the page's order
        if not missing(block):
            await session.run(block)
            ran += 1
    if not ran:
        pytest.skip("nothing that this page needs is installed")
