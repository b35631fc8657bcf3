"""What is dropped when a CDN is too slow: whole groups of pictures, never a part that others need."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.media.packets import TrackKind
from sluice.media.sink.backlog import MOST_BYTES, MOST_US, Backlog
from sluice.media.units import Unit

FRAME_US = 40_000


def picture(n: int, *, key: bool = False, size: int = 100) -> Unit:
    return Unit(TrackKind.VIDEO, n * FRAME_US, bytes(size), key)


def sound(n: int) -> Unit:
    return Unit(TrackKind.AUDIO, n * FRAME_US, b"a" * 10)


def test_what_fits_goes_through_in_order() -> None:
    backlog = Backlog()
    units = [picture(n, key=n == 0) for n in range(100)]
    backlog.add(units)
    taken: list[Unit] = []
    while backlog:
        taken += backlog.take(1000)
    assert taken == units
    assert backlog.dropped == 0
    assert backlog.take(1000) == []


def test_the_past_is_dropped_up_to_the_newest_key_frame() -> None:
    backlog = Backlog()
    units = [unit for n in range(127) for unit in (picture(n, key=n % 50 == 0), sound(n))]
    backlog.add(units)
    assert backlog.dropped == 200, "two groups, with their sound"
    assert backlog.take(1 << 30) == units[200:]
    assert not backlog.needs_key_frame


def test_without_a_key_frame_pictures_stop_until_one_comes() -> None:
    backlog = Backlog()
    for n in range(200):
        backlog.add([picture(n, key=n == 0), sound(n)])
    assert backlog.needs_key_frame
    backlog.add([picture(200, key=True), picture(201)])
    kept = backlog.take(1 << 30)
    assert [unit.at_us for unit in kept if unit.kind is TrackKind.VIDEO] == [200 * FRAME_US, 201 * FRAME_US]
    assert len(kept) + backlog.dropped == 402


def test_bytes_are_bounded_too() -> None:
    backlog = Backlog()
    backlog.add([picture(n, key=n == 3, size=MOST_BYTES // 4) for n in range(5)])
    assert backlog.dropped == 3


_STREAM = st.lists(st.tuples(st.sampled_from(["key", "picture", "sound"]), st.integers(1, 20)), max_size=300)


@given(_STREAM, st.integers(1, 400))
def test_what_is_taken_decodes_and_never_lags(stream: list[tuple[str, int]], most_bytes: int) -> None:
    backlog, at, position, seen = Backlog(), 0, -1, list[int]()
    for kind, step in stream:
        at += step
        position += kind != "sound"
        unit = (
            sound(at)
            if kind == "sound"
            else Unit(TrackKind.VIDEO, at * FRAME_US, b"%d" % position, kind == "key")
        )
        backlog.add([unit])
        if step % 7 == 0:
            for taken in backlog.take(most_bytes):
                assert at * FRAME_US - taken.at_us <= MOST_US
                if taken.kind is TrackKind.VIDEO:
                    number = int(taken.body)
                    assert taken.key or not seen or number == seen[-1] + 1
                    seen.append(number)
