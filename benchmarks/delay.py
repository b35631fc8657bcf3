"""How old a live picture is when a viewer has decoded it: RTMP source → relay → viewer, in both modes.

A source publishes pictures that carry the time at which they were made (live_source.py) to nginx. The relay
pulls them, a viewer decodes them and subtracts; so does ffmpeg as a player of the same address, in the same
run. Part of every figure are the source's encoding and its way through nginx.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clip import FRAME_RATE, sample_file
from benchmarks.live_source import stamped_source
from benchmarks.report import median, percentile, print_table, write_json
from benchmarks.rooms import HOST, ffmpeg_version, until_connected, watch
from benchmarks.stamp import PERIOD_MS, read, strip_height
from benchmarks.watchers import Picture, Watchers
from sluice.process.logs import configure_logging
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

_BAR_MS = 500.0
_WIDTH = 1280
_STREAM = "stamped"
_SETTLE_S = 3.0
_FIRST_DEADLINE_S = 30.0
#: Fewer pictures than this share of what the source makes, or with readable times, is no measurement.
_ENOUGH = 0.95
_TRANSCODED = {"StreamMode": 0, "VideoWidth": 640, "VideoHeight": 480, "FrameRate": FRAME_RATE}
_MODES: dict[str, dict[str, Any]] = {"sluice, copied": {"StreamMode": 1}, "sluice, transcoded": _TRANSCODED}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`lost` packets, of those sent to the viewer."""

    name: str
    delays_ms: list[float]
    pictures: int
    seconds: float
    lost: int = 0

    @property
    def p95(self) -> float:
        return percentile(self.delays_ms, 0.95)

    @property
    def is_complete(self) -> bool:
        share = len(self.delays_ms) / (self.seconds * FRAME_RATE)
        return share >= _ENOUGH and len(self.delays_ms) >= _ENOUGH * self.pictures and not self.lost


def _outcome(name: str, pictures: Sequence[Picture], seconds: float, lost: int = 0) -> Outcome:
    delays = [
        (1000 * picture.decoded_at - picture.stamp_ms) % PERIOD_MS
        for picture in pictures
        if picture.stamp_ms is not None
    ]
    if not delays:
        raise RuntimeError(f"{name}: no picture of the source was seen")
    return Outcome(name, delays, len(pictures), seconds, lost)


async def measure_ours(
    node: ServedNode, name: str, control: dict[str, Any], url: str, seconds: float
) -> Outcome:
    room = f"room-{control['StreamMode']}"
    with Watchers(HOST, 1) as watchers:
        await watch(node, watchers, 0, room)
        await until_connected(watchers, 1)
        run = await node.start(room, url, **control)
        async with asyncio.timeout(_FIRST_DEADLINE_S):
            while not watchers.take_pictures()[0]:
                await asyncio.sleep(0.05)
        await asyncio.sleep(_SETTLE_S)
        watchers.take_pictures()
        began, before = time.monotonic(), watchers.count()
        await asyncio.sleep(seconds)
        pictures, after = watchers.take_pictures()[0], watchers.count()
        took = time.monotonic() - began
        await node.client_stop(run)
        await node.until_state(run, "ended")
    lost = after.expected - before.expected - (after.packets - before.packets)
    return _outcome(name, pictures, took, lost)


async def measure_ffmpeg(url: str, seconds: float) -> Outcome:
    """It decodes the whole picture and hands on the row of blocks."""
    height = strip_height(_WIDTH)
    command = (
        *("ffmpeg", "-nostdin", "-v", "fatal", "-fflags", "nobuffer", "-flags", "low_delay", "-i", url),
        *("-an", "-vf", f"crop={_WIDTH}:{height}:0:0,format=gray", "-fps_mode", "passthrough"),
        *("-flush_packets", "1", "-f", "rawvideo", "pipe:1"),
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pictures: list[Picture] = []
    try:
        async with asyncio.timeout(_FIRST_DEADLINE_S + _SETTLE_S + seconds):
            await process.stdout.readexactly(_WIDTH * height)
            begin = time.monotonic() + _SETTLE_S
            while (at := time.monotonic()) < begin + seconds:
                data = await process.stdout.readexactly(_WIDTH * height)
                at = time.monotonic()
                strip = np.frombuffer(data, np.uint8).reshape(height, _WIDTH)
                if at >= begin:
                    pictures.append(Picture(at, read(strip)))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    return _outcome("ffmpeg, decoding", pictures, seconds)


async def run(options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the bar is met by both modes."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = sample_file(folder)
        with Nginx(folder / "nginx") as nginx, stamped_source(nginx.rtmp(_STREAM), clip):
            async with serve_node(folder / "data") as node:
                for mode, control in _MODES.items():
                    outcomes.append(
                        await measure_ours(node, mode, control, nginx.rtmp(_STREAM), options.seconds)
                    )
            if not options.no_ffmpeg:
                outcomes.append(await measure_ffmpeg(nginx.rtmp(_STREAM), options.seconds))
    return show(outcomes, options)


def show(outcomes: list[Outcome], options: argparse.Namespace) -> bool:
    rows = [
        [
            outcome.name,
            *(f"{percentile(outcome.delays_ms, share):.0f}" for share in (0.5, 0.95, 1)),
            f"{len(outcome.delays_ms) / outcome.seconds:.1f}",
            str(outcome.pictures - len(outcome.delays_ms)),
            str(outcome.lost),
        ]
        for outcome in outcomes
    ]
    columns = ["ms", "p50", "p95", "worst", "pictures/s", "unreadable", "lost"]
    print_table(f"age of a live picture when decoded, {options.seconds:g} s each", columns, rows)
    ours = outcomes[: len(_MODES)]
    complete = all(outcome.is_complete for outcome in outcomes)
    worst = max(outcome.p95 for outcome in ours)
    good = complete and worst <= _BAR_MS
    print(f"RTMP source to viewer: p95 {worst:.0f} ms (bar {_BAR_MS:g})", end="")
    print(": good" if good else ": NOT good" + ("" if complete else ", pictures are missing"))
    document: dict[str, object] = {
        "seconds": options.seconds,
        "ffmpeg": ffmpeg_version(),
        "bar_p95_ms": _BAR_MS,
        "complete": complete,
        "good": good,
        "outcomes": {
            outcome.name: {
                "p50_ms": median(outcome.delays_ms),
                "p95_ms": outcome.p95,
                "worst_ms": max(outcome.delays_ms),
                "pictures": outcome.pictures,
                "readable": len(outcome.delays_ms),
                "lost_packets": outcome.lost,
            }
            for outcome in outcomes
        },
    }
    print(f"written to {write_json('delay', document)}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="length of each measurement")
    parser.add_argument("--no-ffmpeg", action="store_true", help="measure only ours")
    options = parser.parse_args()
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(options)) else 1)


if __name__ == "__main__":
    main()
