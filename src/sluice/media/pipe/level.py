"""How loud sound is: the mean square of some of its samples, of both channels and spread over all of it."""

from itertools import cycle
from operator import mul

from av.audio.frame import AudioFrame

from sluice.core.vitals import Level

#: One sample in so many is taken. They change, so that no tone is always met in the same phase.
_STEPS = (53, 59, 61, 67, 71)
_FULL_SCALE = 32768.0


class LevelMeter:
    """For sound of one form."""

    def __init__(self) -> None:
        self._steps = cycle(_STEPS)

    def level(self, sound: bytes | bytearray | memoryview, *, gain: float = 1.0, weight: int = 1) -> Level:
        """Of this 16-bit stereo sound, which is not empty, with a gain."""
        samples = memoryview(sound).cast("h")[:: next(self._steps)].tolist()
        full = _FULL_SCALE / gain if gain else 0.0
        mean = sum(map(mul, samples, samples)) / len(samples)
        return Level(mean / (full * full) if full else 0.0, weight)

    def level_of(self, frame: AudioFrame) -> Level:
        """Of a frame that is not empty, whose channels lie apart, as floats."""
        step = next(self._steps)
        samples: list[float] = []
        for plane in frame.planes:
            samples += memoryview(plane).cast("f")[: frame.samples : step].tolist()
        return Level(sum(map(mul, samples, samples)) / len(samples))
