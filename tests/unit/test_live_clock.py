"""The clock of live sources: bursts, pauses, drift and wraps, hours of them in virtual time."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.live_clock import AHEAD_US, BEHIND_US, LAG_US, LiveClock
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.sound_run import RATE, SoundRun
from sluice.media.source.timeline import Timeline

FRAME_US, SOUND_US = 40_000, 20_000
SECOND = 1_000_000
HOURS_72_US = 72 * 3600 * SECOND
MOST_APART_US = 45_000
#: Pictures of a burst lie a millisecond apart.
MOST_HASTE_US = 200_000


def test_a_steady_source_keeps_its_own_distances() -> None:
    clock = LiveClock()
    stamps = [clock.picture_us(n * FRAME_US, 5_000_000 + n * FRAME_US) for n in range(1000)]
    assert [b - a for a, b in pairwise(stamps)] == [FRAME_US] * 999


def test_after_a_burst_of_three_seconds_stamps_are_at_the_wall_again() -> None:
    clock = LiveClock()
    for n in range(75):
        clock.picture_us(n * FRAME_US, 0)
    live = clock.picture_us(75 * FRAME_US, FRAME_US)
    assert live - FRAME_US <= AHEAD_US + 75 * 1_000  # not the three seconds of the burst


def test_what_a_stalled_network_held_keeps_its_times() -> None:
    clock = LiveClock()
    clock.sound_us(0, 0)
    late_us = BEHIND_US - SOUND_US
    stamps = [clock.sound_us(at_us, max(at_us, late_us)) for at_us in range(0, 2 * BEHIND_US, SOUND_US)]
    assert stamps == list(range(0, 2 * BEHIND_US, SOUND_US))


def test_a_pause_beyond_the_bound_is_not_caught_up_with() -> None:
    clock = LiveClock()
    clock.sound_us(0, 0)
    pause_us = BEHIND_US + 5 * SECOND
    assert clock.sound_us(SOUND_US, pause_us) == pause_us
    assert clock.sound_us(2 * SOUND_US, pause_us + SOUND_US) == pause_us + SOUND_US


def test_a_lasting_lag_is_taken_back_to_what_is_allowed() -> None:
    clock = LiveClock()
    clock.sound_us(0, 0)
    lag_us = LAG_US + 500_000
    stamps = [clock.sound_us(at_us, at_us + lag_us) - at_us for at_us in range(0, 20 * SECOND, SOUND_US)]
    assert stamps[0] == 0
    assert stamps[-1] == lag_us - LAG_US


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 100_000)), min_size=1))
def test_pictures_only_move_forward_and_never_far_ahead(steps: list[tuple[int, int]]) -> None:
    clock, media, now, last = LiveClock(), 0, 0, -(1 << 62)
    for number, (media_step, wall_step) in enumerate(steps):
        media, now = media + media_step, now + wall_step
        stamp = clock.picture_us(media, now)
        assert stamp > last
        assert stamp <= now + AHEAD_US + number * 1_000
        last = stamp


@given(st.lists(st.tuples(st.integers(-5 * SECOND, 20 * SECOND), st.integers(0, 20 * SECOND)), min_size=1))
def test_no_stamp_is_out_of_its_bounds_whatever_comes(steps: list[tuple[int, int]]) -> None:
    clock, media, now = LiveClock(), 0, 0
    for media_step, wall_step in steps:
        media, now = media + media_step, now + wall_step
        assert -BEHIND_US <= clock.sound_us(media, now) - now <= AHEAD_US


class Relay:
    """Raw times of two tracks through the timeline, the clock and the run of sound, as when it is played."""

    def __init__(self) -> None:
        self.filled = 0  #: samples of silence
        self.apart_us: list[int] = []
        self._timeline, self._clock, self._run = Timeline(), LiveClock(), SoundRun()
        self._end_us = 0
        self._sound: tuple[int, int] | None = None

    def picture(self, raw_us: int, true_us: int, now_us: int) -> None:
        """`true_us`: when it was recorded, which only the test knows."""
        packet = self._place(TrackKind.VIDEO, raw_us)
        stamp_us = self._clock.picture_us(packet.pts_us, now_us)
        assert -BEHIND_US <= stamp_us - now_us <= AHEAD_US + MOST_HASTE_US
        if self._sound is not None:
            sound_us, sound_true_us = self._sound
            self.apart_us.append((stamp_us - true_us) - (sound_us - sound_true_us))

    def sound(self, raw_us: int, duration_us: int, true_us: int, now_us: int) -> None:
        packet = self._place(TrackKind.AUDIO, raw_us)
        gap = self._run.gap(self._clock.sound_us(packet.pts_us, now_us))
        self.filled += max(0, gap)
        self._run.add(gap)  # filled up, or left out of what follows
        self._sound = (self._run.add(duration_us * RATE // SECOND), true_us)

    def _place(self, kind: TrackKind, raw_us: int) -> Packet:
        packet = Packet(kind, b"", raw_us, raw_us, True)
        self._timeline.place(packet)
        return packet


def moments(first_us: int, dense_at_us: list[int]) -> Iterator[tuple[int, int]]:
    """Media times of 72 h and the distance to the next: fine where something happens, else coarse."""
    at_us = first_us
    while at_us < first_us + HOURS_72_US:
        near = any(abs(at_us - moment_us) < 10 * SECOND for moment_us in dense_at_us)
        step_us = FRAME_US if near else 9 * SECOND
        yield at_us, step_us
        at_us += step_us


@pytest.mark.parametrize("ppm", [-2_000, 100])
@pytest.mark.parametrize(
    ("wrap_us", "first_us"),
    [
        (0xFFFFFF * 1_000, 0),  # servers that know no extended timestamps: every 4 h 40 min
        ((1 << 32) * 1_000, (1 << 32) * 1_000 - 3600 * SECOND),  # RTMP's 32 bits of milliseconds
        ((1 << 33) * 100 // 9, 0),  # MPEG-TS at 90 kHz: every 26.5 h
    ],
)
def test_72_hours_of_a_clock_that_differs_and_wraps(ppm: int, wrap_us: int, first_us: int) -> None:
    relay = Relay()
    wraps = [n * wrap_us for n in range(1 + (first_us + HOURS_72_US) // wrap_us)]
    for n, (media_us, step_us) in enumerate(moments(first_us, wraps)):
        now_us = int((media_us - first_us) * (1 + ppm / 1e6)) + (0, 30_000, 90_000)[n % 3]  # jitter
        relay.sound(media_us // 1_000 * 1_000 % wrap_us, step_us, media_us, now_us)
        relay.picture(media_us // 1_000 * 1_000 % wrap_us, media_us, now_us)
    assert max(map(abs, relay.apart_us)) < MOST_APART_US


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["play", "stall and burst", "pause", "jump"]), st.integers(1, 6), st.booleans()
        ),
        max_size=8,
    )
)
def test_sound_stays_with_the_picture_through_all_that_happens(
    events: list[tuple[str, int, bool]],
) -> None:
    """`stall and burst`: the network holds what the encoder goes on making; `pause`: the encoder stands
    still; `jump`: its timestamps begin anew, and one track says so first."""
    relay, made_us, now_us, shift_us = Relay(), 0, 0, 0
    for event, seconds, sound_first in [*events, ("play", 12, True)]:
        if event == "pause":
            now_us += seconds * SECOND
        elif event == "jump":
            shift_us += 3600 * SECOND * (-1) ** seconds
        held_us = now_us + seconds * SECOND
        for _ in range(seconds * SECOND // FRAME_US):
            made_us, now_us = made_us + FRAME_US, now_us + FRAME_US
            at_us = max(now_us, held_us) if event == "stall and burst" else now_us
            raw_us = made_us + shift_us
            if not sound_first:
                relay.picture(raw_us, made_us, at_us)
            relay.sound(raw_us, FRAME_US, made_us, at_us)
            if sound_first:
                relay.picture(raw_us, made_us, at_us)
    settled = relay.apart_us[-5 * SECOND // FRAME_US :]
    assert max(map(abs, settled)) < MOST_APART_US


def test_a_slow_clock_is_filled_up_in_small_pieces() -> None:
    relay = Relay()
    for n in range(10 * 3600):
        media_us = n * SECOND
        relay.sound(media_us, SECOND, media_us, int(media_us * 1.0002))
    # 7.2 s in ten hours, less what it may lag.
    assert relay.filled / RATE == pytest.approx(7.2 - LAG_US / SECOND, abs=0.1)
