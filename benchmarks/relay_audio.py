"""What channels of sound cost, many at once with a listener each, and how evenly their packets come.

Each channel plays a file of its own connection from a web server: MP3 or AAC that becomes Opus, or Opus that
is copied. Counted is what all processes of the node take more than without a channel. Beside it ffmpeg does
the same to the same address, with a process for each channel; fewer of them, since they take more.
"""

import argparse
import asyncio
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.arrivals import TimedAgent, TimedSink, Timing, timing
from benchmarks.peers import AUDIO_TYPE, Receivers
from benchmarks.processes import NO_MEMORY, Memory, memory, processes_of_node, running
from benchmarks.relays import Processes, Window, measure
from benchmarks.report import median, print_table, write_json
from benchmarks.rooms import HOST, SOURCE, ffmpeg_version, until_connected, watch
from sluice.process.logs import configure_logging
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.nginx import Nginx

_CHANNELS = (50, 200)
_KINDS = ("node", "media", "room")
_SOUNDS_PER_S = 50
_TOLERANCE = 0.04  #: as in relays.py
_SETTLE_S = 3.0
_FLOW_DEADLINE_S = 60.0
#: No file ends while it is measured: so much longer than the windows is each.
_AROUND_S = 150
_STARTS_AT_ONCE = 8
#: Keeps below the 150 starts a second that an app has.
_START_PAUSE_S = 0.1
_MOST_PEERS = 20
_P99_BAR_MS = 5.0


@dataclass(frozen=True, slots=True)
class Source:
    """How the system's ffmpeg makes a file, what a relay does to it, what ffmpeg does as our peer, and the
    most that a channel may take of a core (percent) and of memory (MB)."""

    file: str
    encoder: tuple[str, ...]
    action: str
    peer: tuple[str, ...]
    core_bar: float
    memory_bar: float


#: Opus as `media.pipe.opus` makes it.
_TO_OPUS = ("libopus", "-b:a", "128k", "-ac", "2", "-application", "audio", "-frame_duration", "20")
_SOURCES = {
    "mp3": Source("music.mp3", ("libmp3lame", "-b:a", "160k"), "transcode", _TO_OPUS, 0.7, 4.0),
    "aac": Source("music.m4a", ("aac", "-b:a", "160k"), "transcode", _TO_OPUS, 0.7, 4.0),
    "opus": Source("music.ogg", ("libopus", "-b:a", "128k"), "copy", ("copy",), 0.2, 4.0),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`idle_cores` are shares of a core by kind of process without a channel; both memories in all."""

    name: str
    source: str
    channels: int
    windows: list[Window]
    idle_cores: dict[str, float]
    memory: dict[str, Memory]
    idle_memory: dict[str, Memory]
    timing: Timing

    def core(self, kind: str | None = None) -> float:
        """Percent of a core that a channel takes in the median window, of one kind of process or all."""
        return 100 * median([self._core(window, kind) for window in self.windows]) / self.channels

    def megabytes(self, kind: str | None = None) -> float:
        """PSS that a channel takes."""
        kinds = self.memory if kind is None else [kind] if kind in self.memory else []
        grown = (self.memory[name].pss - self.idle_memory.get(name, NO_MEMORY).pss for name in kinds)
        return sum(grown) / self.channels

    @property
    def is_real_time(self) -> bool:
        """Every listener got all of its sound, once."""
        return all(
            not window.lost
            and not window.forged
            and all(abs(rate / _SOUNDS_PER_S - 1) <= _TOLERANCE for rate in window.sounds_per_s)
            for window in self.windows
        )

    @property
    def is_good(self) -> bool:
        source = _SOURCES[self.source]
        return (
            self.is_real_time
            and self.core() <= source.core_bar
            and self.megabytes() <= source.memory_bar
            and self.timing.p99 <= _P99_BAR_MS
        )

    def _core(self, window: Window, kind: str | None) -> float:
        if kind is None:
            return window.core - sum(self.idle_cores.values())
        return window.cores.get(kind, 0) - self.idle_cores.get(kind, 0)


# --- ours -------------------------------------------------------------------------------------------------


async def measure_ours(
    source: str, channels: int, url: str, data: Path, options: argparse.Namespace
) -> Outcome:
    listeners = min(options.listeners or channels, channels)
    with Receivers(HOST, listeners, TimedAgent) as receivers:
        async with serve_node(data) as node:

            def find() -> Processes:
                return processes_of_node(node.process)

            await asyncio.sleep(_SETTLE_S)
            idle_memory = _memory(find())
            (idle,) = await measure(receivers, find, _SETTLE_S, 1)
            for number in range(listeners):
                await watch(node, receivers, number, _room(number))
            await until_connected(receivers, listeners)
            await _start(node, url, channels)
            await _until_all_flow(receivers)
            await _check_tasks(node, _SOURCES[source].action, channels)
            receivers.ask_each("take_arrivals")
            windows = await measure(receivers, find, options.seconds, options.windows)
            even = timing(receivers.ask_each("take_arrivals"))
            used = _memory(find())
            await _check_tasks(node, _SOURCES[source].action, channels)
            return Outcome("sluice", source, channels, windows, idle.cores, used, idle_memory, even)


def _room(number: int) -> str:
    return f"channel-{number}"


def _memory(processes: Processes) -> dict[str, Memory]:
    return {kind: memory(pids) for kind, pids in processes.items()}


async def _start(node: ServedNode, url: str, channels: int) -> None:
    """Starts a relay of the sound of `url` in each channel, a few at once."""
    numbers = iter(range(channels))

    async def some() -> None:
        for number in numbers:
            room = _room(number)
            await node.call(
                "StartRelayStream",
                RoomId=room,
                TaskId=f"task-{number}",
                UserId=SOURCE,
                Token=node.token(room, SOURCE, publish=True, subscribe=False),
                Control={"StreamUrl": url, "StreamMode": 1, "MediaType": 1},
            )
            await asyncio.sleep(_START_PAUSE_S)

    await asyncio.gather(*(some() for _ in range(_STARTS_AT_ONCE)))


async def _check_tasks(node: ServedNode, action: str, channels: int) -> None:
    """Raises RuntimeError unless each channel plays, in the expected way."""
    answer = await asyncio.to_thread(node.client.native, "GET", "/tasks?limit=1000")
    tasks: list[dict[str, Any]] = answer["tasks"]
    running = [task for task in tasks if task["state"] == "running"]
    if len(running) != channels:
        raise RuntimeError(f"{len(running)} of {channels} channels play; the first task is {tasks[0]}")
    plan = (await node.task(running[0]["id"]))["plan"]
    if plan["audio"]["action"] != action:
        raise RuntimeError(f"other work than {action} is done: {plan}")


# --- ffmpeg -----------------------------------------------------------------------------------------------


async def measure_ffmpeg(source: str, peers: int, url: str, options: argparse.Namespace) -> Outcome:
    with Receivers(HOST, peers, TimedSink) as receivers:
        commands = [_command(_SOURCES[source], url, port) for port in receivers.offers]
        async with running(commands) as pids:
            await _until_all_flow(receivers)
            receivers.ask_each("take_arrivals")
            windows = await measure(receivers, lambda: {"ffmpeg": pids}, options.seconds, options.windows)
            even = timing(receivers.ask_each("take_arrivals"))
            return Outcome("ffmpeg", source, peers, windows, {}, {"ffmpeg": memory(pids)}, {}, even)


def _command(source: Source, url: str, port: str) -> list[str]:
    target = f"rtp://{HOST}:{port}?rtcpport={port}"
    return [
        *("ffmpeg", "-nostdin", "-v", "error", "-re", "-i", url, "-map", "0:a:0", "-c:a", *source.peer),
        *("-payload_type", str(AUDIO_TYPE), "-f", "rtp", target),
    ]


# --- the run ----------------------------------------------------------------------------------------------


async def _until_all_flow(receivers: Receivers) -> None:
    """Raises RuntimeError when some receiver gets no sound."""
    deadline = time.monotonic() + _FLOW_DEADLINE_S
    while idle := sum(not count.sounds for count in receivers.counts()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{idle} listeners hear nothing after {_FLOW_DEADLINE_S:g} s")
        await asyncio.sleep(0.1)
    await asyncio.sleep(_SETTLE_S)


def make_music(folder: Path, source: Source, seconds: float) -> None:
    """44.1 kHz stereo that is not easy to encode: tones that swell, and other noise on each side."""
    sides = [
        f"sine=f={tone}:r=44100,tremolo=f={swell}:d=0.8[t{n}];anoisesrc=c=pink:a=0.3:r=44100:seed={n}[n{n}];"
        f"[t{n}][n{n}]amix[s{n}];"
        for n, (tone, swell) in enumerate(((220, 2.5), (330, 3.5)))
    ]
    graph = "".join(sides) + "[s0][s1]amerge[music]"
    make = ["ffmpeg", "-nostdin", "-v", "error", "-filter_complex", graph, "-map", "[music]"]
    target = ("-t", str(seconds), "-c:a", *source.encoder, str(folder / source.file))
    subprocess.run([*make, *target], check=True)


async def run(options: argparse.Namespace) -> bool:
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name, Nginx(Path(name) / "nginx") as nginx:
        for kind in options.source:
            source = _SOURCES[kind]
            make_music(nginx.www, source, options.seconds * options.windows + _AROUND_S)
            url = nginx.http(source.file)
            for channels in options.channels:
                data = Path(name) / f"data-{kind}-{channels}"
                outcomes.append(await measure_ours(kind, channels, url, data, options))
            if not options.no_ffmpeg:
                peers = min(_MOST_PEERS, *options.channels)
                outcomes.append(await measure_ffmpeg(kind, peers, url, options))
    return show(outcomes, options)


def show(outcomes: list[Outcome], options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the bars are met."""
    _print_tables(outcomes, options.seconds)
    ours = {(o.source, o.channels): o for o in outcomes if o.name == "sluice"}
    for (kind, channels), outcome in ours.items():
        source = _SOURCES[kind]
        print(
            f"{kind}, {channels} channels: {outcome.core():.2f}% of a core (bar {source.core_bar:g}), "
            f"{outcome.megabytes():.2f} MB (bar {source.memory_bar:g}), "
            f"p99 {outcome.timing.p99:.1f} ms off the grid (bar {_P99_BAR_MS:g}): "
            + ("good" if outcome.is_good else "NOT good")
            + ("" if outcome.is_real_time else ", not all arrived in real time")
        )
    good = all(outcome.is_good for outcome in ours.values())
    document: dict[str, object] = {
        "window_s": options.seconds,
        "ffmpeg": ffmpeg_version(),
        "good": good,
        "outcomes": [_document(outcome) for outcome in outcomes],
    }
    print(f"written to {write_json('relay_audio', document)}")
    return good


def _document(outcome: Outcome) -> dict[str, object]:
    figures = {"core_percent": outcome.core(), "pss_mb": outcome.megabytes(), "good": outcome.is_good}
    return figures | asdict(outcome)


def _print_tables(outcomes: list[Outcome], seconds: float) -> None:
    """Three: core and memory by kind of process, which is where to look for what can be saved, and timing."""
    cores, memories, timings = [], [], []
    for outcome in outcomes:
        name = f"{outcome.channels} {outcome.source}, {outcome.name}"
        parts = _KINDS if outcome.name == "sluice" else ()
        windows = " ".join(f"{100 * window.core / outcome.channels:.2f}" for window in outcome.windows)
        cores.append(
            [name, f"{outcome.core():.2f}%", windows, *(f"{outcome.core(kind):.3f}" for kind in parts)]
        )
        idle = sum(each.pss for each in outcome.idle_memory.values())
        memories.append(
            [
                *(name, f"{outcome.megabytes():.2f}", f"{idle:.0f}"),
                *(f"{outcome.megabytes(kind):.3f}" for kind in parts),
            ]
        )
        even = outcome.timing
        timings.append(
            [
                *(name, f"{even.p50:.2f}", f"{even.p99:.2f}", f"{even.worst_p99:.1f}", f"{even.most:.1f}"),
                f"{min(window.sounds_per_s[0] for window in outcome.windows):.1f}",
                str(sum(window.lost for window in outcome.windows)),
            ]
        )
    print_table(f"of a core for each, {seconds:g} s windows", ["at once", "all", "windows", *_KINDS], cores)
    print_table("MB (PSS) for each", ["at once", "all", "idle", *_KINDS], memories)
    columns = ["at once", "p50", "p99", "worst p99", "most", "sounds/s", "lost"]
    print_table("ms from the 20 ms grid", columns, timings)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=_CHANNELS, help="at once (50, then 200)")
    parser.add_argument("--source", choices=_SOURCES, nargs="+", default=list(_SOURCES), help="(all)")
    parser.add_argument("--listeners", type=int, help="only so many channels have a listener (all have one)")
    parser.add_argument("--seconds", type=float, default=10, help="length of one window")
    parser.add_argument("--windows", type=int, default=3, help="windows, of which the median counts")
    parser.add_argument("--no-ffmpeg", action="store_true", help="measure only ours")
    return parser.parse_args()


def main() -> None:
    options = parse()
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(options)) else 1)


if __name__ == "__main__":
    main()
