"""How fast this machine is: a fixed piece of what media processes do, and the CPU time that it takes.

The costs of tasks (core.cost_table) were measured beside the same piece of work. CPU time says less of what
else the machine does than the time on the wall, and the least of several tries says least.
"""

import time
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from sluice.core.plan import VideoTarget
from sluice.media.pipe.filters import new_graph
from sluice.media.pipe.h264_encode import open_encoder
from sluice.media.pipe.opus_encode import open_opus

_TRIES = 3
_SIZE, _RATE, _PICTURES = (640, 360), 25, 12
_SOUND_RATE, _SOUNDS, _SAMPLES = 48_000, 50, 960
_STEPS = 60_000


def measure_speed() -> float:
    """CPU seconds of this thread for the piece of work. Takes about half a second."""
    return min(take() for _ in range(_TRIES))


def take() -> float:
    """One try."""
    began = time.thread_time()
    _pictures()
    _sound()
    _python()
    return time.thread_time() - began


def _pictures() -> None:
    """Encodes moving pictures and decodes them again."""
    graph = new_graph()
    source = graph.add("testsrc2", f"size={_SIZE[0]}x{_SIZE[1]}:rate={_RATE}")
    shape, sink = graph.add("format", "pix_fmts=yuv420p"), graph.add("buffersink")
    source.link_to(shape)
    shape.link_to(sink)
    graph.configure()
    encoder = None
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)  # noqa: S101 - it is video's
    decoder.thread_count = 1
    for number in range(_PICTURES):
        picture = graph.vpull()
        assert isinstance(picture, VideoFrame)  # noqa: S101 - the graph is of pictures
        encoder = encoder or open_encoder(picture, VideoTarget(*_SIZE, _RATE, None))
        picture.pts, picture.time_base = number * 1_000_000 // _RATE, Fraction(1, 1_000_000)
        for packet in encoder.encode(picture):
            decoder.decode(packet)


def _sound() -> None:
    """A second of sound to Opus."""
    graph = new_graph()
    source = graph.add(
        "sine", f"frequency=440:beep_factor=4:sample_rate={_SOUND_RATE}:samples_per_frame={_SAMPLES}"
    )
    shape = graph.add("aformat", "sample_fmts=s16:channel_layouts=stereo")
    sink = graph.add("abuffersink")
    source.link_to(shape)
    shape.link_to(sink)
    graph.configure()
    encoder = open_opus()
    for _ in range(_SOUNDS):
        sound = graph.pull()
        assert isinstance(sound, AudioFrame)  # noqa: S101 - the graph is of sound
        encoder.encode(sound)


def _python() -> None:
    """Steps of the interpreter, which pace and address packets."""
    kept: dict[int, bytes] = {}
    for number in range(_STEPS):
        kept[number & 255] = number.to_bytes(4, "big")
