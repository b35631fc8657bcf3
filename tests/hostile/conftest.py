"""One node for all attacks, with an innocent room in it: its one room process and its one media process are
those that the attacks reach."""

import resource
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import pytest

from tests.acceptance.clips import make_flashes, run_ffmpeg
from tests.acceptance.node import ServedNode, serve_node
from tests.hostile.beside import Beside
from tests.hostile.observer import Observer
from tests.hostile.witnesses import Witnesses
from tests.integration.nginx import Nginx
from tests.integration.waiting import until

_CLIP_S = 20
ENCODED = {"StreamMode": 0, "VideoWidth": 320, "VideoHeight": 180}
_SHELL_DESCRIPTORS = 1024


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An honest server; `clip.mp4` on it is what the innocent see, `second.mp4` lasts that long."""
    with Nginx(tmp_path_factory.mktemp("origin")) as nginx:
        make_flashes(nginx.www / "clip.mp4", _CLIP_S)
        make_flashes(nginx.www / "second.mp4", 1)
        yield nginx


@pytest.fixture(scope="session")
def honest_mp4(origin: Nginx) -> bytes:
    return (origin.www / "second.mp4").read_bytes()


@pytest.fixture(scope="session")
async def node(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedNode]:
    folder = tmp_path_factory.mktemp("hostile")
    with (folder / "log").open("wb") as log:
        one_each = ("--room-processes", "1", "--media-processes", "1")
        serving = serve_node(folder / "data", *one_each, errors=log)
        with descriptors_of_a_shell():
            served = await serving.__aenter__()
        # With its reserve: what there is more of later is an attack's doing.
        await until(lambda: len(served.children("sluice.media")) == 2)
        yield served
        await serving.__aexit__(None, None, None)


@contextmanager
def descriptors_of_a_shell() -> Iterator[None]:
    """What is started meanwhile may open as many as from a login shell of Debian, and raise that by itself.
    Afterwards the tests may open all there are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_SHELL_DESCRIPTORS, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope="session")
async def beside(node: ServedNode, origin: Nginx) -> AsyncIterator[Beside]:
    """One innocent viewer; see `watched_by` for more of them."""
    await warm_up(node, origin)
    async with watched_by(1, node, origin.http("clip.mp4")) as beside:
        yield beside


async def warm_up(node: ServedNode, origin: Nginx) -> None:
    """Everything of FFmpeg and of the node that is loaded once is loaded: no attack has to pay for it."""
    run_ffmpeg("-i", str(origin.www / "second.mp4"), "-c", "copy", str(origin.www / "second.mpd"))
    for url in (origin.http("second.mp4"), origin.http("second.mpd")):
        for control in ({}, ENCODED):
            run = await node.start("warm", url, **control)
            await node.until_state(run, "ended")


@asynccontextmanager
async def watched_by(viewers: int, node: ServedNode, url: str) -> AsyncIterator[Beside]:
    """A relay of `url` in a room of its own, and those who watch it."""
    room = f"innocent-{uuid.uuid4().hex[:8]}"
    run = await node.start(room, url, Loop=True)
    with Witnesses("127.0.0.1", viewers) as witnesses, Observer(node.url, node.process) as observer:
        for number in range(viewers):
            await _join(node, room, number, witnesses)
        await until(lambda: all(len(stalls) == 2 for stalls in witnesses.take_stalls()))
        beside = Beside(node, witnesses, observer, room)
        await beside.measure_quiet()
        yield beside
    await node.client_stop(run)


async def _join(node: ServedNode, room: str, number: int, witnesses: Witnesses) -> None:
    headers = {
        "Authorization": f"Bearer {node.token(room, f'innocent-{number}')}",
        "Content-Type": "application/sdp",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            node.whep_url(room, "source"), data=witnesses.offers[number], headers=headers
        ) as response,
    ):
        assert response.status == 201, await response.text()
        witnesses.connect(number, await response.text())
