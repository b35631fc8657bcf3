"""What a push to a CDN costs: H.264 as it is, Opus to AAC, 30 at once to one nginx with its RTMP module.

A real media process pushes what is published in a real room process, another user for each push, so that
nothing is shared. Counted is what both processes take more, in user and system time and in memory, than while
the same streams are published and nobody pushes them; receiving them is no part of a push. Beside it, in the
same run, so many ffmpeg processes do the same from RTP: `-c:v copy -c:a aac` to the same server.
"""

import argparse
import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.clip import Clip, read_clip, sample_file
from benchmarks.fanout import room_process
from benchmarks.report import median, print_table, write_json
from sluice.core.rooms import LinkAddress
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import GRID_S
from sluice.media.pipe.frames import OutFrame
from sluice.media.sink.room import RoomSink
from sluice.process.control import Message, Progress, PushJob, StartPush
from sluice.process.documents import Hello
from sluice.process.link import FrameType
from sluice.process.logs import configure_logging
from sluice.process.supervisor import ChildSpec, Supervised
from sluice.wire.h264 import split_avcc
from sluice.wire.rtp import audio_header, h264_payloads, headers
from tests.integration.nginx import Nginx

_APP, _ROOM = "a" * 24, "push"
_BAR = 1.5
#: Between the places in the clip at which streams begin, so that key frames do not come all at once.
_LEAD_US = 37_000
_VIDEO_TYPE, _AUDIO_TYPE = 96, 97
_WARM_UP_S = 5.0
_DEADLINE_S = 60.0
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=video {video} RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
m=audio {audio} RTP/AVP 97
a=rtpmap:97 opus/48000/2
"""

#: Sends one frame of the clip at media time in microseconds: kind, payload, time, whether a key frame.
Send = Callable[[FrameType, bytes, int, bool], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one push: share of a core in percent, by windows; memory in MB (PSS)."""

    name: str
    core_percent: list[float]
    memory_mb: float

    @property
    def percent(self) -> float:
        return median(self.core_percent)


# --- the stream -------------------------------------------------------------------------------------------


async def play(clip: Clip, send: Send, lead_us: int) -> None:
    """The clip in real time, over and over, from `lead_us` on, on the grid that room processes are fed on."""
    loop = asyncio.get_running_loop()
    began, passed_us = loop.time(), -lead_us
    while True:
        for frame in clip.frames:
            media_us = passed_us + frame.media_us
            if media_us < 0:
                continue
            due = began + -(-media_us // int(GRID_S * 1e6)) * GRID_S
            if loop.time() < due:
                await asyncio.sleep(due - loop.time())
            send(frame.type, frame.payload, media_us, frame.key)
        passed_us += clip.duration_us


@asynccontextmanager
async def publishers(clip: Clip, link_path: str, count: int) -> AsyncIterator[None]:
    """So many users of one room who publish the clip, each at another place of it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_publish(clip, link_path, n)) for n in range(count)]
        yield
        for task in tasks:
            task.cancel()


async def _publish(clip: Clip, link_path: str, n: int) -> None:
    place = {"app_id": _APP, "room_id": _ROOM, "user_id": f"user-{n}", "stream": 0, "run_id": f"relay-{n}"}
    link = await RoomSink.open(
        FrameLinks(),
        LinkAddress(link_path),
        Hello.model_validate(place),
        on_end=lambda _: None,
        on_key_frame=lambda: None,
    )

    def send(kind: FrameType, payload: bytes, media_us: int, key: bool) -> None:
        link.send([OutFrame(kind, media_us, payload, key)])

    try:
        await play(clip, send, n * _LEAD_US)
    finally:
        link.close()


# --- measuring --------------------------------------------------------------------------------------------


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _memory_mb(processes: list[psutil.Process]) -> float:
    return sum(process.memory_full_info().pss for process in processes) / 1e6


async def _windows(processes: list[psutil.Process], options: argparse.Namespace) -> list[float]:
    """Percent of a core that the processes take, window by window."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(options.windows):
        before, at = _cpu_s(processes), loop.time()
        await asyncio.sleep(options.seconds)
        found.append(100 * (_cpu_s(processes) - before) / (loop.time() - at))
    return found


async def measure_ours(clip: Clip, nginx: Nginx, options: argparse.Namespace) -> Cost:
    counts: dict[str, Progress] = {}

    def take(_: Supervised, message: Message) -> None:
        if isinstance(message, Progress):
            counts[message.run_id] = message

    media = Supervised(
        ChildSpec("media", "sluice.media", {"allow_networks": ["127.0.0.0/8"], "log_level": "error"}),
        on_notice=take,
        on_ready=lambda _: None,
        on_death=lambda _: None,
    )
    with tempfile.TemporaryDirectory() as folder:
        async with room_process(Path(folder)) as (room, link), publishers(clip, link, options.pushes):
            await media.start()
            try:
                processes = [psutil.Process(media.pid), psutil.Process(room.pid)]
                await asyncio.sleep(_WARM_UP_S)
                idle_mb, idle = _memory_mb(processes), median(await _windows(processes, options))
                for n in range(options.pushes):
                    media.notify(StartPush(job=_job(n, nginx.rtmp(f"ours-{n}"), link)))
                async with asyncio.timeout(_DEADLINE_S):
                    while sum(progress.video_frames > 0 for progress in counts.values()) < options.pushes:
                        await asyncio.sleep(0.1)
                await asyncio.sleep(_WARM_UP_S)
                busy = await _windows(processes, options)
                _check(counts, options)
                count = options.pushes
                memory = (_memory_mb(processes) - idle_mb) / count
                return Cost("sluice", [(window - idle) / count for window in busy], memory)
            finally:
                await media.stop()


def _job(n: int, url: str, link: str) -> PushJob:
    fields = {"run_id": f"run_{n}", "app_id": _APP, "room_id": _ROOM, "user_id": f"user-{n}", "stream": 0}
    return PushJob.model_validate(fields | {"url": url, "media_type": 0, "idle_s": 60, "link": link})


def _check(counts: dict[str, Progress], options: argparse.Namespace) -> None:
    """Nothing was dropped, and as many pictures left as were sent."""
    least = min(progress.video_frames for progress in counts.values())
    dropped = sum(sum(progress.dropped.values()) for progress in counts.values())
    if dropped or least < 20 * options.windows * options.seconds:
        raise RuntimeError(f"pushes dropped {dropped} units, one sent only {least} pictures")


async def measure_ffmpeg(clip: Clip, nginx: Nginx, options: argparse.Namespace) -> Cost:
    quiet = asyncio.subprocess.DEVNULL
    processes: list[asyncio.subprocess.Process] = []
    players: list[asyncio.Task[None]] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(type=socket.SOCK_DGRAM) as sender:
        try:
            for n in range(options.pushes):
                video, audio = _udp_ports()
                sdp = Path(folder) / f"{n}.sdp"
                sdp.write_text(_SDP.format(video=video, audio=audio))
                source = ["-protocol_whitelist", "file,udp,rtp", "-i", str(sdp)]
                codecs = ["-c:v", "copy", "-c:a", "aac", "-ar", "44100", "-ac", "2", "-b:a", "128k"]
                target = ["-f", "flv", nginx.rtmp(f"theirs-{n}")]
                command = ["ffmpeg", "-nostdin", "-v", "error", *source, *codecs, *target]
                processes.append(
                    await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
                )
                players.append(
                    asyncio.create_task(play(clip, _rtp_sender(sender, video, audio), n * _LEAD_US))
                )
            await asyncio.sleep(3 * _WARM_UP_S)  # they probe for seconds
            theirs = [psutil.Process(process.pid) for process in processes]
            busy = await _windows(theirs, options)
            if any(process.returncode is not None for process in processes):
                raise RuntimeError("an ffmpeg process ended")
            count = options.pushes
            return Cost("ffmpeg", [window / count for window in busy], _memory_mb(theirs) / count)
        finally:
            for player in players:
                player.cancel()
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()


def _rtp_sender(sender: socket.socket, video: int, audio: int) -> Send:
    sequences = {FrameType.VIDEO: 0, FrameType.AUDIO: 0}

    def send(kind: FrameType, payload: bytes, media_us: int, key: bool) -> None:
        sequence = sequences[kind]
        if kind is FrameType.AUDIO:
            head = audio_header(_AUDIO_TYPE, sequence, media_us * 48 // 1000 & 0xFFFFFFFF, 2)
            packets, port = [head + payload], audio
        else:
            payloads = h264_payloads(split_avcc(payload, 4))
            heads = headers(_VIDEO_TYPE, sequence, media_us * 9 // 100 & 0xFFFFFFFF, 1, len(payloads))
            packets, port = [head + body for head, body in zip(heads, payloads, strict=True)], video
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", port))
        sequences[kind] += len(packets)

    return send


def _udp_ports() -> tuple[int, int]:
    """Two free even ports whose next ones, which RTCP takes, are free, too."""
    found: list[int] = []
    while len(found) < 2:
        with socket.socket(type=socket.SOCK_DGRAM) as first, socket.socket(type=socket.SOCK_DGRAM) as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                if port % 2 == 0 and port not in found:
                    found.append(port)
    return found[0], found[1]


# --- the run ----------------------------------------------------------------------------------------------


async def run(options: argparse.Namespace) -> list[Cost]:
    with tempfile.TemporaryDirectory() as folder, Nginx(Path(folder) / "nginx") as nginx:
        clip = read_clip(sample_file(Path(options.clip) if options.clip else Path(folder)))
        costs = [await measure_ours(clip, nginx, options)]
        if not options.no_ffmpeg:
            costs.append(await measure_ffmpeg(clip, nginx, options))
        return costs


def show(costs: list[Cost], options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the bar is met."""
    rows = [
        [
            cost.name,
            f"{cost.percent:.2f}%",
            " ".join(f"{window:.2f}" for window in cost.core_percent),
            f"{cost.memory_mb:.1f}",
        ]
        for cost in costs
    ]
    print_table(f"{options.pushes} pushes at once, each", ["", "core", "windows", "MB"], rows)
    good = costs[0].percent <= _BAR
    print(f"sluice: {costs[0].percent:.2f} % of a core (bar {_BAR:g}): {'good' if good else 'NOT good'}")
    document = {
        "pushes": options.pushes,
        "window_s": options.seconds,
        "bar_percent": _BAR,
        "good": good,
        "costs": {cost.name: asdict(cost) | {"median_percent": cost.percent} for cost in costs},
    }
    print(f"written to {write_json('push', document)}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pushes", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10, help="length of one window")
    parser.add_argument("--windows", type=int, default=3, help="windows, of which the median counts")
    parser.add_argument("--clip", help="folder to keep the clip in")
    parser.add_argument("--no-ffmpeg", action="store_true", help="measure only our media process")
    options = parser.parse_args()
    configure_logging("error")
    raise SystemExit(0 if show(asyncio.run(run(options)), options) else 1)


if __name__ == "__main__":
    main()
