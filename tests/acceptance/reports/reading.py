"""What can be seen and heard in a recording: pictures by their numbers, seconds of sound by their tones.

FFmpeg decodes it after the recording; each picture keeps the media time and the time of arrival of its access
unit. Offsets are those of the sound against the picture of the same content, of which a second is 25 pictures
and one tone.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from sluice.process.link import FrameType
from sluice.wire.h264 import split_avcc
from tests.acceptance.reports.clips import BITS, BLOCKS, FRAME_RATE, LOWEST_HZ, MOST_SECONDS, STEP_HZ
from tests.acceptance.reports.recorder import Recording

_PICTURE_S, _PACKET_S = 1 / FRAME_RATE, 0.02
_RATE, _OPUS_RATE = 8_000, 48_000
_TIMES = _OPUS_RATE // _RATE
_HOP, _WINDOW = 80, 320  #: samples: 10 ms and 40 ms
_SILENT = 0.02  #: amplitude; the tones have 0.25
#: Windows of one tone: a shorter run is the seam between two.
_SHORTEST_RUN = 10
_NEAR_S = 0.7
_SETTLED_S = 2.0
_PACED_S = 3.0

Samples = NDArray[np.float32]


class Picture(NamedTuple):
    number: int | None  #: None: it is not one of ours
    media_s: float
    wall_s: float
    size: tuple[int, int]


class Tone(NamedTuple):
    """A run of one tone, by media time; `second` is the second of the content."""

    second: int
    begin_s: float
    end_s: float


class Offset(NamedTuple):
    """How much later than its picture the sound is where second `second` begins, `at_s` after the first frame
    came."""

    at_s: float
    second: int
    late_s: float


class Pace(NamedTuple):
    """Media time against time of arrival, and the seconds that it was measured over."""

    rate: float
    over_s: float


@dataclass
class Heard:
    tones: list[Tone]
    gap_s: float


class Reading:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        frames = [(a.wall_s, a.frame) for a in recording.arrivals]
        self._video = [(wall, frame) for wall, frame in frames if frame.type == FrameType.VIDEO]
        self._audio = [(wall, frame) for wall, frame in frames if frame.type == FrameType.AUDIO]

    # --- pictures -------------------------------------------------------------------------------------------

    @cached_property
    def pictures(self) -> list[Picture]:
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.thread_count = 1
        walls = {frame.media_us: wall for wall, frame in self._video}
        shown: list[Picture] = []
        packets: list[Any] = []
        for _, frame in self._video:
            packet = av.Packet(b"".join(b"\0\0\0\1" + bytes(nal) for nal in split_avcc(frame.payload, 4)))
            packet.pts = packet.dts = frame.media_us
            packets.append(packet)
        for packet in [*packets, None]:
            try:
                decoded = decoder.decode(packet)
            except av.FFmpegError:
                continue  # what cannot be decoded is missing in the numbers
            for picture in decoded:
                if picture.pts is not None and not picture.is_corrupt:
                    wall = walls.get(picture.pts, 0.0)
                    size = (picture.width, picture.height)
                    shown.append(Picture(_number(picture), picture.pts / 1e6, wall, size))
        return shown

    @cached_property
    def numbers(self) -> list[int]:
        return [picture.number for picture in self.pictures if picture.number is not None]

    @property
    def repeated(self) -> list[int]:
        return sorted(number for number, count in Counter(self.numbers).items() if count > 1)

    @property
    def picture_gap_s(self) -> float:
        """Longest time without a picture between two, by media time, beyond their distance in a clip."""
        return _longest([p.media_s for p in self.pictures], _PICTURE_S)

    @property
    def picture_wait_s(self) -> float:
        """The same by time of arrival."""
        return _longest([p.wall_s for p in self.pictures], _PICTURE_S)

    # --- sound ----------------------------------------------------------------------------------------------

    @cached_property
    def heard(self) -> Heard:
        samples, zero_s = self._samples()
        return _hear(samples, zero_s) if len(samples) > _WINDOW else Heard([], 0.0)

    @property
    def sound_gap_s(self) -> float:
        """Longest silence between two sounds, by media time; packets of silence are silence."""
        return self.heard.gap_s

    @property
    def sound_wait_s(self) -> float:
        return _longest([wall for wall, _ in self._audio], _PACKET_S)

    def seconds_heard(self) -> dict[int, float]:
        """How long each second of the content was heard."""
        heard: dict[int, float] = defaultdict(float)
        for tone in self.heard.tones:
            heard[tone.second] += tone.end_s - tone.begin_s
        return heard

    def _samples(self) -> tuple[Samples, float]:
        """All sound on its media time, and the time that it begins at."""
        if not self._audio:
            return np.zeros(0, np.float32), 0.0
        decoder = av.CodecContext.create("opus", "r")
        assert isinstance(decoder, AudioCodecContext)
        decoder.sample_rate, decoder.layout = _OPUS_RATE, "stereo"
        zero_us = self._audio[0][1].media_us
        last_us = max(frame.media_us for _, frame in self._audio)
        samples = np.zeros((last_us - zero_us) * _RATE // 1_000_000 + _RATE, np.float32)
        for _, frame in self._audio:
            at = (frame.media_us - zero_us) * _RATE // 1_000_000
            for decoded in decoder.decode(av.Packet(frame.payload)):
                part = _mono(decoded)
                if at >= 0:
                    samples[at : at + len(part)] = part[: len(samples) - at]
        return samples, zero_us / 1e6

    # --- both -----------------------------------------------------------------------------------------------

    @cached_property
    def offsets(self) -> list[Offset]:
        """At each change of tone beside which there are pictures."""
        pictures = [picture for picture in self.pictures if picture.number is not None]
        arrivals = self.recording.arrivals
        offsets = []
        for before, after in pairwise(self.heard.tones):
            if after.second == before.second + 1 and after.begin_s - before.end_s < 0.05:
                at_s = (before.end_s + after.begin_s) / 2
                near = [p for p in pictures if abs(p.media_s - at_s) < _NEAR_S]
                if near:
                    zero_s = median(p.media_s - (p.number or 0) / FRAME_RATE for p in near)
                    played_s = median(p.wall_s for p in near) - arrivals[0].wall_s
                    offsets.append(Offset(played_s, after.second, at_s - after.second - zero_s))
        return offsets

    def worst_offset_s(self, *, live: bool, seams: Collection[int] = ()) -> float | None:
        """A live source begins with what its server had kept, which is shown in haste. Where a clip is
        spliced at a full second, no tone changes right there."""
        settled_s = _SETTLED_S if live else 0.0
        judged = [o.late_s for o in self.offsets if o.at_s >= settled_s and o.second not in seams]
        return max(judged, key=abs, default=None)

    @property
    def first_s(self) -> float | None:
        """From the call to the first frame."""
        arrivals = self.recording.arrivals
        return arrivals[0].wall_s - self.recording.began_s if arrivals else None

    @cached_property
    def pace(self) -> Pace | None:
        """After the beginning: what a live source had kept is sent in haste."""
        track = self._video or self._audio
        begin_s = track[0][0] + _SETTLED_S if track else 0.0
        times = np.array([(wall, frame.media_us / 1e6) for wall, frame in track if wall > begin_s])
        if len(times) < 2 or times[-1][0] - times[0][0] < _PACED_S:
            return None
        walls, medias = (times - times[0]).T
        return Pace(float(np.polyfit(walls, medias, 1)[0]), float(walls[-1]))


def _mono(decoded: AudioFrame) -> Samples:
    """At our rate, a sixth of Opus's; FFmpeg decodes it to planes of floats."""
    mono = decoded.to_ndarray().mean(0)
    part: Samples = mono[: len(mono) // _TIMES * _TIMES].reshape(-1, _TIMES).mean(1).astype(np.float32)
    return part


def _longest(times: list[float], usual_s: float) -> float:
    return max((b - a for a, b in pairwise(times)), default=usual_s) - usual_s


def _number(picture: VideoFrame) -> int | None:
    """What the strip along the top says; None where there is no such strip."""
    if picture.format.name not in ("yuv420p", "yuvj420p"):
        picture = picture.reformat(format="gray")
    plane = picture.planes[0]
    block = picture.width / BLOCKS
    row = int(block / 2) * plane.line_size
    luma = memoryview(plane)
    white = [luma[row + int((n + 0.5) * block)] > 128 for n in range(BLOCKS)]
    if any((white[0], white[1], white[-1], white[-2])):
        return None
    return sum(1 << bit for bit in range(BITS) if white[bit + 2])


def _hear(samples: Samples, zero_s: float) -> Heard:
    """Which tone sounds when: the strongest of all in windows of 40 ms, each 10 ms."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    times = np.arange(_WINDOW) / _RATE
    tones = LOWEST_HZ + STEP_HZ * np.arange(MOST_SECONDS)
    waves = np.hanning(_WINDOW)[:, None] * np.exp(-2j * np.pi * times[:, None] * tones)
    amplitudes = np.abs(windows @ waves) * 4 / _WINDOW
    best, loud = amplitudes.argmax(1), amplitudes.max(1) > _SILENT
    centre_s = zero_s + _WINDOW / 2 / _RATE
    runs: list[Tone] = []
    begin = 0
    for at in range(1, len(best) + 1):
        if at == len(best) or best[at] != best[begin] or loud[at] != loud[begin]:
            if loud[begin] and at - begin >= _SHORTEST_RUN:
                half = _HOP / 2 / _RATE
                first_s, last_s = centre_s + begin * _HOP / _RATE, centre_s + (at - 1) * _HOP / _RATE
                runs.append(Tone(int(best[begin]), first_s - half, last_s + half))
            begin = at
    sounding = np.flatnonzero(loud) * _HOP / _RATE
    return Heard(runs, max(np.diff(sounding), default=_HOP / _RATE) - _HOP / _RATE)
