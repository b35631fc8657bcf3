"""One task that brings down each media process it runs in, and the others that happen to run there.

The killer is outside: it sees which process connects to the hostile origin and sends that one SIGKILL, each
time. So whatever the node does meanwhile is what it does about any codec that crashes.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.acceptance.clips import make_flashes
from tests.acceptance.node import ServedNode, serve_node
from tests.hostile.beside import STRICT
from tests.hostile.witnesses import Witnesses
from tests.integration.nginx import Nginx
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_GAP_S, _ENDED_S = 3.0, 60.0
#: Where other work shares the machine, a process takes longer to begin.
_MORE_S = 0.0 if STRICT else 2.0
_JOINED_S = 60.0
_RESERVE_S = 7.0  #: the node has its reserve by then
_LOOK_S, _FLOWS_S = 0.5, 0.6


@dataclass
class Killer:
    """A server that never answers. Whoever is connected while it is `armed` dies."""

    node: psutil.Process
    url: str = ""
    armed: bool = False
    ports: set[int] = field(default_factory=set)
    deaths: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        self.ports.add(port)
        if self.armed:
            self.kill()
        with suppress(ConnectionError):
            await reader.read()
        self.ports.discard(port)
        writer.close()

    def arm(self) -> None:
        self.armed = True
        self.kill()

    def kill(self) -> None:
        for child in self.node.children():
            with suppress(psutil.NoSuchProcess):
                if any(connection.laddr.port in self.ports for connection in child.net_connections("tcp")):
                    child.send_signal(signal.SIGKILL)
                    self.deaths += 1


@asynccontextmanager
async def killing(node: psutil.Process) -> AsyncIterator[Killer]:
    killer = Killer(node)
    async with await asyncio.start_server(killer.take, "127.0.0.1", 0) as server:
        killer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/clip.mp4"
        yield killer


async def watch(node: ServedNode, count: int, url: str, witnesses: Witnesses) -> list[str]:
    """As many relays in rooms of their own, and a viewer in each; the runs."""
    runs = []
    async with aiohttp.ClientSession() as session:
        for number in range(count):
            room = f"innocent-{number}"
            runs.append(await node.start(room, url, Loop=True))
            headers = {
                "Authorization": f"Bearer {node.token(room, 'viewer')}",
                "Content-Type": "application/sdp",
            }
            offer = witnesses.offers[number]
            async with session.post(node.whep_url(room, "source"), data=offer, headers=headers) as response:
                assert response.status == 201, await response.text()
                witnesses.connect(number, await response.text())
    await until(lambda: all(len(stalls) == 2 for stalls in witnesses.take_stalls()), _JOINED_S)
    return runs


async def longest_gap(witnesses: Witnesses) -> float:
    """Of all viewers since the last look, when everybody has pictures and sound again."""
    longest = 0.0
    async with asyncio.timeout(_JOINED_S):
        while True:
            seen = max(gap for viewer in witnesses.take_stalls() for gap in viewer.values())
            longest = max(longest, seen)
            if seen < _FLOWS_S:
                return longest
            await asyncio.sleep(_LOOK_S)


@pytest.mark.parametrize(
    ("innocent", "oldest"),
    [
        (7, False),
        pytest.param(39, False, marks=pytest.mark.slow),
        pytest.param(39, True, marks=pytest.mark.slow),
    ],
)
async def test_the_neighbours_of_a_killer_go_on(innocent: int, oldest: bool, tmp_path: Path) -> None:
    """`oldest`: it was there before everybody else, and nothing tells it from them. Who is divided from it
    last has one gap behind the other."""
    flags = ("--room-processes", "1", "--media-processes", "2")
    with Nginx(tmp_path / "origin") as origin, Witnesses("127.0.0.1", innocent) as witnesses:
        make_flashes(origin.www / "clip.mp4", 60)
        async with serve_node(tmp_path / "data", *flags) as node, killing(node.process) as killer:
            hostile = await node.start("hostile", killer.url, max_idle=300) if oldest else ""
            runs = await watch(node, innocent, origin.http("clip.mp4"), witnesses)
            await asyncio.sleep(_RESERVE_S)
            await longest_gap(witnesses)
            began = time.monotonic()
            killer.arm()
            hostile = hostile or await node.start("hostile", killer.url)
            ended = await node.until_state(hostile, "failed")
            ended_s, gap_s = time.monotonic() - began, await longest_gap(witnesses)
            states = [(await node.task(run))["state"] for run in runs]
            print(f"{killer.deaths} deaths, ended after {ended_s:.1f} s, longest gap {gap_s:.2f} s")
    assert states == ["running"] * innocent
    assert ended["reason"] == "media_crash", ended
    assert ended_s <= _ENDED_S
    assert gap_s <= (_GAP_S + _MORE_S) * (killer.deaths - 2)
