"""``sluice demo --check``: aiortc joins the demo's room as a viewer and measures what it sees and hears.

aiortc comes with the extra ``sluice[demo]``; no other part of the product needs it.
"""

import asyncio
import time
from dataclasses import dataclass

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from sluice.app import Node
from sluice.core.errors import SluiceError
from sluice.demo import FRAME_RATE, ROOM, USER, token_of
from sluice.wire.token import Privilege

_MEASURE_S = 5.0
_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a viewer saw and heard."""

    first_picture_ms: float
    frames_per_second: float
    audio_level: float

    @property
    def good(self) -> bool:
        return self.frames_per_second >= 0.8 * FRAME_RATE and self.audio_level > 0.001

    def __str__(self) -> str:
        return (
            f"first picture after {self.first_picture_ms:.0f} ms, "
            f"{self.frames_per_second:.1f} frames/s decoded, audio level {self.audio_level:.3f} (of 1)"
        )


class CheckFailed(SluiceError):
    """The viewer got no picture or no sound."""


async def measure(node: Node) -> Figures:
    """Joins as a viewer over WHEP and measures for a few seconds. Raises CheckFailed."""
    peer = RTCPeerConnection()
    counters = _Counters()
    tasks: list[asyncio.Task[None]] = []

    @peer.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        tasks.append(asyncio.ensure_future(counters.count(track)))

    try:
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        started = time.monotonic()
        answer = await _post_offer(node, peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        try:
            await asyncio.wait_for(counters.first_picture.wait(), _DEADLINE_S)
        except TimeoutError:
            raise CheckFailed(f"no picture within {_DEADLINE_S:g} s") from None
        first = time.monotonic() - started
        # A late viewer gets the present group of pictures at once; then the stream has its own pace.
        await asyncio.sleep(1)
        frames, began = counters.frames, time.monotonic()
        await asyncio.sleep(_MEASURE_S)
        rate = (counters.frames - frames) / (time.monotonic() - began)
        return Figures(first * 1000, rate, counters.level)
    finally:
        await peer.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _post_offer(node: Node, offer: str) -> str:
    token = token_of(node, "checker", {Privilege.SUBSCRIBE: 0}, int(time.time()))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    url = f"{node.url}/whep/{node.credentials.app_id}/{ROOM}/{USER}"
    async with aiohttp.ClientSession() as session, session.post(url, data=offer, headers=headers) as response:
        text = await response.text()
        if response.status != 201:
            raise CheckFailed(f"the viewer was refused with {response.status}: {text}")
        return text


class _Counters:
    def __init__(self) -> None:
        self.frames = 0
        self.level = 0.0
        self.first_picture = asyncio.Event()

    async def count(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self.frames += 1
                    self.first_picture.set()
                elif isinstance(frame, AudioFrame):
                    self.level = max(self.level, _peak(frame))
        except MediaStreamError:
            return


def _peak(frame: AudioFrame) -> float:
    """The largest of the frame's samples, which are 16 bit, as a share of full scale."""
    samples = memoryview(bytes(frame.planes[0])).cast("h")
    return max(abs(sample) for sample in samples[:: max(1, len(samples) // 96)]) / 32768
