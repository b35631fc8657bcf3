"""The main job: a signed StartRelayStream, and people see and hear it."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.acceptance.clips import FRAME_RATE, LONG_GOP_S, Clips
from tests.acceptance.node import ServedNode
from tests.acceptance.viewers import aiortc_viewer, chromium_page, chromium_whep, source_slices

pytestmark = pytest.mark.anyio

ENOUGH = 0.8 * FRAME_RATE  #: 20 of 25 frames per second


def new_room() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["mp4", "rtmp"])
async def source_url(request: pytest.FixtureRequest, files: str, live_url: str) -> str:
    return live_url if request.param == "rtmp" else f"{files}/short.mp4"


async def test_chromium_sees_and_hears_it_on_the_page(
    node: ServedNode, browser: Browser, source_url: str
) -> None:
    room = new_room()
    async with chromium_page(browser, node.page_url(room)) as viewer:
        run = await node.start(room, source_url, Loop=True)
        await viewer.until_frames(1)
        assert await viewer.rate() >= ENOUGH
        stats = await viewer.stats()
        assert stats["energy"] > 0
        assert stats["lost"] == 0
        document = await node.until_state(run, "running")
        assert document["plan"]["video"]["action"] == "copy"
        assert document["plan"]["audio"]["action"] == "transcode"
        await node.client_stop(run)
        await node.until_state(run, "ended")
        await viewer.page.wait_for_selector("video", state="detached")


async def test_chromium_sees_and_hears_it_through_a_bare_whep_client(
    node: ServedNode, browser: Browser, files: str, source_url: str
) -> None:
    """The client joins before anything is published, from a page of another origin."""
    room = new_room()
    url, token = node.whep_url(room, "source"), node.token(room, "guest")
    async with chromium_whep(browser, f"{files}/page.mp4", url, token) as viewer:
        run = await node.start(room, source_url, Loop=True)
        await viewer.until_frames(1)
        assert await viewer.rate() >= ENOUGH
        assert (await viewer.stats())["energy"] > 0
        await node.client_stop(run)


async def test_a_late_viewer_gets_a_picture_before_the_next_key_frame(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    run = await node.start(room, f"{files}/long.mp4")
    url = node.whep_url(room, "source")
    async with (
        chromium_page(browser, node.page_url(room)) as first,
        chromium_page(browser, node.page_url(room)) as second,
    ):
        await first.until_frames(FRAME_RATE)
        await second.until_frames(FRAME_RATE)
        # Past the first second of the GOP, far from the next key frame.
        await node.until(run, lambda document: document["position_s"] >= 2)
        async with chromium_whep(browser, files + "/page.mp4", url, node.token(room, "late")) as late:
            stats = await late.until_frames(1)
            assert stats["keys"] == 1
            assert (await node.task(run))["position_s"] < LONG_GOP_S - 1
            assert await late.rate() >= ENOUGH
            assert await first.rate() >= ENOUGH
            assert (await first.stats())["lost"] == (await second.stats())["lost"] == 0
    await node.client_stop(run)


async def test_the_slices_that_aiortc_receives_are_those_of_the_source(
    node: ServedNode, source_url: str, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = new_room()
    url, token = node.whep_url(room, "source"), node.token(room, "guest")
    async with aiortc_viewer(url, token, monkeypatch) as viewer:
        run = await node.start(room, source_url, Loop=True)
        await viewer.until_slices(3 * FRAME_RATE)
        await node.client_stop(run)
    source = source_slices(clips.short)
    begin = source.index(viewer.slices[0])
    expected = (source * 3)[begin : begin + len(viewer.slices)]
    assert viewer.slices == expected


async def test_the_end_of_a_file_ends_the_task_and_the_user_leaves(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    async with chromium_page(browser, node.page_url(room)) as viewer:
        run = await node.start(room, f"{files}/short.mp4")
        await viewer.until_frames(1)
        document = await node.until_state(run, "ended")
        assert document["reason"] == "end_of_stream"
        await viewer.page.wait_for_selector("video", state="detached")
        listed = await node.call("ListRelayStream", RoomId=room)
        assert [task["Status"] for task in listed["Result"]["Task"]] == [3]


async def test_killing_the_media_process_keeps_viewers_and_the_picture_goes_on(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    run = await node.start(room, f"{files}/long.mp4", Loop=True)
    async with (
        chromium_page(browser, node.page_url(room)) as first,
        chromium_page(browser, node.page_url(room)) as second,
    ):
        await first.until_frames(2 * FRAME_RATE)
        await second.until_frames(2 * FRAME_RATE)
        position = (await node.task(run))["position_s"]
        for media in node.children("sluice.media"):
            media.kill()
        killed = await first.stats()
        # What was on its way is a few frames; more can only come from the next media process.
        goes_on = await first.until_frames(killed["frames"] + 10)
        print(f"the picture went on {(goes_on['at'] - killed['at']) / 1000:.2f} s after the kill")
        resumed = [await viewer.until_frames(killed["frames"] + 3 * FRAME_RATE) for viewer in (first, second)]
        assert [stats["peers"] for stats in resumed] == [1, 1]
        assert [stats["connected"] for stats in resumed] == [1, 1]
        document = await node.until_state(run, "running")
        assert document["stats"]["restarts"] == 1
        assert position <= document["position_s"] < LONG_GOP_S * 3
        assert await first.rate() >= ENOUGH
    await node.client_stop(run)


async def test_the_page_comes_back_after_the_room_process_died(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    run = await node.start(room, f"{files}/short.mp4", Loop=True)
    async with chromium_page(browser, node.page_url(room)) as viewer:
        await viewer.until_frames(FRAME_RATE)
        for process in node.children("sluice.rooms.engine"):
            process.kill()
        await viewer.until(lambda stats: stats["peers"] >= 2, 30)
        await viewer.until_frames(FRAME_RATE)
        assert await viewer.rate() >= ENOUGH
        await node.until_state(run, "running")
    await node.client_stop(run)


async def test_the_event_stream_tells_who_comes_publishes_and_goes(node: ServedNode, files: str) -> None:
    room = new_room()
    url = f"{node.url}/rooms/{node.credentials.app_id}/{room}/events"
    headers = {"Authorization": f"Bearer {node.token(room, 'alice')}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        events = sse(response.content)
        assert await anext(events) == ("roster", {"users": [{"user_id": "alice", "streams": []}]})
        run = await node.start(room, f"{files}/short.mp4", Loop=True)
        assert await anext(events) == ("joined", {"user_id": "source"})
        assert await anext(events) == ("published", {"user_id": "source", "stream": 0})
        sends: set[str] = set()
        while sends != {"video", "audio"}:
            name, document = await anext(events)
            assert (name, document["user_id"]) == ("media", "source")
            sends = set(document["media"])
        other = {"token": node.token(room, "bob")}
        async with session.get(url, params=other) as second:
            name, document = await anext(sse(second.content))
            assert name == "roster"
            assert {"user_id": "source", "streams": [0]} in document["users"]
            assert await anext(events) == ("joined", {"user_id": "bob"})
        await node.client_stop(run)
        assert await anext(events) == ("unpublished", {"user_id": "source", "stream": 0})
        assert await anext(events) == ("left", {"user_id": "source"})
        assert await anext(events) == ("left", {"user_id": "bob"})


async def sse(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """Name and data of each server-sent event."""
    name = ""
    async for line in content:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
