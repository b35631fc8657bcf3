"""Publishers that are not ours: Chromium's fake camera and microphone through the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page

from tests.acceptance.node import ServedNode

#: Encoding costs what the picture is large.
_SMALL = "wishes.video.video = {width: 320, height: 180, frameRate: 25}"


@asynccontextmanager
async def chromium_publisher(browser: Browser, node: ServedNode, room: str, user: str) -> AsyncIterator[Page]:
    """The page with camera and microphone turned on, as soon as media leaves it."""
    context = await browser.new_context(permissions=["camera", "microphone"])
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(node.page_url(room, user, publish=True))
    await page.evaluate(_SMALL)
    await page.click("#camera")
    await page.click("#microphone")
    await page.wait_for_selector('figure[data-state="live"]')
    try:
        yield page
    finally:
        await context.close()
    assert not errors
