"""A viewer with a token and bad manners: checks from many ports, and bytes of his own on a connection that is
in order."""

import asyncio
import datetime
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.peers import Agent
from sluice.rooms.engine.dtls import DtlsIdentity
from tests.acceptance.node import ServedNode

_DEADLINE_S = 15.0
_POLL_S = 0.01


class Roamer(Agent):
    """`place` is its resource at the node, `etag` names its ICE session."""

    place = etag = ""

    async def connect_to(self, node: ServedNode, room: str, user: str) -> None:
        headers = {"Authorization": f"Bearer {node.token(room, user)}", "Content-Type": "application/sdp"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(node.whep_url(room, "source"), data=self.offer(), headers=headers) as response,
        ):
            assert response.status == 201, await response.text()
            self.place, self.etag = response.headers["Location"], response.headers["ETag"]
            self.connect(await response.text())
        async with asyncio.timeout(_DEADLINE_S):
            while self.session is None:
                self.on_tick(time.monotonic())
                self.drain()
                await asyncio.sleep(_POLL_S)

    def check_from(self, port: socket.socket) -> None:
        """A genuine check that asks to be sent to that port from now on."""
        own, self.socket = self.socket, port
        self._send_check()
        self.socket = own

    def send(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self._address)


@asynccontextmanager
async def roaming(node: ServedNode, room: str, user: str) -> AsyncIterator[Roamer]:
    """Connected already."""
    roamer = Roamer("127.0.0.1", DtlsIdentity(datetime.datetime.now(datetime.UTC)))
    try:
        await roamer.connect_to(node, room, user)
        yield roamer
    finally:
        roamer.socket.close()
