"""All strangers at once, for ten minutes, beside twenty innocent viewers: none is disconnected.

SLUICE_HOSTILE_SECONDS makes it shorter. Each stranger comes again as soon as he was ended.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import pytest

from sluice.client import CallFailed
from tests.acceptance.node import ServedNode
from tests.hostile.bombs import changed
from tests.hostile.conftest import watched_by
from tests.hostile.roamer import roaming
from tests.hostile.strangers import holding, listening, say, stranger
from tests.hostile.test_callers import bodies_of_nobody, too_much_head
from tests.hostile.test_receivers import ANSWERS
from tests.hostile.test_servers import BOMBS, FLOODS, MANIFESTS, FloodingServer, serving
from tests.hostile.test_viewers import offers, patches, request
from tests.integration.nginx import Nginx, free_port

pytestmark = pytest.mark.anyio

_SECONDS = float(os.environ.get("SLUICE_HOSTILE_SECONDS", "600"))
_VIEWERS = 20
#: When a browser calls its connection disconnected.
_DISCONNECTED_S = 5.0
_IDLE_S = 5
_HELD = 300
_ROAMED = 200
_PART = 1 << 16

#: One attack of a stranger, over when he was ended.
_Attack = Callable[[], Awaitable[object]]


class Strangers:
    """All of them, at one node."""

    def __init__(self, node: ServedNode, origin: Nginx, room: str, honest_mp4: bytes) -> None:
        self._node, self._origin, self._room, self._honest = node, origin, room, honest_mp4
        self.times: dict[str, int] = {}
        self._kinds = {
            name: itertools.cycle(kinds)
            for name, kinds in (
                ("head", too_much_head()),
                ("body", bodies_of_nobody(node)),
                ("patch", patches()),
                ("offer", offers()),
                ("answer", ANSWERS),
                ("flood", FLOODS),
                ("manifest", MANIFESTS),
                ("bomb", BOMBS),
            )
        }

    async def attack(self, seconds: float) -> None:
        attacks: tuple[_Attack, ...] = (
            *(self.head, self.body, self.silence, self.patch, self.offer, self.roam),
            *(self.receive, self.flood, self.manifest, self.bomb),
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(self._again(attack) for attack in attacks))

    async def _again(self, attack: _Attack) -> None:
        name = attack.__name__
        while True:
            # Who is refused, or told that there is no room for more, comes again.
            with contextlib.suppress(CallFailed, OSError, TimeoutError, AssertionError):
                await attack()
            self.times[name] = self.times.get(name, 0) + 1
            await asyncio.sleep(0.1)

    # --- callers and viewers --------------------------------------------------------------------------------

    async def head(self) -> None:
        await say(self._node.url, too_much_head()[next(self._kinds["head"])])

    async def body(self) -> None:
        head = bodies_of_nobody(self._node)[next(self._kinds["body"])]
        await say(self._node.url, itertools.chain([head], itertools.repeat(bytes(_PART), 1000)))

    async def silence(self) -> None:
        async with holding(self._node.url, _HELD):
            await asyncio.sleep(_IDLE_S)  # as long as the stranger likes

    async def patch(self) -> None:
        user = f"patcher-{uuid4().hex[:6]}"
        bearer = f"Authorization: Bearer {self._node.token(self._room, user)}"
        async with roaming(self._node, self._room, user) as roamer:
            await say(self._node.url, patches()[next(self._kinds["patch"])](roamer.place, bearer))

    async def offer(self) -> None:
        path = f"/whep/{self._node.credentials.app_id}/{self._room}/source"
        bearer = f"Authorization: Bearer {self._node.token(self._room, 'offerer')}"
        body = offers()[next(self._kinds["offer"])]
        await say(self._node.url, request("POST", path, bearer, "Content-Type: application/sdp", body=body))

    async def roam(self) -> None:
        async with roaming(self._node, self._room, f"roamer-{uuid4().hex[:6]}") as roamer:
            for port in _ports():
                roamer.check_from(port)
                await asyncio.sleep(0)

    # --- receivers and servers ------------------------------------------------------------------------------

    async def receive(self) -> None:
        async with stranger(ANSWERS[next(self._kinds["answer"])]) as receiver:
            await self._node.call(
                "CreateCallback",
                version="2020-12-01",
                EventList=["RelayStreamStateChanged"],
                SecretKey="callback-secret",
                URL=receiver.url("/callback"),
            )
            try:
                await self._play(f"http://127.0.0.1:{free_port()}/")
            finally:
                await self._node.call("DeleteCallback", version="2020-12-01")

    async def flood(self) -> None:
        server = FloodingServer(FLOODS[next(self._kinds["flood"])])
        async with listening(server.serve) as server.port:
            await self._play(server.url())

    async def manifest(self) -> None:
        text = MANIFESTS[next(self._kinds["manifest"])]
        async with stranger(serving(text.encode(), "application/dash+xml")) as server:
            await self._play(server.url("/live.mpd"))

    async def bomb(self) -> None:
        name = f"{uuid4().hex}.mp4"
        (self._origin.www / name).write_bytes(changed(self._honest, BOMBS[next(self._kinds["bomb"])]))
        try:
            await self._play(self._origin.http(name))
        finally:
            (self._origin.www / name).unlink()

    async def _play(self, url: str) -> None:
        run = await self._node.start(f"attacked-{uuid4().hex[:6]}", url, max_idle=_IDLE_S)
        async with asyncio.timeout(4 * _IDLE_S):
            while (await self._node.task(run))["state"] not in ("failed", "ended"):
                await asyncio.sleep(0.5)


def _ports() -> Iterator[socket.socket]:
    for _ in range(_ROAMED):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
            port.bind(("127.0.0.1", 0))
            yield port


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS + 300)
async def test_all_strangers_at_once(node: ServedNode, origin: Nginx, honest_mp4: bytes) -> None:
    (engine,) = node.children("sluice.rooms.engine")
    async with watched_by(_VIEWERS, node, origin.http("clip.mp4")) as beside:
        strangers = Strangers(node, origin, beside.room, honest_mp4)
        async with beside.innocent() as seen:
            await strangers.attack(_SECONDS)
        print(seen, strangers.times)
        assert node.children("sluice.rooms.engine") == [engine]
        assert all(count.connected for count in beside.witnesses.counts())
        assert seen.stall_s < _DISCONNECTED_S
        assert not seen.failures
        assert set(strangers.times) >= {"head", "body", "patch", "receive", "flood", "manifest", "bomb"}
