"""A clip whose pictures can be told apart: each is known by its number wherever it comes out."""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av

from sluice.wire.h264 import split_annexb

RATE, FRAME_US, SECOND = 25, 40_000, 1_000_000


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)


def make_clip(path: Path, seconds: int) -> None:
    """With a key frame at each second, and sound."""
    inputs = ["-f", "lavfi", "-i", f"mandelbrot=size=160x90:rate={RATE}"]
    inputs += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(seconds)]
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(RATE), "-sc_threshold", "0"]
    ffmpeg(*inputs, *x264, "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", path)


def digest(units: Sequence[bytes | memoryview]) -> str:
    """Of what is picture in the units, and not the sets that go with key frames."""
    return hashlib.sha256(b"".join(bytes(u) for u in units if u[0] & 0x1F in (1, 5))).hexdigest()


def numbers_of(segments: Sequence[Path]) -> dict[str, int]:
    """The pictures of the segments, each of a second, by their digests."""
    digests: list[str] = []
    for segment in segments:
        with av.open(str(segment)) as container:
            packets = container.demux(video=0)
            digests += [digest(split_annexb(bytes(packet))) for packet in packets if packet.size]
    assert len(digests) == len(set(digests)) == len(segments) * RATE
    return {digest: n for n, digest in enumerate(digests)}
