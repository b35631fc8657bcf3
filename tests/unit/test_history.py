"""What is kept of a stream's pictures, and who gives way when that is too much."""

from sluice.rooms.engine.frame import Frame, runs_of
from sluice.rooms.engine.history import MOST_GROUP_FRAMES, History, settle

FRAME_US = 40_000


class Pictures:
    """A history that is fed with 25 frames a second."""

    def __init__(self) -> None:
        self.history = History()
        self._number = 0

    def take(self, count: int, *, key: bool = False, size: int = 100) -> None:
        for n in range(count):
            payload = bytes(size)
            self.history.keep(
                Frame(
                    number=self._number,
                    sequence=self._number,
                    timestamp=0,
                    clock_us=self._number * FRAME_US,
                    key=key and n == 0,
                    size=size,
                    payloads=[payload],
                    lengths=[size],
                    runs=runs_of([size]),
                    packed={},
                )
            )
            self._number += 1

    @property
    def first(self) -> int | None:
        """The number of the oldest frame that is found."""
        found = (self.history.find(number) for number in range(self._number))
        return next((place[0].number for place in found if place), None)


def test_a_group_is_kept_whole_however_long_it_is() -> None:
    pictures = Pictures()
    pictures.take(1000, key=True, size=20_000)
    assert [frame.number for frame in pictures.history.group()] == list(range(1000))
    assert pictures.history.bytes_kept > 20_000_000


def test_what_lies_before_it_is_let_go_little_by_little() -> None:
    pictures = Pictures()
    pictures.take(1000, key=True, size=20_000)
    pictures.take(1, key=True)
    assert pictures.first == 32
    pictures.take(50)
    assert pictures.history.bytes_kept < 5 << 20
    assert len(pictures.history.group()) == 51


def test_a_group_that_nobody_can_be_shown_is_not_kept() -> None:
    pictures = Pictures()
    pictures.take(MOST_GROUP_FRAMES, key=True)
    assert len(pictures.history.group()) == MOST_GROUP_FRAMES
    pictures.take(1)
    assert pictures.history.group() == []
    assert pictures.first == MOST_GROUP_FRAMES - 50, "two seconds, for NACKs"
    pictures.take(2000)
    assert pictures.history.bytes_kept < 1 << 20
    pictures.take(3, key=True)
    assert len(pictures.history.group()) == 3


def test_the_largest_gives_way_first() -> None:
    large, small = Pictures(), Pictures()
    large.take(500, key=True, size=20_000)
    small.take(500, key=True, size=2_000)
    histories = [large.history, small.history]
    total = sum(history.bytes_kept for history in histories)
    assert settle(histories, total) == 0
    assert settle(histories, total - 1) == 1
    assert large.history.group() == []
    assert large.history.bytes_kept < 5 << 20
    assert len(small.history.group()) == 500
    assert settle(histories, 0) == 2, "what NACKs ask for stays"
    assert large.first == 449
