"""Whatever is killed, stopped, full, locked or deaf: what was accepted plays on, once, and callers are told
of each change of state once and in order.

The tests share one node and go on where the one before has left it. What is still on its way to callers when
a test ends must have come when the last one does.
"""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from sluice.client import CallFailed
from tests.acceptance.faults.told import Changes
from tests.acceptance.faults.world import MEDIA, ROOMS, Begun, World, deaf, stopped, until_answered

pytestmark = pytest.mark.anyio

STOPPED_S = 5.0
LOCKED_S = 10.0


async def until_not_running(world: World, deadline_s: float) -> None:
    """Returns when no document says `running`."""
    async with asyncio.timeout(deadline_s):
        for begun in world.begun.values():
            await world.until_state(begun, "recovering")


async def test_a_killed_media_process_and_a_deaf_receiver(world: World) -> None:
    async with deaf(world.receiver, world.bots_receiver):
        for process in world.processes(MEDIA):
            process.kill()
        await world.check()


async def test_a_killed_room_process(world: World) -> None:
    (process,) = world.processes(ROOMS)
    process.kill()
    await world.check(kept=False)


async def test_a_stopped_media_process_is_not_said_to_play(world: World) -> None:
    """A task that is stopped meanwhile and started again is another run, behind the end of the first."""
    began = time.monotonic()
    with stopped(world.processes(MEDIA)):
        await until_not_running(world, 15)
        first = await world.start_relay("more", world.urls["file"])
        await world.document(first)
        await world.node.client_stop(first.run)
        starting = asyncio.ensure_future(world.start_relay("more", world.urls["file"], task_id=first.task_id))
        await asyncio.sleep(max(0.0, began + STOPPED_S - time.monotonic()))
    world.more.append(first)
    await world.until_state(first, "ended")
    await world.accepted_meanwhile(await starting)
    await world.check()


async def test_a_stopped_room_process_is_not_said_to_be_heard(world: World) -> None:
    began = time.monotonic()
    with stopped(world.processes(ROOMS)):
        await until_not_running(world, 15)
        await asyncio.sleep(max(0.0, began + STOPPED_S - time.monotonic()))
    await world.check()


async def test_a_stopped_node(world: World) -> None:
    """What plays plays on, and its processes are not taken for dead by who has slept."""
    children = {process.pid for process in world.node.process.children()}
    with stopped([world.node.process]):
        await asyncio.sleep(STOPPED_S)
    assert (await world.document(world.begun["file"]))["state"] == "running"
    await world.check()
    assert {process.pid for process in world.node.process.children()} >= children


async def test_a_killed_node(world: World) -> None:
    before = {name: await world.document(begun) for name, begun in world.begun.items()}
    more = await world.start_relay("more", world.urls["file"])
    await world.kill_node()
    await world.serve()
    await world.accepted_meanwhile(more)
    await world.check(kept=False)
    for name, begun in world.begun.items():
        after = await world.document(begun)
        assert (after["id"], after["created_at"]) == (before[name]["id"], before[name]["created_at"])


async def test_a_paused_relay_stays_in_a_room_that_dies(world: World) -> None:
    control = f"/tasks/{world.begun['file'].run}/control"
    await asyncio.to_thread(world.node.client.native, "POST", control, {"pause": True})
    try:
        (process,) = world.processes(ROOMS)
        process.kill()
        async with asyncio.timeout(20):
            while "file" not in await there(world):
                await asyncio.sleep(0.1)
        assert (await world.document(world.begun["file"]))["state"] == "paused"
    finally:
        await asyncio.to_thread(world.node.client.native, "POST", control, {"pause": False})
    await world.check(kept=False)


async def there(world: World) -> dict[str, int]:
    """The roster; empty while there is no room process."""
    try:
        return await world.roster()
    except AssertionError:
        return {}


@asynccontextmanager
async def locked(data: Path) -> AsyncIterator[None]:
    """Another program writes in the node's database, and takes its time."""
    connection = sqlite3.connect(data / "sluice.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.mark.slow
async def test_a_locked_database(world: World) -> None:
    """A process dies meanwhile, and somebody starts a task, and again until it is accepted."""
    async with locked(world.data):
        began = time.monotonic()
        starting = asyncio.ensure_future(until_answered(world, "more", world.urls["file"], 60))
        for process in world.processes(MEDIA):
            process.kill()
        await asyncio.sleep(max(0.0, began + LOCKED_S - time.monotonic()))
    await world.accepted_meanwhile(await starting)
    await world.check()


def fill(folder: Path) -> Path:
    """A file that takes all that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


async def until_refused(world: World) -> list[Begun]:
    """What is accepted until the database has no room; tasks that begin in an hour."""
    accepted: list[Begun] = []
    start_at = int(time.time()) + 3600
    async with asyncio.timeout(60):
        while True:
            try:
                accepted.append(await world.start_relay("later", world.urls["file"], StartTimeStamp=start_at))
            except CallFailed:
                return accepted


async def test_a_full_disk(world: World, disk: tuple[Path, str]) -> None:
    if disk[1]:
        pytest.skip(f"a small disk cannot be mounted here: {disk[1]}")
    filler = fill(disk[0])
    try:
        accepted = await until_refused(world)
        for process in world.processes(MEDIA):
            process.kill()
        async with asyncio.timeout(20):
            while len(world.processes(MEDIA)) < 1:
                await asyncio.sleep(0.1)
    finally:
        filler.unlink()
    await world.check()
    for begun in accepted:
        world.more.append(begun)
        assert (await world.document(begun))["state"] == "scheduled"
        await world.stop(begun)


@pytest.mark.slow
async def test_a_media_process_that_stays_stopped(world: World) -> None:
    """It is ended, and its tasks go on in another."""
    processes = world.processes(MEDIA)
    with stopped(processes):
        await asyncio.to_thread(psutil.wait_procs, processes, 40)
    await world.check()


@pytest.mark.slow
async def test_a_room_process_that_stays_stopped(world: World) -> None:
    processes = world.processes(ROOMS)
    with stopped(processes):
        await asyncio.to_thread(psutil.wait_procs, processes, 40)
    await world.check(kept=False)


@pytest.mark.slow
async def test_a_node_that_sleeps_for_long(world: World) -> None:
    """For longer than a child may be silent; that it was not."""
    children = {process.pid for process in world.node.process.children()}
    with stopped([world.node.process]):
        await asyncio.sleep(25)
    await world.check()
    assert {process.pid for process in world.node.process.children()} >= children


@pytest.mark.slow
async def test_a_stopped_node_that_is_killed(world: World) -> None:
    world.node.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)
    await world.kill_node()
    await world.serve()
    await world.check(kept=False)


async def test_every_change_is_told_once_and_in_order(world: World) -> None:
    """The last: all is stopped, and what was told is all that happened."""
    await world.end()
    changes = Changes(world.log)
    assert all(changes.states(begun.run)[-1] == "ended" for begun in (*world.begun.values(), *world.more))
