"""What 300 quick starts and stops leave behind in the processes of a node: nothing."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.test_relay import new_room
from tests.integration.cdn import Cdn, cdn
from tests.integration.clips import make_mp4

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]

FIRST, ALL, AT_ONCE = 60, 300, 5
MOST_GROWTH_MB = 30
#: Threads that wait for calls end when none came for this long (media/threads.py), with room to spare.
QUIET_S = 15.0


@dataclass(frozen=True)
class Usage:
    threads: int
    descriptors: int
    memory_mb: float

    @classmethod
    def of(cls, process: psutil.Process) -> "Usage":
        with process.oneshot():
            return cls(process.num_threads(), process.num_fds(), process.memory_info().rss / (1 << 20))


@pytest.fixture
async def files(anyio_backend: str, tmp_path: Path) -> AsyncIterator[str]:
    make_mp4(tmp_path / "h264.mp4", seconds=5)
    make_mp4(tmp_path / "hevc.mp4", seconds=5, codec="libx265")
    app = web.Application()
    app.router.add_static("/", tmp_path)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def start_and_stop(node: ServedNode, number: int, files: str, server: Cdn) -> None:
    """By turns a copy, a conversion, the same with a push, and a source that is not there."""
    name, mode = (("h264", 1), ("hevc", 0), ("h264", 0), ("missing", 1))[number % 4]
    room = new_room()
    run = await node.start(room, f"{files}/{name}.mp4", StreamMode=mode, VideoWidth=160, VideoHeight=90)
    await node.until_state(run, "starting" if name == "missing" else "running")
    runs = [run]
    if number % 4 == 2:
        task_id = f"task-{uuid.uuid4().hex[:8]}"
        await node.call(
            "StartPushSingleStreamToCDN",
            RoomId=room,
            TaskId=task_id,
            Stream={"UserId": "source"},
            PushURL=server.url(task_id),
            Control={"MaxIdleTime": 60},
        )
        runs.append(await node.run_of(task_id))
        await node.until_state(runs[-1], "running")
    for run in reversed(runs):
        await node.client_stop(run)
        await node.until_state(run, "ended")


async def at_rest(node: ServedNode) -> dict[str, Usage]:
    """Of each process, when threads and descriptors have not changed for `QUIET_S`."""
    loop = asyncio.get_running_loop()
    before: list[tuple[int, int]] = []
    async with asyncio.timeout(120):
        since = loop.time()
        while loop.time() - since < QUIET_S:
            await asyncio.sleep(0.5)
            usages = {name: Usage.of(process) for name, process in processes(node).items()}
            now = [(usage.threads, usage.descriptors) for usage in usages.values()]
            if now != before:
                before, since = now, loop.time()
    return usages


def processes(node: ServedNode) -> dict[str, psutil.Process]:
    children = {
        f"{kind}-{n}": process
        for kind in ("rooms.engine", "media")
        for n, process in enumerate(node.children(f"sluice.{kind}"))
    }
    return {"node": node.process, **children}


async def test_starts_and_stops_leave_nothing_behind(files: str, tmp_path: Path) -> None:
    measured: list[dict[str, Usage]] = []
    flags = ("--media-processes", "1", "--room-processes", "1")
    async with cdn() as server, serve_node(tmp_path / "data", *flags) as node:
        for begin, end in ((0, FIRST), (FIRST, ALL)):
            for first in range(begin, end, AT_ONCE):
                numbers = range(first, first + AT_ONCE)
                await asyncio.gather(*(start_and_stop(node, n, files, server) for n in numbers))
            measured.append(await at_rest(node))
    before, after = measured
    for name in before:
        print(f"{name}: at {FIRST} {before[name]}, at {ALL} {after[name]}")
    assert before.keys() == after.keys(), "no process ended"
    for name, usage in after.items():
        assert usage.threads <= before[name].threads, name
        assert usage.descriptors <= before[name].descriptors, name
    growth_mb = sum(usage.memory_mb - before[name].memory_mb for name, usage in after.items())
    assert growth_mb <= MOST_GROWTH_MB
