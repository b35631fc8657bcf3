"""What one forwarded packet costs: CPU of the sending process by RTP packets that arrived at its viewers.

A 1 Mbps 720p stream with Opus goes in real time into a real room process and out to real receivers
(peers.py); beside it, in the same run, one Python process sends the same stream through aiortc's public
track API. Each is measured over several windows of which the median counts, since machines are shared.
User and system time of all threads of the sending process count, so on loopback the kernel's delivery
into the receivers' sockets is on its bill.
"""

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from benchmarks.aiortc_sender import run_aiortc_sender
from benchmarks.clip import Clip, read_clip, sample_file
from benchmarks.peers import Count, Receivers
from benchmarks.processes import cpu_ns
from benchmarks.report import median, print_table, write_json
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import LinkAddress, StreamIndex, WatchOffer
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import GRID_S
from sluice.media.sink.room import RoomSink
from sluice.process.control import Answer, Watch
from sluice.process.documents import Hello
from sluice.process.logs import configure_logging
from sluice.process.supervisor import ChildSpec, Supervised

_HOST = "127.0.0.1"
_APP, _ROOM, _USER = AppId("a" * 24), RoomId("fanout"), UserId("publisher")
_BAR_US, _BAR_SHARE = 6.0, 0.25
_WARM_UP_S = 2.0
_GRID_US = int(GRID_S * 1e6)
_CONNECT_DEADLINE_S = 30.0

#: Gives the answer to a receiver's offer.
Answerer = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Window:
    """One measurement: CPU of the sender in microseconds per RTP packet that arrived, and what arrived."""

    us_per_packet: float
    packets_per_s: float
    mbps: float
    core_share: float
    loss: float
    checked: int
    forged: int


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    windows: list[Window]

    @property
    def us_per_packet(self) -> float:
        return median([window.us_per_packet for window in self.windows])


# --- measuring --------------------------------------------------------------------------------------------


def give_core(pid: int, receivers: Receivers) -> None:
    """The sender gets a core of its own, so that the caches of the others are not on its bill."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, cores[-1:])
        for other in (0, receivers.pid):
            os.sched_setaffinity(other, cores[:-1])


async def measure(receivers: Receivers, pid: int, seconds: float, windows: int) -> list[Window]:
    """Windows one after the other, once all receivers are connected. Raises TimeoutError."""
    cores = os.sched_getaffinity(0)
    give_core(pid, receivers)
    try:
        return await _measure(receivers, pid, seconds, windows)
    finally:
        os.sched_setaffinity(0, cores)


async def _measure(receivers: Receivers, pid: int, seconds: float, windows: int) -> list[Window]:
    async with asyncio.timeout(_CONNECT_DEADLINE_S):
        while receivers.count().connected < len(receivers.offers):
            await asyncio.sleep(0.1)
    await asyncio.sleep(_WARM_UP_S)
    found: list[Window] = []
    before = _read(receivers, pid)
    for _ in range(windows):
        await asyncio.sleep(seconds)
        after = _read(receivers, pid)
        found.append(_window(before, after))
        before = after
    return found


def _read(receivers: Receivers, pid: int) -> tuple[Count, int, int]:
    count = receivers.count()
    return count, cpu_ns([pid]), time.monotonic_ns()


def _window(before: tuple[Count, int, int], after: tuple[Count, int, int]) -> Window:
    (first, cpu_0, at_0), (last, cpu_1, at_1) = before, after
    packets, wall_s = last.packets - first.packets, (at_1 - at_0) / 1e9
    if not packets:
        raise RuntimeError("no packet arrived in a window")
    return Window(
        us_per_packet=(cpu_1 - cpu_0) / 1000 / packets,
        packets_per_s=packets / wall_s,
        mbps=(last.octets - first.octets) * 8 / wall_s / 1e6,
        core_share=(cpu_1 - cpu_0) / (at_1 - at_0),
        loss=1 - packets / (last.expected - first.expected),
        checked=last.checked - first.checked,
        forged=last.forged - first.forged,
    )


async def connect_all(receivers: Receivers, answer: Answerer) -> None:
    for number, offer in enumerate(receivers.offers):
        receivers.connect(number, await answer(offer))


# --- our room process -------------------------------------------------------------------------------------


@asynccontextmanager
async def room_process(folder: Path) -> AsyncIterator[tuple[Supervised, str]]:
    """A room process, and the path of its frame socket."""
    link = str(folder / "room.sock")
    config = {"host": _HOST, "port": 0, "public_ips": [], "link": link, "log_level": "error"}
    room = Supervised(
        ChildSpec("room", "sluice.rooms.engine", config),
        on_notice=lambda *_: None,
        on_ready=lambda _: None,
        on_death=lambda _: None,
    )
    await room.start()
    try:
        yield room, link
    finally:
        await room.stop()


async def publish(clip: Clip, link_path: str) -> None:
    """Sends the clip in real time, again and again, on the grid that media processes keep."""
    hello = {"app_id": _APP, "room_id": _ROOM, "user_id": _USER, "stream": 0, "run_id": "run"}
    link = await RoomSink.open(
        FrameLinks(),
        LinkAddress(link_path),
        Hello.model_validate(hello),
        on_end=lambda _: None,
        on_key_frame=lambda: None,
    )
    loop = asyncio.get_running_loop()
    started, passed_us = loop.time(), 0
    while True:
        for frame in clip.frames:
            media_us = passed_us + frame.media_us
            due = -(-media_us // _GRID_US) * _GRID_US / 1e6
            if loop.time() < started + due:
                await asyncio.sleep(started + due - loop.time())
            link.send([replace(frame, media_us=media_us)])
        passed_us += clip.duration_us


async def measure_ours(clip: Clip, options: argparse.Namespace) -> Outcome:
    with tempfile.TemporaryDirectory() as folder, Receivers(_HOST, options.viewers) as receivers:
        async with room_process(Path(folder)) as (room, link):
            publishing = asyncio.create_task(publish(clip, link))

            async def answer(offer: str) -> str:
                reply = await room.request(
                    Watch(offer=WatchOffer(_APP, _ROOM, _USER, StreamIndex.CAMERA, UserId("viewer"), offer))
                )
                if not isinstance(reply, Answer):
                    raise RuntimeError(f"the room process refused a viewer: {reply}")
                return reply.answer.sdp

            try:
                await connect_all(receivers, answer)
                pid = cast(int, room.pid)
                return Outcome("sluice", await measure(receivers, pid, options.seconds, options.windows))
            finally:
                publishing.cancel()


# --- aiortc -----------------------------------------------------------------------------------------------


async def measure_aiortc(clip: Clip, options: argparse.Namespace) -> Outcome:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=run_aiortc_sender, args=(theirs, clip, _HOST), daemon=True)
    process.start()
    theirs.close()

    async def answer(offer: str) -> str:
        return await asyncio.to_thread(_ask, pipe, offer)

    try:
        with Receivers(_HOST, options.viewers) as receivers:
            await connect_all(receivers, answer)
            pid = cast(int, process.pid)
            return Outcome("aiortc", await measure(receivers, pid, options.seconds, options.windows))
    finally:
        pipe.close()
        process.kill()
        process.join()


def _ask(pipe: "Connection[Any, Any]", offer: str) -> str:
    pipe.send(offer)
    return cast(str, pipe.recv())


# --- the run ----------------------------------------------------------------------------------------------


async def run(options: argparse.Namespace) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        clip = read_clip(sample_file(Path(folder)))
    outcomes = [await measure_ours(clip, options)]
    if not options.no_aiortc:
        outcomes.append(await measure_aiortc(clip, options))
    return outcomes


def show(outcomes: list[Outcome], options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the bars are met."""
    ours = outcomes[0]
    ratio = ours.us_per_packet / outcomes[1].us_per_packet if len(outcomes) > 1 else None
    rows = []
    for outcome in outcomes:
        every = outcome.windows
        rows.append(
            [
                outcome.name,
                f"{outcome.us_per_packet:.2f}",
                " ".join(f"{window.us_per_packet:.2f}" for window in every),
                f"{median([window.packets_per_s for window in every]):.0f}",
                f"{median([window.mbps for window in every]):.1f}",
                f"{100 * median([window.core_share for window in every]):.1f}%",
                f"{100 * max(window.loss for window in every):.2f}%",
                f"{sum(window.checked for window in every)}, {sum(window.forged for window in every)} bad",
            ]
        )
    columns = ["", "us/packet", "windows", "packets/s", "Mbps", "core", "lost", "decrypted"]
    print_table(f"fan-out to {options.viewers} viewers, {options.seconds:g} s windows", columns, rows)
    genuine = all(window.checked and not window.forged for o in outcomes for window in o.windows)
    good = genuine and ours.us_per_packet <= _BAR_US and (ratio is None or ratio <= _BAR_SHARE)
    print(f"sluice: {ours.us_per_packet:.2f} us per packet (bar {_BAR_US:g})", end="")
    print(f", {ratio:.2f} of aiortc's cost (bar {_BAR_SHARE:g})" if ratio is not None else "", end="")
    print(": good" if good else ": NOT good")
    document = {
        "viewers": options.viewers,
        "window_s": options.seconds,
        "bar_us_per_packet": _BAR_US,
        "share_of_aiortc": ratio,
        "bar_share_of_aiortc": _BAR_SHARE,
        "good": good,
        "senders": {
            o.name: {"us_per_packet": o.us_per_packet, "windows": [asdict(w) for w in o.windows]}
            for o in outcomes
        },
    }
    print(f"written to {write_json('fanout', document)}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10, help="length of one window")
    parser.add_argument("--windows", type=int, default=3, help="windows, of which the median counts")
    parser.add_argument("--no-aiortc", action="store_true", help="measure only our room process")
    options = parser.parse_args()
    configure_logging("error")
    outcomes = asyncio.run(run(options))
    raise SystemExit(0 if show(outcomes, options) else 1)


if __name__ == "__main__":
    main()
