"""More than two cores can carry: all that is accepted plays in time, and the rest is refused with numbers."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.arrivals import TimedAgent, distances
from benchmarks.cost import CLIPS, Task, make_clip
from benchmarks.peers import Receivers
from benchmarks.rooms import HOST, SOURCE, watch
from sluice.client import CallFailed
from sluice.core.capacity import cores_for_tasks
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_CORES = 2
_WINDOW_S, _SETTLE_S = 10.0, 12.0
#: A packet that is further from its beat than three packets are long is late.
_LATE_MS = 60.0
_ON_TIME = 0.98


@asynccontextmanager
async def stage(folder: Path, clip: str, most: int) -> AsyncIterator[tuple[ServedNode, Receivers, str]]:
    """A node on two cores, as many listeners as there are calls, and the address of a clip."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _CORES:
        pytest.skip(f"needs {_CORES} cores")
    with Nginx(folder / "nginx") as nginx, Receivers(HOST, most, TimedAgent) as receivers:
        make_clip(nginx.www, CLIPS[clip])
        os.sched_setaffinity(0, cores[:_CORES])
        try:
            async with serve_node(folder / "data", "--capacity", str(cores_for_tasks(_CORES))) as node:
                yield node, receivers, nginx.http(CLIPS[clip].file)
        finally:
            os.sched_setaffinity(0, cores)


async def start_all(
    node: ServedNode, receivers: Receivers, url: str, task: Task, most: int
) -> tuple[list[int], list[str]]:
    """The calls that were accepted, each with a listener, and the texts of the refusals."""
    accepted, refusals = [], []
    for number in range(most):
        room = f"room-{number}"
        try:
            await node.call(
                "StartRelayStream",
                RoomId=room,
                TaskId="task",
                UserId=SOURCE,
                Token=node.token(room, SOURCE, publish=True, subscribe=False),
                Control={"StreamUrl": url, "Loop": True, **task.control},
            )
        except CallFailed as failure:
            error = (failure.document or {})["ResponseMetadata"]["Error"]
            assert error["Code"] == "FlowLimitExceeded.TaskNumberOverLimit"
            refusals.append(str(error["Message"]))
        else:
            await watch(node, receivers, number, room)
            accepted.append(number)
    return accepted, refusals


async def test_channels_beyond_capacity_are_refused_and_the_others_do_not_stutter(tmp_path: Path) -> None:
    most = 200
    async with stage(tmp_path, "mp3", most) as (node, receivers, url):
        accepted, refusals = await start_all(node, receivers, url, Task("mp3"), most)
        await asyncio.sleep(_SETTLE_S)
        before = receivers.counts()
        receivers.ask_each("take_arrivals")
        await asyncio.sleep(_WINDOW_S)
        after, arrivals = receivers.counts(), receivers.ask_each("take_arrivals")
        rates = [(after[n].sounds - before[n].sounds) / (50 * _WINDOW_S) for n in accepted]
        in_time = [sum(ms <= _LATE_MS for ms in distances(arrivals[n])) / len(arrivals[n]) for n in accepted]
        print(f"{len(accepted)} channels play, at {min(rates):.3f} of their rate and more, ", end="")
        print(f"{min(in_time):.4f} of the packets in time and more; {len(refusals)} refused: {refusals[0]}")
        assert len(accepted) >= 100
        assert accepted[-1] < most - 1
        assert all("cores, and" in text or "overloaded" in text for text in refusals)
        assert min(rates) >= _ON_TIME
        assert min(in_time) >= _ON_TIME


async def test_transcodes_beyond_capacity_are_refused_and_the_others_keep_their_rate(tmp_path: Path) -> None:
    most, rate = 24, 25
    async with stage(tmp_path, "720p", most) as (node, receivers, url):
        task = Task("720p", size=(1280, 720), rate=rate)
        accepted, refusals = await start_all(node, receivers, url, task, most)
        await asyncio.sleep(_SETTLE_S)
        before = receivers.counts()
        await asyncio.sleep(_WINDOW_S)
        after = receivers.counts()
        rates = [(after[n].pictures - before[n].pictures) / (rate * _WINDOW_S) for n in accepted]
        print(f"{len(accepted)} transcodes play, at {min(rates):.3f} of their rate and more; ", end="")
        print(f"{len(refusals)} refused: {refusals[0]}")
        assert accepted
        assert refusals
        assert min(rates) >= _ON_TIME
