"""A real room process for tests, publishers on its frame socket, and aiortc as viewers.

``python -m tests.integration.room CONFIG`` is the room process itself, with short consent and linger times.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.contrib.media import MediaBlackhole
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamTrack
from av.frame import Frame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import LinkAddress, PeerAnswer, PublishOffer, StreamIndex, WatchOffer
from sluice.media.frame_link import FrameLinks
from sluice.media.pipe.frames import OutFrame
from sluice.media.sink.room import RoomSink
from sluice.process.child import run_child
from sluice.process.control import Answer, ClosePeer, Done, Message, Publish, RoomChanged, Watch
from sluice.process.documents import Hello
from sluice.process.link import FrameType
from sluice.process.supervisor import ChildSpec, Supervised
from sluice.rooms.engine import peer, room
from sluice.rooms.engine.__main__ import RoomProcess
from sluice.wire.h264 import split_annexb

APP, ROOM, USER = AppId("app"), RoomId("room"), UserId("relay")
CONSENT_S = 1.5
FRAME_US = 40_000
_SPEED = 4  #: times real time that publishers send at
_SILENCE = b"\xf8\xff\xfe"  #: 20 ms of Opus (RFC 6716)


class RoomServer:
    """A supervised room process, and the changes that it told."""

    def __init__(self, folder: Path) -> None:
        self.link = str(folder / "room.sock")
        self.changes: list[str] = []
        self._news = asyncio.Condition()
        config = {"host": "127.0.0.1", "port": 0, "public_ips": [], "link": self.link, "log_level": "warning"}
        self.process = Supervised(
            ChildSpec("room", "tests.integration.room", config),
            on_notice=self._take,
            on_ready=lambda process: None,
            on_death=lambda process: None,
        )

    @property
    def media_port(self) -> int:
        assert self.process.ready is not None
        return self.process.ready.media_port

    async def until(self, *changes: str, deadline_s: float = 20) -> None:
        """Waits until all of these were told, in any order."""
        async with asyncio.timeout(deadline_s), self._news:
            await self._news.wait_for(lambda: set(changes) <= set(self.changes))

    async def watch(self, sdp: str, *, user: str = USER, viewer: str = "anna") -> Message:
        return await self.process.request(
            Watch(offer=WatchOffer(APP, ROOM, UserId(user), StreamIndex.CAMERA, UserId(viewer), sdp))
        )

    async def publish(
        self, sdp: str, *, user: str = USER, stream: int = 0, kinds: tuple[str, ...] = ("audio", "video")
    ) -> Message:
        return await self.process.request(
            Publish(offer=PublishOffer(APP, ROOM, UserId(user), StreamIndex(stream), kinds, sdp))
        )

    async def close(self, peer: PeerAnswer | None, user: str = "anna", room: str = ROOM) -> bool:
        """Whether there was such a peer of the user."""
        assert peer is not None
        request = ClosePeer(app_id=APP, room_id=room, user_id=user, peer_id=peer.peer_id)
        reply = await self.process.request(request)
        assert isinstance(reply, Done)
        return reply.found

    def _take(self, process: Supervised, message: Message) -> None:
        if isinstance(message, RoomChanged):
            change, kinds = message.change, message.change.media.kinds
            # Told again when the second kind of media flows.
            more = f" {'+'.join(kinds)}" if len(kinds) > 1 else ""
            self.changes.append(f"{change.kind.value} {change.user_id}{more}")
            self._wake = asyncio.ensure_future(self._notify())

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def room_server() -> AsyncIterator[RoomServer]:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:  # short: names of sockets are
        server = RoomServer(Path(folder))
        await server.process.start()
        try:
            yield server
        finally:
            await server.process.stop()


@cache
def clip() -> list[list[bytes]]:
    """The NAL units of 50 access units of H.264, the first a key frame and no other."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    encoder.thread_count = 1  # one slice per frame
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "1000", "sc_threshold": "0"}
    units = []
    for n in range(50):
        frame = VideoFrame(320, 180, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes((n * 5 + at * at // 7) % 256 for at in range(plane.buffer_size)))
        frame.pts = n
        units += [split_annexb(bytes(packet)) for packet in encoder.encode(frame)]
    return units + [split_annexb(bytes(packet)) for packet in encoder.encode(None)]


def slices(units: list[bytes]) -> list[str]:
    return [hashlib.sha256(unit).hexdigest() for unit in units if unit and unit[0] & 0x1F in (1, 5)]


class Publisher:
    """Publishes the clip over a frame link, over and over; `sent` are the slices, `end` how it ended."""

    def __init__(self, link: str, run_id: str) -> None:
        self.run_id = run_id
        self.sent: list[str] = []
        self._link = link
        self._media_us = 0

    async def connect(self) -> None:
        self.end: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        hello = {"app_id": APP, "room_id": ROOM, "user_id": USER, "stream": 0, "run_id": self.run_id}
        self.link = await RoomSink.open(
            FrameLinks(),
            LinkAddress(self._link),
            Hello.model_validate(hello),
            on_end=self.end.set_result,
            on_key_frame=lambda: None,
        )

    async def play(self, frames: int = 100_000) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for n in range(frames):
            await asyncio.sleep(max(0.0, due - loop.time()))
            # Who is late goes on from there: to catch up at once is more than a viewer's socket can hold.
            due = max(due, loop.time()) + FRAME_US / 1e6 / _SPEED
            units = clip()[n % len(clip())]
            payload = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
            key = n % len(clip()) == 0
            self.link.send(
                [
                    OutFrame(FrameType.VIDEO, self._media_us, payload, key),
                    OutFrame(FrameType.AUDIO, self._media_us, _SILENCE),
                    OutFrame(FrameType.AUDIO, self._media_us + FRAME_US // 2, _SILENCE),
                ]
            )
            self._media_us += FRAME_US
            self.sent += slices(units)


class Viewer:
    """aiortc, which watches `user`; `slices` and `sounds` count what reached its decoders."""

    def __init__(self, server: RoomServer, name: str = "anna", user: str = USER) -> None:
        self.peer = RTCPeerConnection()
        self.slices: list[str] = []
        self.sounds = 0
        self.answer: PeerAnswer | None = None
        self._server, self._name, self._user = server, name, user
        self._sink = MediaBlackhole()

    async def join(self, monkeypatch: pytest.MonkeyPatch, edit: Callable[[str], str] = str) -> None:
        monkeypatch.setattr(rtcrtpreceiver, "get_decoder", self._decoder_maker())
        for kind in ("audio", "video"):
            self.peer.addTransceiver(kind, direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        offer = edit(self.peer.localDescription.sdp)
        reply = await self._server.watch(offer, user=self._user, viewer=self._name)
        assert isinstance(reply, Answer), reply
        self.answer = reply.answer

        @self.peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._sink.addTrack(track)

        await self.peer.setRemoteDescription(RTCSessionDescription(reply.answer.sdp, "answer"))
        await self._sink.start()

    async def until(self, count: int) -> None:
        """Until so many slices and as many sounds reached the decoders."""
        async with asyncio.timeout(20):
            while len(self.slices) < count or self.sounds < count:
                await asyncio.sleep(0.01)

    def sources(self) -> set[int]:
        """The SSRCs that video came from in the last seconds."""
        (receiver,) = (r for r in self.peer.getReceivers() if r.track.kind == "video")
        return {source.source for source in receiver.getSynchronizationSources()}

    async def close(self) -> None:
        await self._sink.stop()
        await self.peer.close()

    def _decoder_maker(self) -> Callable[[Any], Any]:
        def make(codec: Any) -> Any:
            decoder: Any = get_decoder(codec)
            decode = decoder.decode

            def record(frame: JitterFrame) -> list[Frame]:
                if codec.mimeType == "video/H264":
                    self.slices += slices(split_annexb(frame.data))
                else:
                    self.sounds += 1
                decoded: list[Frame] = decode(frame)
                return decoded

            decoder.decode = record
            return decoder

        return make


async def _main(config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await RoomProcess(config).run(reader, writer)


if __name__ == "__main__":
    peer.CONSENT_US = int(CONSENT_S * 1_000_000)
    room.LINGER_US = 100_000
    run_child(_main)
