"""What a CDN's viewers get: recorded with Debian's ffmpeg, looked at with its ffprobe and with PyAV."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from sluice.wire.h264 import split_avcc
from tests.integration.broadcast import FLASH_US, SECOND_US, slice_hashes


async def record(url: str, to: Path, seconds: float) -> None:
    """What Debian's ffmpeg plays from `url`, copied."""
    source = ["-rtmp_live", "live", "-i", url]
    await run("ffmpeg", "-nostdin", "-v", "error", *source, "-c", "copy", "-t", f"{seconds:g}", str(to))


async def run(*command: str) -> str:
    """Standard output; the command must succeed without complaint."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(40):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors.decode()) == (0, "")
    return out.decode()


async def check(recording: Path) -> None:
    """H.264 and AAC-LC, 44.1 kHz stereo; times rise on each track and in the file; all of it decodes."""
    shown = json.loads(
        await run("ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(recording))
    )
    streams = {stream["codec_type"]: stream for stream in shown["streams"]}
    assert streams["video"]["codec_name"] == "h264"
    audio = streams["audio"]
    assert (audio["codec_name"], audio["profile"]) == ("aac", "LC")
    assert (audio["sample_rate"], audio["channels"]) == ("44100", 2)
    for kind in ("audio", "video"):
        times = [float(packet["dts_time"]) for packet in shown["packets"] if packet["codec_type"] == kind]
        assert len(times) > 25
        assert all(a < b for a, b in pairwise(times))
    times = [float(packet["dts_time"]) for packet in shown["packets"]]
    assert times == sorted(times)
    # In the times of the recording: at a constant rate, cameras' frames would share some.
    decoding = ["-v", "warning", "-xerror", "-i", str(recording), "-enc_time_base", "-1"]
    await run("ffmpeg", "-nostdin", *decoding, "-f", "null", "-")


def slices_of(recording: Path) -> list[str]:
    with av.open(str(recording)) as container:
        video = container.streams.video[0]
        return [
            hashed
            for packet in container.demux(video)
            if packet.size
            for hashed in slice_hashes(split_avcc(bytes(packet), 4))
        ]


def lip_offsets_ms(recording: Path) -> list[float]:
    """How much later than its flash each beep is."""
    flashes: list[float] = []
    beeps: list[float] = []
    with av.open(str(recording)) as container:
        frames: Any = container.decode(video=0, audio=0)
        for frame in frames:
            if isinstance(frame, VideoFrame) and frame.to_ndarray(format="gray").max() > 200:
                _mark(flashes, frame.time)
            elif isinstance(frame, AudioFrame):
                loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
                if loud.size and frame.time is not None:
                    _mark(beeps, frame.time + loud[0] / frame.sample_rate)
    # What began before the recording did is no beginning.
    return [1000 * (beep - flash) for flash in flashes[1:] for beep in beeps if abs(beep - flash) < 0.5]


def _mark(begins: list[float], time: float | None) -> None:
    if time is not None and (not begins or time - begins[-1] > 2 * FLASH_US / SECOND_US):
        begins.append(time)
