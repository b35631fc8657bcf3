"""Every task of each kind of process has an owner: what ends by an error is told (process.owned)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sluice.app import run_node
from sluice.config import load_settings
from sluice.media.__main__ import MediaProcess
from sluice.media.pacer import Pacer
from sluice.process import owned
from sluice.process.channel import Channel
from sluice.process.control import Message, PushJob, RelayJob, StartPush, StartSession
from sluice.process.owned import is_owned
from sluice.rooms.engine.__main__ import RoomProcess
from tests.integration.nginx import free_port
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

WHERE = {"app_id": "app", "room_id": "room", "user_id": "anna", "media_type": 0, "idle_s": 60}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def strays() -> list[asyncio.Task[Any]]:
    """Tasks without an owner, besides those of the test's runner and those that a thread waits for."""
    others = [task for task in asyncio.all_tasks() if not is_owned(task)]
    return [task for task in others if not _name(task).startswith(("TestRunner.", "Dialer."))]


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")


Run = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def child(run: Run) -> AsyncIterator[tuple[Channel, list[str]]]:
    """The node's end of the control channel of what `run` runs, and what it was told."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    told: list[str] = []

    def take(message: Message) -> None:
        told.append(message.type)

    channel = Channel(reader, writer, on_notice=take)
    running = owned.own(run(*await asyncio.open_connection(sock=theirs)), "the process itself")
    reading = owned.own(channel.run(), "the node's end")
    yield channel, told
    channel.close()
    await asyncio.wait({running, reading})


async def test_in_a_node(tmp_path: Path) -> None:
    flags = {"data": str(tmp_path / "data"), "listen": "127.0.0.1:0", "media_port": 0}
    settings = load_settings({**flags, "room_processes": 1, "media_processes": 1}, {}, tmp_path / "none.toml")
    async with run_node(settings):
        assert strays() == []
        names = {task.get_name() for task in asyncio.all_tasks() if is_owned(task)}
    assert {
        *("the sweeper of tasks", "the sweeper of callbacks", "the writer of what happens in rooms"),
        *("the reader of apps and keys", "the HTTP server", "the reserve of media processes"),
        *("supervise room-0", "supervise media-0", "ping room-0", "ping media-0"),
    } <= names


def start_push(folder: Path) -> StartPush:
    """Of a stream whose room is not there."""
    push = {"run_id": "push", "stream": 0, "url": "rtmp://127.0.0.1/a/b", "link": str(folder / "nobody.sock")}
    return StartPush(job=PushJob.model_validate({**WHERE, **push}))


def start_relay(folder: Path) -> StartSession:
    """Of a source that is not there."""
    url = f"http://127.0.0.1:{free_port()}/clip.mp4"
    relay = {"run_id": "relay", "url": url, "stream_mode": 1, "loop": False, "link": str(folder)}
    return StartSession(job=RelayJob.model_validate({**WHERE, **relay}))


def media_process() -> Run:
    config = {"allow_networks": ["127.0.0.0/8"]}
    return lambda reader, writer: MediaProcess(config, reader, writer).run()


async def test_in_a_media_process(tmp_path: Path) -> None:
    async with child(media_process()) as (channel, told):
        channel.notify(start_relay(tmp_path))
        channel.notify(start_push(tmp_path))
        await until(lambda: told.count("accepted") == 2 and "lost" in told)
        assert strays() == []


async def test_in_a_room_process(tmp_path: Path) -> None:
    config = {"host": "127.0.0.1", "port": 0, "public_ips": [], "link": str(tmp_path / "room.sock")}
    async with child(RoomProcess(config).run) as (_, told):
        await until(lambda: "ready" in told)
        assert strays() == []


@pytest.mark.parametrize("kind", ["push.session.Push", "relay.session.Relay"])
async def test_a_session_that_breaks_is_told(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(f"sluice.media.{kind}._watch", broken)
    async with child(media_process()) as (channel, told):
        channel.notify(start_push(tmp_path) if "Push" in kind else start_relay(tmp_path))
        await until(lambda: "finished" in told)
        works = ("push push", "relay relay")
        await until(lambda: not any(task.get_name() in works for task in asyncio.all_tasks()))


async def test_a_pacer_that_calls_nobody_stands_still() -> None:
    pacer, failures = Pacer(), list[Exception]()
    now = asyncio.get_running_loop().time()
    pacer.schedule(now + 60, lambda _: None, failures.append)
    assert not pacer.stands_still()
    pacer.schedule(now - 60, lambda _: None, failures.append)  # as if its timer had not come
    assert pacer.stands_still()
    await until(lambda: not pacer.stands_still())


@pytest.mark.parametrize("neighbours", [0, 1])
async def test_without_memory_a_lone_session_ends_and_several_are_divided(
    neighbours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def greedy(push: object) -> None:
        raise MemoryError

    exits: list[int] = []
    monkeypatch.setattr("sluice.media.push.session.Push._attempts", greedy)
    monkeypatch.setattr("os._exit", exits.append)
    async with child(media_process()) as (channel, told):
        for _ in range(neighbours):
            channel.notify(start_relay(tmp_path))
        channel.notify(start_push(tmp_path))
        await until(lambda: "finished" in told)
    assert exits == [1] * neighbours
