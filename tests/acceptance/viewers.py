"""Viewers that are not ours: Chromium through the page or a bare WHEP script, and aiortc."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import get_decoder
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import MediaStreamTrack
from av.bitstream import BitStreamFilterContext
from playwright.async_api import Browser, Page

from sluice.wire.h264 import split_annexb
from tests.integration.waiting import until, until_seen

#: Keeps every peer connection of a page where a test can ask it for its statistics.
_REMEMBER = """
window.peers = [];
const Original = RTCPeerConnection;
window.RTCPeerConnection = class extends Original {
  constructor(...args) { super(...args); window.peers.push(this); }
};
"""

_STATS = """
async () => {
  const total = {frames: 0, keys: 0, energy: 0, freezes: 0, lost: 0, connected: 0};
  total.peers = window.peers.length;
  for (const peer of window.peers) {
    if (peer.connectionState !== "connected") continue;
    total.connected++;
    (await peer.getStats()).forEach(entry => {
      if (entry.type !== "inbound-rtp") return;
      total.lost += entry.packetsLost;
      if (entry.kind === "video") {
        total.frames += entry.framesDecoded;
        total.keys += entry.keyFramesDecoded;
        total.freezes += entry.freezeCount;
      } else total.energy += entry.totalAudioEnergy;
    });
  }
  return {...total, at: performance.now()};
}
"""

#: A WHEP client of twenty lines, as a developer would write it from the specification alone.
_BARE_WHEP = """
async ([url, token]) => {
  const peer = new RTCPeerConnection();
  const video = document.createElement("video");
  video.autoplay = true;
  video.srcObject = new MediaStream();
  document.body.append(video);
  peer.ontrack = event => video.srcObject.addTrack(event.track);
  peer.addTransceiver("audio", {direction: "recvonly"});
  peer.addTransceiver("video", {direction: "recvonly"});
  await peer.setLocalDescription(await peer.createOffer());
  const response = await fetch(url, {
    method: "POST", body: peer.localDescription.sdp,
    headers: {"Content-Type": "application/sdp", "Authorization": "Bearer " + token},
  });
  if (response.status !== 201) throw new Error(response.status + " " + await response.text());
  await peer.setRemoteDescription({type: "answer", sdp: await response.text()});
  return response.headers.get("Location");
}
"""


class ChromiumViewer:
    def __init__(self, page: Page) -> None:
        self.page = page

    async def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.page.evaluate(_STATS)
        return found

    async def until(
        self, wanted: Callable[[dict[str, Any]], object], deadline_s: float = 20
    ) -> dict[str, Any]:
        """The statistics as soon as they are as wanted."""
        return await until_seen(self.stats, wanted, deadline_s)

    async def until_frames(self, count: int, deadline_s: float = 20) -> dict[str, Any]:
        """The statistics as soon as so many frames are decoded."""
        return await self.until(lambda stats: stats["frames"] >= count, deadline_s)

    async def until_size(self, size: list[int], deadline_s: float = 20) -> None:
        """Returns when the picture has this width and height."""
        look = "(video => [video?.videoWidth, video?.videoHeight])(document.querySelector('video'))"
        await until_seen(lambda: self.page.evaluate(look), lambda seen: seen == size, deadline_s)

    async def rate(self, frames: int = 75) -> float:
        """Decoded frames per second over the next `frames` frames."""
        before = await self.stats()
        after = await self.until_frames(before["frames"] + frames)
        return float((after["frames"] - before["frames"]) / (after["at"] - before["at"]) * 1000)


@asynccontextmanager
async def chromium_page(
    browser: Browser, url: str, *, ignore_https_errors: bool = False
) -> AsyncIterator[ChromiumViewer]:
    """The page as people open it."""
    context = await browser.new_context(ignore_https_errors=ignore_https_errors)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.add_init_script(_REMEMBER)
    await page.goto(url)
    try:
        yield ChromiumViewer(page)
    finally:
        await context.close()
    assert not errors


@asynccontextmanager
async def chromium_whep(browser: Browser, origin: str, url: str, token: str) -> AsyncIterator[ChromiumViewer]:
    """A bare client on a page of another origin than the node's."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.add_init_script(_REMEMBER)
    await page.goto(origin)
    await page.evaluate(_BARE_WHEP, [url, token])
    try:
        yield ChromiumViewer(page)
    finally:
        await context.close()


async def negotiate(peer: RTCPeerConnection, url: str, token: str, edit: Callable[[str], str] = str) -> None:
    """Offers what the peer has to a WHEP endpoint, and takes its answer as `edit` makes it."""
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    async with aiohttp.ClientSession() as session:
        offer = peer.localDescription.sdp
        async with session.post(url, data=offer, headers=headers) as response:
            assert response.status == 201, await response.text()
            answer = await response.text()
    await peer.setRemoteDescription(RTCSessionDescription(edit(answer), "answer"))


class AiortcViewer:
    """`slices` are the hashes of the H.264 slices received, in order."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection()
        self.slices: list[str] = []
        self._sink = MediaBlackhole()

    async def watch(self, url: str, token: str) -> None:
        @self.peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._sink.addTrack(track)

        self.peer.addTransceiver("audio", direction="recvonly")
        self.peer.addTransceiver("video", direction="recvonly")
        await negotiate(self.peer, url, token)
        await self._sink.start()

    async def until_slices(self, count: int, deadline_s: float = 20) -> None:
        await until(lambda: len(self.slices) >= count, deadline_s)

    async def close(self) -> None:
        await self._sink.stop()
        await self.peer.close()


@asynccontextmanager
async def aiortc_viewer(url: str, token: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AiortcViewer]:
    """Records what reaches the decoder, before anything is decoded."""
    viewer = AiortcViewer()

    def recording(codec: Any) -> Any:
        decoder: Any = get_decoder(codec)
        decode = decoder.decode

        def record(frame: Any) -> Any:
            if codec.mimeType == "video/H264":
                viewer.slices += slice_hashes(frame.data)
            return decode(frame)

        decoder.decode = record
        return decoder

    monkeypatch.setattr("aiortc.rtcrtpreceiver.get_decoder", recording)
    try:
        await viewer.watch(url, token)
        yield viewer
    finally:
        await viewer.close()


def slice_hashes(annexb: bytes) -> list[str]:
    """Hashes of the slice NAL units (types 1 and 5) of an access unit with start codes."""
    return [
        hashlib.sha256(unit).hexdigest() for unit in split_annexb(annexb) if unit and unit[0] & 0x1F in (1, 5)
    ]


def source_slices(path: Path) -> list[str]:
    """The slices of a file, demuxed by FFmpeg."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        to_annexb = BitStreamFilterContext("h264_mp4toannexb", stream)
        return [
            found
            for packet in container.demux(stream)
            for filtered in to_annexb.filter(packet)
            for found in slice_hashes(bytes(filtered))
        ]
