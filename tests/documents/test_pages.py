"""How pages are read and their blocks run; a page that is wrong is named with its line."""

from pathlib import Path

import psutil
import pytest

from tests.documents import pages
from tests.documents.pages import Block, anchors_of, blocks_of, links_of
from tests.documents.run import Session, missing
from tests.integration.waiting import until

_PAGE = """
# A page: `code` & more

<!-- run: setup needs=sh needs=no-such-program -->
```sh
echo one
```

=== "Python"

    <!-- run: file=receiver.py -->
    ```python
    if True:
        print("two")
    ```

~~~~text
```
[no link](nowhere.md)
~~~~

See [this
page](#a-page-code--more) and `[no](link)`.

## Twice
## Twice
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    file = tmp_path / "page.md"
    file.write_text(_PAGE)
    return file


def test_blocks(page: Path) -> None:
    shell, program, shown = blocks_of(page)
    assert (shell.language, shell.text, shell.told, shell.name) == ("sh", "echo one\n", "run", "page.md:5")
    assert missing(shell) == ["no-such-program"]
    assert program.text == 'if True:\n    print("two")\n'
    assert program.file == "receiver.py"
    assert (shown.told, shown.language) == ("", "text")


def test_links_and_anchors(page: Path) -> None:
    assert links_of(page) == [(22, "#a-page-code--more")]
    assert {"a-page-code--more", "twice", "twice_1"} <= anchors_of(page)


def written(page: Path, text: str) -> list[Block]:
    page.write_text(text)
    return blocks_of(page)


async def run(page: Path, text: str) -> None:
    session = Session(page.parent, {"https://example.com/": "http://here/"}, "http://node")
    try:
        for block in written(page, text):
            await session.run(block)
    finally:
        session.close()


@pytest.mark.anyio
async def test_blocks_run_as_a_reader_would(page: Path) -> None:
    one = '<!-- run -->\n```sh\nA="x y"\nB=$(echo https://example.com/a)\n```\n'
    two = '<!-- run -->\n```sh\ntest "$A $B $NODE" = "x y http://here/a http://node"\n```\n'
    three = '<!-- run -->\n```python\nimport os\nassert os.environ["A"] == "x y"\n```\n'
    await run(page, f"{one}<!-- run: file=kept.txt -->\n```text\nkept\n```\n{two}{three}")
    assert (page.parent / "kept.txt").read_text() == "kept\n"


@pytest.mark.anyio
async def test_what_runs_in_the_background_lasts_for_the_page(page: Path) -> None:
    began = "<!-- run -->\n```sh\nsleep 1000 &\nPID=$!\n```\n"
    await run(page, began + "<!-- run -->\n```sh\nkill -0 $PID\necho $PID > pid\n```\n")
    number = int((page.parent / "pid").read_text())
    await until(
        lambda: not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo before; false\necho after", r"page.md:2 ended with 1:\n(.*\n)+It printed:\nbefore\n$"),
        ("""echo '{"status": "failed"}'""", "a call was refused"),
        ("false | true", "ended with 1"),
    ],
)
async def test_what_does_not_work_is_named(page: Path, text: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        await run(page, f"<!-- run -->\n```sh\n{text}\n```\n")
