"""A real node as its own process, real clips, a real browser: what the acceptance tests stand on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from tests.acceptance.clips import Clips, make_clips
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",  # gives the screen without asking
]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
async def files(anyio_backend: str, clips: Clips) -> AsyncIterator[str]:
    """The clips' folder over HTTP with ranges; the address of the folder."""
    app = web.Application()
    app.router.add_static("/", clips.folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture(scope="session")
async def node(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedNode]:
    async with serve_node(tmp_path_factory.mktemp("node") / "data") as served:
        yield served


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
async def live_url(anyio_backend: str, nginx: Nginx, clips: Clips) -> AsyncIterator[str]:
    """An RTMP stream that runs as long as the tests do."""
    url = nginx.rtmp("clip")
    publisher = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clips.short), "-c", "copy"),
        *("-f", "flv", url),
        stdin=asyncio.subprocess.DEVNULL,
    )
    yield url
    publisher.kill()
    await publisher.wait()
