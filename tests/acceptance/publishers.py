"""Publishers that are not ours: Chromium's fake camera and microphone through the page, ffmpeg over WHIP."""

import asyncio
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imageio_ffmpeg import get_ffmpeg_exe
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


@asynccontextmanager
async def ffmpeg_whip(node: ServedNode, room: str, user: str, *encoding: str) -> AsyncIterator[Process]:
    """An ffmpeg that has the WHIP muxer (that of Debian 12 does not), called with no flags of WHIP."""
    url = f"{node.url}/whip/{node.credentials.app_id}/{room}"
    process = await asyncio.create_subprocess_exec(
        *(get_ffmpeg_exe(), "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v", "libx264"),
        *(
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "25",
            *encoding,
            "-c:a",
            "libopus",
            "-ac",
            "2",
        ),
        *("-f", "whip", "-authorization", node.token(room, user, publish=True), url),
        stdin=DEVNULL,
        stdout=DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
