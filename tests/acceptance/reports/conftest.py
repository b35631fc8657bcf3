"""All cases are played on one node, many at once, and recorded; then each test reads its own recording."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.reports.case import Stage
from tests.acceptance.reports.clips import Clips
from tests.acceptance.reports.recorder import Desk
from tests.acceptance.reports.rtmp import rtmp_server
from tests.acceptance.reports.site import serve


@pytest.fixture(scope="session")
def node_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports") / "log"


@pytest.fixture(scope="session")
async def reports_node(anyio_backend: str, node_log: Path) -> AsyncIterator[ServedNode]:
    """One room process, whose frame socket is recorded at."""
    with node_log.open("wb") as log:
        async with serve_node(node_log.parent / "data", "--room-processes", "1", errors=log) as served:
            yield served


@pytest.fixture(scope="session")
async def stage(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("inputs")
    async with serve(folder) as site, rtmp_server() as rtmp:
        yield Stage(Clips(folder), site, rtmp)


@pytest.fixture(scope="session")
async def desk(reports_node: ServedNode) -> AsyncIterator[Desk]:
    desk = Desk(reports_node)
    looking = asyncio.create_task(desk.look())
    yield desk
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
