"""The sessions of a media process share a frame link, for both ways of frames, and do not notice each other.

The room's end is the real one (rooms.engine.link) with ends that keep what they get.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sluice.core.ids import AppId, RoomId, RunId, UserId
from sluice.core.rooms import LinkAddress, StreamIndex
from sluice.media.frame_link import FrameLinks
from sluice.media.pipe.frames import OutFrame
from sluice.media.sink.room import RoomSink
from sluice.media.source.room import StreamAddress, Subscription
from sluice.process.documents import (
    GroupRequest,
    Hello,
    KeyFrameRequest,
    LinkDocument,
    Publisher,
    Replaced,
    Subscribe,
)
from sluice.process.link import KEY_FRAME, PAST, FrameType, LinkError, LinkFrame, pack_frame
from sluice.rooms.engine import link as room_link
from sluice.rooms.engine.link import FrameLink, LinkChannel

pytestmark = pytest.mark.anyio

ROOM: Any = {"app_id": AppId("app"), "room_id": RoomId("room"), "stream": StreamIndex.CAMERA}


class End:
    def __init__(self, channel: LinkChannel, purpose: Hello | Subscribe) -> None:
        self.channel = channel
        self.name = str(purpose.user_id)
        self.payloads: list[bytes] = []
        self.documents: list[LinkDocument] = []
        self.gone = False
        if isinstance(purpose, Subscribe):
            channel.expect_frames()

    def on_document(self, document: LinkDocument) -> None:
        if not isinstance(document, KeyFrameRequest | GroupRequest):
            raise LinkError("it does not belong here")
        self.documents.append(document)

    def on_frame(self, frame: LinkFrame) -> None:
        if frame.payload == b"broken":
            raise ValueError("broken")
        if frame.payload == b"defect":
            raise LookupError("a defect of ours")
        self.payloads.append(frame.payload)

    def lost(self) -> None:
        self.gone = True


class RoomSide:
    """`links` are the connections, `ends` has the channels' ends by user."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.links: list[FrameLink] = []
        self.ends: dict[str, End] = {}

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._link, self.path)

    def close(self) -> None:
        self._server.close()

    def _link(self) -> FrameLink:
        self.links.append(FrameLink(self._open_end))
        return self.links[-1]

    def _open_end(self, channel: LinkChannel, document: LinkDocument) -> End:
        if not isinstance(document, Hello | Subscribe):
            raise LinkError("nothing begins so")
        end = End(channel, document)
        self.ends[end.name] = end
        return end


class Subscribed:
    """A subscription and what it was given."""

    def __init__(self) -> None:
        self.publishers: list[Publisher] = []
        self.frames: list[LinkFrame] = []
        self.ended = asyncio.Event()
        self.subscription: Subscription

    def take(self, frames: list[LinkFrame]) -> None:
        if frames[0].payload == b"defect":
            raise LookupError("a defect of ours")
        self.frames += frames

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames]


class MediaSide:
    def __init__(self, path: str) -> None:
        self.opened: list[RoomSink | Subscription] = []
        self.asked: list[str] = []  #: who was asked for a key frame
        self.links = FrameLinks()
        self._address = LinkAddress(path)

    async def publish(self, user: str) -> tuple[RoomSink, "asyncio.Future[bool]"]:
        """A channel, and how it ended."""
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        hello = Hello(**ROOM, user_id=UserId(user), run_id=RunId("run"))
        sink = await RoomSink.open(
            self.links,
            self._address,
            hello,
            on_end=ended.set_result,
            on_key_frame=lambda: self.asked.append(user),
        )
        self.opened.append(sink)
        return sink, ended

    async def subscribe(self, user: str) -> Subscribed:
        got = Subscribed()
        got.subscription = await Subscription.open(
            self.links,
            StreamAddress(self._address, Subscribe(**ROOM, user_id=UserId(user))),
            on_publisher=got.publishers.append,
            on_frames=got.take,
            on_end=got.ended.set,
        )
        self.opened.append(got.subscription)
        return got


@pytest.fixture
async def room(anyio_backend: str) -> AsyncIterator[RoomSide]:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        room = RoomSide(str(Path(folder) / "room.sock"))
        await room.open()
        yield room
        room.close()


@pytest.fixture
async def media(room: RoomSide) -> AsyncIterator[MediaSide]:
    media = MediaSide(room.path)
    yield media
    for link in media.opened:
        link.close()
    await _until(lambda: all(end.gone for end in room.ends.values()))


async def test_all_sessions_share_one_link(room: RoomSide, media: MediaSide) -> None:
    sinks = await asyncio.gather(*(media.publish(f"user-{n}") for n in range(5)))
    subscribed = await asyncio.gather(*(media.subscribe(f"other-{n}") for n in range(5)))
    await _until(lambda: len(room.ends) == 10)
    for n in range(5):
        assert sinks[n][0].send([_sound(b"%d" % n), _sound(b"%d again" % n)])
        room.ends[f"other-{n}"].channel.send(FrameType.AUDIO, b"other %d" % n, 7)
    for n in range(5):
        await _until(lambda end=room.ends[f"user-{n}"]: len(end.payloads) == 2)
        await _until(lambda got=subscribed[n]: len(got.frames) == 1)
        assert room.ends[f"user-{n}"].payloads == [b"%d" % n, b"%d again" % n]
        (frame,) = subscribed[n].frames
        assert (frame.type, frame.media_us, frame.payload) == (FrameType.AUDIO, 7, b"other %d" % n)
    assert len(room.links) == 1


async def test_what_both_sides_say(room: RoomSide, media: MediaSide) -> None:
    await media.publish("anna")
    bert = await media.subscribe("bert")
    await _until(lambda: len(room.ends) == 2)
    told = Publisher(present=True, audio=True, trouble={"video": "it stands still"})
    room.ends["anna"].channel.tell(KeyFrameRequest())
    room.ends["bert"].channel.tell(told)
    await _until(lambda: media.asked == ["anna"] and bert.publishers == [told])
    bert.subscription.request_key_frame(begin=False)
    bert.subscription.request_key_frame(begin=True)
    await _until(lambda: room.ends["bert"].documents == [KeyFrameRequest(), GroupRequest()])


async def test_one_that_leaves_takes_nobody_with_it(room: RoomSide, media: MediaSide) -> None:
    (first, first_ended), (second, second_ended) = await media.publish("first"), await media.publish("second")
    third = await media.subscribe("third")
    first.send([_sound(b"last words")])
    first.close()
    third.subscription.close()
    await _until(lambda: len(room.ends) == 3 and room.ends["first"].gone and room.ends["third"].gone)
    assert room.ends["first"].payloads == [b"last words"]
    assert second.send([_sound(b"on")])
    await _until(lambda: room.ends["second"].payloads == [b"on"])
    assert not first_ended.done()
    assert not second_ended.done()
    assert not third.ended.is_set()


async def test_one_that_is_replaced_or_closed_takes_nobody_with_it(room: RoomSide, media: MediaSide) -> None:
    opened = {name: await media.publish(name) for name in ("replaced", "closed", "other")}
    reader = await media.subscribe("reader")
    await _until(lambda: len(room.ends) == 4)
    room.ends["replaced"].channel.tell(Replaced())
    room.ends["reader"].channel.send(FrameType.AUDIO, b"last words", 0)
    for name in ("replaced", "closed", "reader"):
        room.ends[name].channel.close()
    assert await asyncio.wait_for(opened["replaced"][1], 5) is True
    assert await asyncio.wait_for(opened["closed"][1], 5) is False
    await asyncio.wait_for(reader.ended.wait(), 5)
    assert reader.payloads == [b"last words"]
    await _until(lambda: room.ends["closed"].gone and room.ends["reader"].gone)  # their ENDs were answered
    assert opened["other"][0].send([_sound(b"on")])
    await _until(lambda: room.ends["other"].payloads == [b"on"])


@pytest.mark.parametrize("payload", [b"broken", b"defect"])
async def test_what_does_not_belong_there_ends_its_channel_alone(
    room: RoomSide, media: MediaSide, payload: bytes
) -> None:
    (bad, bad_ended), (good, good_ended) = await media.publish("bad"), await media.publish("good")
    with capture_logs() as logs:
        bad.send([_sound(payload), _sound(b"dropped")])
        assert await asyncio.wait_for(bad_ended, 5) is False
    level = "warning" if payload == b"broken" else "error"
    assert [(log["event"], log["log_level"]) for log in logs] == [("x channel", level)]
    assert room.ends["bad"].payloads == []
    good.send([_sound(b"on")])
    await _until(lambda: room.ends["good"].payloads == [b"on"])
    assert not good_ended.done()


async def test_a_document_that_does_not_belong_there_ends_its_channel_alone(
    room: RoomSide, media: MediaSide
) -> None:
    """Each end is told what only the other one is: first by the room, then by the media process."""
    (_, anna_ended), bert = await media.publish("anna"), await media.subscribe("bert")
    carl, dora = await media.subscribe("carl"), await media.subscribe("dora")
    good, good_ended = await media.publish("good")
    await _until(lambda: len(room.ends) == 5)
    with capture_logs() as logs:
        room.ends["anna"].channel.tell(Publisher())
        room.ends["bert"].channel.tell(Replaced())
        assert await asyncio.wait_for(anna_ended, 5) is False
        await asyncio.wait_for(bert.ended.wait(), 5)
        carl.subscription._channel.tell(Publisher())
        dora.subscription._channel.write([_nonsense(dora)])
        await asyncio.wait_for(asyncio.gather(carl.ended.wait(), dora.ended.wait()), 5)
    assert [(log["event"], log["log_level"]) for log in logs] == [("x channel", "warning")] * 4
    assert good.send([_sound(b"on")])
    await _until(lambda: room.ends["good"].payloads == [b"on"])
    assert not good_ended.done()
    assert len(room.links) == 1


async def test_a_channel_that_begins_with_nothing_ends_alone(room: RoomSide, media: MediaSide) -> None:
    good, good_ended = await media.publish("good")
    begun = asyncio.Event()

    class User:
        def on_document(self, document: LinkDocument) -> None: ...

        def on_frames(self, frames: list[LinkFrame]) -> None: ...

        def on_end(self) -> None:
            begun.set()

    with capture_logs() as logs:
        for purpose in (Replaced(), Publisher()):
            begun.clear()
            await media.links.open(LinkAddress(room.path), purpose, User())  # type: ignore[arg-type]
            await asyncio.wait_for(begun.wait(), 5)
    assert [(log["event"], log["log_level"]) for log in logs] == [("x channel", "warning")] * 2
    assert good.send([_sound(b"on")])
    await _until(lambda: room.ends["good"].payloads == [b"on"])
    assert not good_ended.done()


async def test_a_subscriber_that_breaks_ends_alone(room: RoomSide, media: MediaSide) -> None:
    bad, good = await media.subscribe("bad"), await media.subscribe("good")
    sink, ended = await media.publish("anna")
    await _until(lambda: len(room.ends) == 3)
    with capture_logs() as logs:
        room.ends["bad"].channel.send(FrameType.AUDIO, b"defect", 0)
        await asyncio.wait_for(bad.ended.wait(), 5)
    assert [(log["event"], log["log_level"]) for log in logs] == [("x channel", "error")]
    room.ends["good"].channel.send(FrameType.AUDIO, b"on", 0)
    assert sink.send([_sound(b"on")])
    await _until(lambda: good.payloads == room.ends["anna"].payloads == [b"on"])
    assert not ended.done()


async def test_frames_wait_in_a_bound_for_each_subscriber(
    room: RoomSide, media: MediaSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read while this test does not wait, so all beyond the socket's own buffer waits."""
    monkeypatch.setattr(room_link, "MOST_WAITING", 4 << 20)
    await media.publish("anna")
    bert, carl = await media.subscribe("bert"), await media.subscribe("carl")
    await _until(lambda: len(room.ends) == 3)
    to_bert, to_carl = (room.ends[name].channel for name in ("bert", "carl"))
    megabyte = bytes(1 << 20)
    sent = _fill(to_bert)
    assert 8 < sent <= 10, "4 MB for each that gets frames, and what the kernel takes"
    assert to_carl.full, "they have one reader, who is late"
    group = [(megabyte, n, PAST | (KEY_FRAME if n == 0 else 0)) for n in range(20)]
    to_carl.send_whole(FrameType.VIDEO, group)
    sent += (more := _fill(to_bert))
    assert 0 < more <= 10, "a group is beside what else may wait"
    await _until(lambda: len(bert.frames) == sent and len(carl.frames) == 20)
    assert [(frame.media_us, frame.flags) for frame in carl.frames[:2]] == [(0, PAST | KEY_FRAME), (1, PAST)]
    carl.subscription.close()
    await _until(lambda: room.ends["carl"].gone)
    assert _fill(to_bert) <= 6, "what one subscriber may have waiting, and no group any more"


async def test_subscribers_that_are_behind_cost_a_publisher_nothing(room: RoomSide, media: MediaSide) -> None:
    """The two ways of a link are independent: the room's backlog is not the media process's."""
    sink, _ = await media.publish("anna")
    got = await media.subscribe("bert")
    await _until(lambda: len(room.ends) == 2)
    for _ in range(64):
        room.ends["bert"].channel.send(FrameType.VIDEO, bytes(1 << 20), 0)
    for n in range(100):
        assert sink.send([_sound(b"%d" % n)])
    await _until(lambda: len(room.ends["anna"].payloads) == 100)
    await _until(lambda: len(got.frames) == 64)
    assert sink.dropped == 0


async def test_a_room_process_that_dies_is_told_to_all(room: RoomSide, media: MediaSide) -> None:
    opened = [await media.publish(f"user-{n}") for n in range(3)]
    got = await media.subscribe("bert")
    await _until(lambda: len(room.ends) == 4)
    room.links[0].write((b"\xff" * 16,))  # no frame: the media process cuts the link
    assert await asyncio.wait_for(asyncio.gather(*(ended for _, ended in opened)), 5) == [False] * 3
    await asyncio.wait_for(got.ended.wait(), 5)
    assert not opened[0][0].send([_sound(b"lost")])
    got.subscription.request_key_frame(begin=True)
    link, _ = await media.publish("again")
    assert link.send([_sound(b"on")])
    await _until(lambda: "again" in room.ends and room.ends["again"].payloads == [b"on"])
    assert len(room.links) == 2


async def test_a_link_nobody_uses_is_closed(room: RoomSide, media: MediaSide) -> None:
    for n in range(2):
        link, _ = await media.publish(f"user-{n}")
        link.close()
        await _until(lambda name=f"user-{n}": name in room.ends and room.ends[name].gone)
    assert len(room.links) == 2


async def test_no_room_process(room: RoomSide) -> None:
    media = MediaSide(f"{room.path}.other")
    with pytest.raises(OSError, match="No such file"):
        await media.publish("anna")
    with pytest.raises(OSError, match="No such file"):
        await media.links.check(LinkAddress(f"{room.path}.other"))
    await media.links.check(LinkAddress(room.path))


def _sound(payload: bytes) -> OutFrame:
    return OutFrame(FrameType.AUDIO, 0, payload)


def _fill(channel: LinkChannel) -> int:
    """Sends megabytes until the link is full; how many."""
    for sent in range(100):
        if channel.full:
            return sent
        channel.send(FrameType.VIDEO, bytes(1 << 20), 0)
    raise AssertionError("it takes everything")


def _nonsense(got: Subscribed) -> bytes:
    return pack_frame(FrameType.CONTROL, b"{}", channel=got.subscription._channel.number)


async def _until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)
