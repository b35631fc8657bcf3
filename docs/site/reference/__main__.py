"""Writes the pages of the reference that come from the code, and says which have changed."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.site.pages import DOCS
from docs.site.reference.apis import bot_api, native, openapi
from docs.site.reference.command_line import command_line
from docs.site.reference.settings import settings
from docs.site.reference.told import callbacks, errors, metrics

FOLDER = DOCS / "en" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "command-line": command_line,
    "openapi": openapi,
    "bot-api": bot_api,
    "native-api": native,
    "callbacks": callbacks,
    "metrics": metrics,
    "errors": errors,
}


def changed() -> dict[Path, str]:
    """What the pages should be, for those that are not."""
    made = {FOLDER / f"{name}.md": make() for name, make in PAGES.items()}
    return {file: text for file, text in made.items() if not file.exists() or file.read_text() != text}


def main() -> None:
    for file, text in changed().items():
        file.write_text(text)
        print(f"wrote {file.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
