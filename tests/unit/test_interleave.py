"""Order of sound and pictures on their way to a CDN."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sluice.media.packets import TrackKind
from sluice.media.push.interleave import WINDOW_US, Interleaver
from sluice.media.units import Unit


def picture(at_us: int) -> Unit:
    return Unit(TrackKind.VIDEO, at_us, b"v")


def sound(at_us: int) -> Unit:
    return Unit(TrackKind.AUDIO, at_us, b"a")


def times(units: list[Unit]) -> list[int]:
    return [unit.at_us for unit in units]


@given(st.integers(0, WINDOW_US - 100_000), st.booleans())
def test_a_track_that_lags_within_the_window_keeps_the_order(lag_us: int, sound_lags: bool) -> None:
    interleaver = Interleaver()
    arrivals = [(n * 40_000 + (0 if sound_lags else lag_us), picture(n * 40_000)) for n in range(50)]
    arrivals += [(n * 23_220 + (lag_us if sound_lags else 0), sound(n * 23_220)) for n in range(86)]
    out = [
        unit for _, arrived in sorted(arrivals, key=lambda a: a[0]) for unit in interleaver.push([arrived])
    ]
    assert times(out) == sorted(times(out))
    assert len(out) >= len(arrivals) - 20


def test_a_track_alone_waits_no_longer_than_the_window() -> None:
    interleaver = Interleaver()
    for n in range(100):
        out = interleaver.push([sound(n * 20_000)])
        assert times(out) == ([n * 20_000 - WINDOW_US] if n * 20_000 >= WINDOW_US else [])


def test_what_is_too_late_goes_out_late() -> None:
    interleaver = Interleaver()
    for n in range(100):
        interleaver.push([sound(n * 20_000)])
    assert times(interleaver.push([picture(500_000)])) == [500_000]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2_000_000)), max_size=50))
def test_nothing_is_lost_and_nothing_held_beyond_the_window(arrivals: list[tuple[bool, int]]) -> None:
    interleaver, out = Interleaver(), list[Unit]()
    units = [picture(at) if is_picture else sound(at) for is_picture, at in arrivals]
    for unit in units:
        ready = interleaver.push([unit])
        assert all(a.at_us <= b.at_us for a, b in pairwise(ready))
        out += ready
    newest = max(times(units), default=0)
    held = [unit for unit in units if unit not in out]
    assert all(at > newest - WINDOW_US for at in times(held))
