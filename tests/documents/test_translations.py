"""Chinese pages say what the English ones say now."""

from pathlib import Path

import pytest

from docs.site.pages import (
    DOCS,
    ROOT,
    chinese,
    english_of,
    headings_of,
    mark_now,
    mark_of,
    renew,
    with_english_anchors,
)


@pytest.mark.parametrize("page", chinese(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_is_not_older_than_the_english_one(page: Path) -> None:
    assert english_of(page).exists(), "there is no English page of this name"
    name = page.relative_to(ROOT)
    mark = mark_of(page)
    assert mark is not None, f"{name} does not say what it translates: scripts/docs translated {name}"
    assert mark == mark_now(page), (
        f"{mark.source} has changed since {name} was translated: translate it, then "
        f"scripts/docs translated {name}"
    )


@pytest.mark.parametrize("page", chinese(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_has_the_headings_of_the_english_one(page: Path) -> None:
    """One for one: the site gives them the English anchors."""
    levels = [heading.level for heading in headings_of(page.read_text())]
    assert levels == [heading.level for heading in headings_of(english_of(page).read_text())]


def test_english_anchors_lead_to_chinese_headings() -> None:
    page = DOCS / "zh/how-to/operate.md"
    english = headings_of(english_of(page).read_text())
    text = "\n".join(f"{'#' * heading.level} 标题" for heading in english)
    shown = with_english_anchors(page, text).splitlines()
    assert shown == [f'{"#" * one.level} 标题 <a id="{one.anchor}"></a>' for one in english]


def test_a_mark_is_renewed_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.site.pages.ROOT", tmp_path)
    monkeypatch.setattr("docs.site.pages.DOCS", tmp_path / "docs")
    english, page = tmp_path / "docs/en/a.md", tmp_path / "docs/zh/a.md"
    for file in (english, page):
        file.parent.mkdir(parents=True)
    english.write_text("one")
    page.write_text("一\n")
    assert mark_of(page) is None
    renew(page)
    assert mark_of(page) == mark_now(page)
    english.write_text("two")
    assert mark_of(page) != mark_now(page)
    renew(page)
    assert mark_of(page) == mark_now(page)
    assert page.read_text().count("translates") == 1
