"""The jitter buffer: order, duplicates, wraps, what is asked for again and when, and what is given up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.jitter_buffer import REORDERING_US, JitterBuffer
from sluice.wire.rtp import RtpPacket
from tests.unit.steps import steps

MS = 1000


def packet(number: int) -> RtpPacket:
    return RtpPacket(96, False, number & 0xFFFF, 0, 1, number.to_bytes(4, "big"))


def numbers(packets: list[RtpPacket]) -> list[int]:
    return [int.from_bytes(found.payload, "big") for found in packets]


class Buffer:
    """A buffer and its clock; `got` are the numbers that went on."""

    def __init__(self, *, retransmission: bool = True) -> None:
        self.buffer = JitterBuffer(retransmission=retransmission)
        self.now_us = 0
        self.got: list[int] = []
        self.lost_before: dict[int, int] = {}

    def push(self, *arrivals: int, every_us: int = MS) -> list[int]:
        """What went on because of these."""
        before = len(self.got)
        for number in arrivals:
            self._take(self.buffer.push(packet(number), self.now_us))
            self.now_us += every_us
        return self.got[before:]

    def wait(self, us: int) -> list[int]:
        before = len(self.got)
        self.now_us += us
        self._take(self.buffer.poll(self.now_us))
        return self.got[before:]

    def wanted(self) -> list[int]:
        return self.buffer.wanted(self.now_us)

    def _take(self, packets: list[RtpPacket]) -> None:
        self.got += numbers(packets)
        self.lost_before |= {n: p.lost_before for n, p in zip(numbers(packets), packets, strict=True)}


def test_what_comes_in_order_goes_on_at_once() -> None:
    buffer = Buffer()
    for number in (65534, 65535, 65536, 65537):
        assert buffer.push(number) == [number]
    assert buffer.wanted() == []


def test_what_overtook_waits() -> None:
    buffer = Buffer()
    assert buffer.push(10, 12, 13) == [10]
    assert buffer.push(11) == [11, 12, 13]
    assert set(buffer.lost_before.values()) == {0}


def test_duplicates_and_what_is_late_are_left_out() -> None:
    buffer = Buffer()
    assert buffer.push(10, 10, 9, 12, 12, 11, 11) == [10, 11, 12]
    assert (buffer.buffer.late, buffer.buffer.duplicates) == (3, 1)


def test_what_is_missing_is_asked_for_at_once_and_again_a_round_trip_later() -> None:
    buffer = Buffer()
    buffer.push(65534, 65537)
    assert buffer.wanted() == [65535, 0]
    assert buffer.wanted() == []
    buffer.wait(99 * MS)
    assert buffer.wanted() == []
    buffer.wait(2 * MS)
    assert buffer.wanted() == [65535, 0]
    buffer.push(65535)
    buffer.wait(200 * MS)
    assert buffer.wanted() == [0]


def test_it_is_asked_ten_times_and_then_given_up() -> None:
    buffer = Buffer()
    buffer.push(1, 3)
    asked = 0
    for _ in range(2000):
        asked += len(buffer.wanted())
        if buffer.wait(MS):
            break
    assert asked == 10
    assert buffer.now_us <= 1010 * MS
    assert buffer.got == [1, 3]
    assert buffer.lost_before == {1: 0, 3: 1}
    assert buffer.buffer.lost == 1
    assert buffer.push(2) == [], "too late"


def test_who_was_held_up_does_not_give_up_what_he_has_not_asked_for_often() -> None:
    """The answer is in the socket behind what came before it."""
    buffer = Buffer()
    number = 0
    for _ in range(40):  # a near sender, whose answers are not waited for long
        buffer.push(number, number + 2)
        buffer.wanted()
        buffer.push(number + 1)
        number += 3
    buffer.push(number, number + 2)
    buffer.wanted()
    assert buffer.wait(500 * MS) == [], "held up"
    buffer.push(number + 3, number + 4)
    assert buffer.wanted() == [number + 1], "asked again, for the first answer may be lost"
    assert buffer.push(number + 1) == [number + 1, number + 2, number + 3, number + 4]
    assert buffer.buffer.lost == 0


@pytest.mark.parametrize("rtt_ms", [5, 40, 200])
def test_the_round_trip_is_learned_from_the_answers(rtt_ms: int) -> None:
    buffer = Buffer()
    number = 0
    for _ in range(40):
        buffer.push(number, number + 2)
        buffer.wanted()
        buffer.wait(rtt_ms * MS - MS)
        assert buffer.push(number + 1) == [number + 1, number + 2]
        number += 3
    assert abs(buffer.buffer.rtt_us - rtt_ms * MS) <= 0.1 * rtt_ms * MS
    buffer.push(number, number + 2)
    assert len(buffer.wanted()) == 1
    buffer.wait((max(20, rtt_ms) - 2) * MS)
    assert buffer.wanted() == []
    buffer.wait(rtt_ms // 5 * MS + 2 * MS)
    assert len(buffer.wanted()) == 1, "one round trip later, but not more often than every 20 ms"


def test_where_nothing_is_repeated_only_reordering_is_waited_for() -> None:
    buffer = Buffer(retransmission=False)
    buffer.push(1, 3)
    assert buffer.wanted() == []
    assert buffer.wait(REORDERING_US - 2 * MS) == []
    assert buffer.wait(2 * MS) == [3]


def test_several_gaps_are_given_up_one_by_one() -> None:
    buffer = Buffer(retransmission=False)
    buffer.push(1, 3)
    buffer.wait(10 * MS)
    buffer.push(6)
    assert buffer.wait(20 * MS) == [3]
    assert buffer.wait(20 * MS) == [6]
    assert buffer.lost_before == {1: 0, 3: 1, 6: 2}


def test_a_gap_of_a_network_that_was_away_is_not_waited_for() -> None:
    buffer = Buffer()
    buffer.push(1, 3)
    assert buffer.push(500) == [3, 500]
    assert buffer.wanted() == []
    assert buffer.lost_before == {1: 0, 3: 1, 500: 496}
    assert buffer.push(501) == [501]


def test_what_waits_is_bounded() -> None:
    buffer = Buffer()
    buffer.push(1)
    assert buffer.push(*range(3, 2100), every_us=0)[0] == 3, "in no time, and still given up"


@given(st.permutations(range(40)), st.integers(0, 0xFFFF), st.sets(st.integers(1, 39)))
def test_any_order(order: list[int], start: int, repeated: set[int]) -> None:
    """Whatever overtakes what, and comes twice: each goes on once, in order, from the first to come on."""
    buffer = Buffer()
    arrivals = [start + n for n in order]
    for number in arrivals:
        buffer.push(number, *([number] if number - start in repeated else []), every_us=0)
    assert buffer.got == [n for n in range(start, start + 40) if n >= arrivals[0]]
    assert buffer.buffer.lost == 0


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60 * MS)), max_size=150), st.booleans())
def test_any_loss(arrivals: list[tuple[int, int]], retransmission: bool) -> None:
    """Numbers never go back, and each gap between them is told."""
    buffer = Buffer(retransmission=retransmission)
    for number, pause_us in arrivals:
        buffer.push(number, every_us=0)
        assert len(buffer.wanted()) <= 256
        buffer.wait(pause_us)
    buffer.wait(3_000_000)
    assert all(a < b for a, b in pairwise(buffer.got))
    for a, b in pairwise(buffer.got):
        assert buffer.lost_before[b] == b - a - 1


def test_a_gap_is_not_counted_through() -> None:
    """A sender may jump by thousands with each packet: the work is that for the packets, not for the gaps."""
    buffer = Buffer()
    begun = [0x7000 * n for n in range(2000)]
    assert steps(lambda: buffer.push(*begun)) < 100 * len(begun)
    assert buffer.got == begun
    assert buffer.buffer.lost == begun[-1] - len(begun) + 1
    assert buffer.lost_before[begun[-1]] == 0x6FFF


@pytest.mark.parametrize("step", [2, 3, 100, 257, 0x7FFF])
def test_the_work_grows_with_the_packets(step: int) -> None:
    def work(packets: int) -> None:
        buffer = Buffer()
        for n in range(packets):
            buffer.push(step * n)
            buffer.wanted()
        buffer.wait(2000 * MS)

    assert steps(lambda: work(800)) <= 2.5 * steps(lambda: work(400))
