"""A published stream and its viewers: late joiners, one clock over attachments, history, retransmission.

The viewers are real, with a socket that keeps what they send and a seal that is none but watches over GCM's
one rule: a packet index never gets two different plaintexts.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import pytest
from pylibsrtp import Policy, Session

from sluice.core.drops import DropCounter
from sluice.rooms.engine.socket import MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.viewer import Sealer, Viewer
from sluice.wire.rtp import MAX_PAYLOAD, NalUnit
from sluice.wire.sdp import VideoFormat
from sluice.wire.srtp import GCM_TAG, GcmSender
from tests.testing import FakeSocket

FRAME_US = 40_000
S = 1_000_000
LOOPBACK, REMOTE = ("127.0.0.1", 5000), ("192.0.2.7", 5000)
VIDEO, RTX, OPUS = 102, 103, 111


class OpenSeal:
    """Seals nothing; fails where a packet index is used for two different packets."""

    def __init__(self) -> None:
        self.sealed: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def seal(self, ssrc: int, index: int, heads: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
        parts: list[bytes] = []
        for n, (header, payload) in enumerate(zip(heads, payloads, strict=True)):
            assert self.sealed.setdefault((ssrc, index + n), (header, payload)) == (header, payload)
            assert int.from_bytes(header[2:4], "big") == (index + n) & 0xFFFF
            assert header[8:12] == ssrc.to_bytes(4, "big")
            parts += (header, payload)
        return parts


class Scene:
    """A stream, a publisher that sends 25 frames a second with media time from 0, and the clock."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.stream = Stream("name", lambda: self.asked.append(self.now_us))
        self.now_us = 50 * S
        self.media_us = 0
        self.draining: list[Viewer] = []

    def viewer(
        self, address: tuple[str, int] = LOOPBACK, *, seal: Sealer | None = None, rtx: bool = True
    ) -> tuple[Viewer, FakeSocket]:
        socket = FakeSocket()
        viewer = Viewer(
            cast(MediaSocket, socket),
            seal or OpenSeal(),
            tag=GCM_TAG if seal else 0,
            address=address,
            video=VideoFormat(VIDEO, RTX if rtx else None, "", ()),
            opus=OPUS,
            on_backlog=self.draining.append,
            drops=DropCounter(),
        )
        self.stream.join(viewer, self.now_us)
        return viewer, socket

    def frames(self, count: int, *, key: bool = False, size: int = 100) -> None:
        """`count` frames, the first a key frame where asked."""
        for n in range(count):
            first = key and n == 0
            units: list[NalUnit] = [b"\x67sps", b"\x68pps"] if first else []
            units.append((b"\x65" if first else b"\x41") + bytes(size - 1))
            self.stream.video(units, self.media_us, first, self.now_us)
            self.media_us += FRAME_US
            self.now_us += FRAME_US

    def drain(self, elapsed_s: float = 60.0) -> None:
        for viewer in self.draining:
            viewer.drain(elapsed_s, self.stream.sources.video)


def sequence(packet: tuple[bytes, bytes]) -> int:
    return int.from_bytes(packet[0][2:4], "big")


def timestamp(packet: tuple[bytes, bytes]) -> int:
    return int.from_bytes(packet[0][4:8], "big")


def ticks(packets: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """Distances of the timestamps of consecutive packets."""
    times = [timestamp(packet) for packet in packets]
    return [(b - a) & 0xFFFFFFFF for a, b in pairwise(times)]


def assert_gapless(packets: Sequence[tuple[bytes, bytes]]) -> None:
    numbers = [sequence(packet) for packet in packets]
    assert numbers == [(numbers[0] + n) & 0xFFFF for n in range(len(numbers))]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_late_joiner_gets_the_gop_first_and_then_the_live_frames(scene: Scene) -> None:
    scene.frames(10, key=True)
    scene.frames(20, key=True)
    viewer, socket = scene.viewer()
    scene.frames(1)  # behind the backlog
    scene.drain()
    scene.frames(2)
    packets = socket.take()
    assert [packet[0][1] & 0x7F for packet in packets] == [VIDEO] * 23
    assert packets[0][1][0] & 0x1F == 24, "SPS, PPS and IDR in one packet"
    assert_gapless(packets)
    # The past keeps its own distances.
    assert ticks(packets) == [3600] * 22
    live, ssrc = scene.stream.timestamps(scene.now_us - FRAME_US)[0], scene.stream.sources.video
    assert timestamp(packets[-1]) == live
    assert {packet[0][8:12] for packet in packets} == {ssrc.to_bytes(4, "big")}
    assert viewer.video_packets == 23
    assert scene.asked == []


def test_a_joiner_waits_for_a_key_frame_when_no_gop_is_kept(scene: Scene) -> None:
    _, early = scene.viewer()
    assert scene.asked == [50 * S], "the publisher is asked at once"
    scene.frames(3)
    assert early.take() == []
    scene.frames(2, key=True)
    assert len(early.take()) == 2
    scene.frames(300)
    scene.stream.history.give_way()
    _, late = scene.viewer()
    scene.frames(1)
    assert late.take() == []
    scene.frames(2, key=True)
    assert_gapless(packets := late.take())
    assert len(packets) == 2


def test_a_long_group_is_shown_when_no_key_frame_comes_instead(scene: Scene) -> None:
    scene.stream.reset(500_000)
    scene.frames(300, key=True)
    _, late = scene.viewer()
    assert scene.asked[-1] == scene.now_us
    asked = len(scene.asked)
    scene.frames(10)
    scene.stream.on_timer(scene.now_us)
    scene.drain()
    assert late.take() == [], "it has half a second for a key frame"
    scene.frames(3)
    scene.stream.on_timer(scene.now_us)
    scene.frames(1)
    scene.drain()
    assert_gapless(packets := late.take())
    assert len(packets) == 314
    assert len(scene.asked) <= asked + 2


def test_a_key_frame_that_is_made_when_asked_is_all_that_a_late_joiner_needs(scene: Scene) -> None:
    scene.frames(300, key=True)
    _, late = scene.viewer()
    scene.frames(5, key=True)
    scene.stream.on_timer(scene.now_us)
    scene.drain()
    assert len(late.take()) == 5


def test_a_key_frame_ends_the_catching_up(scene: Scene) -> None:
    """What waits behind a group of the past is of no use any more."""
    scene.frames(400, key=True)
    viewer, socket = scene.viewer(REMOTE)
    scene.stream.on_timer(scene.now_us + 100_000)
    viewer.drain(0.1, scene.stream.sources.video)
    sent = len(socket.sent)
    assert 0 < sent < 400
    scene.frames(3, key=True)
    assert_gapless(packets := socket.take())
    assert len(packets) == sent + 3
    assert ticks(packets)[-2:] == [3600, 3600]


def test_sound_does_not_wait(scene: Scene) -> None:
    viewer, socket = scene.viewer()
    for n in range(3):
        scene.stream.audio(b"opus", n * 20_000, scene.now_us)
    packets = socket.take()
    assert [packet[0][:2] for packet in packets] == [bytes((0x80, OPUS))] * 3, "no marker"
    assert_gapless(packets)
    assert ticks(packets) == [960, 960]
    assert (viewer.audio_packets, viewer.audio_octets) == (3, 12)


def test_both_tracks_share_one_clock(scene: Scene) -> None:
    _, socket = scene.viewer()
    scene.frames(1, key=True)
    scene.stream.audio(b"opus", 0, scene.now_us)
    video, audio = socket.take()
    assert scene.stream.timestamps(50 * S) == (timestamp(video), timestamp(audio))


def test_a_key_frame_is_asked_for_at_most_twice_a_second(scene: Scene) -> None:
    scene.frames(50)
    assert scene.asked == [50 * S + n * 13 * FRAME_US for n in range(4)]


@pytest.mark.parametrize("pause_us", [0, 5 * S])
def test_the_next_attachment_goes_on_with_the_same_numbers(scene: Scene, pause_us: int) -> None:
    _, socket = scene.viewer()
    scene.frames(5, key=True)
    scene.stream.reset()
    scene.now_us += pause_us
    scene.media_us = 7_777_777_777  # a clock of its own
    scene.frames(2)
    scene.frames(3, key=True)
    packets = socket.take()
    assert len(packets) == 8, "frames without their key frame are of no use"
    assert_gapless(packets)
    between = ticks(packets)[4]
    assert between == (FRAME_US * 3 + pause_us) * 9 // 100
    assert ticks(packets)[5:] == [3600, 3600]


def test_the_clock_never_goes_back_over_attachments(scene: Scene) -> None:
    _, socket = scene.viewer()
    scene.frames(50, key=True)
    scene.stream.reset()
    scene.now_us -= 2 * S  # the first publisher was ahead of the wall clock
    scene.frames(2, key=True)
    assert ticks(socket.take())[49] == 1800, "20 ms behind its last frame"


def test_a_gop_of_before_the_reset_is_not_shown_to_a_joiner(scene: Scene) -> None:
    scene.frames(5, key=True)
    scene.stream.reset()
    _, socket = scene.viewer()
    scene.drain()
    assert socket.take() == []
    scene.frames(1, key=True)
    assert len(socket.take()) == 1


def test_what_is_kept_is_bounded_in_time_and_bytes(scene: Scene) -> None:
    """Before the current group, which stays whole."""
    viewer, socket = scene.viewer()
    scene.frames(1, key=True)
    first = sequence(socket.take()[0])
    scene.frames(300)
    assert repeated(scene, viewer, socket, first) == 1
    scene.frames(200, key=True)
    assert repeated(scene, viewer, socket, first) == 0
    scene.frames(1, key=True, size=3 << 20)
    last = sequence(socket.take()[-1])
    assert repeated(scene, viewer, socket, last) == 1
    scene.frames(1, size=2 << 20)
    assert repeated(scene, viewer, socket, last) == 1
    scene.frames(20, key=True)
    assert repeated(scene, viewer, socket, last) == 0


def test_what_was_never_sent_is_not_repeated(scene: Scene) -> None:
    viewer, socket = scene.viewer()
    assert repeated(scene, viewer, socket, 5) == 0
    scene.frames(3, key=True)
    numbers = [sequence(packet) for packet in socket.take()]
    assert repeated(scene, viewer, socket, (numbers[-1] + 1) & 0xFFFF) == 0
    assert repeated(scene, viewer, socket, (numbers[0] - 1) & 0xFFFF) == 0


def repeated(scene: Scene, viewer: Viewer, socket: FakeSocket, number: int) -> int:
    """How many packets answer a NACK of this number."""
    socket.take()
    repeat(scene, viewer, number)
    return len(socket.take())


def repeat(scene: Scene, viewer: Viewer, number: int) -> None:
    scene.stream.retransmit(viewer, number, scene.now_us)


def test_a_retransmission_equals_what_was_sent(scene: Scene) -> None:
    scene.frames(20, key=True, size=3000)
    viewer, socket = scene.viewer(rtx=False)
    scene.drain()
    scene.frames(2)
    for packet in socket.take():
        repeat(scene, viewer, sequence(packet))
        assert socket.take() == [packet]
    assert viewer.retransmitted == 63


def test_a_retransmission_as_rtx(scene: Scene) -> None:
    scene.frames(20, key=True, size=3000)
    viewer, socket = scene.viewer()
    scene.drain()
    for n, (header, payload) in enumerate(socket.take()):
        repeat(scene, viewer, int.from_bytes(header[2:4], "big"))
        ((again, rest),) = socket.take()
        assert again[1] == header[1] & 0x80 | RTX, "the marker stays"
        assert again[2:4] == n.to_bytes(2, "big"), "a sequence of its own"
        assert again[4:8] == header[4:8]
        assert again[8:12] == scene.stream.sources.video_rtx.to_bytes(4, "big")
        assert rest == header[2:4] + payload


def test_nothing_from_before_a_viewer_is_repeated_to_it(scene: Scene) -> None:
    _, witness = scene.viewer()
    scene.frames(5, key=True)
    scene.frames(5, key=True)
    old = sequence(witness.take()[0])
    viewer, socket = scene.viewer()
    assert repeated(scene, viewer, socket, old) == 0


def test_who_left_gets_nothing(scene: Scene) -> None:
    viewer, socket = scene.viewer()
    scene.stream.leave(viewer)
    scene.stream.leave(viewer)
    scene.frames(2, key=True)
    scene.stream.audio(b"opus", 0, scene.now_us)
    assert socket.take() == []


def test_an_access_unit_without_content_is_none(scene: Scene) -> None:
    _, socket = scene.viewer()
    scene.stream.video([b"\x09\xf0"], 0, True, scene.now_us)
    scene.stream.video([], 0, True, scene.now_us)
    assert socket.take() == []


def test_roll_overs_are_counted_as_libsrtp_does(scene: Scene) -> None:
    """A viewer that joins shortly before the sequence number wraps, and one long after."""
    _, witness = scene.viewer()
    size = 60 * (MAX_PAYLOAD - 2) + 1
    wrapped = False
    at_wrap: list[tuple[Session, FakeSocket]] = []
    while not wrapped or len(at_wrap) < 2:
        scene.frames(1, key=True, size=size)
        last = sequence(witness.take()[-1])
        wrapped = wrapped or bool(at_wrap and last < 1000)
        if (last > 65_400 and not at_wrap) or (wrapped and last > 300):
            key, salt = bytes([len(at_wrap)] * 16), bytes(12)
            profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
            _, socket = scene.viewer(seal=GcmSender(key, salt))
            receiver = Session(Policy(key + salt, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
            at_wrap.append((receiver, socket))
            scene.drain()
    scene.frames(4, key=True, size=size)
    for receiver, socket in at_wrap:
        packets = [header + rest for header, rest in socket.take()]
        assert len(packets) > 120
        assert all(receiver.unprotect(packet)[:12] == packet[:12] for packet in packets)
