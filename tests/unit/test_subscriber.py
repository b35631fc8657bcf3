"""A subscriber of a stream: what it is told of its publisher, which frames it gets, and its bound."""

from typing import Any, cast

import pytest

from sluice.core.ids import AppId, RoomId, UserId
from sluice.process.link import (
    KEY_FRAME,
    PAST,
    FrameParser,
    FrameType,
    LinkError,
    LinkFrame,
    pack_control,
    pack_frame,
    parse_control,
)
from sluice.rooms.engine.link import LinkChannel
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.subscriber import SubscriberLink, Subscription
from sluice.wire.h264 import split_avcc

ANNA = UserId("anna")
KEY = (ANNA, 0)
IDR, P = b"\x65\x88idr", b"\x41\x9ap"


class Link:
    """A frame link whose other end reads when the test says so."""

    def __init__(self) -> None:
        self.buffered = 0
        self._written = b""

    def write(self, data: bytes) -> None:
        self._written += data

    def tell(self, document: dict[str, object]) -> None:
        self.write(pack_control(document))

    def read(self) -> list[LinkFrame]:
        written, self._written = self._written, b""
        return list(FrameParser().feed(written))

    def documents(self) -> list[dict[str, Any]]:
        return [parse_control(frame.payload) for frame in self.read() if frame.type == FrameType.CONTROL]


class Scene:
    """A room with one subscriber of anna's camera."""

    def __init__(self) -> None:
        self.asked = 0
        self.lost: list[SubscriberLink] = []
        self.room = Room(AppId("app"), RoomId("room"), lambda change: None)
        self.stream = self.room.streams[KEY] = Stream("name", self._ask)
        self.link = Link()
        self.subscriber = SubscriberLink(
            cast(LinkChannel, self.link),
            Subscription(AppId("app"), RoomId("room"), ANNA, 0),
            self.stream,
            on_lost=self.lost.append,
            clock_us=lambda: 5_000_000,
        )
        self.stream.subscribers.append(self.subscriber)
        self.subscriber.tell(self.room.state_of(KEY))
        self._now_us = 5_000_000

    def picture(self, *, key: bool = False) -> None:
        self.stream.video([b"\x67sps", b"\x68pps", IDR] if key else [P], self._now_us, key, self._now_us)
        self._now_us += 40_000

    def _ask(self) -> None:
        self.asked += 1


@pytest.fixture
def scene() -> Scene:
    return Scene()


def state(present: bool, video: bool, audio: bool, *, still: str = "") -> dict[str, Any]:
    trouble = {"video": still} if still else {}
    return {"publisher": {"present": present, "video": video, "audio": audio, "trouble": trouble}}


def test_it_is_told_of_its_publisher_at_once_and_of_each_change_once(scene: Scene) -> None:
    room = scene.room
    assert scene.link.documents() == [state(False, False, False)]
    room.enter(ANNA, "events_1")
    room.enter(UserId("bert"), "events_2")
    assert scene.link.documents() == [state(True, False, False)]
    room.publish(KEY, "peer_1")
    room.publish((ANNA, 1), "peer_2")
    room.flow((ANNA, 1), "video")
    assert scene.link.documents() == [], "nothing of this stream has flowed"
    room.flow(KEY, "audio")
    room.flow(KEY, "video")
    assert scene.link.documents() == [state(True, False, True), state(True, True, True)]
    room.trouble(KEY, "video", "it stands still")
    assert scene.link.documents() == [state(True, True, True, still="it stands still")]
    room.cease(KEY, "video")
    assert scene.link.documents() == [state(True, False, True)]
    room.unpublish("peer_1")
    assert scene.link.documents() == [state(True, False, False)]
    for holder in ("events_1", "peer_1", "peer_2"):
        room.leave(holder, 0, linger=False)
    assert scene.link.documents() == [state(False, False, False)]


def test_frames_come_as_the_room_gets_them_from_the_next_key_frame_on(scene: Scene) -> None:
    scene.stream.subscribers.clear()
    scene.picture(key=True)
    scene.stream.subscribers.append(scene.subscriber)
    scene.link.read()
    scene.picture()
    scene.stream.audio(b"opus", 5_060_000, 5_060_000)
    scene.picture(key=True)
    scene.picture()
    sound, key, picture = scene.link.read()
    assert (sound.type, sound.flags, sound.payload) == (FrameType.AUDIO, 0, b"opus")
    assert (key.type, key.flags) == (FrameType.VIDEO, KEY_FRAME)
    assert [bytes(unit) for unit in split_avcc(key.payload, 4)] == [b"\x67sps", b"\x68pps", IDR]
    assert (picture.flags, bytes(split_avcc(picture.payload, 4)[0])) == (0, P)
    assert picture.media_us - key.media_us == 40_000
    assert key.media_us - sound.media_us == 20_000, "one clock"


def test_a_key_frame_may_be_asked_for(scene: Scene) -> None:
    ask = LinkFrame(FrameType.CONTROL, 0, 0, b'{"key_frame": true}')
    scene.subscriber.take(ask)
    scene.subscriber.take(ask)
    assert scene.asked == 1, "not more often than viewers may"
    scene.subscriber.take(LinkFrame(FrameType.CONTROL, 0, 0, b'{"other": 1}'))
    scene.subscriber.take(LinkFrame(FrameType.VIDEO, 0, 0, b""))
    with pytest.raises(LinkError):
        scene.subscriber.take(LinkFrame(FrameType.CONTROL, 0, 0, b"{"))


def test_one_that_cannot_begin_gets_the_group_where_no_key_frame_comes(scene: Scene) -> None:
    begin = LinkFrame(FrameType.CONTROL, 0, 0, b'{"key_frame": true, "begin": true}')
    scene.picture(key=True)
    for _ in range(4):
        scene.picture()
    live = scene.link.read()[-5:]
    scene.subscriber.take(begin)
    assert scene.asked == 1
    scene.stream.on_timer(5_050_000)
    assert scene.link.read() == [], "the publisher has a moment for a key frame"
    scene.stream.on_timer(5_200_000)
    group = scene.link.read()
    assert [frame.payload for frame in group] == [frame.payload for frame in live]
    assert [frame.flags for frame in group] == [KEY_FRAME | PAST] + [PAST] * 4
    assert [live[-1].media_us - frame.media_us for frame in group] == [4000, 3000, 2000, 1000, 0]
    scene.subscriber.take(begin)
    scene.stream.on_timer(6_000_000)
    assert scene.link.read() == [], "not again at once"


def test_a_group_may_be_more_than_what_else_may_wait(scene: Scene) -> None:
    scene.picture(key=True)
    scene.subscriber.send_group([pack_frame(FrameType.VIDEO, bytes(5 << 20))])
    scene.link.buffered = 5 << 20
    scene.picture()
    assert (scene.subscriber.dropped, len(scene.link.read())) == (0, 4)
    scene.link.buffered = 10 << 20
    scene.picture()
    assert scene.subscriber.dropped == 1


def test_one_that_does_not_keep_up_loses_frames_up_to_a_key_frame(scene: Scene) -> None:
    scene.picture(key=True)
    scene.link.read()
    scene.link.buffered = (4 << 20) + 1
    scene.picture()
    scene.stream.audio(b"opus", 5_200_000, 5_200_000)
    scene.link.buffered = 0
    scene.picture()
    scene.stream.audio(b"opus", 5_220_000, 5_220_000)
    assert [frame.type for frame in scene.link.read()] == [FrameType.AUDIO]
    assert scene.subscriber.dropped == 3
    scene.picture(key=True)
    scene.picture()
    assert len(scene.link.read()) == 2
    assert scene.subscriber.dropped == 3


def test_the_end_is_told_once(scene: Scene) -> None:
    scene.subscriber.lost()
    assert scene.lost == [scene.subscriber]


@pytest.mark.parametrize("document", [None, [], {}, {"app_id": "a"}, {"run_id": "r"}])
def test_a_subscription_must_be_whole(document: object) -> None:
    with pytest.raises(LinkError):
        Subscription.of(document)
