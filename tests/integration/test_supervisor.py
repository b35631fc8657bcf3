"""Real child processes: what dies is told and started again, and nothing outlives its parent."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from sluice.core.figures import DEATHS, Ledger
from sluice.process import supervisor as module
from sluice.process.channel import Channel, ChannelClosed, ChannelSilent
from sluice.process.control import Answer, ClosePeer, Enter, Leave, Refused
from sluice.process.owned import trouble
from sluice.process.supervisor import ChildSpec, StartFailed, Supervised
from tests.integration.children import MODULE, spec
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

WHO = ClosePeer(app_id="", room_id="", user_id="", peer_id="")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``python -m tests…`` finds its module."""
    monkeypatch.chdir(Path(__file__).parents[2])


class Watched:
    """A supervised child and what was told of it, in order."""

    def __init__(self, child: ChildSpec, spins_s: float | None = None) -> None:
        self.told: list[str] = []
        self.on_death: Callable[[], None] = lambda: None
        self._news = asyncio.Condition()
        self.ledger = Ledger()
        self.supervised = Supervised(
            child,
            on_notice=lambda process, message: self.tell(message.type),
            on_ready=lambda process: self.tell("ready"),
            on_death=lambda process: self._die(),
            on_silence=lambda process, silent: self.tell("silent" if silent else "heard"),
            spins_s=spins_s,
            ledger=self.ledger,
        )

    def _die(self) -> None:
        self.on_death()
        self.tell("death")

    def tell(self, what: str) -> None:
        self.told.append(what)
        self._wake = asyncio.ensure_future(self._notify())

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: holds(self.told))

    async def pid(self) -> int:
        reply = await self.supervised.request(WHO)
        assert isinstance(reply, Answer)
        return int(reply.answer.peer_id)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched(spec())
    await watched.supervised.start()
    yield watched
    await watched.supervised.stop()


async def test_a_signal_to_the_whole_group_leaves_the_end_to_the_node(watched: Watched) -> None:
    pid = await watched.pid()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert await watched.pid() == pid
    await watched.supervised.stop()
    assert (watched.told, watched.supervised.restarts) == (["ready", "death"], 0)


async def test_a_child_serves_and_ends_with_its_channel(watched: Watched) -> None:
    process = watched.supervised
    pid = await watched.pid()
    assert pid == process.pid
    assert process.ready is not None
    assert process.ready.media_port == 7
    refused = await process.request(Enter(app_id="a", room_id="r", user_id="u", presence="p"))
    assert refused == Refused(field="request", why="enter")
    await process.stop()
    assert watched.told == ["ready", "death"]
    assert not psutil.pid_exists(pid)
    assert process.restarts == 0
    with pytest.raises(ChannelClosed, match="child is not running"):
        await process.request(WHO)


async def test_a_killed_child_is_told_and_started_again(watched: Watched) -> None:
    first = await watched.pid()
    os.kill(first, signal.SIGKILL)
    await watched.until(lambda told: told == ["ready", "death", "ready"])
    second = await watched.pid()
    assert second != first
    assert watched.supervised.restarts == 1
    assert watched.ledger.totals("child") == {DEATHS.name: {"": 1}}
    assert not psutil.pid_exists(first), "nothing is left of it"


async def test_what_cannot_be_asked_now_says_why(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    child = watched.supervised
    assert child.trouble() is None
    assert child.uptime_s is not None
    monkeypatch.setattr(module, "_LOOK_S", 0.05)  # between its pongs there are more than three
    await until(lambda: child.trouble() is not None)
    assert str(child.trouble()).startswith("it has told nothing for")
    troubles = []
    watched.on_death = lambda: troubles.append((child.trouble(), child.uptime_s))
    os.kill(await watched.pid(), signal.SIGKILL)
    await watched.until(lambda told: "death" in told)
    assert troubles == [("it has died, and is started again", None)]
    await until(lambda: child.trouble() == "it is starting")


async def test_whoever_waits_for_a_killed_child_hears_at_once(watched: Watched) -> None:
    watched.supervised.notify(Leave(app_id="a", room_id="r", presence="p"))
    with pytest.raises(ChannelClosed):
        await watched.supervised.request(WHO)
    await watched.until(lambda told: told.count("ready") == 2)
    assert await watched.pid() == watched.supervised.pid


async def test_a_child_that_hangs_is_killed_and_started_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PING_PAUSE_S", 0.05)
    monkeypatch.setattr(module, "_HANG_S", 1.0)
    os.kill(first := await watched.pid(), signal.SIGSTOP)
    await watched.until(lambda told: told[:3] == ["ready", "death", "ready"])
    assert not psutil.pid_exists(first)


async def test_a_child_that_says_nothing_is_silent_until_it_is_heard(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PING_PAUSE_S", 0.1)
    monkeypatch.setattr(module, "_LOOK_S", 0.5)
    os.kill(pid := await watched.pid(), signal.SIGSTOP)
    await watched.until(lambda told: told == ["ready", "silent"])
    assert watched.supervised.silent
    os.kill(pid, signal.SIGCONT)
    await watched.until(lambda told: told == ["ready", "silent", "heard"])
    assert not watched.supervised.silent


async def test_a_silent_child_is_heard_again_when_its_next_life_is_ready(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then nobody knows more of it."""
    monkeypatch.setattr(module, "_LOOK_S", 0.1)
    os.kill(pid := await watched.pid(), signal.SIGSTOP)
    await watched.until(lambda told: told == ["ready", "silent"])
    os.kill(pid, signal.SIGKILL)
    await watched.until(lambda told: told[2:5] == ["death", "ready", "heard"])


async def test_a_node_that_has_slept_takes_no_child_for_dead(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it wakes up, its timers are due before what has come is read."""
    monkeypatch.setattr(module, "_PING_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_HANG_S", 0.3)
    monkeypatch.setattr(module, "_LOOK_S", 0.2)
    pid = await watched.pid()
    for _ in range(3):
        await asyncio.sleep(0.02)  # among pings
        time.sleep(0.8)  # noqa: ASYNC251 - the node stands still
        await asyncio.sleep(0.3)
    assert await watched.pid() == pid
    assert watched.told == ["ready"]


async def test_stop_between_two_lives_starts_no_third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RESTART_PAUSES_S", (0.0, 60.0))
    watched = Watched(spec())
    await watched.supervised.start()
    os.kill(await watched.pid(), signal.SIGKILL)
    await watched.until(lambda told: "death" in told)
    async with asyncio.timeout(2):
        await watched.supervised.stop()
    assert watched.told == ["ready", "death"]
    assert not watched.supervised.notify(Leave(app_id="a", room_id="r", presence="p"))


async def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STOP_DEADLINE_S", 0.3)
    watched = Watched(spec(stubborn=True))
    await watched.supervised.start()
    pid = await watched.pid()
    await watched.supervised.stop()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("spins", [True, False])
async def test_one_that_works_without_answering_hangs_sooner(
    spins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not work, either, may wait for its machine."""
    monkeypatch.setattr(module, "_PING_PAUSE_S", 0.2)
    monkeypatch.setattr(module, "_HANG_S", 60.0 if spins else 2.0)
    watched = Watched(spec(spins=spins), spins_s=1.0)
    await watched.supervised.start()
    assert watched.supervised.pid is not None
    if not spins:
        os.kill(watched.supervised.pid, signal.SIGSTOP)
    began = time.monotonic()
    await watched.until(lambda told: "death" in told)
    await watched.supervised.stop()
    assert spins or time.monotonic() - began >= 2.0


async def test_one_that_ends_while_it_is_killed_is_no_trouble_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A watch that breaks would be one for good."""

    async def silent(channel: Channel, *, deadline_s: float) -> str:
        raise ChannelSilent

    def ended(process: asyncio.subprocess.Process) -> None:
        asked.set()
        raise ProcessLookupError

    asked = asyncio.Event()
    watched = Watched(spec())
    monkeypatch.setattr(module, "_PING_PAUSE_S", 0.1)
    monkeypatch.setattr(Channel, "ping", silent)
    monkeypatch.setattr(asyncio.subprocess.Process, "kill", ended)
    await watched.supervised.start()
    await asyncio.wait_for(asked.wait(), 20)
    await watched.supervised.stop()
    assert trouble() is None


async def test_a_child_that_never_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READY_DEADLINE_S", 1.0)
    watched = Watched(spec(silent=True))
    with pytest.raises(StartFailed, match="child did not start within 1 s"):
        await watched.supervised.start()
    assert set(watched.told) == {"death"}


async def test_a_child_that_dies_again_and_again_ends_its_start() -> None:
    watched = Watched(spec(stillborn=True))
    with pytest.raises(StartFailed, match="child died 3 times before it served"):
        await watched.supervised.start()
    assert watched.told == ["death"] * 3


async def test_a_child_that_cannot_start_says_why_and_is_not_tried_again() -> None:
    watched = Watched(spec(refuses="the port is used"))
    with pytest.raises(StartFailed, match=r"^media_port: the port is used$"):
        await watched.supervised.start()
    assert watched.told == ["death"]


async def test_a_defect_of_the_node_ends_a_life_but_not_the_supervision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail_once(process: Supervised) -> None:
        if process.restarts == 0:
            raise LookupError("a defect")
        again.set()

    again = asyncio.Event()
    supervised = Supervised(
        spec(),
        on_notice=lambda process, message: None,
        on_ready=fail_once,
        on_death=lambda process: None,
    )
    await supervised.start()
    async with asyncio.timeout(20):
        await again.wait()
    await supervised.stop()


async def test_children_die_with_their_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, "parent", stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(20):
        child = psutil.Process(int(await parent.stdout.readline()))
    assert child.ppid() == parent.pid
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(5):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)
