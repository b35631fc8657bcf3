"""Transport-wide congestion feedback: bytes as the draft draws them, and what an independent reader finds."""

import struct
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.transport_feedback import TransportFeedback, status_chunks

MS = 1000
SENDER, MEDIA = 0x0A0B0C0D, 0x11223344


def test_chunks_as_the_draft_shows_them() -> None:
    """Sections 3.1.3 and 3.1.4, their examples (those without symbols that are reserved)."""
    assert status_chunks([0] * 221) == [bytes.fromhex("00dd")]
    one_bit = [0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0]
    assert status_chunks([*one_bit, 2]) == [bytes([0b10011111, 0b00011100]), bytes.fromhex("4001")]
    assert status_chunks([0, 2, 1, 1, 1, 0, 0, 1]) == [bytes([0b11001001, 0b01010000]), bytes.fromhex("2001")]


def test_a_packet() -> None:
    """Field by field (3.1): one is missing, one came much later, and the one behind it before it."""
    feedback = TransportFeedback()
    start_us = 0x123456 * 64 * MS
    for number, after_us in ((0xFFFE, 1000), (0xFFFF, 1250), (1, 100 * MS), (2, 99 * MS), (3, 99 * MS + 250)):
        feedback.on_packet(number, start_us + after_us)
    (packet,) = feedback.packets(SENDER, MEDIA)
    assert packet == bytes.fromhex(
        "afcd0007 0a0b0c0d 11223344"  # padded, FMT 15, 8 words
        "fffe 0006 123456 00"  # base number, count, reference time, number of this feedback
        "d4a4"  # symbols of two bits: 1 1 0 2 2 1, and one that is none
        "04 01 018b fffc 01"  # 1 ms, 250 us, 98.75 ms, -1 ms, 250 us
        "000003"
    )


def test_nothing_is_said_of_nothing() -> None:
    feedback = TransportFeedback()
    assert feedback.packets(SENDER, MEDIA) == []
    feedback.on_packet(1, 0)
    assert len(feedback.packets(SENDER, MEDIA)) == 1
    assert feedback.packets(SENDER, MEDIA) == []
    feedback.on_packet(1, 0)
    assert feedback.packets(SENDER, MEDIA) == [], "a duplicate is no news"


class Reader:
    """A reader of feedback, written from the draft; `arrivals` are in 250 us by number, None for lost."""

    def __init__(self) -> None:
        self.arrivals: dict[int, int | None] = {}
        self.counts: list[int] = []

    def read(self, packet: bytes) -> None:
        head, kind, words, sender, media = struct.unpack_from("!BBHII", packet)
        assert (head & 0xDF, kind, sender, media) == (0x8F, 205, SENDER, MEDIA)
        assert len(packet) == 4 * (words + 1) <= 1200
        end = len(packet) - (packet[-1] if head & 0x20 else 0)
        base, count = struct.unpack_from("!HH", packet, 12)
        self.counts.append(packet[19])
        symbols, at = list[int](), 20
        while len(symbols) < count:
            (chunk,) = struct.unpack_from("!H", packet, at)
            at += 2
            if chunk < 0x8000:
                symbols += [chunk >> 13] * (chunk & 0x1FFF)
            elif chunk < 0xC000:
                symbols += [chunk >> n & 1 for n in range(13, -1, -1)]
            else:
                symbols += [chunk >> n & 3 for n in range(12, -1, -2)]
        clock = int.from_bytes(packet[16:19], "big") * 256
        for n, symbol in enumerate(symbols[:count]):
            if symbol:
                clock += packet[at] if symbol == 1 else struct.unpack_from("!h", packet, at)[0]
                at += symbol
            self.arrivals[(base + n) & 0xFFFF] = clock if symbol else None
        assert at == end


steps = st.tuples(
    st.integers(1, 40) | st.just(1) | st.just(90), st.integers(0, 500) | st.integers(0, 20_000 * MS)
)


@given(st.integers(0, 0xFFFF), st.lists(steps, min_size=1, max_size=60), st.integers(1, 20))
def test_a_reader_finds_what_was_received(start: int, moves: list[tuple[int, int]], every: int) -> None:
    feedback, reader = TransportFeedback(), Reader()
    number, now_us, arrived = start, 5_000 * MS, dict[int, int]()
    for n, (step, pause_us) in enumerate(moves):
        feedback.on_packet(number & 0xFFFF, now_us)
        arrived[number] = now_us
        if n % every == 0:
            for packet in feedback.packets(SENDER, MEDIA):
                reader.read(packet)
        number, now_us = number + step, now_us + pause_us
    for packet in feedback.packets(SENDER, MEDIA):
        reader.read(packet)
    last = max(arrived)
    for number in range(start, last + 1):
        told = reader.arrivals[number & 0xFFFF]
        assert (told is None) == (number not in arrived)
        assert told is None or abs(told * 250 - arrived[number]) <= 250
    assert reader.counts == [n & 0xFF for n in range(len(reader.counts))]


def test_a_packet_that_was_overtaken_by_a_feedback_is_told_in_the_next() -> None:
    feedback, reader = TransportFeedback(), Reader()
    for n in (1, 3, 2, 4):
        feedback.on_packet(n, n * MS)
        for packet in feedback.packets(SENDER, MEDIA):
            reader.read(packet)
        if n == 3:
            assert reader.arrivals[2] is None
    assert [reader.arrivals[n] for n in range(1, 5)] == [4, 8, 12, 16]


def test_a_flood_is_cut_into_packets_below_the_mtu() -> None:
    feedback, reader = TransportFeedback(), Reader()
    for n in range(2000):
        feedback.on_packet(n, n * 40 * MS)  # far apart: two bytes each
    made = feedback.packets(SENDER, MEDIA)
    for packet in made:
        reader.read(packet)
    assert len(made) > 5
    assert all(reader.arrivals[n] is not None for n in range(2000))


def test_what_is_remembered_is_bounded_and_a_sender_may_begin_anew() -> None:
    feedback = TransportFeedback()
    for n in range(100_000):
        feedback.on_packet(n & 0xFFFF, n)
        if n % 100 == 0:
            feedback.packets(SENDER, MEDIA)
    feedback.packets(SENDER, MEDIA)
    feedback.on_packet((100_000 - 5000) & 0xFFFF, 0)
    assert feedback.packets(SENDER, MEDIA) == [], "older than is remembered"
    feedback.on_packet((100_000 + 0x5000) & 0xFFFF, 200_000)
    (packet,) = feedback.packets(SENDER, MEDIA)
    assert struct.unpack_from("!HH", packet, 12) == ((100_000 + 0x5000) & 0xFFFF, 1)


def test_what_one_call_tells_of_is_bounded_whatever_the_numbers_do() -> None:
    """A sender that jumps by thousands; the numbers of one feedback have 16 bits in its head."""
    for step in (1, 600, 1999, 2001, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xFFFF):
        feedback, told = TransportFeedback(), 0
        for n in range(2000):
            feedback.on_packet(n * step & 0xFFFF, n * MS)
            if n % 100 == 99:
                packets = feedback.packets(SENDER, MEDIA)
                told += sum(struct.unpack_from("!H", packet, 14)[0] for packet in packets)
                assert all(len(packet) <= 1200 for packet in packets)
                assert len(packets) <= 32
        assert told <= 20 * 2000


def test_numbers_that_were_sent_long_apart_and_mixed_make_few_packets() -> None:
    feedback = TransportFeedback()
    for at_us, first in ((0, 2), (20_000 * MS, 1)):
        for n in range(first, 1000, 2):
            feedback.on_packet(n, at_us)
    assert len(feedback.packets(SENDER, MEDIA)) == 32
    assert feedback.packets(SENDER, MEDIA) == []


@given(st.lists(st.integers(0, 2), max_size=100))
def test_chunks_hold_all_symbols(symbols: list[int]) -> None:
    runs = [len(list(group)) for _, group in groupby(symbols)]
    assert len(status_chunks(symbols)) <= max(len(runs), len(symbols) // 7 + 1)
