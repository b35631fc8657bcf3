from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.relay.repeats import Repeats
from sluice.process.link import FrameType


def picture(data: bytes, *, key: bool = True) -> Packet:
    return Packet(TrackKind.VIDEO, data, 0, 0, key)


def frame(payload: bytes) -> OutFrame:
    return OutFrame(FrameType.VIDEO, 0, payload)


class Attempts:
    def __init__(self) -> None:
        self._repeats = Repeats()

    def begin(self) -> None:
        self._repeats.begin()

    def play(self, data: bytes, now: float, *, key: bool = True) -> list[bytes]:
        self._repeats.note([picture(data, key=key)], now)
        return [sent.payload for sent in self._repeats.release([frame(data)], now)]


def test_a_first_attempt_sends_everything_at_once() -> None:
    attempts = Attempts()
    attempts.begin()
    assert attempts.play(b"a", 0) == [b"a"]
    assert attempts.play(b"a", 0.1) == [b"a"]  # a clip of one key frame


def test_what_was_sent_is_not_sent_again_by_a_source_that_has_nothing_else() -> None:
    attempts = Attempts()
    for now in range(0, 100, 10):
        attempts.begin()
        sent = attempts.play(b"a", now) + attempts.play(b"b", now + 0.2, key=False)
        assert sent == ([b"a", b"b"] if now == 0 else [])


def test_a_source_that_goes_on_is_shown_from_where_it_began() -> None:
    attempts = Attempts()
    attempts.begin()
    attempts.play(b"a", 0)
    attempts.begin()
    assert attempts.play(b"a", 10) == []
    assert attempts.play(b"b", 10.5, key=False) == []
    assert attempts.play(b"c", 11.1, key=False) == [b"a", b"b", b"c"]
    assert attempts.play(b"d", 11.2, key=False) == [b"d"]


def test_another_key_frame_ends_the_doubt() -> None:
    attempts = Attempts()
    attempts.begin()
    attempts.play(b"a", 0)
    attempts.begin()
    assert attempts.play(b"a", 10) == []
    assert attempts.play(b"new", 10.4) == [b"a", b"new"]
