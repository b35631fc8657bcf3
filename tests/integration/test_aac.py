"""Opus to AAC: where each beep lies after it, whatever happened to the packets or the clock."""

import itertools
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from sluice.media.pipe.aac import RATE, AacPipe
from sluice.media.push.conversion import Conversion
from sluice.media.units import AudioHeaders, Unit
from sluice.process.link import FrameType, LinkFrame
from sluice.wire.aac import AacConfig
from sluice.wire.flv import PacketType, parse_audio_tag

OPUS_RATE, PACKET_US = 48_000, 20_000
SECONDS = 12
BEEPS_S = [n / 2 for n in range(1, 2 * SECONDS - 1)]
#: libopus delays what it encodes by its look-ahead.
LOOKAHEAD_S = 312 / OPUS_RATE

Samples = npt.NDArray[np.float64]


@cache
def beeps() -> list[bytes]:
    """Opus packets of 20 ms with a beep of 10 ms at each half second."""
    at = np.arange(SECONDS * OPUS_RATE)
    since = at % (OPUS_RATE // 2)
    beep = np.where(
        since < 480, np.sin(2 * np.pi * 2000 * at / OPUS_RATE) * np.sin(np.pi * since / 480) ** 2, 0
    )
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = OPUS_RATE, "stereo", "flt"
    encoder.options = {"frame_duration": "20"}
    encoder.open()
    packets: list[bytes] = []
    for samples in beep.reshape(-1, 960):
        frame = AudioFrame.from_ndarray(
            np.repeat(0.8 * samples, 2)[None].astype(np.float32), format="flt", layout="stereo"
        )
        frame.sample_rate = OPUS_RATE
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def decode(units: Iterable[Unit], headers: AudioHeaders) -> tuple[Samples, float]:
    """The left channel, and the time of its first sample in seconds."""
    decoder: Any = av.CodecContext.create("aac", "r")
    decoder.extradata = parse_audio_tag(headers.tag).data
    heard: list[Samples] = []
    first_us = None
    for unit in units:
        tag = parse_audio_tag(unit.body)
        assert tag.packet_type is PacketType.FRAME
        first_us = unit.at_us if first_us is None else first_us
        heard += [frame.to_ndarray()[0] for frame in decoder.decode(av.Packet(tag.data))]
    assert first_us is not None
    return np.concatenate(heard), first_us / 1e6


def beep_near(samples: Samples, first_s: float, at_s: float) -> float | None:
    """Where the beep lies that should be at `at_s`, by its centre of energy."""
    start = max(0, int((at_s - 0.1 - first_s) * RATE))
    window = samples[start : start + RATE // 4] ** 2
    if window.size == 0 or window.max() < 0.01:
        return None
    centre = float((np.arange(window.size) * window).sum() / window.sum())
    return (start + centre) / RATE + first_s - 0.005 - LOOKAHEAD_S


def offsets_ms(units: list[Unit], pipe: AacPipe, beeps_s: Iterable[float]) -> list[float]:
    """How late each beep that can be heard is."""
    samples, first_s = decode(units, pipe.headers)
    found = [(beep_near(samples, first_s, at), at) for at in beeps_s]
    return [1000 * (there - at) for there, at in found if there is not None]


def feed(pipe: AacPipe, packets: Iterable[tuple[bytes, int]]) -> list[Unit]:
    return [unit for packet, at_us in packets for unit in pipe.sound(packet, at_us)]


def on_time() -> list[tuple[bytes, int]]:
    return [(packet, n * PACKET_US) for n, packet in enumerate(beeps())]


def test_it_is_aac_lc_at_its_time_in_an_unbroken_run() -> None:
    pipe = AacPipe()
    units = feed(pipe, on_time())
    assert AacConfig.parse(parse_audio_tag(pipe.headers.tag).data) == AacConfig(2, RATE, 2)
    steps = {b.at_us - a.at_us for a, b in pairwise(units)}
    assert steps <= {1024 * 1_000_000 // RATE, 1024 * 1_000_000 // RATE + 1}
    offsets = offsets_ms(units, pipe, BEEPS_S)
    assert len(offsets) == len(BEEPS_S)
    assert max(map(abs, offsets)) < 1
    bits = 8 * sum(len(unit.body) for unit in units)
    assert bits / SECONDS < 140_000


@pytest.mark.parametrize(
    "lost", [lambda n: n % 10 == 3, lambda n: 200 <= n < 215], ids=["each 10th", "300 ms"]
)
def test_lost_packets_become_silence(lost: Any) -> None:
    pipe = AacPipe()
    units = feed(pipe, [entry for n, entry in enumerate(on_time()) if not lost(n)])
    offsets = offsets_ms(units, pipe, BEEPS_S)
    assert len(offsets) >= len(BEEPS_S) - 3
    assert max(map(abs, offsets)) < 4


@pytest.mark.parametrize("ppm", [-1000, -100, 100, 1000])
def test_a_drifting_clock_is_followed(ppm: int) -> None:
    """Two clocks differ by some 100 ppm at most: 4 ms in these seconds, but 8 s in a day."""
    pipe, rate = AacPipe(), 1 + ppm / 1e6
    units = feed(pipe, [(packet, int(at_us * rate)) for packet, at_us in on_time()])
    offsets = offsets_ms(units, pipe, [at * rate for at in BEEPS_S])
    assert len(offsets) == len(BEEPS_S)
    assert max(map(abs, offsets)) < 8


def test_silence_gives_way_to_sound_at_its_time() -> None:
    pipe = AacPipe()
    units = [unit for at_us in range(0, 5_000_001, 50_000) for unit in pipe.silence(at_us)]
    assert units[-1].at_us > 4_900_000
    # The first packets are for a time that is filled; they are left out.
    units += feed(pipe, on_time()[240:])
    offsets = offsets_ms(units, pipe, [at for at in BEEPS_S if at >= 5.5])
    assert len(offsets) == len([at for at in BEEPS_S if at >= 5.5])
    assert max(map(abs, offsets)) < 4


def test_sound_gives_way_to_silence_and_returns() -> None:
    pipe, entries = AacPipe(), on_time()
    units = feed(pipe, entries[:200])
    units += [unit for at_us in range(4_500_000, 8_000_001, 50_000) for unit in pipe.silence(at_us)]
    units += feed(pipe, entries[402:])
    assert {b.at_us - a.at_us for a, b in pairwise(units)} <= {23_219, 23_220}
    later = [at for at in BEEPS_S if at > 8.1]
    assert max(map(abs, offsets_ms(units, pipe, later))) < 4
    samples, first_s = decode(units, pipe.headers)
    silent = samples[int((4.1 - first_s) * RATE) : int((7.9 - first_s) * RATE)]
    assert np.abs(silent).max() < 0.001


@pytest.mark.parametrize("start_us", [0, 47_700_000_000, 90 * 86_400_000_000], ids=["0", "13.25 h", "90 d"])
def test_it_does_not_matter_where_the_clock_begins(start_us: int) -> None:
    pipe = AacPipe()
    units = feed(pipe, [(packet, start_us + at_us) for packet, at_us in on_time()[:150]])
    assert abs(units[0].at_us + 1024 * 1_000_000 // RATE - start_us) < 50
    assert abs(offsets_ms(units, pipe, [start_us / 1e6 + at for at in BEEPS_S[:4]])[-1]) < 1


def test_damage_is_counted_and_costs_only_itself() -> None:
    pipe = AacPipe()
    damaged = [(b"" if n % 50 == 7 else b"\xff\xff\xff", at) if n % 25 == 7 else (packet, at)
               for n, (packet, at) in enumerate(on_time())]  # fmt: skip
    units = feed(pipe, damaged)
    assert pipe.dropped == sum(n % 25 == 7 for n in range(len(damaged)))
    assert max(map(abs, offsets_ms(units, pipe, BEEPS_S))) < 4


def test_packets_of_other_lengths() -> None:
    pipe = AacPipe()
    short = [(b"\xe8\xff\xfe", n * 10_000) for n in range(100)]  # 10 ms (RFC 6716 3.1)
    units = feed(pipe, itertools.chain(short, [(p, at + 1_000_000) for p, at in on_time()[:100]]))
    assert {b.at_us - a.at_us for a, b in pairwise(units)} <= {23_219, 23_220}
    assert abs(offsets_ms(units, pipe, [2.0])[0]) < 4


def test_a_process_that_stood_still_makes_no_silence_for_it() -> None:
    conversion = Conversion(0, sound_expected=False)
    units = [unit for now_us in range(0, 2_000_000, 40_000) for unit in conversion.fill(now_us)]
    leap_us = 3_600_000_000
    after = [unit for n in range(50) for unit in conversion.fill(leap_us + n * 40_000)]
    assert len(after) < 2 * len(units)
    assert after[-1].at_us > leap_us + 1_400_000
    assert set(conversion.counts().dropped.values()) == {0}


def test_sound_of_a_publisher_that_goes_on_behind_where_it_stood_still_is_back_soon() -> None:
    """Silence was made for the pause, and what comes afterwards has the times of it."""
    conversion = Conversion(0, sound_expected=True)
    packet, pause_us = on_time()[0][0], 6_000_000
    back_at: list[int] = []
    for now_us in range(0, 20_000_000, 20_000):
        made = conversion.fill(now_us)
        units = []
        if not 5_000_000 <= now_us < 5_000_000 + pause_us:
            media_us = now_us if now_us < 5_000_000 else now_us - pause_us
            units = conversion.convert([LinkFrame(FrameType.AUDIO, 0, media_us, packet)], now_us)
        if now_us >= 5_000_000 + pause_us and any(not unit.made for unit in units):
            back_at.append(now_us)
        assert not (made and back_at)
    assert back_at[0] < 5_000_000 + pause_us + 1_500_000
    assert max(b - a for a, b in pairwise(back_at)) <= 60_000
