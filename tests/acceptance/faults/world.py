"""A node with one task of each sort, whoever watches and is told of them, and the ways in which it is hurt.

After each fault `check` looks from all sides: at the tasks, at viewers and the CDN, at what callers were told
so far. `end` stops everything, and then all must have been told.
"""

import asyncio
import contextlib
import json
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from sluice.client import CallFailed
from sluice.core.lifecycle import State
from tests.acceptance.bots.client import Bot, create_bot
from tests.acceptance.clips import FRAME_RATE
from tests.acceptance.faults.told import Changes, bot_told, push_told, relay_told
from tests.acceptance.faults.watching import Viewer, viewing
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.cdn import Cdn
from tests.integration.receiver import Receiver
from tests.integration.waiting import until

ROOM = "faults"
MEDIA, ROOMS = "sluice.media", "sluice.rooms.engine"
_FLAGS = ("--room-processes", "1", "--media-processes", "1", "--log-level", "info", "--log-format", "json")
_SECRET = "callback-secret"
_EVENTS = ["RelayStreamStateChanged", "TranscodeStarted", "TranscodeStateChanged", "TranscodeStopped"]
_DEADLINE_S = 45.0
#: A connection that is over is seen to be by our own event loop.
_OVERLAP_S = 1.0


@dataclass
class Begun:
    """A task that was accepted; `user` is whom a relay or a bot publishes as."""

    kind: str
    room: str
    task_id: str
    run: str
    user: str = ""


@dataclass
class World:
    data: Path
    log: Path
    server: Cdn
    receiver: Receiver  #: of the app's callbacks
    bots_receiver: Receiver
    urls: dict[str, str]  #: of sources: file, live, song
    node: ServedNode = field(init=False)  #: of its present life
    begun: dict[str, Begun] = field(default_factory=dict)
    more: list[Begun] = field(default_factory=list)  #: accepted in the course of a fault
    viewers: dict[str, Viewer] = field(default_factory=dict)
    _viewing: dict[str, AsyncExitStack] = field(default_factory=dict)
    _serving: Any = None

    # --- the node's lives -----------------------------------------------------------------------------------

    async def serve(self) -> None:
        with self.log.open("ab") as log:
            self._serving = serve_node(self.data, *_FLAGS, errors=log)
            self.node = await self._serving.__aenter__()

    async def leave(self) -> None:
        await self._serving.__aexit__(None, None, None)

    async def kill_node(self) -> None:
        """And all that it had started."""
        children = self.node.process.children()
        self.node.process.kill()
        await asyncio.to_thread(psutil.wait_procs, children, 10)
        await self.leave()

    def processes(self, module: str) -> list[psutil.Process]:
        return self.node.children(module)

    # --- tasks ----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """A relay of a recording and one of a live source, a push of the first, a bot's song."""
        app = {"EventList": _EVENTS, "SecretKey": _SECRET, "URL": self.receiver.url}
        await self.node.call("CreateCallback", version="2020-12-01", **app)
        for name in ("file", "live"):
            self.begun[name] = await self.start_relay(name, self.urls[name], Loop=name == "file")
        self.begun["push"] = await self._start_push("file")
        self.begun["bot"] = await self._start_bot()
        await self.check()

    async def start_relay(self, user: str, url: str, *, task_id: str = "", **control: Any) -> Begun:
        """Raises CallFailed."""
        task_id = task_id or f"{user}-{uuid.uuid4().hex[:6]}"
        answer = await self.node.call(
            "StartRelayStream",
            RoomId=ROOM,
            TaskId=task_id,
            UserId=user,
            Token=self.node.token(ROOM, user, publish=True, subscribe=False),
            MaxIdleTime=120,
            Control={"StreamUrl": url, "StreamMode": 1, **control},
        )
        assert answer["Result"] == "ok"
        return Begun("relay", ROOM, task_id, "", user)

    async def _start_push(self, user: str) -> Begun:
        task_id = f"push-{uuid.uuid4().hex[:6]}"
        await self.node.call(
            "StartPushSingleStreamToCDN",
            RoomId=ROOM,
            TaskId=task_id,
            Stream={"UserId": user},
            PushURL=self.server.url(),
            Control={"MaxIdleTime": 120},
        )
        return Begun("push", ROOM, task_id, "")

    async def _start_bot(self) -> Begun:
        channel, token = str(random.randrange(10**17, 10**18)), await create_bot(self.node, self.data)
        async with aiohttp.ClientSession() as http:
            bot = Bot(http, self.node.url, token)
            task_id = await bot.push(
                channel, self.urls["song"], repeat_num=-1, callback_url=self.bots_receiver.url
            )
        begun = Begun("bot", channel, task_id, "")
        begun.user = (await self.document(begun))["user_id"]
        return begun

    async def document(self, begun: Begun) -> dict[str, Any]:
        if not begun.run:
            begun.run = await self.node.run_of(begun.task_id)
        return await self.node.task(begun.run)

    async def until_state(self, begun: Begun, *states: str) -> dict[str, Any]:
        """Its document as soon as it is so; the last one seen is in the error."""
        deadline = time.monotonic() + _DEADLINE_S
        while (shown := await self.document(begun))["state"] not in states:
            assert time.monotonic() < deadline, shown
            await asyncio.sleep(0.05)
        return shown

    async def accepted_meanwhile(self, begun: Begun) -> None:
        """It was answered `ok` in the course of a fault: it plays now. It is stopped to have room."""
        self.more.append(begun)
        await self.until_state(begun, "running")
        await self.stop(begun)

    async def stop(self, begun: Begun) -> None:
        """A call that an overload or a fault refuses is made again, as the clients do."""
        if (await self.document(begun))["state"] not in ("ended", "failed"):
            await self.node.client_stop(begun.run)
        await self.until_state(begun, "ended")

    # --- what is right after a fault ------------------------------------------------------------------------

    async def check(self, *, kept: bool = True) -> None:
        """All plays again, once. `kept`: viewers have kept their connection; else they join again."""
        documents = [await self.until_state(begun, "running") for begun in self.begun.values()]
        assert {State(document["state"]) for document in documents} == {State.RUNNING}
        if kept:
            assert all(viewer.connected for viewer in self.viewers.values())
        else:
            await self._leave_viewers()
        await self._join_viewers()
        await asyncio.gather(*(viewer.sees_one_publisher() for viewer in self.viewers.values()))
        await self._check_roster()
        await self._check_cdn()
        self.check_told()

    async def _join_viewers(self) -> None:
        for name, begun in self.begun.items():
            if begun.user and name not in self.viewers:
                stack = self._viewing[name] = AsyncExitStack()
                kinds = ("audio",) if begun.kind == "bot" else ("audio", "video")
                self.viewers[name] = await stack.enter_async_context(
                    viewing(self.node, begun.room, begun.user, kinds)
                )

    async def _leave_viewers(self) -> None:
        self.viewers.clear()
        while self._viewing:
            await self._viewing.popitem()[1].aclose()

    async def roster(self) -> dict[str, int]:
        """The users of the room, and how many streams each publishes."""
        url = f"{self.node.url}/rooms/{self.node.credentials.app_id}/{ROOM}/events"
        headers = {"Authorization": f"Bearer {self.node.token(ROOM, 'guest')}"}
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
            while not (line := await response.content.readline()).startswith(b"data:"):
                assert line, await response.text()
        document: dict[str, Any] = json.loads(line[5:])
        return {user["user_id"]: len(user["streams"]) for user in document["users"]}

    async def _check_roster(self) -> None:
        there = await self.roster()
        assert {user: there.get(user) for user in ("file", "live")} == {"file": 1, "live": 1}

    async def _check_cdn(self) -> None:
        """One connection at a time, on which time goes on evenly."""
        for before, after in pairwise(self.server.connections):
            assert before.ended_at is not None
            assert after.began_at >= before.ended_at - _OVERLAP_S, "two connections at once"
        last = self.server.connections[-1]
        have = len(last.video())
        await until(lambda: len(last.video()) >= have + FRAME_RATE, 30)
        steps = [b.timestamp - a.timestamp for a, b in pairwise(last.video()[-FRAME_RATE:])]
        assert not last.closed
        assert min(steps) > 0.5 * 1000 / FRAME_RATE, steps

    def check_told(self, *, everything: bool = False) -> None:
        """What was told is what happened, in order, each change once; some may be on its way yet."""
        changes = Changes(self.log)
        for begun in (*self.begun.values(), *self.more):
            happened, told = self._compare(begun, changes)
            assert told == (happened if everything else happened[: len(told)]), (begun, happened, told)

    def _compare(self, begun: Begun, changes: Changes) -> tuple[list[Any], list[Any]]:
        """What happened of a task that callers are told, and what they were told."""
        if begun.kind == "bot":
            return changes.of_bot(begun.run), bot_told(self.bots_receiver, begun.task_id)
        if begun.kind == "push":
            return changes.of_push(begun.run), push_told(self.receiver, begun.task_id)
        return changes.of_relay(begun.run), relay_told(self.receiver, begun.run)

    async def end(self) -> None:
        """Stops all. Nothing is left in the room, and all has been told."""
        for begun in self.begun.values():
            await self.stop(begun)
        await self._leave_viewers()

        def all_told() -> bool:
            changes = Changes(self.log)
            pairs = [self._compare(begun, changes) for begun in (*self.begun.values(), *self.more)]
            return all(len(happened) == len(told) for happened, told in pairs)

        with contextlib.suppress(TimeoutError):
            await until(all_told, _DEADLINE_S)
        self.check_told(everything=True)
        assert all(connection.closed for connection in self.server.connections)
        assert not {"file", "live"} & (await self.roster()).keys()


async def until_answered(world: World, user: str, url: str, deadline_s: float) -> Begun:
    """Starts a relay as a client does that is refused: again, until it is accepted."""
    async with asyncio.timeout(deadline_s):
        while True:
            try:
                return await world.start_relay(user, url)
            except CallFailed:
                await asyncio.sleep(0.2)


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end to those that are left."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def deaf(*receivers: Receiver) -> AsyncIterator[None]:
    """Nobody takes callbacks meanwhile."""
    for receiver in receivers:
        await receiver.die()
    try:
        yield
    finally:
        for receiver in receivers:
            await receiver.live()
