"""FFmpeg's filters as pipes use them. By itself, a graph would make a thread for each core."""

from itertools import pairwise

import av
from av.audio.frame import AudioFrame
from av.filter import Graph


def new_graph() -> Graph:
    graph = Graph()
    graph.threads = 1  # it runs on the thread that works for its session
    return graph


class Resampler:
    """Converts sound to 16-bit stereo of this rate. All frames have the form of the first."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._graph: Graph | None = None

    def resample(self, frame: AudioFrame) -> list[AudioFrame]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind == ("s16", "stereo", self._rate):
            return [frame]
        if self._graph is None:
            self._graph = self._make(*kind)
        self._graph.push(frame)
        made: list[AudioFrame] = []
        while True:
            try:
                pulled = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return made
            assert isinstance(pulled, AudioFrame)  # noqa: S101 - the graph is of sound
            made.append(pulled)

    def _make(self, sample_format: str, layout: str, rate: int) -> Graph:
        graph = new_graph()
        form = f"sample_rates={self._rate}:sample_fmts=s16:channel_layouts=stereo"
        filters = [
            graph.add_abuffer(sample_rate=rate, format=sample_format, layout=layout),
            graph.add("aformat", form),
            graph.add("abuffersink"),
        ]
        for before, after in pairwise(filters):
            before.link_to(after)
        graph.configure()
        return graph
