"""Publishers as they are out there, packet by packet: what viewers, pushes and people get of each."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from sluice.wire.flv import parse_video_tag
from tests.acceptance.node import ServedNode
from tests.acceptance.publishers import Encoder, raw_publisher
from tests.acceptance.test_callbacks import SECRET, listen
from tests.acceptance.test_push import PUSHING, Push, push_of
from tests.acceptance.viewers import chromium_page
from tests.integration.cdn import Cdn, cdn
from tests.integration.receiver import Got, Receiver, verify
from tests.integration.waiting import until, until_seen

pytestmark = pytest.mark.anyio

MOST_S = 3.0  #: until everybody is told of a kind of media that stopped


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Cdn]:
    async with cdn() as server:
        yield server


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


def stamps(server: Cdn) -> list[int]:
    return [message.timestamp for message in server.connections[0].video()]


async def fault(page: Page) -> str:
    """What the viewer's page says of the tile."""
    return (
        await page.locator("figure .fault").first.inner_text() if await page.locator("figure").count() else ""
    )


async def seconds(says: Callable[[], Awaitable[bool]], began: float) -> float:
    await until_seen(says, bool)
    return time.monotonic() - began


# --- the state matrix -----------------------------------------------------------------------------------

STOPS = {
    "pictures": (("video",), "pictures_stopped", "The picture stands still"),
    "sound": (("audio",), "sound_stopped", "No sound"),
    "both": (("video", "audio"), "source_interrupted", "No sound"),
}


async def test_what_stops_is_told_within_three_seconds(
    node: ServedNode, browser: Browser, server: Cdn, room: str
) -> None:
    """Seconds until the task of the push, its callback and the page say so, printed as a table."""
    async with Receiver() as receiver:
        await listen(node, receiver, ["TranscodeStateChanged"])
        try:
            async with (
                raw_publisher(node, room, "anna") as publisher,
                chromium_page(browser, node.page_url(room)) as viewer,
                push_of(node, room, "anna", server.url()) as push,
            ):
                await push.until_state(PUSHING)
                await viewer.until_frames(30)
                for what, (kinds, reason, words) in STOPS.items():
                    for kind in kinds:
                        setattr(publisher, kind, False)
                    task_s, callback_s, page_s = await _told(node, receiver, viewer.page, push, reason, words)
                    print(f"{what}: task {task_s:.2f} s, callback {callback_s:.2f} s, page {page_s:.2f} s")
                    assert max(task_s, callback_s, page_s) <= MOST_S
                    for kind in kinds:
                        setattr(publisher, kind, True)
                    await push.until_state(PUSHING)
                    await seconds(lambda: _is(fault(viewer.page), ""), time.monotonic())
        finally:
            await node.call("DeleteCallback", version="2020-12-01")


async def _told(
    node: ServedNode, receiver: Receiver, page: Page, push: Push, reason: str, words: str
) -> tuple[float, float, float]:
    began = time.monotonic()

    async def task_says() -> bool:
        task = await node.task(push.run)
        return (task["state"], task["reason"], task["stage"]) == ("recovering", reason, "stalled")

    async def callback_says() -> bool:
        return any(_is_stall(got, reason) for got in receiver.taken)

    async def page_says() -> bool:
        return words in await fault(page)

    return await asyncio.gather(
        seconds(task_says, began), seconds(callback_says, began), seconds(page_says, began)
    )


def _is_stall(got: Got, reason: str) -> bool:
    assert verify(got.body, SECRET)
    data = got.data
    told = data["Status"], data["PushStreamState"], data["Code"], data["Reason"]
    return told == (2, 4, 1, reason) and bool(data["ErrorMessage"])


async def _is(text: Awaitable[str], wanted: str) -> bool:
    return await text == wanted


# --- time, borders, parameter sets ------------------------------------------------------------------------


@pytest.mark.parametrize("marks", ["slices", "nothing"])
async def test_pictures_are_whole_whatever_the_markers_say(
    node: ServedNode, browser: Browser, server: Cdn, room: str, marks: Any
) -> None:
    encoder = Encoder({"x264-params": "slices=3:sliced-threads=0"}, marks=marks)
    async with (
        raw_publisher(node, room, "anna", encoder),
        chromium_page(browser, node.page_url(room)) as viewer,
        push_of(node, room, "anna", server.url()) as push,
    ):
        await push.until_state(PUSHING)
        await viewer.until_frames(25)
        assert await viewer.rate(50) > 23
        assert (await viewer.stats())["freezes"] == 0
    # The first pictures of a connection may be those of the past, in haste.
    steps = [b - a for a, b in pairwise(stamps(server)) if b - a > 1]
    assert steps.count(40) > 0.9 * len(steps)


@pytest.mark.parametrize("stamps", ["shown", "decoded"])
async def test_b_frames_are_refused_with_a_text_and_the_sound_goes_on(
    node: ServedNode, browser: Browser, server: Cdn, room: str, stamps: Any
) -> None:
    encoder = Encoder({"tune": "film", "x264-params": "bframes=3:b-adapt=0"}, stamps=stamps)
    async with (
        raw_publisher(node, room, "anna", encoder),
        chromium_page(browser, node.page_url(room)) as viewer,
        push_of(node, room, "anna", server.url()) as push,
    ):
        document = await node.until(push.run, lambda document: "B-frames" in document["reason_text"])
        assert document["state"] in ("starting", "recovering")
        assert document["reason"] == "pictures_stopped"
        assert "bframes=0" in document["reason_text"]
        await seconds(lambda: _is_in("B-frames", fault(viewer.page)), time.monotonic())
        heard = len(server.connections[0].audio())
        await until(lambda: len(server.connections[0].audio()) > heard + 40)
        assert len(server.connections[0].video()) <= 2


async def _is_in(words: str, text: Awaitable[str]) -> bool:
    return words in await text


async def test_pictures_without_parameter_sets_are_told(
    node: ServedNode, browser: Browser, server: Cdn, room: str
) -> None:
    async with (
        raw_publisher(node, room, "anna", Encoder(parameter_sets=False)),
        chromium_page(browser, node.page_url(room)) as viewer,
        push_of(node, room, "anna", server.url()) as push,
    ):
        document = await node.until(push.run, lambda document: "parameter sets" in document["reason_text"])
        assert document["state"] in ("starting", "recovering")
        await seconds(lambda: _is_in("without parameter sets", fault(viewer.page)), time.monotonic())
        assert server.connections[0].video() == []


# --- key frames far apart ---------------------------------------------------------------------------------


@pytest.mark.slow
async def test_who_comes_late_to_a_publisher_that_makes_no_key_frames(
    node: ServedNode, browser: Browser, server: Cdn, room: str
) -> None:
    """After 14 and 40 s: a viewer sees a picture within a second, and a push has one within three."""
    async with raw_publisher(node, room, "anna") as publisher:
        for pictures in (14 * 25, 40 * 25):
            await until(lambda: publisher.pictures >= pictures, 60)  # noqa: B023
            began = time.monotonic()
            async with chromium_page(browser, node.page_url(room)) as viewer:
                await viewer.until_frames(1)
                first_s = time.monotonic() - began
                await viewer.until_frames(publisher.pictures)
                print(
                    f"{pictures} pictures late: first {first_s:.2f} s, live {time.monotonic() - began:.2f} s"
                )
                assert await viewer.rate(50) > 23
            async with push_of(node, room, "anna", server.url()) as push:
                await push.until_state(PUSHING)
                to = server.connections[-1]
                assert parse_video_tag(to.video()[0].body).key
                await until(lambda: len(to.video()) > pictures)  # noqa: B023
                assert all(a.timestamp < b.timestamp for a, b in pairwise(to.video()))
