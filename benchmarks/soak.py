"""What a node keeps of tasks and viewers that have gone: thousands of starts and stops, joins and leaves.

One node with one room process and one media process. In each round viewers join a relay that stays, and
leave: half of them say so, the others vanish, and some open event streams beside it. Then relays are started
and stopped, many at once, each in a room of its own; of ten tasks one is a push and one a bot's. After each
round the node comes to rest, and memory, threads and descriptors of each of its processes are looked at. What
there is more of at the end than after the first thousand starts has been kept.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
import psutil

from benchmarks.peers import Receivers
from benchmarks.processes import processes_of_node
from benchmarks.report import print_table, write_json
from benchmarks.rooms import HOST, SOURCE
from tests.acceptance.bots.client import Bot, create_bot
from tests.acceptance.clips import make_flashes, run_ffmpeg
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.cdn import Cdn, cdn
from tests.integration.nginx import Nginx

_MOST_GROWTH = 0.05
#: Threads and descriptors are few: so many more may be a connection that was just opened.
_SPARE = 2
_CLIP_S = 20
_STAYS = "stays"  #: the room of the relay that viewers watch
_POLL_S = 0.1
_LOOKED_AT = 1000  #: newest tasks
_TASK_DEADLINE_S = 60.0
_CONNECT_S = 60.0
_WATCH_S = 0.5
#: Peers that vanished are ended 30 s after their last check; memory is given back 2 s after a session, and
#: threads end when they had nothing to do for 10 s.
_REST_S = 12.0
_LONGEST_REST_S = 45.0
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    starts: int = 5000
    joins: int = 2000
    every: int = 500  #: starts between two looks
    warm: int = 1000  #: starts before growth counts
    at_once: int = 16
    viewers: int = 50  #: at once

    @property
    def rounds(self) -> int:
        return max(1, self.starts // self.every)


@dataclass(frozen=True, slots=True)
class Usage:
    mb: float
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Look:
    """The node at rest, by process."""

    starts: int
    joins: int
    seconds: float
    usage: dict[str, Usage]


@dataclass
class Done:
    """What was done so far; `failures` are tasks and viewers that did not do what they should."""

    starts: int = 0
    joins: int = 0
    failures: list[str] = field(default_factory=list)


# --- judging ------------------------------------------------------------------------------------------------


def faults(looks: Sequence[Look], warm: int) -> list[str]:
    """What grew beyond its bound from the first look behind `warm` starts to the last one."""
    last = looks[-1]
    first = next((look for look in looks if look.starts >= warm), last)
    if first.usage.keys() != last.usage.keys():
        return [f"processes were {sorted(first.usage)}, and are {sorted(last.usage)}"]
    found = []
    for name, before in first.usage.items():
        after = last.usage[name]
        for what, spare in (("mb", 0), ("threads", _SPARE), ("descriptors", _SPARE)):
            had, has = getattr(before, what), getattr(after, what)
            if has > max(had * (1 + _MOST_GROWTH), had + spare):
                found.append(f"{name}: {what} grew from {had:g} to {has:g}")
    return found


def usage_of(node: psutil.Process) -> dict[str, Usage]:
    """By kind of process, those of one kind numbered by age; `media 2` is the reserve."""
    found = {}
    for kind, pids in processes_of_node(node).items():
        for number, pid in enumerate(sorted(pids), 1):
            process = psutil.Process(pid)
            found[f"{kind} {number}" if len(pids) > 1 else kind] = Usage(
                round(process.memory_info().rss / _MB, 1), process.num_threads(), process.num_fds()
            )
    return found


# --- tasks --------------------------------------------------------------------------------------------------


class Board:
    """The states of the newest tasks, asked for by one for all."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._states: dict[str, tuple[str, str]] = {}
        self._news = asyncio.Condition()

    async def keep(self) -> None:
        while True:
            path = f"/tasks?limit={_LOOKED_AT}" if not self._states else "/tasks?limit=100"
            page = await asyncio.to_thread(self._node.client.native, "GET", path)
            async with self._news:
                for task in page["tasks"]:
                    self._states[task["task_id"]] = task["state"], task["reason_text"]
                self._news.notify_all()
            await asyncio.sleep(_POLL_S)

    async def until(self, task_id: str, state: str) -> None:
        """Raises RuntimeError when it comes to another end, TimeoutError."""
        async with asyncio.timeout(_TASK_DEADLINE_S), self._news:
            while (seen := self._states.get(task_id, ("", "")))[0] != state:
                if seen[0] in ("ended", "failed"):
                    raise RuntimeError(f"{task_id} is {seen[0]}: {seen[1]}")
                await self._news.wait()
        if state == "ended":
            self._states.pop(task_id, None)


@dataclass
class Soak:
    node: ServedNode
    board: Board
    bot: Bot
    server: Cdn
    urls: dict[str, str]
    done: Done = field(default_factory=Done)

    async def one(self, number: int) -> None:
        """One start and stop."""
        kinds: dict[int, Callable[[int], Awaitable[None]]] = {3: self._push, 7: self._bots}
        try:
            await kinds.get(number % 10, self._relay)(number)
        except Exception as error:  # noqa: BLE001 - root of one of thousands: it is counted
            self.done.failures.append(f"start {number}: {error!r}")
        self.done.starts += 1

    async def _relay(self, number: int) -> None:
        room, task_id = f"soak-{number}", f"relay-{number}"
        await self.node.call(
            "StartRelayStream",
            RoomId=room,
            TaskId=task_id,
            UserId=SOURCE,
            Token=self.node.token(room, SOURCE, publish=True, subscribe=False),
            Control={"StreamUrl": self.urls["clip"], "StreamMode": 1, "Loop": True},
        )
        await self.board.until(task_id, "running")
        await self.node.call("StopRelayStream", RoomId=room, TaskId=task_id)
        await self.board.until(task_id, "ended")

    async def _push(self, number: int) -> None:
        task_id = f"push-{number}"
        await self.node.call(
            "StartPushSingleStreamToCDN",
            RoomId=_STAYS,
            TaskId=task_id,
            Stream={"UserId": SOURCE},
            PushURL=self.server.url(task_id),
            Control={},
        )
        await self.board.until(task_id, "running")
        await self.node.call("StopPushStreamToCDN", RoomId=_STAYS, TaskId=task_id)
        await self.board.until(task_id, "ended")
        self.server.connections[:] = [one for one in self.server.connections if not one.closed]

    async def _bots(self, number: int) -> None:
        task_id = await self.bot.push(str(10**9 + number), self.urls["song"], repeat_num=-1)
        await self.board.until(task_id, "running")
        await self.bot.stop(task_id)
        await self.board.until(task_id, "ended")

    # --- viewers ------------------------------------------------------------------------------------------

    async def join_and_leave(self, count: int) -> None:
        """So many viewers at once. Every other one leaves with DELETE, the others vanish; each fourth has an
        event stream, which is torn down."""
        receivers = await asyncio.to_thread(Receivers, HOST, count)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
                AsyncExitStack() as events,
            ):
                places = await asyncio.gather(*(self._join(http, receivers, n) for n in range(count)))
                await asyncio.gather(*(self._listen(http, events, n) for n in range(0, count, 4)))
                await self._until_connected(receivers, count)
                await asyncio.sleep(_WATCH_S)
                await asyncio.gather(
                    *(self._leave(http, n, place) for n, place in enumerate(places) if n % 2)
                )
        except Exception as error:  # noqa: BLE001 - as above
            self.done.failures.append(f"viewers: {error!r}")
        finally:
            await asyncio.to_thread(receivers.__exit__, None, None, None)
        self.done.joins += count

    async def _until_connected(self, receivers: Receivers, count: int) -> None:
        deadline = time.monotonic() + _CONNECT_S
        while (connected := (await asyncio.to_thread(receivers.count)).connected) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{connected} of {count} are connected after {_CONNECT_S:g} s")
            await asyncio.sleep(_POLL_S)

    def _headers(self, number: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.node.token(_STAYS, f'viewer-{number}')}"}

    async def _join(self, http: aiohttp.ClientSession, receivers: Receivers, number: int) -> str:
        """Where the peer is."""
        headers = self._headers(number) | {"Content-Type": "application/sdp"}
        url = self.node.whep_url(_STAYS, SOURCE)
        async with http.post(url, data=receivers.offers[number], headers=headers) as response:
            answer = await response.text()
            if response.status != 201:
                raise RuntimeError(f"a viewer was refused with {response.status}: {answer}")
        receivers.connect(number, answer)
        return response.headers["Location"]

    async def _listen(self, http: aiohttp.ClientSession, events: AsyncExitStack, number: int) -> None:
        url = f"{self.node.url}/rooms/{self.node.credentials.app_id}/{_STAYS}/events"
        response = await http.get(url, headers=self._headers(number))
        events.callback(response.close)
        await response.content.readline()

    async def _leave(self, http: aiohttp.ClientSession, number: int, place: str) -> None:
        url = place if place.startswith("http") else self.node.url + place
        async with http.delete(url, headers=self._headers(number)) as response:
            if response.status != 200:
                raise RuntimeError(f"a viewer could not leave: {response.status}")


async def each(numbers: Iterable[int], at_once: int, work: Callable[[int], Awaitable[None]]) -> None:
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))


# --- rounds -------------------------------------------------------------------------------------------------


async def one_round(soak: Soak, options: Options, number: int) -> None:
    """Viewers first: those that vanish are forgotten while tasks come and go."""
    joins = options.joins // options.rounds
    while joins > 0:
        await soak.join_and_leave(min(joins, options.viewers))
        joins -= options.viewers
    first = number * options.every
    await each(range(first, first + options.every), options.at_once, soak.one)


async def at_rest(node: ServedNode, usual: dict[str, Usage] | None) -> dict[str, Usage]:
    """What there is when nobody has done anything for a while: as soon as descriptors are as few as at the
    look before, or at the latest when those that vanished are forgotten."""
    await asyncio.sleep(_REST_S)
    deadline = time.monotonic() + _LONGEST_REST_S
    while True:
        usage = await asyncio.to_thread(usage_of, node.process)
        more = usual is None or any(
            usage[name].descriptors > before.descriptors for name, before in usual.items() if name in usage
        )
        if not more or time.monotonic() > deadline:
            return usage
        await asyncio.sleep(1)


async def run(options: Options) -> tuple[list[Look], Done]:
    began = time.monotonic()
    looks: list[Look] = []
    async with soaking() as soak:
        await asyncio.sleep(_REST_S)  # with its reserve
        for number in range(options.rounds):
            await one_round(soak, options, number)
            usage = await at_rest(soak.node, looks[-1].usage if looks else None)
            looks.append(Look(soak.done.starts, soak.done.joins, round(time.monotonic() - began, 1), usage))
            print(line_of(looks[-1]), flush=True)
    return looks, soak.done


@asynccontextmanager
async def soaking() -> AsyncIterator[Soak]:
    with tempfile.TemporaryDirectory(prefix="sluice-soak-") as name:
        folder = Path(name)
        with Nginx(folder / "nginx") as nginx, (folder / "log").open("wb") as log:
            clip = make_flashes(nginx.www / "clip.mp4", _CLIP_S)
            run_ffmpeg("-i", str(clip), "-vn", "-c:a", "libmp3lame", str(nginx.www / "song.mp3"))
            urls = {"clip": nginx.http("clip.mp4"), "song": nginx.http("song.mp3")}
            flags = ("--room-processes", "1", "--media-processes", "1")
            serving = serve_node(folder / "data", *flags, errors=log)
            async with serving as node, cdn() as server, aiohttp.ClientSession() as http:
                bot = Bot(http, node.url, await create_bot(node, folder / "data"))
                board = Board(node)
                keeping = asyncio.create_task(board.keep())
                run_id = await node.start(_STAYS, urls["clip"], Loop=True, max_idle=300)
                await node.until_state(run_id, "running")
                yield Soak(node, board, bot, server, urls)
                keeping.cancel()


# --- report -------------------------------------------------------------------------------------------------


def line_of(look: Look) -> str:
    shown = (f"{name} {u.mb:g} MB {u.threads} thr {u.descriptors} fd" for name, u in look.usage.items())
    return f"{look.seconds:7.0f} s {look.starts} starts {look.joins} joins: " + ", ".join(shown)


def report(looks: Sequence[Look], done: Done, warm: int) -> list[str]:
    """Prints the table and writes the document. Returns what is wrong."""
    wrong = faults(looks, warm) + done.failures
    names = list(looks[-1].usage)
    rows = [
        [
            str(look.starts),
            str(look.joins),
            *(f"{u.mb:.0f} / {u.threads} / {u.descriptors}" for n in names if (u := look.usage.get(n))),
        ]
        for look in looks
    ]
    print_table("memory (MB) / threads / descriptors, at rest", ["starts", "joins", *names], rows)
    path = write_json("soak", {"looks": [asdict(look) for look in looks], "wrong": wrong})
    for text in wrong[:20]:
        print("!", text)
    print(f"{len(done.failures)} failures; written to {path}")
    return wrong


def parse() -> Options:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.split("\n\n")[0])
    usual = Options()
    for name, text in (
        ("starts", "tasks that are started and stopped"),
        ("joins", "viewers that join and leave"),
        ("every", "starts between two looks"),
        ("warm", "starts before growth counts"),
        ("at-once", "tasks at once"),
        ("viewers", "viewers at once"),
    ):
        default = getattr(usual, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    options = parse()
    looks, done = asyncio.run(run(options))
    raise SystemExit(1 if report(looks, done, options.warm) else 0)


if __name__ == "__main__":
    main()
