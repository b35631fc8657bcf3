"""One node for all pages, and a server for what stands at https://example.com/ in them."""

import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from imageio_ffmpeg import get_ffmpeg_exe
from playwright.async_api import Browser

from docs.site.pages import ROOT
from tests.acceptance.conftest import chromium
from tests.acceptance.node import ServedNode, serve_node
from tests.documents.run import PROGRAMS, Session

#: The vendor's SDK for Node, which programs of pages import.
_NODE_MODULES = ROOT / "tests" / "acceptance" / "sdks" / "node_modules"
#: Ports that servers of pages listen on: a receiver of callbacks, a CDN.
_PORTS = ("9000", "1935")
_CLIP = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=440")
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages name."""
    folder = tmp_path_factory.mktemp("samples")
    clip, song, playlist = (str(folder / name) for name in ("clip.mp4", "song.mp3", "live.m3u8"))
    made = [*_CLIP, "-t", "10", *_H264, clip, "-t", "10", "-vn", "-c:a", "libmp3lame", song]
    for options in (made, ["-i", clip, "-c", "copy", "-f", "hls", playlist]):
        subprocess.run(["ffmpeg", "-v", "error", *options], check=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
async def example_com(anyio_backend: str, samples: Path) -> AsyncIterator[str]:
    async def taken(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/{anything:.*}", taken)
    app.router.add_static("/", samples)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.fixture(scope="session")
async def node(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedNode]:
    async with serve_node(tmp_path_factory.mktemp("node") / "data") as served:
        yield served


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
def session(node: ServedNode, example_com: str, tmp_path: Path) -> Iterator[Session]:
    """A reader's shell for one page."""
    (tmp_path / "data").symlink_to(node.data)
    (tmp_path / "node_modules").symlink_to(_NODE_MODULES)
    # An ffmpeg that publishes over WHIP; that of Debian 12 does not.
    (tmp_path / PROGRAMS).mkdir()
    (tmp_path / PROGRAMS / "ffmpeg").symlink_to(get_ffmpeg_exe())
    # Ports first: the addresses that are put in afterwards may hold their digits.
    replaced = {port: str(free) for port, free in zip(_PORTS, _free_ports(len(_PORTS)), strict=True)}
    replaced |= {"127.0.0.1:8080": node.url.removeprefix("http://"), "https://example.com/": example_com}
    session = Session(tmp_path, replaced, node.url)
    yield session
    session.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [held_socket.getsockname()[1] for held_socket in sockets]
