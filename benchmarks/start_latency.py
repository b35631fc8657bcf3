"""How soon a start is seen: from the signed StartRelayStream to the first picture that a viewer has decoded.

Each start is in a room of its own, whose viewer is connected and waits; the clip is an MP4 on a server of its
own. Copied and transcoded starts alternate, and beside each pair ffmpeg is started with the same address and
timed until it hands on its first decoded picture: what a process for each task would take at the least.
"""

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.clip import FRAME_RATE, sample_file
from benchmarks.report import median, percentile, print_table, write_json
from benchmarks.rooms import HOST, SOURCE, ffmpeg_version, until_connected, watch
from benchmarks.watchers import Picture, Watchers
from sluice.process.logs import configure_logging
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

_P50_BAR_MS, _P95_BAR_MS = 400.0, 1000.0
_DEADLINE_S = 20.0
_POLL_S = 0.01
#: The picture must not only come but go on: as many as this are waited for before the relay is stopped.
_GOES_ON = FRAME_RATE // 2
_MODES: dict[str, dict[str, Any]] = {
    "copied": {"StreamMode": 1},
    "transcoded": {"StreamMode": 0, "VideoWidth": 640, "VideoHeight": 480, "FrameRate": 15},
}


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from the moment the request is about to be signed."""

    answered_ms: float
    first_picture_ms: float


async def start(
    node: ServedNode, watchers: Watchers, url: str, control: dict[str, Any], number: int
) -> Start:
    """One start, seen by watcher `number`, and its end. Raises TimeoutError."""
    room, task = f"room-{number}", f"task-{uuid.uuid4().hex}"
    await watch(node, watchers, number, room)
    await until_connected(watchers, number + 1)
    token = node.token(room, SOURCE, publish=True, subscribe=False)
    control = {"StreamUrl": url, "Loop": True, **control}
    began = time.monotonic()
    await node.call("StartRelayStream", RoomId=room, TaskId=task, UserId=SOURCE, Token=token, Control=control)
    answered = time.monotonic()
    pictures: list[Picture] = []
    async with asyncio.timeout(_DEADLINE_S):
        while len(pictures) < _GOES_ON:
            await asyncio.sleep(_POLL_S)
            pictures += watchers.take_pictures()[number]
    await node.call("StopRelayStream", RoomId=room, TaskId=task)
    count = watchers.counts()[number]
    if count.packets < count.expected:
        raise RuntimeError("packets were lost on the way to the viewer")
    return Start(1000 * (answered - began), 1000 * (pictures[0].decoded_at - began))


async def first_picture_of_ffmpeg(url: str) -> float:
    """Milliseconds from before the process is made until it hands on the first picture."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-nostdin", "-v", "error", "-i", url, "-map", "0:v:0", "-frames:v", "1"),
        *("-f", "rawvideo", "pipe:1"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(_DEADLINE_S):
        if not await process.stdout.read(1):
            raise RuntimeError("ffmpeg decoded no picture")
        took = 1000 * (time.monotonic() - began)
        await process.communicate()
    return took


async def run(options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the bars are met by both modes."""
    starts: dict[str, list[Start]] = {mode: [] for mode in _MODES}
    yardstick: list[float] = []
    count = options.starts * len(_MODES)
    with tempfile.TemporaryDirectory() as name, Watchers(HOST, count) as watchers:
        folder = Path(name)
        with Nginx(folder / "nginx") as nginx:
            url = nginx.http(sample_file(nginx.www).name)
            async with serve_node(folder / "data") as node:
                for number in range(count):
                    mode = list(_MODES)[number % len(_MODES)]
                    starts[mode].append(await start(node, watchers, url, _MODES[mode], number))
                    if number % len(_MODES) == 0 and not options.no_ffmpeg:
                        yardstick.append(await first_picture_of_ffmpeg(url))
    return show(starts, yardstick)


def show(starts: dict[str, list[Start]], yardstick: Sequence[float]) -> bool:
    rows, good = [], True
    for mode, found in starts.items():
        answered, first = [s.answered_ms for s in found], [s.first_picture_ms for s in found]
        rows += [_row(f"{mode}: call answered", answered), _row(f"{mode}: first picture", first)]
        good = good and median(first) <= _P50_BAR_MS and percentile(first, 0.95) <= _P95_BAR_MS
    if yardstick:
        rows.append(_row("ffmpeg: first picture", yardstick))
    print_table(f"start of a relay, {len(next(iter(starts.values())))} of each", ["ms", *_SHARES], rows)
    print(f"first picture: bars p50 {_P50_BAR_MS:g} ms, p95 {_P95_BAR_MS:g} ms: ", end="")
    print("good" if good else "NOT good")
    document: dict[str, object] = {
        "ffmpeg": ffmpeg_version(),
        "bar_p50_ms": _P50_BAR_MS,
        "bar_p95_ms": _P95_BAR_MS,
        "good": good,
        "starts": {mode: [asdict(each) for each in found] for mode, found in starts.items()},
        "ffmpeg_first_picture_ms": list(yardstick),
    }
    print(f"written to {write_json('start_latency', document)}")
    return good


_SHARES = {"p50": 0.5, "p95": 0.95, "worst": 1.0}


def _row(label: str, figures: Sequence[float]) -> list[str]:
    return [label, *(f"{percentile(figures, share):.0f}" for share in _SHARES.values())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--starts", type=int, default=30, help="of each mode")
    parser.add_argument("--no-ffmpeg", action="store_true", help="measure only ours")
    options = parser.parse_args()
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(options)) else 1)


if __name__ == "__main__":
    main()
