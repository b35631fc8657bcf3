"""The two pages for browsers that the page about publishing shows: what one publishes, the other shows."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser

from docs.site.pages import ROOT
from tests.acceptance.node import ServedNode
from tests.documents.pages import blocks_of
from tests.documents.run import Session

pytestmark = pytest.mark.anyio

_PAGE = ROOT / "docs" / "en" / "how-to" / "publish.md"
_SHOWN = """() => {
  const video = document.getElementById("shown"), sounds = video.srcObject.getAudioTracks().length;
  return video.getVideoPlaybackQuality().totalVideoFrames > 10 && sounds === 1;
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of the folder. Browsers give cameras to pages of loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


async def test_what_a_page_publishes_is_seen_in_another(
    node: ServedNode, session: Session, browser: Browser
) -> None:
    for block in blocks_of(_PAGE):
        if block.language == "html":
            await session.run(block)
    room, app = "of-pages", node.credentials.app_id
    publish = urlencode({"app": app, "room": room, "token": node.token(room, "bea", publish=True)})
    watch = urlencode({"app": app, "room": room, "user": "bea", "token": node.token(room, "viewer")})
    context = await browser.new_context(permissions=["camera", "microphone"])
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    with _served(session.folder) as url:
        viewer, publisher = await context.new_page(), await context.new_page()
        # A video delays the event `load` until it has a picture.
        await viewer.goto(f"{url}/watch.html#{watch}", wait_until="domcontentloaded")
        await publisher.goto(f"{url}/publish.html#{publish}", wait_until="domcontentloaded")
        await viewer.wait_for_function(_SHOWN)
        await context.close()
    assert not errors
