"""What mkdocs.yml cannot say: pages of the navigation that nobody has written yet are left out, and Chinese
pages have the anchors of the English ones."""

from pathlib import Path
from typing import Any

from docs.site.pages import DOCS, with_english_anchors


def on_config(config: Any) -> Any:
    """`config` is MkDocs'; its plugins see the navigation afterwards."""
    config.nav = _written(config.nav, Path(config.docs_dir))
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    file = DOCS / page.file.src_uri
    return with_english_anchors(file, markdown) if file.is_relative_to(DOCS / "zh") else markdown


def _written(entries: list[Any], folder: Path) -> list[Any]:
    kept: list[Any] = []
    for entry in entries:
        if isinstance(entry, str):
            if (folder / entry).exists() or (folder / "en" / entry).exists():
                kept.append(entry)
            continue
        ((title, inner),) = entry.items()
        found = _written([inner] if isinstance(inner, str) else inner, folder)
        if found:
            kept.append({title: found[0] if isinstance(inner, str) else found})
    return kept
