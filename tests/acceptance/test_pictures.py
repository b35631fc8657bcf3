"""Pictures that need more than a change of size, in mode 0: turned, interlaced, of pixels not square."""

import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.acceptance.clips import Clips, run_ffmpeg
from tests.acceptance.node import ServedNode
from tests.acceptance.player import RATES, Player, playing
from tests.acceptance.test_relay import new_room

pytestmark = pytest.mark.anyio

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25")
#: The way from an upright clip in four greys to what is stored.
STORED = {
    "turned-90.mp4": ("-c", "copy", "-metadata:s:v", "rotate=90"),
    "turned-180.mp4": ("-c", "copy", "-metadata:s:v", "rotate=180"),
    "turned-270.mp4": ("-c", "copy", "-metadata:s:v", "rotate=270"),
    "narrow.mp4": (*H264, "-vf", "setsar=1/2"),
    "told-by-the-container.mp4": ("-c", "copy", "-aspect", "8:9"),
}
SQUARE = 320
#: What ffmpeg, which turns by itself, makes of it: shown as it is meant, and fitted into a square.
SHOWN = (
    "scale=trunc(iw*sar/2)*2:ih,setsar=1,scale={0}:{0}:force_original_aspect_ratio=decrease,pad={0}:{0}:-1:-1"
)


async def play(stack: AsyncExitStack, node: ServedNode, url: str, **control: int) -> Player:
    """A player of a relay in mode 0 of its own."""
    room = new_room()
    player = await stack.enter_async_context(
        playing(node.whep_url(room, "source"), node.token(room, "guest"))
    )
    run = await node.start(room, url, StreamMode=0, Loop=True, **control)
    stack.push_async_callback(node.client_stop, run)
    return player


async def test_pictures_are_upright_and_fit(node: ServedNode, files: str, clips: Clips) -> None:
    upright = clips.folder / "upright.mp4"
    greys = "geq=cb=128:cr=128:lum='40+60*gt(X,W/2)+100*gt(Y,H/2)'"
    run_ffmpeg(
        "-f", "lavfi", "-i", f"nullsrc=320x180:rate=25,format=yuv420p,{greys}", "-t", "2", *H264, str(upright)
    )
    async with AsyncExitStack() as stack:
        players = {}
        for name, options in STORED.items():
            run_ffmpeg("-i", str(upright), *options, str(clips.folder / name))
            size = {"VideoWidth": SQUARE, "VideoHeight": SQUARE, "FrameRate": 25}
            players[name] = await play(stack, node, f"{files}/{name}", **size)
        for name, player in players.items():
            await player.until_pictures(5)
            shown = player.planes[-1].astype(float)
            assert shown.shape == (SQUARE, SQUARE)
            off = np.abs(shown - reference(clips.folder / name))
            print(f"{name}: {off.mean():.1f} of 255 off")
            assert off.mean() < 3, name


def reference(path: Path) -> NDArray[np.uint8]:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", SHOWN.format(SQUARE), "-frames:v", "1"]
    raw = subprocess.run(
        [*command, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"], check=True, capture_output=True
    )
    return np.frombuffer(raw.stdout, np.uint8)[: SQUARE * SQUARE].reshape(SQUARE, SQUARE)


async def test_interlaced_sources_show_no_combs_at_the_asked_rate(
    node: ServedNode, files: str, clips: Clips
) -> None:
    """Bars that move by 12 pixels from field to field."""
    path = clips.folder / "interlaced.ts"
    bars = "geq=cb=128:cr=128:lum='if(lt(mod(X+12*N,160),80),235,16)'"
    source = f"nullsrc=320x240:rate=50,format=yuv420p,{bars},tinterlace=interleave_top,setfield=tff"
    run_ffmpeg("-f", "lavfi", "-i", source, "-t", "4", *H264, "-flags", "+ilme+ildct", str(path))
    assert combs(decoded(path)) > 10
    size = {"VideoWidth": 320, "VideoHeight": 240}
    async with AsyncExitStack() as stack:
        players = {
            rate: await play(stack, node, f"{files}/{path.name}", **size, FrameRate=rate) for rate in (25, 10)
        }
        for rate, player in players.items():
            await player.until_pictures(3 * rate)
            first, last = player.pictures[0], player.pictures[-1]
            lasted_s = (last.timestamp - first.timestamp) / RATES["video"]
            assert (len(player.pictures) - 1) / lasted_s == pytest.approx(rate, rel=0.05)
            worst = max(combs(luma) for luma in player.planes)
            print(f"at {rate} frames per second: combs of {worst:.1f}")
            assert worst < 2


def decoded(path: Path) -> NDArray[np.uint8]:
    command = ["ffmpeg", "-v", "error", "-ss", "1", "-i", str(path), "-frames:v", "1", "-pix_fmt", "yuv420p"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], check=True, capture_output=True)
    return np.frombuffer(raw.stdout, np.uint8)[: 320 * 240].reshape(240, 320)


def combs(luma: NDArray[np.uint8]) -> float:
    """How much the lines of a picture of upright bars differ from their neighbours."""
    lines = luma.astype(float)
    return float(np.abs(2 * lines[1:-1] - lines[:-2] - lines[2:]).mean())
