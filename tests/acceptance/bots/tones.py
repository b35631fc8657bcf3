"""Sound that tells where in it one is: each half second is a tone of its own, and what was heard tells which.

The tones are multiples of 50 Hz and begin and end at zero, so that windows of 20 ms keep them apart and their
seams do not click. They are encoded by the ffmpeg of the system, which is not ours.
"""

import itertools
import wave
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.acceptance.clips import run_ffmpeg

RATE = 48_000
STEP_S = 0.5
TOLERANCE_S = 0.025  #: of positions
AMPLITUDE = 0.5
_STEPS = 24
_LOWEST_HZ, _APART_HZ = 300, 150
_MADE_RATE = 44_100
_WINDOW, _HOP = 960, 120  #: samples: of the distance of the tones, and how exactly edges are found
_FINE = 240  #: samples of a window that tells silence
_SILENT = 0.01
#: A run that is shorter is the seam between two tones.
_SHORTEST_S = 0.1
_EDGE_S = 0.1
#: Far above the only tone of `make_tone` and what a codec adds beside it.
_TONE_HZ, _CLICK_HZ = 400, 2000

Samples = NDArray[np.float64]

#: What ffmpeg makes of a WAV file, by the name's end.
_ENCODERS = {
    "wav": ("-c:a", "pcm_s16le"),
    "mp3": ("-c:a", "libmp3lame", "-b:a", "128k"),
    "m4a": ("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"),
    "flac": ("-c:a", "flac"),
    "ogg": ("-c:a", "libopus", "-b:a", "128k"),
    "m3u8": ("-c:a", "aac", "-hls_time", "2", "-hls_list_size", "0"),
}


def make_steps(folder: Path, name: str, seconds: float, kinds: tuple[str, ...]) -> None:
    """`folder`/`name`.KIND of each kind, with a tone for each half second."""
    times = np.arange(round(seconds * _MADE_RATE)) / _MADE_RATE
    tones = _LOWEST_HZ + _APART_HZ * np.floor(times / STEP_S)
    _encode(folder, name, np.sin(2 * np.pi * tones * (times % STEP_S)), kinds)


def make_tone(folder: Path, name: str, seconds: float, amplitude: float = AMPLITUDE) -> None:
    """`folder`/`name`.mp3 with one tone, for `clicks_db`."""
    times = np.arange(round(seconds * _MADE_RATE)) / _MADE_RATE
    _encode(folder, name, amplitude / AMPLITUDE * np.sin(2 * np.pi * _TONE_HZ * times), ("mp3",))


def make_video(folder: Path, sound: Path, name: str) -> None:
    """The sound as an MP4 with a picture."""
    picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25")
    h264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest")
    run_ffmpeg("-i", str(sound), *picture, *h264, "-movflags", "+faststart", str(folder / name))


def _encode(folder: Path, name: str, samples: Samples, kinds: tuple[str, ...]) -> None:
    master = folder / f"{name}.master.wav"
    values = np.repeat((samples * AMPLITUDE * 32767).astype("<i2"), 2)
    with wave.open(str(master), "wb") as writer:
        writer.setparams((2, 2, _MADE_RATE, 0, "NONE", ""))
        writer.writeframes(values.tobytes())
    for kind in kinds:
        run_ffmpeg("-i", str(master), *_ENCODERS[kind], str(folder / f"{name}.{kind}"))


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of one tone, or of silence (None), in seconds of what was heard."""

    step: int | None
    begin_s: float
    end_s: float


class Heard:
    """Mono samples at 48 kHz from the first that came."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE

    @cached_property
    def runs(self) -> list[Run]:
        """Which tone is heard when, without the seams between."""
        found: list[Run] = []
        steps = self._steps()
        changes = np.flatnonzero(np.diff(steps)) + 1
        bounds = [0, *changes.tolist(), len(steps)]
        for begin, end in itertools.pairwise(bounds):
            # The window around an edge changes its mind where both tones fill a half of it.
            begin_s = (begin * _HOP + _WINDOW / 2) / RATE if begin else 0.0
            end_s = (end * _HOP + _WINDOW / 2) / RATE if end < len(steps) else self.seconds
            if end_s - begin_s >= _SHORTEST_S:
                step = int(steps[begin])
                found.append(Run(step if step >= 0 else None, begin_s, end_s))
        return found

    @property
    def order(self) -> list[int]:
        """The tones in the order in which they were heard."""
        return [run.step for run in self.runs if run.step is not None]

    def positions(self) -> list[float]:
        """Where the source was when the first sample was heard, as the beginning of each later tone says."""
        return [run.step * STEP_S - run.begin_s for run in self.runs[1:] if run.step is not None]

    def begins_at(self, position_s: float) -> bool:
        """Whether all of it says that the source was there when the first sample was heard."""
        found = self.positions()
        return len(found) >= 2 and all(abs(position - position_s) <= TOLERANCE_S for position in found)

    def levels(self) -> dict[int, float]:
        """RMS of each tone that was heard for long enough."""
        return {
            run.step: _rms(self.between(run.begin_s + _EDGE_S, run.end_s - _EDGE_S))
            for run in self.runs
            if run.step is not None and run.end_s - run.begin_s > 3 * _EDGE_S
        }

    def between(self, begin_s: float, end_s: float) -> Samples:
        return self.samples[round(begin_s * RATE) : round(end_s * RATE)]

    def level(self) -> float:
        """RMS of all of it."""
        return _rms(self.samples)

    def longest_silence_s(self) -> float:
        """Between the first and the last sound."""
        fine = self.samples[: len(self.samples) // _FINE * _FINE].reshape(-1, _FINE)
        loud = np.flatnonzero(np.sqrt((fine**2).mean(axis=1)) >= _SILENT)
        return float(np.diff(loud).max() - 1) * _FINE / RATE

    def clicks_db(self) -> float:
        """The most that is heard in any 20 ms far above the tone of `make_tone`, over the loudest 20 ms."""
        windows = np.lib.stride_tricks.sliding_window_view(self.samples, _WINDOW)[:: _HOP * 2]
        spectra = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)) ** 2
        above = spectra[:, _CLICK_HZ * _WINDOW // RATE :].sum(axis=1)
        return float(10 * np.log10(above.max() / spectra.sum(axis=1).max()))

    def _steps(self) -> NDArray[np.int64]:
        """Of each window the number of its tone, -1 for silence."""
        windows = np.lib.stride_tricks.sliding_window_view(self.samples, _WINDOW)[::_HOP]
        tones = _LOWEST_HZ + _APART_HZ * np.arange(_STEPS)
        waves = np.exp(-2j * np.pi * np.outer(np.arange(_WINDOW) / RATE, tones))
        steps: NDArray[np.int64] = np.abs(windows @ waves).argmax(axis=1)
        steps[np.sqrt((windows**2).mean(axis=1)) < _SILENT] = -1
        return steps


def _rms(samples: Samples) -> float:
    return float(np.sqrt((samples**2).mean()))
