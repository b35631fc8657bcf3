"""People publish from the page with Chromium's fake camera, others watch; and what may go wrong."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from playwright.async_api import Browser, Page, Route

from tests.acceptance.node import ServedNode
from tests.acceptance.viewers import ChromiumViewer, aiortc_viewer, chromium_page
from tests.integration.lossy import LossyRelay, lossy_relay
from tests.integration.waiting import until_seen

pytestmark = pytest.mark.anyio

#: What Chromium's fake camera gives when it is asked for as much.
FULL, FRAME_RATE = [1280, 720], 20

#: What the page sends at the moment.
_SENT = """
async () => {
  const found = {width: 0, height: 0, frames: 0, peers: window.peers.length, keys: 0};
  for (const peer of window.peers) {
    (await peer.getStats()).forEach(entry => {
      if (entry.type === "outbound-rtp" && entry.kind === "video" && peer.connectionState === "connected") {
        found.width = entry.frameWidth || 0;
        found.height = entry.frameHeight || 0;
        found.frames = entry.framesEncoded;
        found.keys = entry.keyFramesEncoded;
      }
    });
  }
  return {...found, at: performance.now()};
}
"""

#: A WHIP client of twenty lines, as a developer would write it from RFC 9725 alone. `strip` takes lines out
#: of its offer.
_BARE_WHIP = """
async ([url, token, strip]) => {
  const stream = await navigator.mediaDevices.getUserMedia(
    {audio: true, video: {width: 1280, height: 720, frameRate: 30}});
  const peer = new RTCPeerConnection();
  window.peers = [peer];
  for (const track of stream.getTracks()) peer.addTransceiver(track, {direction: "sendonly"});
  const offer = await peer.createOffer();
  if (strip) offer.sdp = offer.sdp.split("\\r\\n").filter(line => !line.includes(strip)).join("\\r\\n");
  await peer.setLocalDescription(offer);
  const response = await fetch(url, {
    method: "POST", body: peer.localDescription.sdp,
    headers: {"Content-Type": "application/sdp", "Authorization": "Bearer " + token},
  });
  if (response.status !== 201) throw new Error(response.status + " " + await response.text());
  await peer.setRemoteDescription({type: "answer", sdp: await response.text()});
}
"""


def new_room() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def person(
    browser: Browser, node: ServedNode, room: str, user: str = "anna", *, publish: bool = True
) -> AsyncIterator[Page]:
    async with chromium_page(browser, node.page_url(room, user, publish=publish)) as opened:
        await opened.page.get_by_text("connected").wait_for()
        yield opened.page


async def publish(page: Page) -> None:
    """Camera and microphone on, and live."""
    await page.click("text=Turn camera on")
    await page.click("text=Turn microphone on")
    await page.wait_for_selector('figure[data-state="live"]')


async def sent(
    page: Page, wanted: Callable[[dict[str, Any]], bool], deadline_s: float = 20
) -> dict[str, Any]:
    """What the page sends, as soon as it is as wanted."""
    return await until_seen(lambda: page.evaluate(_SENT), wanted, deadline_s)


def is_full(found: dict[str, Any]) -> bool:
    return [found["width"], found["height"]] == FULL


async def send_through(page: Page, relay: LossyRelay) -> None:
    """What the page's WHIP requests are answered names the relay's port."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        body = await response.text()
        await route.fulfill(response=response, body=relay.rewrite(body) if response.status == 201 else body)

    await page.route("**/whip/**", answer)


async def until_heard(viewer: ChromiumViewer) -> None:
    energy = (await viewer.stats())["energy"]
    await viewer.until(lambda stats: stats["energy"] > energy, 10)


async def test_others_see_and_hear_who_publishes(
    node: ServedNode, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = new_room()
    async with person(browser, node, room) as anna, chromium_page(browser, node.page_url(room)) as viewer:
        await publish(anna)
        await viewer.until_frames(60)
        await until_heard(viewer)
        assert await viewer.page.locator("figcaption").all_inner_texts() == ["anna"]
        assert await anna.locator("figcaption").all_inner_texts() == ["You"]
        assert await viewer.rate() >= FRAME_RATE - 2
        assert (await viewer.stats())["freezes"] == 0
        url, token = node.whep_url(room, "anna"), node.token(room, "guest")
        async with aiortc_viewer(url, token, monkeypatch) as guest:
            await guest.until_slices(60)


@pytest.mark.slow
async def test_the_camera_reaches_its_full_size_and_again_after_loss(
    node: ServedNode, browser: Browser
) -> None:
    room = new_room()
    async with lossy_relay() as relay, person(browser, node, room) as anna:
        await send_through(anna, relay)
        began = time.monotonic()
        await publish(anna)
        await sent(anna, is_full, 10)
        print(f"full size after {time.monotonic() - began:.1f} s")
        async with chromium_page(browser, node.page_url(room)) as viewer:
            await viewer.until_size(FULL)
            relay.loss = relay.loss_to_node = 0.2
            lossy = await viewer.stats()
            await viewer.until(lambda stats: stats["at"] >= lossy["at"] + 2000)
            relay.loss = relay.loss_to_node = 0.0
            assert relay.lost > 20
            began = time.monotonic()
            await sent(anna, is_full, 10)
            print(f"full size again {time.monotonic() - began:.1f} s after the loss")
            seen = await viewer.stats()
            await viewer.until_frames(seen["frames"] + 60)
            await viewer.until_size(FULL)


_SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "strip", ["", pytest.param("transport-", marks=_SLOW), pytest.param("a=rtcp-rsize", marks=_SLOW)]
)
async def test_a_bare_client_reaches_its_full_size(node: ServedNode, browser: Browser, strip: str) -> None:
    """With transport-wide feedback, and where only REMB is understood."""
    room = new_room()
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{node.url}/room")
    url = f"{node.url}/whip/{node.credentials.app_id}/{room}"
    await page.evaluate(_BARE_WHIP, [url, node.token(room, "anna", publish=True), strip])
    began = time.monotonic()
    await sent(page, is_full, 30 if strip == "transport-" else 10)
    print(f"full size after {time.monotonic() - began:.1f} s")
    async with chromium_page(browser, node.page_url(room)) as viewer:
        await viewer.until_size(FULL)
        await viewer.until_frames(60)
    await context.close()


async def test_muting_stopping_and_beginning_again(node: ServedNode, browser: Browser) -> None:
    room = new_room()
    async with person(browser, node, room) as anna, chromium_page(browser, node.page_url(room)) as viewer:
        await publish(anna)
        await viewer.until_frames(30)
        await until_heard(viewer)
        await anna.click("text=Turn microphone off")
        tile = viewer.page.locator("figure")
        async with asyncio.timeout(10):
            while True:  # what is on its way is still heard; then two seconds without a beep
                before = await viewer.stats()
                await viewer.until_frames(before["frames"] + 60)
                if (await viewer.stats())["energy"] - before["energy"] < 1e-4:
                    break
        await anna.click("text=Turn microphone on")
        await until_heard(viewer)
        await anna.click("text=Turn camera off")
        await viewer.page.wait_for_selector('figure[data-state="live"][data-picture="none"]')
        await anna.click("text=Turn camera on")
        await viewer.page.wait_for_selector('figure[data-state="live"][data-picture=""]')
        assert await tile.count() == 1
        assert (await viewer.stats())["peers"] == 1, "on the same connection"
        await anna.click("text=Stop publishing")
        await tile.wait_for(state="detached", timeout=3000)
        assert await viewer.page.get_by_text("2 in the room").count() == 1
        await publish(anna)
        await viewer.page.wait_for_selector('figure[data-state="live"]')


async def test_a_screen_is_a_stream_of_its_own(node: ServedNode, browser: Browser) -> None:
    room = new_room()
    async with person(browser, node, room) as anna, chromium_page(browser, node.page_url(room)) as viewer:
        await publish(anna)
        await anna.click("text=Share screen")
        captions = viewer.page.locator('figure[data-state="live"] figcaption')
        await until_seen(captions.all_inner_texts, lambda texts: sorted(texts) == ["anna", "anna (screen)"])
        await anna.click("text=Stop sharing")
        await viewer.page.get_by_text("anna (screen)").wait_for(state="detached", timeout=3000)
        assert await captions.all_inner_texts() == ["anna"]


async def test_the_second_connection_of_a_user_replaces_the_first(node: ServedNode, browser: Browser) -> None:
    room = new_room()
    async with (
        person(browser, node, room) as first,
        person(browser, node, room) as second,
        chromium_page(browser, node.page_url(room)) as viewer,
    ):
        await publish(first)
        await viewer.until_frames(30)
        await publish(second)
        await first.get_by_text("another connection publishes this stream now").wait_for()
        await first.wait_for_selector('figure:has(figcaption:text-is("You"))', state="detached")
        await viewer.page.wait_for_selector('figure[data-state="live"]')
        seen = await viewer.stats()
        await viewer.until_frames(seen["frames"] + 90)
        assert await second.get_by_text("another connection").count() == 0, "they do not fight"
        assert (await second.evaluate(_SENT))["peers"] == 2, "one publishes, one watched the first"


async def test_a_page_that_is_loaded_again_publishes_again(node: ServedNode, browser: Browser) -> None:
    room = new_room()
    async with person(browser, node, room) as anna, chromium_page(browser, node.page_url(room)) as viewer:
        for _ in range(2):
            await publish(anna)
            await viewer.page.wait_for_selector('figure[data-state="live"]')
            assert await viewer.page.locator("figure").count() == 1
            await anna.reload()
            await viewer.page.locator("figure").wait_for(state="detached", timeout=3000)
            await anna.get_by_text("connected").wait_for()


async def test_the_page_goes_on_publishing_after_its_network_was_away(
    node: ServedNode, browser: Browser
) -> None:
    """On the same connection: ICE is restarted, nobody has to join again."""
    room = new_room()
    async with (
        lossy_relay() as relay,
        person(browser, node, room) as anna,
        chromium_page(browser, node.page_url(room)) as viewer,
    ):
        await send_through(anna, relay)
        await publish(anna)
        await viewer.until_frames(30)
        relay.dark = True
        await anna.wait_for_selector('figure[data-state="reconnecting"]')
        await viewer.page.wait_for_selector('figure[data-state="reconnecting"]')
        relay.dark = False
        await anna.wait_for_selector('figure[data-state="live"]')
        await viewer.page.wait_for_selector('figure[data-state="live"]')
        assert (await anna.evaluate(_SENT))["peers"] == 1
        assert (await viewer.stats())["peers"] == 1
        assert await viewer.rate() >= FRAME_RATE - 2


async def refused_pages_say_why(node: ServedNode, browser: Browser, room: str) -> None:
    """In the middle, with buttons for what is allowed alone."""
    elsewhere = node.token("elsewhere", "eve", publish=True)
    blind = node.token(room, "eve", publish=True, subscribe=False)
    cases = [
        (room, elsewhere, "The token was made for another RoomId.", "sluice token", False),
        (room, blind, "Watching is not allowed with this token; publishing is.", "sluice token", True),
        ("<b>/..", blind, "The name of the room may have only a-z A-Z 0-9 _ @ - .", "", False),
    ]
    for name, token, reason, help_, publishes in cases:
        fragment = urlencode({"app": node.credentials.app_id, "room": name, "token": token})
        async with chromium_page(browser, f"{node.url}/room#{fragment}") as opened:
            await opened.page.get_by_text(reason).wait_for()
            note = await opened.page.inner_text("#note")
            assert help_ in note
            assert "Nobody publishes" not in note
            assert "{" not in note
            buttons = ("#camera", "#microphone", "#screen")
            assert [await opened.page.is_visible(button) for button in buttons] == [publishes] * 3


async def test_a_token_that_may_not_publish_is_told(node: ServedNode, browser: Browser) -> None:
    room = new_room()
    async with person(browser, node, room, publish=False) as anna:
        await anna.get_by_text("this token may only watch").wait_for()
        assert not await anna.get_by_text("Turn camera on").is_visible()
    await refused_pages_say_why(node, browser, room)
    headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {node.token(room, 'anna')}"}
    url = f"{node.url}/whip/{node.credentials.app_id}/{room}"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data="v=0", headers=headers) as response:
            assert response.status == 403
            assert "privilege to publish" in await response.text()
        headers["Authorization"] = f"Bearer {node.token(room, 'anna', publish=True)}"
        async with session.post(url, data="v=0", headers=headers) as response:
            assert (response.status, await response.text()) == (400, "offer: the offer has no media section")
        preflight = {"Origin": "https://example.net", "Access-Control-Request-Method": "PATCH"}
        async with session.options(f"{url}/peer_1", headers=preflight) as response:
            assert response.status == 200
            assert response.headers["Accept-Post"] == "application/sdp"
            assert "PATCH" in response.headers["Access-Control-Allow-Methods"]


async def test_a_browser_without_a_camera_is_told(node: ServedNode, browser: Browser) -> None:
    room = new_room()
    async with person(browser, node, room) as anna:
        fail = "() => { throw new DOMException('', 'NotFoundError'); }"
        await anna.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {fail}; }}")
        await anna.click("text=Turn camera on")
        assert re.match("No camera: there is none", await anna.inner_text("#notice"))
        assert await anna.locator("figure").count() == 0
