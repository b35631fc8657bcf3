"""What many relays cost, one viewer each, beside as many ffmpeg processes that do the same to the media.

Ours is counted with every process of the node. ffmpeg sends its packets as plain RTP, of the same size, to
as many sockets; so both deliver their pictures and sound to somebody who counts them, and neither can be
cheap by doing less. Both read the same address, in real time, one after the other in the same run.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.clip import sample_file
from benchmarks.peers import AUDIO_TYPE, VIDEO_TYPE, Count, Receivers, Sink
from benchmarks.processes import NO_MEMORY, Memory, cpu_ns, memory, processes_of_node, running
from benchmarks.report import median, print_table, write_json
from benchmarks.rooms import HOST, ffmpeg_version, until_connected, watch
from sluice.wire.rtp import MAX_PAYLOAD
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

_CLIP, _LIVE = "sample.mp4", "sample"
_RTP_HEADER = 12
_SOUNDS_PER_S = 50
_SETTLE_S = 2.0
_FLOW_DEADLINE_S = 60.0
#: What arrives in a window is counted up to 20 ms late; more than this off real time is less or other work.
_TOLERANCE = 0.04

Processes = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Work:
    """`control` is added to the request and `ffmpeg` is what the peer does to the video; `bar` is the most
    that a relay may cost as a share of a process of ffmpeg, None where that is only shown."""

    name: str
    title: str
    action: str
    picture_rate: int
    control: dict[str, Any]
    ffmpeg: tuple[str, ...]
    bar: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """Shares of a core by kind of process; rates of the receivers with the fewest and the most."""

    cores: dict[str, float]
    pictures_per_s: tuple[float, float]
    sounds_per_s: tuple[float, float]
    lost: int
    forged: int

    @property
    def core(self) -> float:
        return sum(self.cores.values())

    def is_real_time(self, picture_rate: int) -> bool:
        """Every receiver got all of its pictures and sound, and no more."""
        rates = [rate / picture_rate for rate in self.pictures_per_s]
        rates += [rate / _SOUNDS_PER_S for rate in self.sounds_per_s]
        return not self.lost and not self.forged and all(abs(rate - 1) <= _TOLERANCE for rate in rates)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`memory` for each task. `idle` is what stands there without any, which processes of ffmpeg do not."""

    name: str
    windows: list[Window]
    memory: Memory
    idle_core: float = 0
    idle_memory: Memory = NO_MEMORY

    def core(self, kind: str | None = None) -> float:
        """The median window's share of a core, of one kind of process or all."""
        return median([window.core if kind is None else window.cores.get(kind, 0) for window in self.windows])


# --- measuring --------------------------------------------------------------------------------------------


async def measure(
    receivers: Receivers, find: Callable[[], Processes], seconds: float, windows: int
) -> list[Window]:
    """Windows one after the other. Raises RuntimeError when a process ends within one."""
    found: list[Window] = []
    before = _read(receivers, find)
    for _ in range(windows):
        await asyncio.sleep(seconds)
        after = _read(receivers, find)
        found.append(_window(before, after))
        before = after
    return found


_Reading = tuple[int, dict[tuple[str, int], int], list[Count]]


def _read(receivers: Receivers, find: Callable[[], Processes]) -> _Reading:
    counts = receivers.counts()
    used = {(kind, pid): cpu_ns([pid]) for kind, pids in find().items() for pid in pids}
    return time.monotonic_ns(), used, counts


def _window(before: _Reading, after: _Reading) -> Window:
    (at_0, used_0, counts_0), (at_1, used_1, counts_1) = before, after
    if used_0.keys() - used_1.keys():
        raise RuntimeError("a process ended while it was measured")
    cores: dict[str, float] = {}
    for (kind, pid), used in used_1.items():
        growth = used - used_0.get((kind, pid), 0)
        cores[kind] = cores.get(kind, 0) + growth / (at_1 - at_0)
    seconds = (at_1 - at_0) / 1e9
    pairs = list(zip(counts_0, counts_1, strict=True))
    pictures = [(last.pictures - first.pictures) / seconds for first, last in pairs]
    sounds = [(last.sounds - first.sounds) / seconds for first, last in pairs]
    arrived = sum(last.packets - first.packets for first, last in pairs)
    return Window(
        cores=cores,
        pictures_per_s=(min(pictures), max(pictures)),
        sounds_per_s=(min(sounds), max(sounds)),
        lost=sum(last.expected - first.expected for first, last in pairs) - arrived,
        forged=sum(last.forged - first.forged for first, last in pairs),
    )


async def _until_all_flow(receivers: Receivers) -> None:
    """Raises RuntimeError when some receiver gets no picture or no sound."""
    deadline = time.monotonic() + _FLOW_DEADLINE_S
    while idle := sum(not (count.pictures and count.sounds) for count in receivers.counts()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{idle} receivers have no picture or no sound after {_FLOW_DEADLINE_S:g} s")
        await asyncio.sleep(0.1)
    await asyncio.sleep(_SETTLE_S)


# --- ours -------------------------------------------------------------------------------------------------


async def measure_ours(work: Work, url: str, data: Path, options: argparse.Namespace) -> Outcome:
    with Receivers(HOST, options.tasks) as receivers:
        async with serve_node(data) as node:
            rooms = [f"room-{number}" for number in range(options.tasks)]

            def find() -> Processes:
                return processes_of_node(node.process)

            await asyncio.sleep(_SETTLE_S)
            idle_memory = _memory(find())
            idle = await measure(receivers, find, _SETTLE_S, 1)
            for number, room in enumerate(rooms):
                await watch(node, receivers, number, room)
            await until_connected(receivers, options.tasks)
            runs = [await node.start(room, url, Loop=True, **work.control) for room in rooms]
            await _until_all_flow(receivers)
            await _check_plans(node, runs, work.action)
            windows = await measure(receivers, find, options.seconds, options.windows)
            growth = _memory(find()).growth(idle_memory, options.tasks)
            return Outcome("sluice", windows, growth, idle[0].core, idle_memory)


def _memory(processes: Processes) -> Memory:
    return memory(pid for pids in processes.values() for pid in pids)


async def _check_plans(node: ServedNode, runs: Sequence[str], action: str) -> None:
    for run in runs:
        plan = (await node.task(run))["plan"]
        if (plan["video"]["action"], plan["audio"]["action"]) != (action, "transcode"):
            raise RuntimeError(f"other work than {action} is done: {plan}")


# --- ffmpeg -----------------------------------------------------------------------------------------------


async def measure_ffmpeg(work: Work, url: str, options: argparse.Namespace) -> Outcome:
    with Receivers(HOST, options.tasks, Sink) as receivers:
        commands = [_command(work, url, port) for port in receivers.offers]
        async with running(commands) as pids:
            await _until_all_flow(receivers)
            windows = await measure(receivers, lambda: {"ffmpeg": pids}, options.seconds, options.windows)
            return Outcome("ffmpeg", windows, memory(pids).growth(NO_MEMORY, options.tasks))


def _command(work: Work, url: str, port: str) -> list[str]:
    """Packets of the size of ours, and Opus as `media.pipe.opus` makes it."""
    target = f"rtp://{HOST}:{port}?rtcpport={port}&pkt_size={MAX_PAYLOAD + _RTP_HEADER}"
    real_time = () if url.startswith("rtmp") else ("-re", "-stream_loop", "-1")
    opus = ("-c:a", "libopus", "-b:a", "128k", "-ac", "2", "-application", "audio", "-frame_duration", "20")
    return [
        *("ffmpeg", "-nostdin", "-v", "error", *real_time, "-i", url),
        *("-map", "0:v:0", *work.ffmpeg, "-payload_type", str(VIDEO_TYPE), "-f", "rtp", target),
        *("-map", "0:a:0", *opus, "-payload_type", str(AUDIO_TYPE), "-f", "rtp", target),
    ]


# --- the run ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def source(folder: Path, kind: str) -> AsyncIterator[str]:
    """The address of the clip on a server of its own: as a file, or published again and again."""
    with Nginx(folder) as nginx:
        clip = sample_file(nginx.www)
        if kind == "mp4":
            yield nginx.http(_CLIP)
            return
        url = nginx.rtmp(_LIVE)
        publish = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip)]
        async with running([[*publish, "-c", "copy", "-f", "flv", url]]):
            yield url


async def run(work: Work, options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with source(folder / "nginx", options.source) as url:
            outcomes = [await measure_ours(work, url, folder / "data", options)]
            if not options.no_ffmpeg:
                outcomes.append(await measure_ffmpeg(work, url, options))
    return show(work, outcomes, options)


def show(work: Work, outcomes: list[Outcome], options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the work was done and the bar is met."""
    ours, tasks = outcomes[0], options.tasks
    ratio = ours.core() / outcomes[1].core() if len(outcomes) > 1 else None
    rows = []
    for outcome in outcomes:
        rows.append(_row(outcome, tasks))
        kinds = outcome.windows[0].cores
        if len(kinds) > 1:
            rows += [[f"  {kind}", f"{100 * outcome.core(kind) / tasks:.2f}%"] for kind in sorted(kinds)]
    columns = ["for each task", "core", "windows", "PSS MB", "RSS MB", "pictures", "sounds", "lost"]
    print_table(f"{work.title}, {tasks} at once, {options.seconds:g} s windows", columns, rows)
    print(f"sluice without a task: {100 * ours.idle_core:.1f}% of a core, {ours.idle_memory.pss:.0f} MB")
    done = all(w.is_real_time(work.picture_rate) for outcome in outcomes for w in outcome.windows)
    good = done and (ratio is None or work.bar is None or ratio <= work.bar)
    print(f"sluice: {100 * ours.core() / tasks:.2f}% of a core for each task", end="")
    if ratio is not None:
        print(f", {ratio:.2f} of ffmpeg's" + (f" (bar {work.bar:g})" if work.bar else ""), end="")
    print(": good" if good else ": NOT good" + ("" if done else ", not all arrived in real time"))
    document: dict[str, object] = {
        "tasks": tasks,
        "source": options.source,
        "window_s": options.seconds,
        "ffmpeg": ffmpeg_version(),
        "share_of_ffmpeg": ratio,
        "bar_share_of_ffmpeg": work.bar,
        "in_real_time": done,
        "good": good,
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    print(f"written to {write_json(work.name, document)}")
    return good


def _row(outcome: Outcome, tasks: int) -> list[str]:
    every = outcome.windows
    return [
        outcome.name,
        f"{100 * outcome.core() / tasks:.2f}%",
        " ".join(f"{100 * window.core / tasks:.2f}" for window in every),
        f"{outcome.memory.pss:.1f}",
        f"{outcome.memory.rss:.1f}",
        f"{min(window.pictures_per_s[0] for window in every):.1f}",
        f"{min(window.sounds_per_s[0] for window in every):.1f}",
        str(sum(window.lost for window in every)),
    ]


def parse(description: str | None, tasks: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=tasks, help=f"relays at once ({tasks})")
    parser.add_argument("--source", choices=("mp4", "rtmp"), default="mp4", help="a file (default) or live")
    parser.add_argument("--seconds", type=float, default=10, help="length of one window")
    parser.add_argument("--windows", type=int, default=3, help="windows, of which the median counts")
    parser.add_argument("--no-ffmpeg", action="store_true", help="measure only ours")
    return parser.parse_args()
