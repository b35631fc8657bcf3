"""The room process in this one: its tasks have owners, pings cover its timer, no message ends it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sluice.core.ids import AppId, PeerId, RoomId, UserId
from sluice.core.limits import MOST_MESSAGE_BYTES
from sluice.core.rooms import PatchAnswer, PatchOutcome, PeerPatch
from sluice.process.channel import Channel
from sluice.process.control import Done, Message, Patched, PatchPeer, Retire
from sluice.process.owned import is_owned
from sluice.rooms.engine import __main__ as module
from sluice.rooms.engine.__main__ import RoomProcess
from sluice.rooms.engine.engine import Engine

pytestmark = pytest.mark.anyio

WHO = Retire(app_id="app", room_id="room", run_id="run")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Life:
    """A room process and the node's end of its channel. `running` ends with the process."""

    def __init__(
        self,
        running: asyncio.Task[None],
        reading: asyncio.Task[None],
        channel: Channel,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.running, self.reading, self.channel, self.writer = running, reading, channel, writer


@asynccontextmanager
async def life(folder: Path) -> AsyncIterator[Life]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    config = {"host": "127.0.0.1", "port": 0, "public_ips": [], "link": str(folder / "room.sock")}
    process = RoomProcess(config)
    running = asyncio.create_task(process.run(*await asyncio.open_connection(sock=theirs)), name="process")
    ready = asyncio.Event()
    channel = Channel(reader, writer, on_notice=lambda message: ready.set())
    reading = asyncio.create_task(channel.run(), name="node")
    try:
        async with asyncio.timeout(10):
            await ready.wait()
            yield Life(running, reading, channel, writer)
    finally:
        channel.close()
        await asyncio.wait({running, reading}, timeout=5)


async def test_every_task_has_an_owner_that_ends_with_it(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with life(tmp_path) as room:
        await room.channel.ping(deadline_s=5)
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        figures = {"the telling of figures", "the measuring of the event loop"}
        owned = {"control channel", "timer of the rooms", "backlogs of viewers", *figures}
        assert names == {"process", "node", *owned}
        assert all(is_owned(task) for task in asyncio.all_tasks() - before - {room.running, room.reading})
    await room.running
    while asyncio.all_tasks() - before:
        await asyncio.sleep(0)


@pytest.mark.parametrize("task", ["timer", "backlogs"])
async def test_a_task_that_fails_ends_the_process_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    def fail(*arguments: object) -> bool:
        raise LookupError("a defect")

    async with life(tmp_path) as room:
        monkeypatch.setattr(Engine, "drain", fail)
        # The drain begins with a first backlog.
        monkeypatch.setattr(
            Engine, "on_timer", fail if task == "timer" else lambda engine: engine._start_drain()
        )
        with pytest.raises(LookupError, match="a defect"):
            await room.running


async def test_a_timer_that_stands_still_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that holds it: pings say so, while all else goes on."""
    monkeypatch.setattr(module, "_STILL_S", -1.0)
    async with life(tmp_path) as room:
        pings = [await room.channel.ping(deadline_s=5) for _ in range(3)]
        assert pings == ["", "", "timer of the rooms stands still"]
        assert await room.channel.request(WHO) == Done(found=True)


async def test_no_message_ends_the_process(tmp_path: Path) -> None:
    async with life(tmp_path) as room:
        room.writer.write(struct.pack("!IBI", MOST_MESSAGE_BYTES + 400_000, 1, 9))
        room.writer.write(b"x" * (MOST_MESSAGE_BYTES + 400_000))
        room.writer.write(struct.pack("!IBI", 9, 0, 0) + b"{'no': 1}")
        await room.writer.drain()
        patch = PeerPatch(AppId("app"), RoomId("room"), UserId("u"), PeerId("x"), ("y" * 4_000_000,), "")
        reply: Message = await room.channel.request(PatchPeer(patch=patch))
        assert reply == Patched(answer=PatchAnswer(PatchOutcome.UNKNOWN))
        assert await room.channel.request(WHO) == Done(found=True)
