"""The sending side of one viewer: pacing over real networks, its bounds, and the older SRTP profile."""

from collections.abc import Sequence
from typing import cast

import pytest
from pylibsrtp import Policy, Session

from sluice.core.drops import DropCounter
from sluice.core.limits import REPEATED_BYTES_AT_ONCE, REPEATED_SHARE, REPEATS_AT_ONCE, REPEATS_PER_S
from sluice.rooms.engine.socket import MediaSocket
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.viewer import CmSender, Sealer, Viewer
from sluice.wire.rtp import MAX_PAYLOAD
from sluice.wire.sdp import VideoFormat
from tests.testing import FakeSocket

FRAME_US = 40_000
REMOTE, LOOPBACK = ("192.0.2.7", 5000), ("127.0.0.1", 5000)


class NoSeal:
    def seal(self, ssrc: int, index: int, heads: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
        return [part for pair in zip(heads, payloads, strict=True) for part in pair]


class Scene:
    def __init__(self) -> None:
        self.stream = Stream("name", lambda: None)
        self.socket = FakeSocket()
        self.backlogs = 0
        self.drops = DropCounter()
        self.now_us = 0

    def join(
        self, address: tuple[str, int], *, video: bool = True, seal: Sealer | None = None, tag: int = 0
    ) -> Viewer:
        viewer = Viewer(
            cast(MediaSocket, self.socket),
            seal or NoSeal(),
            tag=tag,
            address=address,
            video=VideoFormat(102, None, "", ()) if video else None,
            opus=None if not video else 111,
            on_backlog=self._on_backlog,
            drops=self.drops,
        )
        self.stream.join(viewer, self.now_us)
        return viewer

    def _on_backlog(self, viewer: Viewer) -> None:
        self.backlogs += 1

    def frame(self, packets: int = 1, *, key: bool = False) -> None:
        unit = (b"\x65" if key else b"\x41") + bytes((MAX_PAYLOAD - 2) * packets if packets > 1 else 10)
        self.stream.video([unit], self.now_us, key, self.now_us)
        self.now_us += FRAME_US

    def drain(self, viewer: Viewer, elapsed_s: float) -> bool:
        return viewer.drain(elapsed_s, self.stream.sources.video)

    def sequences(self) -> list[int]:
        return [int.from_bytes(header[2:4], "big") for header, _ in self.socket.take()]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_small_frames_leave_at_once(scene: Scene) -> None:
    viewer = scene.join(REMOTE)
    scene.frame(24, key=True)
    scene.frame(5)
    assert len(scene.sequences()) == 29
    assert scene.backlogs == 0
    assert (viewer.video_packets, scene.drops.counts) == (29, {})


def test_a_large_key_frame_is_spread_and_what_follows_keeps_its_place(scene: Scene) -> None:
    viewer = scene.join(REMOTE)
    scene.frame(100, key=True)
    scene.frame(2)
    assert (scene.sequences(), scene.backlogs) == ([], 1)
    sent: list[int] = []
    steps = 0
    more = True
    while more:
        more = scene.drain(viewer, 0.002)
        portion = scene.sequences()
        assert len(portion) <= 8
        sent += portion
        steps += 1
    assert sent == list(range(sent[0], sent[0] + 102))
    assert 16 <= steps <= 20, "about one frame time"
    scene.frame(1)
    assert len(scene.sequences()) == 1, "live again"
    scene.frame(100, key=True)
    assert scene.backlogs == 2


def test_over_loopback_nothing_is_spread(scene: Scene) -> None:
    scene.join(LOOPBACK)
    scene.frame(100, key=True)
    assert len(scene.sequences()) == 100


@pytest.mark.parametrize("before", [1, 2, 5])
def test_a_joiner_at_the_beginning_of_a_stream_catches_up_too(scene: Scene, before: int) -> None:
    for n in range(before):
        scene.frame(1, key=n == 0)
    viewer = scene.join(REMOTE)
    for _ in range(25):
        scene.frame(1)
        scene.drain(viewer, FRAME_US / 1e6)
    assert len(scene.sequences()) == before + 25


def test_a_joiner_over_a_network_catches_up_at_four_times_the_rate(scene: Scene) -> None:
    scene.frame(10, key=True)
    for _ in range(99):
        scene.frame(10)  # 250 packets a second
    viewer = scene.join(REMOTE)
    assert scene.drain(viewer, 0.1)
    assert len(scene.sequences()) == pytest.approx(100, abs=5)


def test_a_network_that_takes_too_little_gets_the_next_key_frame(scene: Scene) -> None:
    viewer = scene.join(REMOTE)
    scene.frame(100, key=True)
    for _ in range(1000):
        scene.frame(1)
    assert scene.drops.counts == {"viewer_slow": 1099}
    assert not scene.drain(viewer, 60)
    assert scene.sequences() == []
    scene.frame(1)
    assert scene.sequences() == [], "cannot be shown without what was dropped"
    scene.frame(2, key=True)
    scene.frame(1)
    assert len(scene.sequences()) == 3
    assert scene.drops.counts == {"viewer_slow": 1099}


def test_a_viewer_without_video_gets_none_and_no_sound_without_opus(scene: Scene) -> None:
    scene.join(LOOPBACK, video=False)
    scene.frame(1, key=True)
    scene.join(LOOPBACK, video=False)
    scene.stream.audio(b"opus", 0, 0)
    assert (scene.sequences(), scene.backlogs) == ([], 0)


def test_retransmissions_are_bounded_per_second(scene: Scene) -> None:
    viewer = scene.join(LOOPBACK)
    scene.frame(1, key=True)
    (sequence,) = scene.sequences()
    at_once = [scene.stream.retransmit(viewer, sequence, 5_000_000) for _ in range(1500)]
    assert at_once == [True] * REPEATS_AT_ONCE + [False] * (1500 - REPEATS_AT_ONCE)
    assert len(scene.sequences()) == viewer.retransmitted == REPEATS_AT_ONCE
    for n in range(10):
        scene.stream.retransmit(viewer, sequence, 5_000_000 + (n + 1) * 1_000_000 // REPEATS_PER_S)
    assert len(scene.sequences()) == 10


def test_retransmissions_are_a_share_of_what_is_sent(scene: Scene) -> None:
    viewer = scene.join(LOOPBACK)
    scene.frame(2, key=True)
    sequence = scene.sequences()[0]
    for at_us in range(0, 10_000_000, 1000):
        scene.stream.retransmit(viewer, sequence, at_us)
    assert 0 <= MAX_PAYLOAD * len(scene.sequences()) - REPEATED_BYTES_AT_ONCE <= 2 * MAX_PAYLOAD
    for _ in range(50):
        scene.frame(2)
    scene.sequences()
    for at_us in range(10_000_000, 20_000_000, 1000):
        scene.stream.retransmit(viewer, sequence, at_us)
    assert abs(len(scene.sequences()) - 100 * REPEATED_SHARE) <= 2


def test_the_older_profile_is_understood_by_libsrtp(scene: Scene) -> None:
    key, salt = bytes(range(16)), bytes(14)
    viewer = scene.join(LOOPBACK, seal=CmSender(key, salt), tag=CmSender.TAG)
    for n in range(3):
        scene.frame(3, key=n == 0)
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    receiver = Session(Policy(key + salt, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    packets = [header + rest for header, rest in scene.socket.take()]
    numbers = [int.from_bytes(receiver.unprotect(packet)[2:4], "big") for packet in packets]
    assert len(numbers) == 9
    scene.stream.retransmit(viewer, numbers[4], 0)
    assert [header + rest for header, rest in scene.socket.take()] == [packets[4]], "the same bytes again"
