"""What tasks cost: measures the table of `sluice.core.cost_table` (--write), and how well it foretells mixes.

A mix is played on a node of its own, a viewer for each task. Its cost is the CPU time of all processes of the
node, and the memory of its media processes, over the idle node. `at the call` is the estimate that a call is
judged by, when nobody knows the source; `known` is the one of a source that was probed.
"""

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import Receivers
from benchmarks.processes import memory, processes_of_node
from benchmarks.relays import Processes, measure
from benchmarks.report import median, print_table, write_json
from benchmarks.rooms import HOST, SOURCE, until_connected, watch
from sluice.core import cost_table
from sluice.core.cost import Cost, Source, estimate
from sluice.core.cost_table import TABLE, CostTable
from sluice.core.plan import TrackAction
from sluice.core.tasks import MediaType, RelaySpec, StreamMode
from sluice.media.allocations import bound_threads
from sluice.media.speed import measure_speed, take
from sluice.process.logs import configure_logging
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

_BAR, _TOLERANCE = 0.25, 0.04
_SETTLE_S = 3.0
_FLOW_DEADLINE_S = 40.0
_CLIP_S = 60
#: What an idle node takes at most, and how often it is looked at.
_IDLE_CORES, _MOST_LOOKS = 0.06, 15


@dataclass(frozen=True, slots=True)
class Clip:
    """How the system's ffmpeg makes a source, and what is known of it."""

    file: str
    source: Source
    kbps: int = 0
    sound: tuple[str, ...] = ("aac", "-b:a", "128k")


CLIPS = {
    "mp3": Clip("music.mp3", Source(video=TrackAction.NONE), sound=("libmp3lame", "-b:a", "160k")),
    "opus": Clip(
        "music.ogg",
        Source(video=TrackAction.NONE, audio=TrackAction.COPY),
        sound=("libopus", "-b:a", "128k"),
    ),
    "360p": Clip("small.mp4", Source(640, 360, 25), 800),
    "720p": Clip("hd.mp4", Source(1280, 720, 25), 2000),
    "1080p": Clip("full.mp4", Source(1920, 1080, 30), 4500),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One relay, and how many of it."""

    clip: str
    count: int = 1
    size: tuple[int, int] | None = None  #: to which it is transcoded
    rate: int = 15
    media_type: MediaType = MediaType.AUDIO_VIDEO

    @property
    def spec(self) -> RelaySpec:
        width, height = self.size or (None, None)
        mode = StreamMode.COPY if self.size is None else StreamMode.TRANSCODE
        media_type = MediaType.AUDIO if self.clip in ("mp3", "opus") else self.media_type
        return RelaySpec("", media_type, mode, width=width, height=height, frame_rate=self.rate)

    @property
    def source(self) -> Source:
        return CLIPS[self.clip].source

    @property
    def control(self) -> dict[str, Any]:
        spec = self.spec
        control: dict[str, Any] = {"StreamMode": int(spec.stream_mode), "MediaType": int(spec.media_type)}
        if self.size is None:
            return control
        return control | {"VideoWidth": self.size[0], "VideoHeight": self.size[1], "FrameRate": self.rate}

    @property
    def pictures(self) -> float:
        """That leave in a second, of all."""
        rate = self.source.frame_rate or 0.0
        return self.count * (rate if self.size is None else min(rate, self.rate))

    @property
    def title(self) -> str:
        how = "copied" if self.size is None else f"to {self.size[0]}x{self.size[1]} at {self.rate}"
        only = ", pictures alone" if self.media_type is MediaType.VIDEO else ""
        return f"{self.count} {self.clip}" + ("" if self.clip in ("mp3", "opus") else f" {how}{only}")


Mix = tuple[Task, ...]

#: Of these the table is made.
_PARTS: tuple[Mix, ...] = (
    (Task("mp3", 16),),
    (Task("opus", 16),),
    (Task("720p", 6),),
    (Task("1080p", 4),),
    (Task("720p", 6, media_type=MediaType.VIDEO),),
    (Task("360p", 4, (320, 180), 15),),
    (Task("720p", 2, (640, 360), 15),),
    (Task("720p", 2, (1280, 720), 25),),
    (Task("1080p", 1, (640, 360), 15),),
    (Task("1080p", 1, (1920, 1080), 30),),
)
#: And with these it is judged.
_MIXES: tuple[Mix, ...] = (
    (Task("mp3", 25),),
    (Task("mp3", 10), Task("opus", 10)),
    (Task("720p", 8),),
    (Task("1080p", 3), Task("mp3", 10)),
    (Task("720p", 2, (854, 480), 25),),
    (Task("360p", 4, (640, 360), 25),),
    (Task("1080p", 1, (1280, 720), 25),),
    (Task("720p", 1, (1280, 720), 15), Task("720p", 4), Task("mp3", 5)),
    (Task("720p", 3, (320, 240), 10),),
    (Task("1080p", 1, (960, 540), 30), Task("360p", 2, (320, 180), 15), Task("mp3", 8)),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a mix took, in all. `speed_s` is what the fixed piece of work took meanwhile: CPU time is worth
    less while others use the machine. `rate` is the share of the pictures (of sounds, where there are none)
    that left: a node that gets no core works less."""

    cost: Cost
    lost: int
    speed_s: float
    rate: float = 1.0

    @property
    def is_real_time(self) -> bool:
        return abs(self.rate - 1) <= _TOLERANCE


# --- measuring --------------------------------------------------------------------------------------------


def make_clip(folder: Path, clip: Clip) -> None:
    """Pictures that move, with some noise, and no B-frames; tones with noise."""
    tone, noise = "sine=f=330:r=44100,tremolo=f=3:d=0.8[t]", "anoisesrc=c=pink:a=0.2:r=44100[n]"
    music = f"{tone};{noise};[t][n]amix,aformat=cl=stereo[a]"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    graph, maps = music, ["-map", "[a]"]
    if clip.kbps:
        width, height, rate = clip.source.width, clip.source.height, clip.source.frame_rate
        graph += f";testsrc2=s={width}x{height}:r={rate:g},noise=alls=6:allf=t,format=yuv420p[v]"
        maps += [
            "-map",
            "[v]",
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-bf",
            "0",
            "-g",
            f"{2 * (rate or 0):g}",
        ]
        maps += ["-b:v", f"{clip.kbps}k", "-movflags", "faststart"]
    length = 3 * _CLIP_S if not clip.kbps else _CLIP_S // 3
    target = ["-t", str(length), "-c:a", *clip.sound, str(folder / clip.file)]
    subprocess.run([*command, "-filter_complex", graph, *maps, *target], check=True)


@dataclass(frozen=True, slots=True)
class Stage:
    """A node that plays a mix."""

    node: ServedNode
    receivers: Receivers
    rooms: list[str]
    idle: Cost
    mix: Mix = ()

    def find(self) -> Processes:
        return processes_of_node(self.node.process)

    async def cost(self, options: argparse.Namespace) -> Measured:
        """Over the idle node, the median of the windows."""
        tries: list[float] = []
        trying = asyncio.create_task(_try_speed(tries))
        before, began = self.receivers.count(), time.monotonic()
        windows = await measure(self.receivers, self.find, options.seconds, options.windows)
        trying.cancel()
        after, seconds = self.receivers.count(), time.monotonic() - began
        left = after.pictures - before.pictures or after.sounds - before.sounds
        expected = seconds * (sum(task.pictures for task in self.mix) or sum(50 * t.count for t in self.mix))
        media = median([window.cores.get("media", 0.0) for window in windows])
        shared = median([window.cores["node"] + window.cores["room"] for window in windows])
        mb = memory(self.find()["media"]).rss
        cost = Cost(media - self.idle.media, shared - self.idle.shared, mb - self.idle.mb)
        return Measured(cost, sum(window.lost for window in windows), median(tries), left / (expected or 1))


async def _try_speed(tries: list[float]) -> None:
    while True:
        tries.append(await asyncio.to_thread(take))
        await asyncio.sleep(0.7)


@asynccontextmanager
async def playing(mix: Mix, nginx: Nginx, options: argparse.Namespace) -> AsyncIterator[Stage]:
    count = sum(task.count for task in mix)
    with tempfile.TemporaryDirectory() as name, Receivers(HOST, count) as receivers:
        async with serve_node(Path(name) / "data") as node:
            rooms = [f"room-{number}" for number in range(count)]
            stage = Stage(node, receivers, rooms, Cost(), mix)
            stage = replace(stage, idle=await _idle(stage))
            for number, room in enumerate(rooms):
                await watch(node, receivers, number, room)
            await until_connected(receivers, count)
            tasks = [task for task in mix for _ in range(task.count)]
            for room, task in zip(rooms, tasks, strict=True):
                await _start(node, room, nginx.http(CLIPS[task.clip].file), task)
            async with asyncio.timeout(_FLOW_DEADLINE_S):
                while any(count.packets < 100 for count in receivers.counts()):
                    await asyncio.sleep(0.2)
            await asyncio.sleep(_SETTLE_S)
            yield stage


async def _idle(stage: Stage) -> Cost:
    """What the node takes when its processes have begun, which takes longer on a busy machine."""
    calm = argparse.Namespace(seconds=2.0, windows=1)
    for _ in range(_MOST_LOOKS):
        cost = (await stage.cost(calm)).cost
        if cost.cores < _IDLE_CORES:
            return cost
    raise RuntimeError(f"the idle node takes {cost.cores:.3f} cores")


async def _start(node: ServedNode, room: str, url: str, task: Task) -> None:
    await node.call(
        "StartRelayStream",
        RoomId=room,
        TaskId="task",
        UserId=SOURCE,
        Token=node.token(room, SOURCE, publish=True, subscribe=False),
        Control={"StreamUrl": url, "Loop": True, **task.control},
    )


async def measure_mix(mix: Mix, nginx: Nginx, options: argparse.Namespace) -> Measured:
    async with playing(mix, nginx, options) as stage:
        return await stage.cost(options)


async def measure_pushes(nginx: Nginx, options: argparse.Namespace, speed_s: float) -> list[Cost]:
    """What a push of sound, and one of pictures and sound takes."""
    found = []
    async with playing((Task("720p", 4),), nginx, options) as stage:
        for media_type in (MediaType.AUDIO, MediaType.AUDIO_VIDEO):
            before = _at(await stage.cost(options), speed_s)
            for room in stage.rooms:
                await stage.node.call(
                    "StartPushSingleStreamToCDN",
                    RoomId=room,
                    TaskId=f"push-{media_type}",
                    Stream={"UserId": SOURCE},
                    PushURL=nginx.rtmp(f"{room}-{media_type}"),
                    Control={"MediaType": int(media_type)},
                )
            await asyncio.sleep(_SETTLE_S)
            after = _at(await stage.cost(options), speed_s)
            count = len(stage.rooms)
            found.append(
                Cost(
                    (after.media - before.media) / count,
                    (after.shared - before.shared) / count,
                    (after.mb - before.mb) / count,
                )
            )
    return found


# --- the table --------------------------------------------------------------------------------------------

_MEDIA = (
    *("session", "sound_converted", "sound_copied", "picture_copied", "pixel_copied"),
    *("pixel_decoded", "picture_encoded", "pixel_encoded"),
)
_SHARED = ("shared_session", "shared_sound", "shared_picture", "shared_pixel")
_MB = ("session_mb", "copied_mb", "transcoded_mb", "pixel_mb")
_NOTHING = CostTable(*(0.0 for _ in fields(CostTable)))


def fit(parts: Sequence[tuple[Mix, Measured]], pushes: Sequence[Cost], speed_s: float) -> CostTable:
    """The table that foretells the parts best, each by its share."""
    costs = [(mix, _at(measured, speed_s)) for mix, measured in parts]
    values = {
        **_solve(_MEDIA, costs, lambda cost: cost.media),
        **_solve(_SHARED, costs, lambda cost: cost.shared),
        **_solve(_MB, costs, lambda cost: cost.mb, first=True),
    }
    sound, both = pushes
    rate = CLIPS["720p"].source.frame_rate or 1.0
    # Pushes of one stream share the conversion: the second has only its pictures and its own way out.
    values |= {"push": sound.media, "push_picture": max(0.0, both.media) / rate}
    values |= {"shared_push": max(0.0, sound.shared), "push_mb": max(1.0, sound.mb)}
    return replace(_NOTHING, speed_s=speed_s, **{name: _rounded(value) for name, value in values.items()})


def _at(measured: Measured, speed_s: float) -> Cost:
    """What it would be on a machine of this speed."""
    share, cost = speed_s / measured.speed_s, measured.cost
    return Cost(cost.media * share, cost.shared * share, cost.mb)


def _solve(
    names: Sequence[str],
    parts: Sequence[tuple[Mix, Cost]],
    of: Callable[[Cost], float],
    *,
    first: bool = False,
) -> dict[str, float]:
    """Least squares of the relative errors; what would be negative is 0. `first`: what the first task brings
    into a process (libraries, pools) is solved for, too, and left out."""
    rows, names = [], list(names)
    for mix, cost in parts:
        row = [of(total(mix, replace(_NOTHING, **{name: 1.0}), known=True)) for name in names]
        rows.append([value / max(of(cost), 1e-9) for value in [*row, float(first)]])
    matrix, ones = np.array(rows), np.ones(len(rows))
    names.append("")
    used = list(range(len(names) if first else len(names) - 1))
    while True:
        solution = np.linalg.lstsq(matrix[:, used], ones, rcond=None)[0]
        if (solution >= 0).all():
            break
        used.remove(used[int(solution.argmin())])
    found = dict.fromkeys(names, 0.0)
    found.update({names[n]: float(value) for n, value in zip(used, solution, strict=True)})
    del found[""]
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def total(mix: Mix, table: CostTable, *, known: bool, speed: float = 1.0) -> Cost:
    costs = [
        (task.count, estimate(task.spec, task.source if known else Source(), speed=speed, table=table))
        for task in mix
    ]
    return Cost(*(sum(n * getattr(cost, name) for n, cost in costs) for name in ("media", "shared", "mb")))


def write_table(table: CostTable) -> Path:
    """Replaces the figures in the module, and keeps what it says of them."""
    path = Path(cost_table.__file__)
    head, _, _ = path.read_text().partition("TABLE = CostTable(")
    lines = "".join(f"    {name}={value:g},\n" for name, value in asdict(table).items())
    path.write_text(f"{head}TABLE = CostTable(\n{lines})\n")
    return path


# --- the run ----------------------------------------------------------------------------------------------


async def run(options: argparse.Namespace) -> bool:
    bound_threads()
    table, speed_s = TABLE, measure_speed()
    with tempfile.TemporaryDirectory() as name, Nginx(Path(name) / "nginx") as nginx:
        for clip in CLIPS.values():
            make_clip(nginx.www, clip)
        if options.write:
            parts = []
            for mix in _PARTS:
                measured = await measure_mix(mix, nginx, options)
                print(_title(mix), measured, flush=True)
                parts.append((mix, measured))
            pushes = await measure_pushes(nginx, options, speed_s)
            print("pushes", pushes, flush=True)
            table = fit(parts, pushes, speed_s)
            print(f"written to {write_table(table)}")
        found = [(mix, await measure_mix(mix, nginx, options)) for mix in _MIXES]
    return show(found, table)


def _title(mix: Mix) -> str:
    return " + ".join(task.title for task in mix)


def show(found: Sequence[tuple[Mix, Measured]], table: CostTable) -> bool:
    """Prints and writes the figures; True when the median error is below the bar."""
    rows, errors, known_errors = [], [], []
    for mix, measured in found:
        cores, speed = measured.cost.cores, table.speed_s / measured.speed_s
        at_call, known = (total(mix, table, known=known, speed=speed) for known in (False, True))
        off, off_known = (cost.cores / cores - 1 for cost in (at_call, known))
        errors.append(abs(off))
        known_errors.append(abs(off_known))
        rows.append(
            [
                *(_title(mix), f"{cores:.3f}", f"{at_call.cores:.3f}", f"{100 * off:+.0f}%"),
                *(f"{known.cores:.3f}", f"{100 * off_known:+.0f}%"),
                *(f"{measured.cost.mb:.0f}", f"{known.mb:.0f}", f"{speed:.2f}", f"{measured.rate:.2f}"),
            ]
        )
    columns = ["mix", "cores", "at the call", "error", "known", "error", "MB", "known", "speed", "rate"]
    print_table("cores of ten mixes", columns, rows)
    middle, middle_known = median(errors), median(known_errors)
    done = all(measured.is_real_time and not measured.lost for _, measured in found)
    good = middle < _BAR and done
    print(f"median error {100 * middle:.0f}% at the call (bar {100 * _BAR:.0f}%), ", end="")
    print(f"{100 * middle_known:.0f}% known; load of the machine {os.getloadavg()[0]:.1f}", end="")
    print(": good" if good else ": NOT good" + ("" if done else ", not all was in real time"))
    document: dict[str, object] = {
        "median_error": middle,
        "median_error_known": middle_known,
        "mixes": [{"mix": _title(mix), **asdict(measured)} for mix, measured in found],
        "table": asdict(table),
    }
    print(f"written to {write_json('cost', document)}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="measure the parts, and write the table")
    parser.add_argument("--seconds", type=float, default=5, help="length of one window")
    parser.add_argument("--windows", type=int, default=2, help="windows, of which the median counts")
    options = parser.parse_args()
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(options)) else 1)


if __name__ == "__main__":
    main()
