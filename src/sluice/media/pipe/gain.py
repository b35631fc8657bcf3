"""Gain on sound: a steady gain by FFmpeg, and ramps that do not click. 16-bit stereo at 48 kHz.

A ramp is one frame long, and there is one for each change. That is little enough for Python.
"""

from array import array
from collections.abc import Iterator

from av.audio.frame import AudioFrame
from av.filter import Graph

from sluice.media.pipe.filters import new_graph
from sluice.media.pipe.pcm import FRAME_BYTES, Sound
from sluice.media.pipe.sound_run import RATE

FRAME_SAMPLES = 960


def frame_of(sound: Sound) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="stereo", samples=len(sound) // FRAME_BYTES)
    frame.sample_rate = RATE
    frame.planes[0].update(bytes(sound))
    return frame


def ramp(sound: Sound, begin: float, end: float) -> bytes:
    """Sound whose gain goes from `begin` to `end` in a straight line."""
    if begin == end == 1:
        return bytes(sound)
    samples = array("h", bytes(sound))
    count = len(samples) // 2
    for n in range(count):
        gain = begin + (end - begin) * (n + 0.5) / count
        samples[2 * n] = round(samples[2 * n] * gain)
        samples[2 * n + 1] = round(samples[2 * n + 1] * gain)
    return samples.tobytes()


class Gain:
    """Applies a steady gain of at most 1, and cuts sound into frames for the encoder."""

    def __init__(self, gain: float) -> None:
        self._gain = gain
        self._graph: Graph | None = None

    def frames(self, sound: Sound) -> Iterator[AudioFrame]:
        """`sound` is a whole number of frames."""
        size = FRAME_SAMPLES * FRAME_BYTES
        if self._gain == 1 or not sound:
            for at in range(0, len(sound), size):
                yield frame_of(sound[at : at + size])
            return
        if self._graph is None:
            self._graph = _graph(self._gain)
        self._graph.push(frame_of(sound))
        for _ in range(len(sound) // size):
            frame = self._graph.pull()
            assert isinstance(frame, AudioFrame)  # noqa: S101
            frame.pts = None
            yield frame


def _graph(gain: float) -> Graph:
    graph = new_graph()
    source = graph.add_abuffer(sample_rate=RATE, format="s16", layout="stereo")
    # With 16-bit samples, the filter would know only 256 volumes.
    volume = graph.add("volume", f"volume={gain}:precision=float")
    form = graph.add("aformat", "sample_fmts=s16")
    sink = graph.add("abuffersink")
    source.link_to(volume)
    volume.link_to(form)
    form.link_to(sink)
    graph.configure()
    graph.set_audio_frame_size(FRAME_SAMPLES)
    return graph
