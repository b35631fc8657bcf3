"""The demonstration: makes and serves a sample clip, relays it into a room, and says where to look.

Everything stays on loopback. `demo_check` joins as a viewer and measures.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from aiohttp import web
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.video.frame import PictureType

from sluice.app import Node, run_node
from sluice.client import Client, room_page
from sluice.config import ListenSettings, Settings
from sluice.core.apps import AccessKey, App
from sluice.core.progress import Progress, untold
from sluice.wire.token import Grant, Privilege, make

ROOM, USER = "demo", "sample-clip"
FRAME_RATE = 25
_TASK = "demo"
_CLIP_S = 10


@asynccontextmanager
async def running_demo(settings: Settings) -> AsyncIterator[tuple[Node, str]]:
    """A node with the sample clip playing in a room, and the page's address. Raises SluiceError, OSError."""
    media = replace(settings.media, allow_networks=(*settings.media.allow_networks, "127.0.0.0/8"))
    settings = replace(settings, media=media, listen=ListenSettings("127.0.0.1", settings.listen.port))
    clip = await asyncio.to_thread(make_clip_in, settings.data)
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
            "Token": token_of(node, USER, {Privilege.PUBLISH: 0}, now),
            "Control": {"StreamUrl": clip_url, "StreamMode": 1, "Loop": True},
        }
        await asyncio.to_thread(client.call, "StartRelayStream", "2023-11-01", params, time.time())
        viewer = token_of(node, f"viewer-{secrets.token_hex(3)}", {Privilege.SUBSCRIBE: 0}, now)
        try:
            yield node, room_page(node.url, node.credentials.app_id, ROOM, viewer)
        finally:
            stop = {"AppId": node.credentials.app_id, "RoomId": ROOM, "TaskId": params["TaskId"]}
            await asyncio.to_thread(client.call, "StopRelayStream", "2023-11-01", stop, time.time())


def token_of(node: Node, user: str, privileges: dict[Privilege, int], now: int) -> str:
    """A token of the demo's room for a day."""
    app = App(node.credentials.app_id, node.credentials.app_key)
    return make(app, Grant(ROOM, user, now, now + 86400, privileges))


# --- the sample clip --------------------------------------------------------------------------------------


def make_clip_in(folder: Path, tell: Progress = untold) -> Path:
    """The sample clip in this folder, made if it is not there yet; `tell` is told how far that is."""
    clip = folder / "sample.mp4"
    if not clip.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_clip(clip, tell)
    return clip


def make_clip(path: Path, tell: Progress = untold) -> None:
    """Ten seconds of a moving test picture (720p, 25 fps, H.264 without B-frames) with a tone (AAC)."""
    unfinished = path.with_suffix(".part")
    try:
        _write_clip(unfinished, tell)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_clip(unfinished: Path, tell: Progress) -> None:
    with av.open(str(unfinished), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        video.bit_rate = 1_000_000
        video.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "main", "g": "50", "bf": "0"}
        audio = container.add_stream("aac", rate=48_000, layout="stereo")
        for number, frame in enumerate(_pictures()):
            container.mux(video.encode(frame))
            tell("making the sample clip", number, _CLIP_S * FRAME_RATE)
        container.mux(video.encode(None))
        for sound in _tone():
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def _pictures() -> Any:
    graph = Graph()
    source = graph.add("testsrc2", f"size=1280x720:rate={FRAME_RATE}:duration={_CLIP_S}")
    shape = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    source.link_to(shape)
    shape.link_to(sink)
    graph.configure()
    for number in range(_CLIP_S * FRAME_RATE):
        frame = graph.vpull()
        frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
        frame.pict_type = PictureType.NONE  # else the encoder would make each one a key frame
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
