"""How soon a viewer in Chromium sees a running room: from the WHEP request to the first picture shown.

A node plays the demonstration's clip into a room; a headless Chromium joins it again and again, each time
with a new connection, from the node's own page. Then the same with a clip whose key frames lie 10 s apart:
a late joiner gets the pictures of the past at once, and must neither stay behind the live edge nor freeze.

The delay is what the viewer adds: from the arrival of a frame's last packet until the frame is shown
(requestVideoFrameCallback), and the mean time in the jitter buffer (getStats), 3 s after the join. "Live
picture" is the first one shown that was sent after the connection stood; "gap" is between those.
"""

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, async_playwright

from benchmarks.clip import FRAME_RATE, sample_file
from benchmarks.report import median, percentile, print_table, write_json
from sluice.config import ListenSettings, LogSettings, MediaSettings, RoomSettings, Settings
from sluice.demo import USER, running_demo
from sluice.process.logs import configure_logging

_BAR_MS = 300.0
_LONG_GROUP = 10 * FRAME_RATE
_SETTLE_S = 3
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)

#: One join. Resolves after `settle` seconds (0: at the first picture) to the figures of _COLUMNS.
_JOIN = """
async ({ path, token, settle }) => {
  const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
  const peer = new RTCPeerConnection();
  const media = new MediaStream();
  const video = document.body.appendChild(document.createElement("video"));
  video.autoplay = video.playsInline = true;
  peer.ontrack = event => { media.addTrack(event.track); video.srcObject = media; };
  const shown = [];
  const first = new Promise(resolve => {
    const look = (now, frame) => {
      resolve(performance.now());
      const { expectedDisplayTime: at, receiveTime: received, rtpTimestamp } = frame;
      shown.push({ at, received, sent: rtpTimestamp / 90 });
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  });
  const connected = new Promise(resolve => {
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === "connected") resolve(performance.now());
    };
  });
  const stats = async () => Object.fromEntries([...(await peer.getStats()).values()]
    .filter(entry => entry.type === "inbound-rtp").map(entry => [entry.kind, entry]));
  peer.addTransceiver("audio", { direction: "recvonly" });
  peer.addTransceiver("video", { direction: "recvonly" });
  await peer.setLocalDescription(await peer.createOffer());
  const started = performance.now();
  const response = await fetch(path, {
    method: "POST", body: peer.localDescription.sdp,
    headers: { "Content-Type": "application/sdp", "Authorization": `Bearer ${token}` },
  });
  if (response.status !== 201) throw new Error(`${response.status}: ${await response.text()}`);
  await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
  const answered = performance.now() - started;
  const figures = { answered_ms: answered, connected_ms: await connected - started };
  figures.first_picture_ms = await first - started;
  if (settle) {
    await pause(1000 * settle - (performance.now() - started));
    const before = await stats();
    const settled = performance.now();
    await pause(2000);
    const after = await stats();
    const mean = (kind, sum, count) =>
      (after[kind][sum] - before[kind][sum]) / (after[kind][count] - before[kind][count]);
    const middle = values => values.sort((a, b) => a - b)[values.length >> 1];
    const late = shown.filter(frame => frame.at > settled);
    // The RTP time of a live frame says when it was sent, on a clock that is this much off.
    const offset = Math.min(...late.map(frame => frame.received - frame.sent));
    const live = shown.filter(frame => frame.sent + offset > started + figures.connected_ms);
    if (!live.length) throw new Error("no live picture was shown");
    figures.live_ms = live[0].at - started;
    figures.longest_gap_ms = Math.max(...live.slice(1).map((frame, n) => frame.at - live[n].at));
    figures.shown_after_ms = middle(late.map(frame => frame.at - frame.received));
    figures.buffered_ms = 1000 * mean("video", "jitterBufferDelay", "jitterBufferEmittedCount");
    figures.sound_buffered_ms = 1000 * mean("audio", "jitterBufferDelay", "jitterBufferEmittedCount");
    figures.past = after.video.framesDecoded - live.length;
    figures.freezes = after.video.freezeCount;
  }
  peer.close();
  video.remove();
  await fetch(response.headers.get("Location"), { method: "DELETE" });
  return figures;
}
"""
_COLUMNS = {
    "answered_ms": "answer",
    "connected_ms": "connected",
    "first_picture_ms": "first",
    "live_ms": "live",
    "past": "past",
    "longest_gap_ms": "gap",
    "shown_after_ms": "delay",
    "buffered_ms": "buffered",
    "sound_buffered_ms": "sound",
    "freezes": "freezes",
}

Join = dict[str, float]


@asynccontextmanager
async def room_page(clip: Path, public_ip: str | None) -> AsyncIterator[tuple[Page, str, str]]:
    """A browser's page of a node that plays `clip`, the path to POST offers to, and the viewer's token."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        shutil.copyfile(clip, data / "sample.mp4")  # the demonstration takes a clip that is there
        rooms = RoomSettings(1, 0, (public_ip,) if public_ip else ())
        settings = Settings(
            data, LogSettings("error"), ListenSettings("127.0.0.1", 0), rooms, MediaSettings(1, ())
        )
        async with running_demo(settings) as (node, address), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
            try:
                page = await browser.new_page()
                await page.goto(f"{node.url}/room")
                where = {name: values[0] for name, values in parse_qs(urlsplit(address).fragment).items()}
                yield page, f"/whep/{where['app']}/{where['room']}/{USER}", where["token"]
            finally:
                await browser.close()


async def join(clip: Path, count: int, public_ip: str | None, *, settle_s: float = 0) -> list[Join]:
    """`count` joins, one after the other, at all places of a group of pictures."""
    async with room_page(clip, public_ip) as (page, path, token):
        await asyncio.sleep(3)  # the relay plays, whoever joins now is late
        joins: list[Join] = []
        for number in range(count):
            found: Any = await page.evaluate(_JOIN, {"path": path, "token": token, "settle": settle_s})
            joins.append(found)
            await asyncio.sleep(0.3 + 0.37 * (number % 5))
        return joins


def show(title: str, joins: Sequence[Join]) -> None:
    names = [name for name in _COLUMNS if name in joins[0]]
    rows = []
    for label, share in (("p50", 0.5), ("p95", 0.95), ("worst", 1.0)):
        figures = [percentile([found[name] for found in joins], share) for name in names]
        rows.append([label, *(f"{figure:.0f}" for figure in figures)])
    print_table(f"{title}, {len(joins)} joins (ms)", ["", *(_COLUMNS[name] for name in names)], rows)


async def run(options: argparse.Namespace) -> bool:
    """Prints and writes the figures; True when the bar is met."""
    with tempfile.TemporaryDirectory() as folder:
        clip = sample_file(Path(folder))
        long_clip = sample_file(Path(folder), group=_LONG_GROUP)
        joins = await join(clip, options.joins, options.public_ip) if options.joins else []
        late = (
            await join(long_clip, options.late, options.public_ip, settle_s=_SETTLE_S) if options.late else []
        )
    document: dict[str, object] = {
        "bar_p95_ms": _BAR_MS,
        "joins": joins,
        "late_joins": late,
        "public_ip": options.public_ip,
    }
    good = True
    if joins:
        show("join, key frame every 2 s", joins)
        first = [found["first_picture_ms"] for found in joins]
        p95 = percentile(first, 0.95)
        good = p95 <= _BAR_MS
        document |= {"p50_ms": median(first), "p95_ms": p95, "good": good}
        print(f"WHEP request to first picture: p95 {p95:.0f} ms (bar {_BAR_MS:g})", end="")
        print(": good" if good else ": NOT good")
    if late:
        show(f"late join, key frame every {_LONG_GROUP // FRAME_RATE} s", late)
    print(f"written to {write_json('join', document)}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--joins", type=int, default=20, help="joins of the clip, 0 for none")
    parser.add_argument("--late", type=int, default=8, help="joins of the clip with a 10 s GOP, 0 for none")
    parser.add_argument(
        "--public-ip", help="an own address to send media from: beyond loopback, the past is sent paced"
    )
    options = parser.parse_args()
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(options)) else 1)


if __name__ == "__main__":
    main()
