"""Who watches and listens through the faults: aiortc, which keeps packets as they came and decodes nothing.

One publisher is told from two by the time of the media: a stream that two feed has twice as many pictures and
sounds in a second of it, or stamps that go back.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from aiortc import RTCPeerConnection

from tests.acceptance.clips import FRAME_RATE
from tests.acceptance.node import ServedNode
from tests.acceptance.viewers import negotiate
from tests.integration.waiting import until

#: Ticks of the RTP clock between two pictures, and two sounds.
_STEPS = {"video": 90_000 // FRAME_RATE, "audio": 960}
_PER_SECOND = {"video": FRAME_RATE, "audio": 50}
#: A window of so many seconds is looked at; after a fault a few may be needed until it has settled.
_WINDOW_S = 1.0
_MOST_WINDOWS = 12


@dataclass(frozen=True, slots=True)
class Arrived:
    ssrc: int
    timestamp: int


class Viewer:
    """`kinds` are those that its user publishes."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.peer = RTCPeerConnection()
        self.kinds = kinds
        self._came: dict[str, list[Arrived]] = {kind: [] for kind in kinds}

    async def watch(self, url: str, token: str) -> None:
        for kind in self.kinds:
            receiver: Any = self.peer.addTransceiver(kind, direction="recvonly").receiver
            receiver._handle_rtp_packet = self._keeper(self._came[kind])  # aiortc tells nobody what arrives
        await negotiate(self.peer, url, token)
        await until(lambda: self.connected)

    @property
    def connected(self) -> bool:
        return self.peer.connectionState == "connected"

    def ssrcs(self, kind: str) -> set[int]:
        """Of what came since the last look."""
        return {packet.ssrc for packet in self._came[kind]}

    async def sees_one_publisher(self) -> None:
        """Returns when a second of each kind came as one publisher sends it. What is two stays two, however
        often it is looked at."""
        faults: list[str] = []
        for _ in range(_MOST_WINDOWS):
            for came in self._came.values():
                came.clear()
            await until(lambda: all(self._has_window(kind) for kind in self.kinds), 30)
            faults = [fault for kind in self.kinds if (fault := _fault(kind, self._came[kind]))]
            if not faults:
                return
        raise AssertionError(faults)

    def _has_window(self, kind: str) -> bool:
        return len({packet.timestamp for packet in self._came[kind]}) > _WINDOW_S * _PER_SECOND[kind]

    def _keeper(self, came: list[Arrived]) -> Any:
        async def keep(packet: Any, arrival_time_ms: int) -> None:
            came.append(Arrived(packet.ssrc, packet.timestamp))

        return keep


def _fault(kind: str, came: Sequence[Arrived]) -> str:
    """What is not as it is with one publisher; empty if all is."""
    if len({packet.ssrc for packet in came}) != 1:
        return f"{kind}: several SSRCs"
    stamps = list(dict.fromkeys(packet.timestamp for packet in came))
    steps = [(b - a + (1 << 31)) % (1 << 32) - (1 << 31) for a, b in pairwise(stamps)]
    if min(steps) < 0.5 * _STEPS[kind]:
        return f"{kind}: a step of {min(steps)} ticks"
    if sum(steps) > 1.5 * _STEPS[kind] * len(steps):
        return f"{kind}: {len(steps)} steps took {sum(steps)} ticks"
    return ""


@asynccontextmanager
async def viewing(
    node: ServedNode, room: str, user: str, kinds: Sequence[str] = ("audio", "video")
) -> AsyncIterator[Viewer]:
    """Connected already, whether the user publishes or not."""
    viewer = Viewer(kinds)
    try:
        async with asyncio.timeout(30):
            await viewer.watch(node.whep_url(room, user), node.token(room, f"viewer-of-{user}"))
        yield viewer
    finally:
        await viewer.peer.close()
