"""Somebody who listens to a channel with aiortc, and keeps each packet of sound as it came.

Decoded is only when a test asks, and by the packets' own timestamps: no jitter buffer adds or hides anything.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import RTCPeerConnection, RTCSessionDescription
from av.audio.codeccontext import AudioCodecContext

from tests.acceptance.bots.tones import RATE, Heard
from tests.acceptance.node import ServedNode

_POLL_S = 0.02
_DEADLINE_S = 30.0
_PACKET = 960  #: samples


@dataclass(frozen=True, slots=True)
class Sound:
    """One RTP packet; `at` in seconds of our own monotonic clock, the numbers as they came."""

    at: float
    sequence: int
    timestamp: int
    opus: bytes


class Listener:
    def __init__(self) -> None:
        self.peer = RTCPeerConnection()
        self.packets: list[Sound] = []

    async def listen(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        receiver: Any = self.peer.addTransceiver("audio", direction="recvonly").receiver

        async def on_rtp(packet: Any, arrival_time_ms: int) -> None:
            sound = Sound(time.monotonic(), packet.sequence_number, packet.timestamp, packet.payload)
            self.packets.append(sound)

        # aiortc tells nobody what arrives; its own decoder gets nothing.
        receiver._handle_rtp_packet = on_rtp
        await self.peer.setLocalDescription(await self.peer.createOffer())
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=self.peer.localDescription.sdp, headers=headers, ssl=tls or True) as response,
        ):
            assert response.status == 201, await response.text()
            answer = await response.text()
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await self.until(lambda: self.peer.connectionState == "connected")

    async def until(self, wanted: Callable[[], bool], deadline_s: float = _DEADLINE_S) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while not wanted():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise AssertionError(f"{len(self.packets)} packets came, {self.peer.connectionState}") from None

    async def until_seconds(self, seconds: float, deadline_s: float = _DEADLINE_S) -> None:
        """Until so much more sound has come."""
        count = len(self.packets) + round(seconds * RATE / _PACKET)
        await self.until(lambda: len(self.packets) >= count, deadline_s)

    def heard(self, begin: int = 0) -> Heard:
        """From packet `begin` on, by timestamps: where nothing came is silence."""
        first = self.packets[begin].timestamp
        parts = [
            ((packet.timestamp - first) % (1 << 32), samples)
            for packet, samples in zip(self.packets[begin:], self._decode(begin), strict=True)
        ]
        line = np.zeros(max(at + len(samples) for at, samples in parts))
        for at, samples in parts:
            line[at : at + len(samples)] = samples
        return Heard(line)

    def heard_joined(self, begin: int = 0) -> Heard:
        """One packet after the other, whatever lay between."""
        return Heard(np.concatenate(self._decode(begin)))

    def holes(self) -> int:
        """Packets that did not come, or came out of order."""
        numbers = [packet.sequence for packet in self.packets]
        return sum((b - a) % (1 << 16) != 1 for a, b in pairwise(numbers))

    def _decode(self, begin: int) -> list[Any]:
        decoder = av.CodecContext.create("libopus", "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.sample_rate, decoder.layout = RATE, "stereo"
        found = []
        for packet in self.packets[begin:]:
            frames = decoder.decode(av.Packet(packet.opus))
            values = [frame.to_ndarray().reshape(-1, 2).mean(axis=1) / 32768 for frame in frames]
            found.append(np.concatenate(values))
        return found


@asynccontextmanager
async def listening(
    node: ServedNode, room: str, user: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    """Connected already, whether the user publishes or not."""
    listener = Listener()
    try:
        await listener.listen(node.whep_url(room, user), node.token(room, "listener"), tls)
        yield listener
    finally:
        await listener.peer.close()
