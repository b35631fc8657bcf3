"""Publishers that are not ours: Chromium through the page, ffmpeg over WHIP, and raw packets."""

import asyncio
import re
import struct
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import Literal

import av
import numpy as np
from aiortc import RTCPeerConnection
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from imageio_ffmpeg import get_ffmpeg_exe
from playwright.async_api import Browser, Page

from sluice.wire.h264 import split_annexb
from sluice.wire.rtp import h264_payloads
from tests.acceptance.node import ServedNode
from tests.acceptance.viewers import negotiate
from tests.integration.broadcast import SOUND_US, sounds_of_a_second

#: Encoding costs what the picture is large.
_SMALL = "wishes.video.video = {width: 320, height: 180, frameRate: 25}"


@asynccontextmanager
async def chromium_publisher(browser: Browser, node: ServedNode, room: str, user: str) -> AsyncIterator[Page]:
    """The page with camera and microphone turned on, as soon as media leaves it."""
    context = await browser.new_context(permissions=["camera", "microphone"])
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(node.page_url(room, user, publish=True))
    await page.evaluate(_SMALL)
    await page.click("#camera")
    await page.click("#microphone")
    await page.wait_for_selector('figure[data-state="live"]')
    try:
        yield page
    finally:
        await context.close()
    assert not errors


@asynccontextmanager
async def ffmpeg_whip(node: ServedNode, room: str, user: str, *encoding: str) -> AsyncIterator[Process]:
    """An ffmpeg that has the WHIP muxer (that of Debian 12 does not), called with no flags of WHIP."""
    url = f"{node.url}/whip/{node.credentials.app_id}/{room}"
    process = await asyncio.create_subprocess_exec(
        *(get_ffmpeg_exe(), "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"),
        *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:v", "libx264"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25"),
        *(*encoding, "-c:a", "libopus", "-ac", "2"),
        *("-f", "whip", "-authorization", node.token(room, user, publish=True), url),
        stdin=DEVNULL,
        stdout=DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Encoder:
    """What a WHIP client sends: x264's options, how packets are marked (on the last one of a picture, on each
    slice, on none) and stamped, and whether the parameter sets are sent."""

    options: Mapping[str, str] = field(default_factory=dict)
    marks: Literal["pictures", "slices", "nothing"] = "pictures"
    stamps: Literal["shown", "decoded"] = "shown"
    parameter_sets: bool = True


class RawPublisher:
    """A WHIP client on aiortc's transport that sends what it is told, packet by packet. It makes no key frame
    when it is asked for one. `video` and `audio` may be switched while it plays."""

    def __init__(self, encoder: Encoder) -> None:
        self.video = self.audio = True
        self.pictures = 0  #: sent
        self._encoder = encoder
        self._peer = RTCPeerConnection()
        self._sequence = {"video": 0, "audio": 0}
        self._types: dict[str, int] = {}

    async def connect(self, url: str, token: str) -> None:
        for kind in ("audio", "video"):
            self._peer.addTransceiver(kind, direction="sendonly")
        connected = asyncio.Event()

        @self._peer.on("connectionstatechange")
        def on_change() -> None:
            if self._peer.connectionState == "connected":
                connected.set()

        await negotiate(self._peer, url, token)
        answer = self._peer.remoteDescription.sdp
        for kind, codec in (("video", "H264"), ("audio", "opus")):
            found = re.search(rf"a=rtpmap:(\d+) {codec}/", answer)
            assert found is not None
            self._types[kind] = int(found[1])
        await asyncio.wait_for(connected.wait(), 10)

    async def play(self) -> None:
        """In real time, until it is cancelled."""
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        sounds, coded = sounds_of_a_second(), coded_pictures(self._encoder.options)
        for n in count():
            await asyncio.sleep(began + n * SOUND_US / 1e6 - loop.time())
            if n % 2 == 0:
                units, shown, decoded = next(coded)
                stamp = (shown if self._encoder.stamps == "shown" else decoded) * 3600
                if self.video:
                    await self._picture(units, stamp & 0xFFFFFFFF)
            if self.audio:
                await self._send("audio", sounds[n % len(sounds)], n * 960, marker=False)

    async def close(self) -> None:
        await self._peer.close()

    async def _picture(self, units: list[bytes], stamp: int) -> None:
        if not self._encoder.parameter_sets:
            units = [unit for unit in units if unit[0] & 0x1F not in (7, 8)]
        slices = [h264_payloads([unit]) for unit in units]
        for n, payloads in enumerate(slices):
            for m, payload in enumerate(payloads):
                last = m == len(payloads) - 1 and (self._encoder.marks == "slices" or n == len(slices) - 1)
                await self._send("video", payload, stamp, marker=last and self._encoder.marks != "nothing")
        self.pictures += 1

    async def _send(self, kind: str, payload: bytes, stamp: int, *, marker: bool) -> None:
        number = self._sequence[kind]
        self._sequence[kind] = number + 1 & 0xFFFF
        ssrc = 7 if kind == "video" else 9
        head = struct.pack("!BBHII", 0x80, marker << 7 | self._types[kind], number, stamp, ssrc)
        transport = self._peer.getSenders()[0].transport
        await transport._send_rtp(head + payload)


def coded_pictures(options: Mapping[str, str]) -> Iterator[tuple[list[bytes], int, int]]:
    """The pictures of an endless clip in decoding order, one key frame at its beginning unless told: NAL
    units, and the numbers by which they are shown and decoded."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.framerate, encoder.time_base, encoder.thread_count = Fraction(25), Fraction(1, 25), 1
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "100000", **options}
    decoded = count()
    for n in count():
        luma = np.full((270, 320), 128, np.uint8)
        luma[:180] = np.random.default_rng(n).integers(60, 180, (180, 320), np.uint8) // 8 * 8
        frame = VideoFrame.from_ndarray(luma, format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, 25)
        for packet in encoder.encode(frame):
            assert packet.pts is not None
            yield split_annexb(bytes(packet)), packet.pts, next(decoded)


@asynccontextmanager
async def raw_publisher(
    node: ServedNode, room: str, user: str, encoder: Encoder | None = None
) -> AsyncIterator[RawPublisher]:
    """It plays while the context is open."""
    publisher = RawPublisher(encoder or Encoder())
    url = f"{node.url}/whip/{node.credentials.app_id}/{room}"
    await publisher.connect(url, node.token(room, user, publish=True))
    playing = asyncio.create_task(publisher.play())
    try:
        yield publisher
    finally:
        playing.cancel()
        await publisher.close()
