"""Video that is left out or sent again: a viewer's numbers never gap, GCM never sees an index twice.

The seal of the scenes (test_stream.OpenSeal) fails where a packet index is used for two packets.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.testing import FakeSocket
from tests.unit.test_stream import (
    LOOPBACK,
    REMOTE,
    RTX,
    VIDEO,
    Scene,
    assert_gapless,
    sequence,
    ticks,
    timestamp,
)


def test_a_repair_sends_the_gop_again_as_new_packets() -> None:
    scene = Scene()
    viewer, socket = scene.viewer()
    _, witness = scene.viewer()
    scene.frames(5, key=True)
    scene.frames(10, key=True)
    scene.stream.repair(viewer, scene.now_us)
    scene.drain()
    scene.frames(3)
    packets = socket.take()
    assert_gapless(packets)
    assert [payload for _, payload in packets[15:25]] == [payload for _, payload in packets[5:15]]
    # Behind the newest frame and before the next: a receiver takes them for frames of their own.
    assert ticks(packets[14:26]) == [1] * 10 + [3600 - 10]
    assert timestamp(packets[-1]) == timestamp(witness.take()[-1])
    assert viewer.video_packets == 28


def test_a_repair_while_the_source_stands_still_goes_on_with_the_timestamps() -> None:
    scene = Scene()
    viewer, socket = scene.viewer()
    scene.frames(4, key=True)
    for _ in range(2):
        scene.stream.repair(viewer, scene.now_us)
        scene.drain()
    assert ticks(socket.take()) == [3600] * 3 + [1] * 8


def test_no_repair_while_the_source_stands_still_for_long() -> None:
    scene = Scene()
    viewer, socket = scene.viewer()
    scene.frames(4, key=True)
    socket.take()
    scene.stream.repair(viewer, scene.now_us + 1_100_000)
    scene.drain()
    assert socket.take() == []


def test_both_copies_are_repeated_as_they_were() -> None:
    scene = Scene()
    viewer, socket = scene.viewer(rtx=False)
    scene.frames(4, key=True, size=3000)
    scene.stream.repair(viewer, scene.now_us)
    scene.drain()
    scene.frames(2)
    for packet in socket.take():
        scene.stream.retransmit(viewer, sequence(packet), scene.now_us)
        assert socket.take() == [packet]


def test_a_repair_takes_the_place_of_what_waits_but_not_of_a_gop_on_its_way() -> None:
    scene = Scene()
    viewer, socket = scene.viewer(REMOTE)
    scene.frames(1, key=True, size=60_000)  # waits, as everything behind it
    viewer.drain(0.010, scene.stream.sources.video)
    scene.frames(3)
    scene.stream.repair(viewer, scene.now_us)
    scene.stream.repair(viewer, scene.now_us)
    scene.drain()
    scene.frames(1)
    packets = socket.take()
    assert_gapless(packets)
    whole = 51
    assert whole + 4 < len(packets) < 2 * whole, "a part, the GOP once, a live frame"


def test_a_gop_that_is_not_kept_whole_repairs_nothing() -> None:
    scene = Scene()
    viewer, socket = scene.viewer()
    scene.frames(300, key=True)
    scene.stream.history.give_way()
    socket.take()
    scene.stream.repair(viewer, scene.now_us)
    scene.drain()
    assert socket.take() == []


def test_a_pause_leaves_no_gap_and_ends_with_a_key_frame() -> None:
    scene = Scene()
    viewer, socket = scene.viewer(rtx=False)
    scene.frames(5, key=True)
    scene.stream.pause(viewer)
    scene.frames(20, key=True)
    scene.stream.audio(b"opus", scene.media_us, scene.now_us)
    scene.stream.repair(viewer, scene.now_us)
    viewer.resume()
    scene.frames(5)
    packets = socket.take()
    assert len(packets) == 6, "no video, but the sound"
    video = packets[:5]
    scene.frames(3, key=True)
    later = socket.take()
    assert_gapless(video + later)
    assert len(later) == 3
    assert ticks(video + later) == [3600] * 4 + [26 * 3600] + [3600] * 2
    for packet in video + later:
        scene.stream.retransmit(viewer, sequence(packet), scene.now_us)
        assert socket.take() == [packet]


def test_a_viewer_paused_before_its_first_frame_begins_with_a_key_frame_after() -> None:
    scene = Scene()
    viewer, socket = scene.viewer()
    scene.stream.pause(viewer)
    scene.frames(3, key=True)
    viewer.resume()
    scene.frames(1)
    assert socket.take() == []
    scene.frames(2, key=True)
    packets = socket.take()
    assert len(packets) == 2
    assert_gapless(packets)


STEPS = st.sampled_from(["frames", "key", "large key", "pause", "resume", "repair", "drain a little", "nack"])


@given(st.lists(STEPS, max_size=40), st.booleans(), st.booleans())
def test_whatever_happens(steps: list[str], rtx: bool, remote: bool) -> None:
    scene = Scene()
    viewer, socket = scene.viewer(REMOTE if remote else LOOPBACK, rtx=rtx)
    scene.frames(2, key=True)
    sent: list[tuple[bytes, bytes]] = []
    for step in steps:
        if step in ("frames", "key", "large key"):
            scene.frames(3, key=step != "frames", size=50_000 if step == "large key" else 1500)
        elif step == "drain a little":
            scene.drain(0.005)
        elif step == "nack":
            sent += socket.take()
            ask_for_the_newest(scene, sent, socket, rtx=rtx)
        elif step == "resume":
            viewer.resume()
        elif step == "pause":
            scene.stream.pause(viewer)
        else:
            scene.stream.repair(viewer, scene.now_us)
    scene.drain()
    assert_gapless(sent + socket.take())


def ask_for_the_newest(
    scene: Scene, sent: list[tuple[bytes, bytes]], socket: FakeSocket, *, rtx: bool
) -> None:
    """The last packets are repeated as they were sent; those to come are not sent before their time."""
    viewer = scene.stream.viewers[0]
    for header, payload in sent[-60:]:
        scene.stream.retransmit(viewer, sequence((header, payload)), scene.now_us)
        ((again, rest),) = socket.take()
        if rtx:
            assert (again[1] & 0x7F, again[4:8], rest) == (RTX, header[4:8], header[2:4] + payload)
        else:
            assert (again[1] & 0x7F, again, rest) == (VIDEO, header, payload)
    for ahead in range(1, 20):
        scene.stream.retransmit(viewer, (sequence(sent[-1]) + ahead) & 0xFFFF, scene.now_us)
    assert socket.take() == []
