"""A subscriber of a stream: what it is told of its publisher, which frames it gets, and its bound."""

from typing import cast

import pytest

from sluice.core.drops import DropCounter
from sluice.core.ids import AppId, RoomId, RunId, UserId
from sluice.core.rooms import StreamIndex
from sluice.process.documents import (
    GroupRequest,
    Hello,
    KeyFrameRequest,
    LinkDocument,
    Publisher,
    Subscribe,
)
from sluice.process.link import (
    KEY_FRAME,
    PAST,
    FrameType,
    LinkError,
    LinkFrame,
)
from sluice.rooms.engine.link import LinkChannel
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.stream import Stream
from sluice.rooms.engine.subscriber import SubscriberLink
from sluice.wire.h264 import split_avcc

ANNA = UserId("anna")
KEY, SCREEN = (ANNA, StreamIndex.CAMERA), (ANNA, StreamIndex.SCREEN)
IDR, P = b"\x65\x88idr", b"\x41\x9ap"


class Channel:
    """Keeps what it is given; a test says when it is full."""

    def __init__(self) -> None:
        self.full = False
        self._told: list[LinkDocument] = []
        self._sent: list[LinkFrame] = []

    def expect_frames(self) -> None:
        pass

    def send(self, kind: FrameType, payload: bytes, media_us: int, flags: int = 0) -> None:
        self._sent.append(LinkFrame(kind, flags, media_us, payload))

    def send_whole(self, kind: FrameType, frames: list[tuple[bytes, int, int]]) -> None:
        for payload, media_us, flags in frames:
            self.send(kind, payload, media_us, flags)

    def tell(self, document: LinkDocument) -> None:
        self._told.append(document)

    def read(self) -> list[LinkFrame]:
        sent, self._sent = self._sent, []
        return sent

    def documents(self) -> list[LinkDocument]:
        told, self._told = self._told, []
        return told


class Scene:
    """A room with one subscriber of anna's camera."""

    def __init__(self) -> None:
        self.asked = 0
        self.lost: list[SubscriberLink] = []
        self.room = Room(AppId("app"), RoomId("room"), lambda change: None)
        self.stream = self.room.streams[KEY] = Stream("name", self._ask)
        self.link = Channel()
        self.drops = DropCounter()
        self.subscriber = SubscriberLink(
            cast(LinkChannel, self.link),
            Subscribe(app_id=AppId("app"), room_id=RoomId("room"), user_id=ANNA, stream=StreamIndex.CAMERA),
            self.stream,
            on_lost=self.lost.append,
            clock_us=lambda: 5_000_000,
            drops=self.drops,
        )
        self.stream.subscribe(self.subscriber)
        self.subscriber.tell(self.room.publisher_of(KEY))
        self._now_us = 5_000_000

    def picture(self, *, key: bool = False) -> None:
        self.stream.video([b"\x67sps", b"\x68pps", IDR] if key else [P], self._now_us, key, self._now_us)
        self._now_us += 40_000

    def _ask(self) -> None:
        self.asked += 1


@pytest.fixture
def scene() -> Scene:
    return Scene()


def state(present: bool, video: bool, audio: bool, *, still: str = "") -> Publisher:
    trouble = {"video": still} if still else {}
    return Publisher(present=present, video=video, audio=audio, trouble=trouble)


def test_it_is_told_of_its_publisher_at_once_and_of_each_change_once(scene: Scene) -> None:
    room = scene.room
    assert scene.link.documents() == [state(False, False, False)]
    room.enter(ANNA, "events_1")
    room.enter(UserId("bert"), "events_2")
    assert scene.link.documents() == [state(True, False, False)]
    room.publish(KEY, "peer_1")
    room.publish(SCREEN, "peer_2")
    room.flow(SCREEN, "video")
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
    scene.stream.unsubscribe(scene.subscriber)
    scene.picture(key=True)
    scene.stream.subscribe(scene.subscriber)
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
    scene.subscriber.on_document(KeyFrameRequest())
    scene.subscriber.on_document(KeyFrameRequest())
    assert scene.asked == 1, "not more often than viewers may"


def test_what_a_subscriber_does_not_say(scene: Scene) -> None:
    hello = Hello(
        app_id=AppId("app"),
        room_id=RoomId("room"),
        user_id=ANNA,
        stream=StreamIndex.CAMERA,
        run_id=RunId("run"),
    )
    for document in (hello, Publisher()):
        with pytest.raises(LinkError, match=f"says {document.type}"):
            scene.subscriber.on_document(document)
    with pytest.raises(LinkError, match="sends frames"):
        scene.subscriber.on_frame(LinkFrame(FrameType.VIDEO, 0, 0, b""))


def test_one_that_cannot_begin_gets_the_group_where_no_key_frame_comes(scene: Scene) -> None:
    scene.picture(key=True)
    for _ in range(4):
        scene.picture()
    live = scene.link.read()[-5:]
    scene.subscriber.on_document(GroupRequest())
    assert scene.asked == 1
    scene.stream.on_timer(5_050_000)
    assert scene.link.read() == [], "the publisher has a moment for a key frame"
    scene.stream.on_timer(5_200_000)
    group = scene.link.read()
    assert [frame.payload for frame in group] == [frame.payload for frame in live]
    assert [frame.flags for frame in group] == [KEY_FRAME | PAST] + [PAST] * 4
    assert [live[-1].media_us - frame.media_us for frame in group] == [4000, 3000, 2000, 1000, 0]
    scene.subscriber.on_document(GroupRequest())
    scene.stream.on_timer(6_000_000)
    assert scene.link.read() == [], "not again at once"


def test_one_that_does_not_keep_up_loses_frames_up_to_a_key_frame(scene: Scene) -> None:
    scene.picture(key=True)
    scene.link.read()
    scene.link.full = True
    scene.picture()
    scene.stream.audio(b"opus", 5_200_000, 5_200_000)
    scene.link.full = False
    scene.picture()
    scene.stream.audio(b"opus", 5_220_000, 5_220_000)
    assert [frame.type for frame in scene.link.read()] == [FrameType.AUDIO]
    assert scene.drops.counts == {"push_slow": 3}
    scene.picture(key=True)
    scene.picture()
    assert len(scene.link.read()) == 2
    assert scene.drops.counts == {"push_slow": 3}


def test_the_end_is_told_once(scene: Scene) -> None:
    scene.subscriber.lost()
    assert scene.lost == [scene.subscriber]
