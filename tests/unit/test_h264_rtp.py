"""Access units out of RTP packets: the three packet forms, borders, and that nothing undecodable leaves."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.h264 import Sps
from sluice.wire.h264_rtp import AccessUnit, H264Depacketizer
from sluice.wire.jitter_buffer import JitterBuffer
from sluice.wire.rtp import MAX_PAYLOAD, RtpPacket, h264_payloads

SPS, PPS = bytes.fromhex("6742c01f95a01400"), bytes.fromhex("68ce3c80")
IDR, P = b"\x65\x88" + bytes(10), b"\x41\x9a" + bytes(10)
REST = b"\x41\x42" + bytes(10)  #: another slice of the picture: its first_mb_in_slice is not 0


def packets(*units: bytes, timestamp: int = 0, sequence: int = 0, marker: bool = True) -> list[RtpPacket]:
    """One access unit as our own packetizer writes it, which other decoders have proven."""
    payloads = h264_payloads(units)
    return [
        RtpPacket(96, marker and n == len(payloads) - 1, (sequence + n) & 0xFFFF, timestamp, 1, payload)
        for n, payload in enumerate(payloads)
    ]


def alone(payload: bytes, timestamp: int = 0, *, marker: bool = True, lost: int = 0) -> RtpPacket:
    return RtpPacket(96, marker, 0, timestamp, 1, payload, lost_before=lost)


def feed(depacketizer: H264Depacketizer, *fed: RtpPacket) -> list[AccessUnit]:
    """What leaves with these packets, and by the marker of the last one."""
    return [unit for packet in fed for unit in depacketizer.feed(packet)] + depacketizer.flush()


@pytest.fixture
def started() -> H264Depacketizer:
    """Behind a key frame."""
    depacketizer = H264Depacketizer()
    assert feed(depacketizer, *packets(SPS, PPS, IDR)) == [AccessUnit([SPS, PPS, IDR], 0, True)]
    return depacketizer


def test_a_single_unit(started: H264Depacketizer) -> None:
    assert feed(started, alone(P, 3000)) == [AccessUnit([P], 3000, False)]


def test_an_aggregate() -> None:
    """RFC 6184 5.7.1, figure 7, byte by byte."""
    stap = bytes.fromhex("78 0008") + SPS + bytes.fromhex("0004") + PPS + bytes.fromhex("000c") + IDR
    (unit,) = feed(H264Depacketizer(), alone(stap))
    assert unit.nal_units == [SPS, PPS, IDR]


def test_fragments(started: H264Depacketizer) -> None:
    """RFC 6184 5.8, figure 14: indicator (importance, 28), head (start, end, type)."""
    parts = [bytes.fromhex("5c81 9a01"), bytes.fromhex("5c01 02"), bytes.fromhex("5c41 03")]
    fed = [alone(part, 3000, marker=n == 2) for n, part in enumerate(parts)]
    assert feed(started, *fed) == [AccessUnit([bytes.fromhex("419a010203")], 3000, False)]


def test_several_slices(started: H264Depacketizer) -> None:
    large = REST + bytes(3 * MAX_PAYLOAD)
    fed = packets(P, large, REST, timestamp=3000)
    assert feed(started, *fed) == [AccessUnit([P, large, REST], 3000, False)]


def test_without_a_marker_the_next_picture_ends_it(started: H264Depacketizer) -> None:
    assert feed(started, alone(P, 3000, marker=False), alone(REST, 3000, marker=False)) == []
    assert feed(started, alone(P, 6000, marker=False)) == [AccessUnit([P, REST], 3000, False)]


@pytest.mark.parametrize("head", ["0900", "0605", "6742c01f95a01400", "68ce3c80", "0e00"])
def test_what_stands_before_a_picture_ends_the_one_before(started: H264Depacketizer, head: str) -> None:
    fed = alone(P, 3000, marker=False), alone(bytes.fromhex(head), 6000, marker=False)
    assert feed(started, *fed) == [AccessUnit([P], 3000, False)]


@pytest.mark.parametrize("step", [0, 1])
def test_a_marker_on_each_slice(step: int) -> None:
    """And, with a step, a stamp of its own for each: the picture has that of its first slice."""
    depacketizer, got = H264Depacketizer(), list[AccessUnit]()
    for n in range(6):
        head = [SPS, PPS, IDR] if n == 0 else [P]
        for m, unit in enumerate([*head, REST, REST]):
            got += depacketizer.feed(alone(unit, 3000 * n + step * m))
    assert [unit.nal_units for unit in got] == [[SPS, PPS, IDR, REST, REST]] + [[P, REST, REST]] * 4
    assert [unit.timestamp - unit.timestamp % 3000 for unit in got] == [0, 3000, 6000, 9000, 12000]
    assert depacketizer.dropped == 0
    assert depacketizer.flush() == [], "no marker tells that the last one is whole"


def test_a_marker_that_was_right_is_believed(started: H264Depacketizer) -> None:
    for n in range(1, 4):
        feed(started, alone(P, 3000 * n))
    assert started.feed(alone(P, 12000)) == [AccessUnit([P], 12000, False)], "at once"
    assert feed(started, alone(REST, 12000)) == [], "it was not whole after all"
    assert feed(started, alone(P, 15000)) == []
    assert started.key_needed
    got = feed(started, *packets(SPS, PPS, IDR, timestamp=18000), alone(P, 21000), alone(P, 24000))
    assert [unit.timestamp for unit in got] == [18000, 21000], "and is not believed any more"


def test_two_pictures_with_one_time_stamp_are_two(started: H264Depacketizer) -> None:
    assert len(feed(started, alone(P, 3000), alone(P, 3000))) == 2


def test_the_fields_of_a_frame_stay_together() -> None:
    """An SPS with frame_mbs_only_flag 0."""
    fields = bytes.fromhex("674d4015f40a19a1000003000100000300321f142aa0")
    assert not Sps.parse(fields).frames_only
    depacketizer = H264Depacketizer()
    fed = [alone(unit, 0, marker=False) for unit in (fields, PPS, IDR, P)]
    assert feed(depacketizer, *fed, alone(P, 3000, marker=False)) == [
        AccessUnit([fields, PPS, IDR, P], 0, True)
    ]


def test_parameter_sets_of_the_offer() -> None:
    (unit,) = feed(H264Depacketizer([SPS, PPS]), alone(IDR))
    assert unit.nal_units == [SPS, PPS, IDR]


def test_why_nothing_leaves() -> None:
    depacketizer = H264Depacketizer()
    feed(depacketizer, alone(P))
    assert depacketizer.why == "no key frame has come yet"
    feed(depacketizer, alone(IDR, 3000))
    assert "without parameter sets" in depacketizer.why
    feed(depacketizer, *packets(SPS, PPS, IDR, timestamp=6000), alone(P, 9000, lost=2))
    assert depacketizer.why == "packets of the pictures are lost, and no key frame has come since"


def test_padding_is_nothing(started: H264Depacketizer) -> None:
    assert feed(started, alone(b"", 9000, marker=False), alone(P, 3000)) == [AccessUnit([P], 3000, False)]


def test_parameter_sets_alone_are_kept_for_the_key_frame_that_lacks_them(started: H264Depacketizer) -> None:
    smaller = bytes.fromhex("6742c01e95a0140f")
    assert feed(started, alone(smaller, 3000)) == []
    assert feed(started, alone(IDR, 6000)) == [AccessUnit([smaller, PPS, IDR], 6000, True)]
    assert feed(started, *packets(PPS, IDR, timestamp=9000))[0].nal_units == [smaller, PPS, IDR]


def test_a_key_frame_whose_parameter_sets_nobody_knows_is_none() -> None:
    depacketizer = H264Depacketizer()
    assert feed(depacketizer, alone(P), alone(IDR, 3000)) == []
    assert depacketizer.key_needed
    assert depacketizer.dropped == 2


def test_parameter_sets_in_front_of_each_slice_part_no_picture() -> None:
    """As GStreamer's rtph264pay sends them with config-interval=-1."""
    depacketizer = H264Depacketizer()
    second, second_p = b"\x65\x42" + bytes(10), b"\x41\x42" + bytes(10)
    for timestamp in (0, 9000):
        key = packets(SPS, PPS, IDR, SPS, PPS, second, timestamp=timestamp)
        after = packets(P, second_p, timestamp=timestamp + 3000)
        units = [unit.nal_units for unit in feed(depacketizer, *key, *after)]
        assert [SPS, PPS, IDR, second] in units
    assert depacketizer.dropped == 0


def test_parameter_sets_may_come_with_the_offer_alone() -> None:
    """https://github.com/meetecho/janus-gateway/pull/3149"""
    depacketizer = H264Depacketizer((SPS, PPS))
    assert feed(depacketizer, alone(P), alone(IDR, 3000)) == [AccessUnit([SPS, PPS, IDR], 3000, True)]
    assert feed(depacketizer, alone(P, 6000, lost=1)) == []
    assert feed(depacketizer, alone(IDR, 9000)) == [AccessUnit([SPS, PPS, IDR], 9000, True)]


def test_an_offers_parameter_sets_yield_to_those_of_the_stream() -> None:
    depacketizer = H264Depacketizer((SPS, PPS))
    smaller = bytes.fromhex("6742c01e95a0140f")
    assert feed(depacketizer, *packets(smaller, PPS, IDR))[0].nal_units == [smaller, PPS, IDR]
    assert feed(depacketizer, alone(IDR, 3000, lost=1)) == [], "what is lost may have been others"
    assert feed(depacketizer, alone(IDR, 6000)) == [AccessUnit([smaller, PPS, IDR], 6000, True)]


def test_nothing_leaves_before_the_first_key_frame() -> None:
    depacketizer = H264Depacketizer()
    assert feed(depacketizer, alone(P, 0), alone(P, 3000)) == []
    assert depacketizer.dropped == 2
    assert len(feed(depacketizer, *packets(SPS, PPS, IDR, timestamp=6000))) == 1


def test_after_a_loss_nothing_leaves_before_the_next_key_frame(started: H264Depacketizer) -> None:
    assert feed(started, alone(P, 3000, lost=1), alone(P, 6000)) == []
    assert started.key_needed
    assert len(feed(started, *packets(SPS, PPS, IDR, timestamp=9000), alone(P, 12000))) == 2
    assert not started.key_needed


@pytest.mark.parametrize("lost", range(4))
def test_a_key_frame_that_lost_a_packet_is_none(started: H264Depacketizer, lost: int) -> None:
    fed = packets(SPS, PPS, IDR + bytes(2 * MAX_PAYLOAD), timestamp=3000)
    assert len(fed) == 4
    del fed[lost]
    if lost < len(fed):
        fed[lost].lost_before = 1
    after = alone(P, 6000, lost=int(lost == 3))
    assert feed(started, *fed, after) == []
    assert started.key_needed


def test_a_whole_key_frame_right_behind_a_loss_is_taken(started: H264Depacketizer) -> None:
    fed = packets(SPS, PPS, IDR, timestamp=9000)
    fed[0].lost_before = 3
    assert len(feed(started, alone(P, 3000, marker=False), *fed)) == 1


def test_what_may_lack_its_parameter_sets_or_first_slice_is_not_taken(started: H264Depacketizer) -> None:
    """The lost packet may have brought a new picture size, or the upper half of the picture."""
    assert feed(started, alone(IDR, 3000, lost=1)) == []
    second = b"\x65\x42" + bytes(10)  # first_mb_in_slice is not 0
    fed = packets(SPS, PPS, second, timestamp=6000)
    fed[0].lost_before = 1
    assert feed(started, *fed) == []
    assert len(feed(started, *packets(IDR, timestamp=9000))) == 1, "its own head was there"


@pytest.mark.parametrize(
    "payload",
    [
        "00",  # type 0
        "7900010000",  # STAP-B, of another packetization mode
        "7d8100000102",  # FU-B
        "5c",  # FU-A without its head
        "5c81",
        "5c0102",  # no start
        "780005419a",  # cut short
        "780000",
    ],
)
def test_what_is_malformed_damages_its_access_unit(started: H264Depacketizer, payload: str) -> None:
    assert feed(started, alone(bytes.fromhex(payload), 3000, marker=False), alone(P, 3000)) == []
    assert started.key_needed


def test_a_fragment_that_never_ends_damages_it_too(started: H264Depacketizer) -> None:
    assert feed(started, alone(bytes.fromhex("5c819a"), 3000, marker=False), alone(P, 6000)) == []
    assert started.key_needed


def test_an_access_unit_is_bounded(started: H264Depacketizer) -> None:
    part = alone(bytes.fromhex("5c01") + bytes(1 << 16), 3000, marker=False)
    feed(started, alone(bytes.fromhex("5c819a"), 3000, marker=False), *[part] * 70)
    assert feed(started, alone(bytes.fromhex("5c41"), 3000)) == []
    assert started.key_needed


@given(st.lists(st.binary(max_size=40), max_size=30), st.booleans())
def test_garbage(payloads: list[bytes], marker: bool) -> None:
    depacketizer = H264Depacketizer()
    for n, payload in enumerate(payloads):
        depacketizer.feed(alone(payload, n // 3, marker=marker))


sizes = st.integers(0, 60) | st.integers(MAX_PAYLOAD - 4, MAX_PAYLOAD + 4) | st.integers(0, 5000)
frames = st.tuples(st.booleans(), st.lists(sizes, min_size=1, max_size=3))


@given(st.lists(frames, min_size=1, max_size=12), st.integers(0, 0xFFFF), st.integers(0, 4), st.integers())
def test_under_loss_reordering_and_duplication(
    frames: list[tuple[bool, list[int]]], sequence: int, losses: int, seed: int
) -> None:
    """What leaves is what was sent, in order; behind a loss nothing leaves until a key frame."""
    sent, wire = list[AccessUnit](), list[RtpPacket]()
    for n, (key, slices) in enumerate([(True, [100]), *frames]):
        first, rest = (b"\x65\x88", b"\x65\x42") if key else (b"\x41\x9a", b"\x41\x42")
        units = [(rest if m else first) + bytes([n]) * size for m, size in enumerate(slices)]
        units = [SPS, PPS, *units] if key else units
        sent.append(AccessUnit(units, 3000 * n, key))
        wire += packets(*units, timestamp=3000 * n, sequence=sequence + len(wire))
    network = random.Random(seed)
    lost = set(network.sample(range(1, len(wire)), min(losses, len(wire) - 1)))
    order = sorted(range(len(wire)), key=lambda n: n + network.randint(0, 4) if n else -1)
    buffer, depacketizer, got = JitterBuffer(retransmission=False), H264Depacketizer(), list[AccessUnit]()
    for n in order:
        for packet in [wire[n]] * network.choice([1, 1, 1, 2]) if n not in lost else []:
            got += [unit for ready in buffer.push(packet, 0) for unit in depacketizer.feed(ready)]
    got += [unit for ready in buffer.poll(1_000_000) for unit in depacketizer.feed(ready)]
    got += depacketizer.flush()
    assert_decodable(got, sent)
    if not lost:
        assert got == sent


def assert_decodable(got: list[AccessUnit], sent: list[AccessUnit]) -> None:
    """Each is whole, and refers to what was right before it unless it is a key frame."""
    before = -1
    for unit in got:
        at = sent.index(unit)
        assert at == before + 1 or (unit.key and at > before)
        before = at
