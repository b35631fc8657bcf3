"""A live source whose pictures say when they were made: stamped, encoded and published by RTMP in real time.

It runs in a process of its own, since FFmpeg's RTMP output holds the interpreter lock while it waits. The
stamp is the monotonic clock just before the picture is encoded, so encoding is part of every delay.
"""

import itertools
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from benchmarks.clip import FRAME_RATE
from benchmarks.stamp import draw

_RATE = 48_000
_START_DEADLINE_S = 20
#: Bytes go out as soon as they are muxed, as an encoder for live use sends them.
_AT_ONCE = {"flush_packets": "1"}
_X264: dict[str, object] = {"preset": "ultrafast", "tune": "zerolatency", "g": str(FRAME_RATE), "bf": "0"}


@contextmanager
def stamped_source(url: str, clip: Path) -> Iterator[None]:
    """Publishes the clip's pictures with stamps while the context is open. Raises RuntimeError."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_publish, args=(url, clip, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(_START_DEADLINE_S) or not pipe.recv():
            raise RuntimeError(f"{url} could not be published")
        yield
        if not process.is_alive():
            raise RuntimeError(f"the publisher of {url} ended before its time")
    finally:
        process.kill()
        process.join()
        pipe.close()


def _publish(url: str, clip: Path, started: "Connection[Any, Any]") -> None:
    with av.open(url, "w", format="flv", options=_AT_ONCE) as container:
        pictures = _pictures(clip)
        first = next(pictures)
        video = container.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = first.shape[1], first.shape[0] * 2 // 3, "yuv420p"
        video.bit_rate = 2_000_000
        video.options = _X264
        sound = _Sound(container)
        begin = time.monotonic()
        for number, picture in enumerate(itertools.chain([first], pictures)):
            at_s = number / FRAME_RATE
            # The muxer sends in order of time: sound that reaches beyond the picture lets it go at once.
            sound.encode_beyond(at_s)
            time.sleep(max(0.0, begin + at_s - time.monotonic()))
            draw(picture[: video.height], int(time.monotonic() * 1000))
            frame = VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
            frame.pict_type = PictureType.NONE
            container.mux(video.encode(frame))
            if number == 0:
                started.send(True)


def _pictures(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """The clip's pictures again and again, as planes of 4:2:0 one below the other."""
    while True:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                yield cast(NDArray[np.uint8], frame.to_ndarray(format="yuv420p"))


class _Sound:
    """Silence as AAC, made up to where it is needed."""

    def __init__(self, container: OutputContainer) -> None:
        self._container = container
        self._stream: Stream = container.add_stream("aac", rate=_RATE, layout="stereo")
        self._context = self._stream.codec_context
        self._fed = 0
        self._muxed_s = -1.0

    def encode_beyond(self, at_s: float) -> None:
        assert isinstance(self._context, AudioCodecContext)
        while self._muxed_s <= at_s:
            frame = AudioFrame(format="fltp", layout="stereo", samples=1024)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts, frame.time_base = _RATE, self._fed, Fraction(1, _RATE)
            self._fed += 1024
            for packet in self._context.encode(frame):
                packet.stream = self._stream
                self._muxed_s = float((packet.pts or 0) * (packet.time_base or 0))
                self._container.mux(packet)
