"""What becomes of sound on its way to Opus: jumps, overlaps and a faster pace, heard again after decoding."""

import math
from array import array
from fractions import Fraction
from functools import cache
from itertools import pairwise

import av
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from sluice.core.plan import AudioTrack
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.opus import OpusPipe

RATE, TONE, LEVEL = 48_000, 440, 8_000
_AAC_US = 1024 * 1_000_000 / RATE


@cache
def _aac(seconds: int) -> tuple[AudioTrack, list[bytes]]:
    """A tone, and the packets without those that begin and end it."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "stereo", "fltp"
    encoder.bit_rate = 192_000
    packets: list[bytes] = []
    for at in range(0, seconds * RATE, 1024):
        frame = AudioFrame(format="fltp", layout="stereo", samples=1024)
        wave = array(
            "f", (LEVEL / 32768 * math.sin(2 * math.pi * TONE * n / RATE) for n in range(at, at + 1024))
        )
        for plane in frame.planes:
            plane.update(wave.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return AudioTrack("aac", encoder.extradata or b"", RATE, 2), packets[2:]


def _packet(data: bytes, at_us: float) -> Packet:
    return Packet(TrackKind.AUDIO, data, round(at_us), round(at_us), True)


def _heard(frames: list[OutFrame]) -> "array[int]":
    """One channel, without Opus's beginning."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = RATE, "stereo"
    out = array("h")
    for frame in frames:
        for decoded in decoder.decode(av.Packet(frame.payload)):
            out.frombytes(bytes(decoded.planes[0])[: decoded.samples * 4])
    return out[::2][RATE // 10 :]


def _level(sound: "array[int]") -> tuple[float, float]:
    """The lowest and the highest level of any 10 ms."""
    levels = [
        math.sqrt(sum(value * value for value in sound[at : at + 480]) / 480)
        for at in range(0, len(sound) - 480, 480)
    ]
    return min(levels), max(levels)


def _frequency(sound: "array[int]") -> float:
    crossings = sum(1 for a, b in pairwise(sound) if a < 0 <= b)
    return crossings * RATE / len(sound)


def _check_run(frames: list[OutFrame]) -> None:
    assert {b.media_us - a.media_us for a, b in pairwise(frames)} == {20_000}


@pytest.mark.parametrize("live", [False, True])
def test_three_per_cent_faster_keeps_the_pitch(live: bool) -> None:
    track, packets = _aac(6)
    pipe = OpusPipe(track, live=live)
    frames = [
        frame for n, data in enumerate(packets) for frame in pipe.push(_packet(data, n * _AAC_US / 1.03))
    ]
    _check_run(frames)
    assert frames[-1].media_us == pytest.approx(len(packets) * _AAC_US / 1.03, abs=80_000)
    sound = _heard(frames)
    assert _frequency(sound) == pytest.approx(TONE, rel=0.003)
    low, high = _level(sound)
    assert low > 0.6 * LEVEL / math.sqrt(2), "no joint is a hole"
    assert high < 1.2 * LEVEL / math.sqrt(2)


@pytest.mark.parametrize("overlap_us", [60_000, 100_000, 1_500_000])
def test_what_overlaps_is_faded_over(overlap_us: int) -> None:
    track, packets = _aac(6)
    pipe = OpusPipe(track, live=True)
    half = len(packets) // 2
    frames = [
        frame
        for n, data in enumerate(packets)
        for frame in pipe.push(_packet(data, n * _AAC_US - (overlap_us if n >= half else 0)))
    ]
    _check_run(frames)
    assert frames[-1].media_us == pytest.approx(len(packets) * _AAC_US - overlap_us, abs=80_000)
    sound = _heard(frames)
    assert _level(sound)[0] > 0.6 * LEVEL / math.sqrt(2)
    # A click would be a step that the tone itself does not take.
    assert max(abs(b - a) for a, b in pairwise(sound)) < 1.5 * LEVEL * 2 * math.pi * TONE / RATE


def test_a_gap_is_silence_and_a_long_one_is_left() -> None:
    track, packets = _aac(6)
    pipe = OpusPipe(track, live=True)
    shifts = [0, 300_000, 5_300_000]
    frames = [
        frame
        for n, data in enumerate(packets)
        for frame in pipe.push(_packet(data, n * _AAC_US + shifts[n * 3 // len(packets)]))
    ]
    steps = [b.media_us - a.media_us for a, b in pairwise(frames)]
    assert [step for step in steps if step != 20_000] == [pytest.approx(5_020_000, abs=31_000)]


def test_a_configuration_that_comes_later_is_taken() -> None:
    track, packets = _aac(6)
    pipe = OpusPipe(AudioTrack("aac", b"\x11\x88", 48_000, 1))  # mono
    first = _packet(packets[0], 0)
    first.extradata = track.extradata
    frames = pipe.push(first)
    for n, data in enumerate(packets[1:], 1):
        frames += pipe.push(_packet(data, n * _AAC_US))
    assert pipe.dropped == 0
    assert _frequency(_heard(frames)) == pytest.approx(TONE, rel=0.003)
