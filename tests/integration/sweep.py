"""A sound that is different at every moment, as a file of any format, and where in it something is.

The tone rises steadily, so that a few milliseconds of it tell the position to a fraction of one.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from sluice.process.link import LinkFrame

RATE = 48_000
LEVEL = 0.25
Sound = NDArray[np.float64]
#: How a file of each kind is made: codec, sample rate, options of the container.
FORMATS = {
    "mp3": ("libmp3lame", 44_100, {}),
    "vbr.mp3": ("libmp3lame", 44_100, {"write_xing": "0"}),
    "m4a": ("aac", 44_100, {}),
    "aac": ("aac", 44_100, {}),
    "flac": ("flac", 44_100, {}),
    "wav": ("pcm_s16le", 44_100, {}),
    "ogg": ("libopus", 48_000, {}),
    "webm": ("libopus", 48_000, {}),
}


def sweep(seconds: float, rate: int = RATE) -> Sound:
    """From 300 Hz, 500 Hz higher with each second."""
    at = np.arange(round(seconds * rate)) / rate
    return LEVEL * np.sin(2 * np.pi * (300 * at + 250 * at * at))


def make_sweep(path: Path, kind: str, seconds: float) -> Path:
    """`kind` as in FORMATS."""
    codec, rate, options = FORMATS[kind]
    sound = (sweep(seconds, rate) * 32767).astype(np.int16)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate, layout="stereo")
        assert isinstance(stream, AudioStream)
        if "vbr" in kind:
            stream.options = {"q": "2"}
            stream.codec_context.flags |= av.codec.context.Flags.qscale
            stream.codec_context.global_quality = 2 * 118
        elif codec != "flac" and codec != "pcm_s16le":
            stream.bit_rate = 160_000
        for at in range(0, len(sound), 4800):
            piece = np.repeat(sound[at : at + 4800], 2).reshape(1, -1)
            frame = AudioFrame.from_ndarray(piece, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def heard(frames: Iterable[LinkFrame]) -> Sound:
    """The packets decoded one behind the other."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = RATE, "stereo"
    out = [
        np.frombuffer(bytes(decoded.planes[0]), np.int16)[: decoded.samples * 2 : 2]
        for frame in frames
        for decoded in decoder.decode(av.Packet(frame.payload))
    ]
    return np.concatenate(out).astype(np.float64) / 32768


def position(sound: Sound, whole: Sound) -> tuple[int, float]:
    """The sample of `whole` at which `sound` is found, and how alike they are (1: the same)."""
    size = 1 << (len(whole) + len(sound)).bit_length()
    product = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(sound, size)), size)
    at = int(np.argmax(product[: len(whole) - len(sound) + 1]))
    piece = whole[at : at + len(sound)]
    return at, float(product[at] / (np.linalg.norm(sound) * np.linalg.norm(piece) + 1e-12))


def quietest(sound: Sound, window_s: float = 0.005) -> float:
    """The lowest level of any window, in parts of the sweep's own."""
    size = round(window_s * RATE)
    windows = sound[: len(sound) // size * size].reshape(-1, size)
    return float(np.sqrt((windows**2).mean(axis=1)).min() / (LEVEL / np.sqrt(2)))
