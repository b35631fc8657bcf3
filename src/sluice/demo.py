"""The demonstration: makes and serves a sample clip, relays it into a room, and says where to look.

With `check` it joins as a viewer itself and measures. Everything stays on loopback.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
import av
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.video.frame import PictureType, VideoFrame

from sluice.app import Node, run_node
from sluice.client import Client
from sluice.config import ListenSettings, Settings
from sluice.core.apps import AccessKey, App
from sluice.core.errors import SluiceError
from sluice.wire.token import Grant, Privilege, make

ROOM, USER = "demo", "sample-clip"
_TASK = "demo"
_CLIP_S = 10
_FRAME_RATE = 25
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
        return self.frames_per_second >= 0.8 * _FRAME_RATE and self.audio_level > 0.001

    def __str__(self) -> str:
        return (
            f"first picture after {self.first_picture_ms:.0f} ms, "
            f"{self.frames_per_second:.1f} frames/s decoded, audio level {self.audio_level:.3f} (of 1)"
        )


@asynccontextmanager
async def running_demo(settings: Settings) -> AsyncIterator[tuple[Node, str]]:
    """A node with the sample clip playing in a room, and the page's address. Raises SluiceError, OSError."""
    media = replace(settings.media, allow_networks=(*settings.media.allow_networks, "127.0.0.0/8"))
    settings = replace(settings, media=media, listen=ListenSettings("127.0.0.1", settings.listen.port))
    clip = settings.data / "sample.mp4"
    if not clip.exists():
        settings.data.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(make_clip, clip)
    async with serve_file(clip) as clip_url, run_node(settings) as node:
        now = int(time.time())
        client = Client(
            node.url,
            AccessKey(node.credentials.access_key, node.credentials.secret_key, frozenset()),
            node.credentials.admin_token,
        )
        params = {
            "AppId": node.credentials.app_id,
            "RoomId": ROOM,
            "TaskId": f"{_TASK}-{secrets.token_hex(4)}",
            "UserId": USER,
            "Token": _token(node, USER, {Privilege.PUBLISH: 0}, now),
            "Control": {"StreamUrl": clip_url, "StreamMode": 1, "Loop": True},
        }
        await asyncio.to_thread(client.call, "StartRelayStream", "2023-11-01", params, time.time())
        viewer = _token(node, f"viewer-{secrets.token_hex(3)}", {Privilege.SUBSCRIBE: 0}, now)
        fragment = urlencode({"app": node.credentials.app_id, "room": ROOM, "token": viewer})
        try:
            yield node, f"{node.url}/room#{fragment}"
        finally:
            stop = {"AppId": node.credentials.app_id, "RoomId": ROOM, "TaskId": params["TaskId"]}
            await asyncio.to_thread(client.call, "StopRelayStream", "2023-11-01", stop, time.time())


def _token(node: Node, user: str, privileges: dict[Privilege, int], now: int) -> str:
    app = App(node.credentials.app_id, node.credentials.app_key)
    return make(app, Grant(ROOM, user, now, now + 86400, privileges))


# --- the sample clip --------------------------------------------------------------------------------------


def make_clip(path: Path) -> None:
    """Ten seconds of a moving test picture (720p, 25 fps, H.264 without B-frames) with a tone (AAC)."""
    unfinished = path.with_suffix(".part")
    with av.open(str(unfinished), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=_FRAME_RATE)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        video.bit_rate = 1_000_000
        video.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "main", "g": "50", "bf": "0"}
        audio = container.add_stream("aac", rate=48_000, layout="stereo")
        for frame in _pictures():
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in _tone():
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    unfinished.rename(path)


def _pictures() -> Any:
    graph = Graph()
    source = graph.add("testsrc2", f"size=1280x720:rate={_FRAME_RATE}:duration={_CLIP_S}")
    shape = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    source.link_to(shape)
    shape.link_to(sink)
    graph.configure()
    for number in range(_CLIP_S * _FRAME_RATE):
        frame = graph.vpull()
        frame.pts, frame.time_base = number, Fraction(1, _FRAME_RATE)
        frame.pict_type = PictureType.NONE  # or the encoder would make every one a key frame
        yield frame


def _tone() -> Any:
    graph = Graph()
    source = graph.add("sine", f"frequency=440:beep_factor=4:sample_rate=48000:duration={_CLIP_S}")
    shape = graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo")
    sink = graph.add("abuffersink")
    source.link_to(shape)
    shape.link_to(sink)
    graph.configure()
    while True:
        try:
            yield cast(AudioFrame, graph.pull())
        except (av.error.EOFError, av.error.BlockingIOError):
            return


@asynccontextmanager
async def serve_file(path: Path) -> AsyncIterator[str]:
    """Serves one file on a free loopback port, with ranges; yields its address."""

    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get(f"/{path.name}", send)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/{path.name}"
    finally:
        await runner.cleanup()


# --- the check --------------------------------------------------------------------------------------------


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
        # The late joiner's group of pictures comes at once; what follows is the stream's own pace.
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
    token = _token(node, "checker", {Privilege.SUBSCRIBE: 0}, int(time.time()))
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
