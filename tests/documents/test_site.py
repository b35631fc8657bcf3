"""The site builds without a broken link, loads nothing from elsewhere, and is searched in both languages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    loaded = re.compile(
        r'<(?:script|img|iframe|source)[^>]*\ssrc="?(https?:)?//|<link[^>]*href="?(https?:)?//'
    )
    assert [str(page) for page in pages if loaded.search(page.read_text())] == []
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(https?:)?//", styles)


def test_both_languages_are_there_and_searched(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert set(index["config"]["lang"]) == {"en", "zh"}
    places = {document["location"].partition("#")[0] for document in index["docs"]}
    assert {"reference/settings/", "contract/volcengine/"} <= places
    for page in (site / "index.html", site / "zh" / "index.html"):
        text = page.read_text()
        assert 'hreflang="en"' in text
        assert 'hreflang="zh"' in text
