"""The peer that the fan-out is compared with: one process that serves the clip through aiortc.

Only its public API is used: a MediaStreamTrack whose `recv` returns encoded packets in real time (aiortc
then packetizes and does not encode), and MediaRelay, which hands one track to many connections. It runs
on uvloop as our room process does.
"""

import asyncio
import time
from fractions import Fraction
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import av
import uvloop
from aioice import ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamTrack

from benchmarks.clip import Clip
from sluice.process.link import FrameType
from sluice.wire.h264 import split_avcc

_MICROSECONDS = Fraction(1, 1_000_000)
_TYPES = {"video": FrameType.VIDEO, "audio": FrameType.AUDIO}


class ClipTrack(MediaStreamTrack):
    """One kind of the clip's frames, again and again, each when its time has come."""

    def __init__(self, kind: str, clip: Clip, started: float) -> None:
        super().__init__()
        self.kind = kind
        self._started = started
        frames = [frame for frame in clip.frames if frame.type == _TYPES[kind]]
        payloads = [
            annex_b(frame.payload) if frame.type == FrameType.VIDEO else frame.payload for frame in frames
        ]
        self._packets = (
            (lap * clip.duration_us + frame.media_us, payload)
            for lap in count()
            for frame, payload in zip(frames, payloads, strict=True)
        )

    async def recv(self) -> Any:
        media_us, payload = next(self._packets)
        await asyncio.sleep(self._started + media_us / 1e6 - time.monotonic())
        packet = av.Packet(payload)
        packet.pts, packet.time_base = media_us, _MICROSECONDS
        return packet


def annex_b(access_unit: bytes) -> bytes:
    return b"".join(b"\x00\x00\x00\x01" + bytes(unit) for unit in split_avcc(access_unit, 4))


class _Sender:
    def __init__(self, pipe: "Connection[Any, Any]", clip: Clip) -> None:
        self._pipe = pipe
        self._relay = MediaRelay()
        started = time.monotonic()
        self._tracks = [ClipTrack("video", clip, started), ClipTrack("audio", clip, started)]
        self._peers: list[RTCPeerConnection] = []

    async def run(self) -> None:
        """Answers offers until the measuring process is gone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                offer = await loop.run_in_executor(None, self._pipe.recv)
            except EOFError:
                return
            self._pipe.send(await self._answer(offer))

    async def _answer(self, offer: str) -> str:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peers.append(peer)
        for track in self._tracks:
            peer.addTrack(self._relay.subscribe(track))
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp


def run_aiortc_sender(pipe: "Connection[Any, Any]", clip: Clip, host: str) -> None:
    """Entry point of the process. Offers come through the pipe, answers go back."""
    # aioice offers no loopback candidates by itself; both senders shall use the same interface.
    ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Sender(pipe, clip).run())
