"""Small MP4 files made with PyAV, for sources whose every frame a test can name."""

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

WIDTH, HEIGHT, RATE, FRAME_RATE = 160, 90, 44_100, 25

_OPTIONS = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
}


def make_mp4(
    path: Path,
    *,
    seconds: float,
    gop: int = FRAME_RATE,
    codec: str = "libx264",
    b_frames: int = 0,
    sound: bool = True,
) -> Path:
    """25 pictures a second with a key frame every `gop`; silence as AAC."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = cast(VideoStream, container.add_stream(codec, FRAME_RATE))
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        quick = {"preset": "fast"} if b_frames else _OPTIONS[codec]
        options: dict[str, object] = {**quick, "g": str(gop), "bf": str(b_frames)}
        video.options = options
        video.thread_count = 1
        audio = container.add_stream("aac", RATE, layout="stereo") if sound else None
        for n in range(int(seconds * FRAME_RATE)):
            container.mux(video.encode(_picture(n)))
        container.mux(video.encode(None))
        if audio is not None:
            for at in range(0, int(seconds * RATE), 1024):
                container.mux(audio.encode(_silence(at)))
            container.mux(audio.encode(None))
    return path


def _picture(n: int) -> VideoFrame:
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes((n * 7 + at // 9) % 256 for at in range(plane.buffer_size)))
    frame.pts, frame.time_base = n, Fraction(1, FRAME_RATE)
    return frame


def _silence(at: int) -> AudioFrame:
    frame = AudioFrame(format="fltp", layout="stereo", samples=1024)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
    return frame
