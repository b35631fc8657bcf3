"""Rates of the last second, and what key frames tell of a picture."""

from sluice.rooms.engine.meter import KeyFrames, Meter, kbps

S = 1_000_000
#: Main, level 4.0, cropped to 1920x1080.
SPS = bytes.fromhex("674d4028eca03c0113f2e022000003000200000300641e30632c")
NOTHING = ("", "", None, None)


def test_rates_are_of_the_time_between_two_looks() -> None:
    meter = Meter((1000, 0), 5 * S)
    seen = [meter.per_s]
    for at_us, counts in (
        (5 * S + 500_000, (1500, 10)),  # too soon
        (7 * S, (3000, 50)),
        (8 * S, (3000, 50)),
    ):
        meter.look(counts, at_us)
        seen.append(meter.per_s)
    assert seen == [(0, 0), (0, 0), (1000, 25), (0, 0)]
    assert kbps(125_000) == 1000


def test_key_frames_tell_the_size_and_how_far_apart_they_are() -> None:
    frames = KeyFrames()
    assert frames.picture() == NOTHING
    intervals = []
    for at_us, units in ((10 * S, [SPS, b"\x68pps", b"\x65"]), (12 * S, [b"\x65"])):
        frames.note(units, at_us)
        intervals.append(frames.interval_us)
    assert intervals == [None, 2 * S]
    assert frames.picture() == ("Main", "4.0", 1920, 1080)


def test_parameter_sets_that_cannot_be_read_tell_nothing() -> None:
    frames = KeyFrames()
    frames.note([b"\x67"], 0)
    assert frames.picture() == NOTHING
