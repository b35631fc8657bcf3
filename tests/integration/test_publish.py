"""aiortc publishes into a real room process, another one watches, sessions subscribe."""

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aioice.ice
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.codecs.h264 import H264Encoder
from aiortc.mediastreams import AudioStreamTrack
from av.video.frame import VideoFrame

from sluice.core.ids import UserId
from sluice.core.rooms import PatchAnswer, PatchOutcome, PeerAnswer, PeerPatch
from sluice.process.control import Answer, Patched, PatchPeer, Refused, Retire
from sluice.process.documents import KeyFrameRequest, LinkDocument, Subscribe, pack_document, read_document
from sluice.process.documents import Publisher as PublisherDocument
from sluice.process.link import (
    KEY_FRAME,
    FrameParser,
    FrameType,
    LinkFrame,
)
from sluice.wire.h264 import NAL_PPS, NAL_SPS, split_avcc
from tests.integration.lossy import LossyRelay, lossy_relay
from tests.integration.room import APP, ROOM, USER, Publisher, RoomServer, Viewer, room_server, slices

pytestmark = pytest.mark.anyio

BOTH = ("audio", "video")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def eager_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.2)


@pytest.fixture
async def server(anyio_backend: str, eager_consent: None) -> AsyncIterator[RoomServer]:
    async with room_server() as server:
        yield server


class Camera(VideoStreamTrack):
    """A picture that changes; `sent` are the slices that aiortc made of it, `asked` counts the key frames
    that it was asked for. `bare`: the parameter sets are not sent, but kept in `sets`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, bare: bool = False) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.sets: list[bytes] = []
        self.asked = 0
        encode: Any = H264Encoder._encode_frame

        def recording(encoder: Any, frame: VideoFrame, force_keyframe: bool) -> Iterator[bytes]:
            units = list(encode(encoder, frame, force_keyframe))
            self.sent += slices(units)
            self.asked += force_keyframe
            if bare:
                self.sets += [unit for unit in units if unit[0] & 0x1F in (NAL_SPS, NAL_PPS)]
                units = [unit for unit in units if unit[0] & 0x1F not in (NAL_SPS, NAL_PPS)]
            return iter(units)

        monkeypatch.setattr(H264Encoder, "_encode_frame", recording)

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        luma = np.full((270, 320), 128, np.uint8)
        luma[:180] = np.arange(320, dtype=np.uint8) + pts // 3000 % 200
        frame = VideoFrame.from_ndarray(luma, format="yuv420p")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Browser:
    """Publishes a camera and silence."""

    def __init__(self, server: RoomServer, camera: Camera, user: str = "anna") -> None:
        self.peer = RTCPeerConnection()
        self.camera = camera
        self.answer: PeerAnswer | None = None
        self.user = user
        self._server = server

    async def publish(
        self,
        kinds: tuple[str, ...] = BOTH,
        relay: LossyRelay | None = None,
        edit: Callable[[str], str] = str,
    ) -> PeerAnswer:
        for kind in kinds:
            track = self.camera if kind == "video" else AudioStreamTrack()
            self.peer.addTransceiver(track, direction="sendonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        offer = edit(self.peer.localDescription.sdp)
        reply = await self._server.publish(offer, user=self.user, kinds=kinds)
        assert isinstance(reply, Answer), reply
        self.answer = reply.answer
        sdp = relay.rewrite(self.answer.sdp) if relay else self.answer.sdp
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        return self.answer

    async def end(self) -> None:
        await self._server.close(self.answer, self.user)


@asynccontextmanager
async def browser(server: RoomServer, camera: Camera, user: str = "anna") -> AsyncIterator[Browser]:
    found = Browser(server, camera, user)
    try:
        yield found
    finally:
        await found.peer.close()


@asynccontextmanager
async def watching(server: RoomServer, monkeypatch: pytest.MonkeyPatch, user: str) -> AsyncIterator[Viewer]:
    viewer = Viewer(server, "bert", user)
    try:
        await viewer.join(monkeypatch)
        yield viewer
    finally:
        await viewer.close()


def assert_part_of(received: list[str], sent: list[str]) -> None:
    """In order and without a gap."""
    start = sent.index(received[0])
    assert sent[start : start + len(received)] == received


class Session:
    """Subscribes over the frame socket; `states` is what it was told of the publisher."""

    def __init__(self) -> None:
        self.frames: list[LinkFrame] = []
        self.states: list[PublisherDocument] = []
        self._news = asyncio.Condition()

    async def connect(self, server: RoomServer, user: str) -> None:
        self._reader, self.writer = await asyncio.open_unix_connection(server.link)
        stream = {"app_id": APP, "room_id": ROOM, "user_id": user, "stream": 0}
        self.tell(Subscribe.model_validate(stream))

    def tell(self, document: LinkDocument) -> None:
        self.writer.write(pack_document(document, 0))

    async def run(self) -> None:
        parser = FrameParser()
        while data := await self._reader.read(1 << 16):
            async with self._news:
                for frame in parser.feed(data):
                    if frame.type == FrameType.CONTROL:
                        document = read_document(frame.payload)
                        assert isinstance(document, PublisherDocument)
                        self.states.append(document)
                    else:
                        self.frames.append(frame)
                self._news.notify_all()

    async def until(self, **state: bool) -> None:
        async with asyncio.timeout(20), self._news:
            wanted = PublisherDocument.model_validate(state)
            await self._news.wait_for(lambda: self.states[-1:] == [wanted])

    async def until_frames(self, count: int) -> None:
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.frames) >= count)

    def pictures(self) -> list[LinkFrame]:
        return [frame for frame in self.frames if frame.type == FrameType.VIDEO]

    def slices(self) -> list[str]:
        return [
            found
            for frame in self.pictures()
            for found in slices([bytes(unit) for unit in split_avcc(frame.payload, 4)])
        ]


@asynccontextmanager
async def subscribed(server: RoomServer, user: str) -> AsyncIterator[Session]:
    session = Session()
    await session.connect(server, user)
    running = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session.writer.close()
        await session.writer.wait_closed()
        await running


# --- publishing -------------------------------------------------------------------------------------------


async def test_what_is_published_is_what_viewers_get(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with browser(server, Camera(monkeypatch)) as anna:
        await anna.publish()
        await server.until("joined anna", "published anna")
        async with watching(server, monkeypatch, "anna") as viewer:
            await viewer.until(60)
            assert_part_of(viewer.slices, anna.camera.sent)
        await anna.end()
        await server.until("unpublished anna", "left anna")
    assert Counter(server.changes)["published anna"] == 1


async def test_the_server_begins_dtls_where_the_offer_is_passive(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passive(sdp: str) -> str:
        return sdp.replace("a=setup:actpass", "a=setup:passive")

    viewer = Viewer(server, "bert", "anna")
    async with browser(server, Camera(monkeypatch)) as anna:
        answer = await anna.publish(edit=passive)
        assert "a=setup:active" in answer.sdp
        await viewer.join(monkeypatch, passive)
        await viewer.until(30)
        await viewer.close()


async def test_parameter_sets_may_stand_in_the_offer_alone(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """https://github.com/meetecho/janus-gateway/pull/3149"""
    camera = Camera(monkeypatch, bare=True)
    list(H264Encoder()._encode_frame(await camera.recv(), True))
    sets = ",".join(base64.b64encode(unit).decode() for unit in camera.sets)
    camera.sent.clear()
    async with watching(server, monkeypatch, "anna") as viewer, browser(server, camera) as anna:
        await anna.publish(
            edit=lambda sdp: sdp.replace("a=fmtp:", f"a=fmtp:99 sprop-parameter-sets={sets}\r\na=fmtp:", 1)
        )
        await viewer.until(30)
        assert viewer.slices[0] == camera.sent[0], "from the very first picture on"


async def test_a_microphone_alone(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with browser(server, Camera(monkeypatch)) as anna:
        await anna.publish(("audio",))
        async with watching(server, monkeypatch, "anna") as viewer, asyncio.timeout(20):
            while viewer.sounds < 30:
                await asyncio.sleep(0.01)
            assert viewer.slices == []


async def test_a_viewer_who_waits_gets_the_picture_at_once(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(server, monkeypatch, "anna") as viewer, browser(server, Camera(monkeypatch)) as anna:
        await anna.publish()
        await viewer.until(30)
        assert viewer.slices[0] == anna.camera.sent[0], "from the very first frame on"


async def test_lost_packets_are_repeated(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lossy_relay() as relay, browser(server, Camera(monkeypatch)) as anna:
        await anna.publish(relay=relay)
        await server.until("published anna")
        async with subscribed(server, "anna") as session:
            session.tell(KeyFrameRequest())
            await session.until_frames(20)
            asked, relay.loss_to_node = anna.camera.asked, 0.1
            await session.until_frames(400)
            assert relay.lost > 20
            assert_part_of(session.slices(), anna.camera.sent)
            assert anna.camera.asked == asked, "packet by packet, not by key frames"


async def test_a_publisher_that_vanishes_is_removed(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 3600)
    async with browser(server, Camera(monkeypatch)) as anna:
        await anna.publish()
        await server.until("published anna", "unpublished anna", "left anna")


@pytest.mark.parametrize("kinds", [("audio",), ("video",)])
async def test_a_kind_that_the_token_does_not_allow(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]
) -> None:
    async with browser(server, Camera(monkeypatch)) as anna:
        anna.peer.addTransceiver("audio", direction="sendonly")
        anna.peer.addTransceiver("video", direction="sendonly")
        await anna.peer.setLocalDescription(await anna.peer.createOffer())
        reply = await server.publish(anna.peer.localDescription.sdp, kinds=kinds)
        assert isinstance(reply, Refused)
        assert reply.forbidden
        assert server.changes == []


# --- who publishes a stream -------------------------------------------------------------------------------


async def test_the_second_connection_replaces_the_first(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()
    async with (
        browser(server, Camera(monkeypatch)) as first,
        browser(server, Camera(monkeypatch)) as second,
        watching(server, monkeypatch, "anna") as viewer,
    ):
        answer = await first.publish()

        @first.peer.on("connectionstatechange")
        def on_change() -> None:
            if first.peer.connectionState == "closed":
                closed.set()

        await viewer.until(20)
        sources, seen = viewer.sources(), len(viewer.slices)
        await second.publish()
        async with asyncio.timeout(5):
            await closed.wait()
        await viewer.until(seen + 30)
        assert viewer.sources() == sources, "one stream for the viewer, whoever publishes it"
        patch = PeerPatch(APP, ROOM, UserId("anna"), answer.peer_id, ("*",), "a=x\r\nm=a 9 b 1\r\n")
        replaced = Patched(answer=PatchAnswer(PatchOutcome.REPLACED))
        assert await server.process.request(PatchPeer(patch=patch)) == replaced
    assert server.changes.count("published anna") == 2
    assert "left anna" not in server.changes


async def test_the_newest_of_a_relay_and_a_browser_has_the_stream(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Publisher(server.link, "run_1")
    await relay.connect()
    playing = asyncio.create_task(relay.play())
    try:
        await server.until(f"published {USER}")
        async with browser(server, Camera(monkeypatch), USER) as guest:
            await guest.publish()
            async with asyncio.timeout(5):
                if (
                    not await relay.end
                ):  # its last frames met a closed socket: it comes back, and hears it then
                    await relay.connect()
                    assert await relay.end
                while server.changes.count(f"published {USER}") < 2:
                    await asyncio.sleep(0.01)
            later = Publisher(server.link, "run_2")
            await later.connect()
            playing.cancel()
            playing = asyncio.create_task(later.play())
            async with asyncio.timeout(20):
                while guest.peer.connectionState != "closed" or server.changes.count(f"published {USER}") < 3:
                    await asyncio.sleep(0.01)
            assert not later.end.done()
            later.link.close()
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing


# --- subscribers ------------------------------------------------------------------------------------------


async def test_a_session_gets_the_publishers_frames_and_is_told_of_its_publisher(
    server: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with subscribed(server, "anna") as session:
        await session.until(present=False, video=False, audio=False)
        async with browser(server, Camera(monkeypatch)) as anna:
            await anna.publish()
            await session.until(present=True, video=True, audio=True)
            await session.until_frames(60)
            pictures = session.pictures()
            assert pictures[0].flags == KEY_FRAME
            assert [unit[0] & 0x1F for unit in split_avcc(pictures[0].payload, 4)][:2] == [7, 8]
            assert_part_of(session.slices(), anna.camera.sent)
            assert all(a.media_us < b.media_us for a, b in pairwise(pictures))
            asked = anna.camera.asked
            session.tell(KeyFrameRequest())
            await session.until_frames(len(session.frames) + 60)
            assert anna.camera.asked == asked + 1
            await anna.end()
            await session.until(present=True, video=False, audio=False)
        await session.until(present=False, video=False, audio=False)


async def test_a_session_goes_on_over_publishers_and_gets_a_relays_bytes(server: RoomServer) -> None:
    async with subscribed(server, USER) as session:
        for run in ("run_1", "run_2"):
            publisher = Publisher(server.link, run)
            await publisher.connect()
            before = len(session.frames)
            await publisher.play(40)
            await session.until_frames(before + 120)
            first = session.frames[before]
            assert (first.type, first.flags) == (FrameType.VIDEO, KEY_FRAME)
            publisher.link.close()
            await server.process.request(Retire(app_id=APP, room_id=ROOM, run_id=run))
        assert session.slices() == publisher.sent * 2
        for kind in (FrameType.VIDEO, FrameType.AUDIO):
            times = [frame.media_us for frame in session.frames if frame.type == kind]
            assert all(a < b for a, b in pairwise(times))


# --- the ICE session --------------------------------------------------------------------------------------


async def test_patches(server: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with browser(server, Camera(monkeypatch)) as anna:
        answer = await anna.publish()
        ufrag = next(
            line.partition(":")[2]
            for line in anna.peer.localDescription.sdp.splitlines()
            if line.startswith("a=ice-ufrag")
        )

        async def patch(etag: str, fragment: str, *, user: str = "anna") -> PatchAnswer | Refused:
            asked = PeerPatch(APP, ROOM, UserId(user), answer.peer_id, (etag,), fragment)
            reply = await server.process.request(PatchPeer(patch=asked))
            assert isinstance(reply, Patched | Refused)
            return reply.answer if isinstance(reply, Patched) else reply

        same = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:p\r\n"
        new = "a=ice-ufrag:other\r\na=ice-pwd:p\r\n"
        assert await patch(answer.etag, same) == PatchAnswer(PatchOutcome.TAKEN)
        assert await patch("another", same) == PatchAnswer(PatchOutcome.STALE)
        assert await patch(answer.etag, same, user="bert") == PatchAnswer(PatchOutcome.UNKNOWN)
        assert isinstance(await patch(answer.etag, new), Refused)
        assert isinstance(await patch("*", "nonsense"), Refused)
        restarted = await patch("*", new)
        assert isinstance(restarted, PatchAnswer)
        assert restarted.outcome is PatchOutcome.RESTARTED
        assert restarted.etag != answer.etag
        assert f"a=ice-ufrag:{restarted.etag}\r\n" in restarted.fragment
        assert await patch(answer.etag, same) == PatchAnswer(PatchOutcome.STALE)
        assert await patch(restarted.etag, new) == PatchAnswer(PatchOutcome.TAKEN)
        async with watching(server, monkeypatch, "anna") as viewer:
            await viewer.until(10)  # the session before it serves until the new one does
        assert await server.close(answer)
        assert await patch("*", new) == PatchAnswer(PatchOutcome.UNKNOWN)
