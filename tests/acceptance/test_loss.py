"""Bad networks: Chromium behind a relay that loses packets, everything for a while, or the whole node."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Route

from tests.acceptance.clips import FRAME_RATE, LONG_GOP_S
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.viewers import ChromiumViewer, chromium_page
from tests.integration.lossy import LossyRelay, lossy_relay

pytestmark = pytest.mark.anyio

#: A bare WHEP client; `peers` is where ChromiumViewer looks for statistics.
_WATCH = """
async ([url, token]) => {
  const peer = new RTCPeerConnection();
  const video = document.createElement("video");
  window.peers = [peer];
  video.autoplay = true;
  video.srcObject = new MediaStream();
  document.body.append(video);
  peer.ontrack = event => video.srcObject.addTrack(event.track);
  peer.addTransceiver("audio", {direction: "recvonly"});
  peer.addTransceiver("video", {direction: "recvonly"});
  await peer.setLocalDescription(await peer.createOffer());
  const headers = {"Content-Type": "application/sdp", "Authorization": "Bearer " + token};
  const response = await fetch(url, {method: "POST", body: peer.localDescription.sdp, headers});
  await peer.setRemoteDescription({type: "answer", sdp: await response.text()});
}
"""


async def send_through(page: Page, relay: LossyRelay) -> None:
    """What the page's WHEP requests are answered names the relay's port."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        body = await response.text()
        await route.fulfill(response=response, body=relay.rewrite(body) if response.status == 201 else body)

    await page.route("**/whep/**", answer)


@asynccontextmanager
async def watching(
    node: ServedNode, browser: Browser, files: str, room: str, relay: LossyRelay
) -> AsyncIterator[ChromiumViewer]:
    """A bare client whose media comes through the relay, and which has a picture already."""
    context = await browser.new_context()
    page = await context.new_page()
    await send_through(page, relay)
    await page.goto(f"{files}/page.mp4")
    await page.evaluate(_WATCH, [node.whep_url(room, "source"), node.token(room, "guest")])
    viewer = ChromiumViewer(page)
    try:
        await viewer.until_frames(2 * FRAME_RATE)
        yield viewer
    finally:
        await context.close()


def new_room() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


async def test_three_percent_loss_costs_no_picture(node: ServedNode, browser: Browser, files: str) -> None:
    """Beside a viewer who loses nothing: where he sees a picture stand, too, the machine was busy."""
    room = new_room()
    run = await node.start(room, f"{files}/long.mp4", Loop=True)
    async with (
        lossy_relay() as relay,
        lossy_relay() as good,
        watching(node, browser, files, room, relay) as viewer,
        watching(node, browser, files, room, good) as beside,
    ):
        relay.loss = 0.03
        before, beside_before = await viewer.stats(), await beside.stats()
        after = await viewer.until(lambda stats: stats["at"] >= before["at"] + 20_000, 30)
        rate = (after["frames"] - before["frames"]) / (after["at"] - before["at"]) * 1000
        assert rate >= 0.95 * FRAME_RATE
        assert after["lost"] > before["lost"]
        stood = (await beside.stats())["freezes"] - beside_before["freezes"]
        assert after["freezes"] - before["freezes"] <= stood
        assert after["keys"] <= before["keys"] + 3, "repaired packet by packet, not by key frames"
    await node.client_stop(run)


async def test_after_a_blackout_the_gop_repairs_the_picture(
    node: ServedNode, browser: Browser, files: str
) -> None:
    """More was lost than can be asked for again, and the source's next key frame is far away."""
    room = new_room()
    run = await node.start(room, f"{files}/long.mp4", Loop=True)
    async with lossy_relay() as relay, watching(node, browser, files, room, relay) as viewer:
        before = await viewer.stats()
        relay.dark = True
        # Until shortly behind the next key frame, which is lost with all the rest.
        await node.until(run, lambda document: document["position_s"] >= LONG_GOP_S + 3)
        relay.dark = False
        light_at = (await viewer.stats())["at"]
        back = await viewer.until_frames(before["frames"] + 2 * FRAME_RATE)
        print(f"the picture goes on {(back['at'] - light_at) / 1000:.1f} s after the blackout")
        assert back["at"] - light_at < 4000
        assert back["connected"] == back["peers"] == 1
        assert await viewer.rate() >= 0.9 * FRAME_RATE
        assert (await node.task(run))["position_s"] < 2 * LONG_GOP_S
    await node.client_stop(run)


async def test_lasting_loss_leaves_the_sound_until_the_network_recovers(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    run = await node.start(room, f"{files}/short.mp4", Loop=True)
    async with lossy_relay() as relay, watching(node, browser, files, room, relay) as viewer:
        relay.loss = 0.3

        async def second() -> tuple[int, float]:
            """Frames and energy of the sound of the next second."""
            before = await viewer.stats()
            after = await viewer.until(lambda stats: stats["at"] >= before["at"] + 1000)
            return after["frames"] - before["frames"], after["energy"] - before["energy"]

        async with asyncio.timeout(20):
            while (heard := await second())[0] > 0:
                pass
        assert heard[1] > 0
        relay.loss = 0.0
        silent = await viewer.stats()
        back = await viewer.until_frames(silent["frames"] + 1, 40)
        print(f"video is back {(back['at'] - silent['at']) / 1000:.1f} s after the network recovered")
        assert await viewer.rate() >= 0.9 * FRAME_RATE
        assert (await viewer.stats())["connected"] == 1
    await node.client_stop(run)


@pytest.mark.slow
async def test_the_page_goes_on_after_eight_seconds_without_network(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    async with lossy_relay() as relay, chromium_page(browser, node.page_url(room)) as viewer:
        await send_through(viewer.page, relay)
        run = await node.start(room, f"{files}/long.mp4", Loop=True)
        tile = viewer.page.locator("figure")
        await viewer.page.wait_for_selector('figure[data-state="live"]')
        await viewer.until_frames(2 * FRAME_RATE)
        relay.dark = True
        dark = await viewer.stats()
        await viewer.page.wait_for_selector('figure[data-state="reconnecting"]')
        await viewer.page.wait_for_function("at => performance.now() >= at + 8000", arg=dark["at"])
        relay.dark = False
        await viewer.page.wait_for_selector('figure[data-state="live"]')
        assert await tile.count() == 1
        assert await viewer.rate() >= 0.9 * FRAME_RATE
        await node.client_stop(run)


async def test_the_page_goes_on_after_a_restart_of_the_server(
    browser: Browser, files: str, tmp_path: Path
) -> None:
    room = new_room()
    async with serve_node(tmp_path / "data") as first:
        address = urlsplit(first.url).netloc
        context = chromium_page(browser, first.page_url(room))
        viewer = await context.__aenter__()
        await first.start(room, f"{files}/long.mp4", Loop=True)
        await viewer.until_frames(FRAME_RATE)
    async with serve_node(tmp_path / "data", "--listen", address):
        await viewer.until(lambda stats: stats["peers"] >= 2 and stats["frames"] >= FRAME_RATE, 30)
        await viewer.page.wait_for_selector('figure[data-state="live"]')
        assert await viewer.rate() >= 0.9 * FRAME_RATE
        assert await viewer.page.locator("figure").count() == 1
    await context.__aexit__(None, None, None)
