"""Every kind of source, in both modes and each MediaType, as independent viewers get it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.acceptance.clips import FRAME_RATE, Clips
from tests.acceptance.node import ServedNode
from tests.acceptance.test_relay import ENOUGH, new_room
from tests.acceptance.viewers import aiortc_viewer, chromium_page, source_slices
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

LIVE = ["rtmp", "live.mpd"]
WITH_PICTURE = ["short.mp4", "short.flv", "short.ts", "vod.m3u8", "dash/vod.mpd", *LIVE]
SOUND_ONLY = ["short.mp3", "short.m4a"]
SIZE = {"VideoWidth": 320, "VideoHeight": 240, "FrameRate": 25, "Bitrate": 500}


@pytest.fixture(scope="module")
async def live_dash(anyio_backend: str, files: str, clips: Clips) -> AsyncIterator[str]:
    """The clip over and over as a live presentation, from when there is something to join."""
    folder = clips.folder / "live-dash"
    folder.mkdir()
    writer = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clips.short), "-c", "copy"),
        *("-f", "dash", "-seg_duration", "1", "-window_size", "8", "-extra_window_size", "8"),
        str(folder / "live.mpd"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        await until((folder / "chunk-stream0-00004.m4s").exists)
        yield f"{files}/live-dash/live.mpd"
    finally:
        writer.kill()
        await writer.wait()


@pytest.fixture
def url_of(files: str, live_url: str, live_dash: str) -> dict[str, str]:
    urls = {name: f"{files}/{name}" for name in [*WITH_PICTURE, *SOUND_ONLY]}
    return urls | {"rtmp": live_url, "live.mpd": live_dash}


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("media_type", [0, 2])
@pytest.mark.parametrize("name", WITH_PICTURE)
async def test_pictures_reach_aiortc(
    node: ServedNode,
    url_of: dict[str, str],
    clips: Clips,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    media_type: int,
    mode: int,
) -> None:
    room = new_room()
    url, token = node.whep_url(room, "source"), node.token(room, "guest")
    async with aiortc_viewer(url, token, monkeypatch) as viewer:
        run = await node.start(
            room, url_of[name], StreamMode=mode, MediaType=media_type, Loop=name not in LIVE, **SIZE
        )
        await viewer.until_slices(2 * FRAME_RATE)
        document = await node.until_state(run, "running")
        await node.client_stop(run)
    assert document["plan"]["video"]["action"] == ("copy" if mode else "transcode")
    assert document["plan"]["audio"]["action"] == ("none" if media_type == 2 else "transcode")
    if mode:
        source = source_slices(clips.short)
        begin = source.index(viewer.slices[0])
        assert viewer.slices == (source * 4)[begin : begin + len(viewer.slices)]


@pytest.mark.parametrize("name", WITH_PICTURE)
async def test_chromium_sees_the_asked_size_and_rate_and_hears(
    node: ServedNode, browser: Browser, url_of: dict[str, str], name: str
) -> None:
    room = new_room()
    async with chromium_page(browser, node.page_url(room)) as viewer:
        run = await node.start(room, url_of[name], StreamMode=0, Loop=name not in LIVE, **SIZE)
        await viewer.until_frames(FRAME_RATE)
        assert await viewer.rate() >= ENOUGH
        await viewer.until_size([320, 240])
        assert (await viewer.stats())["energy"] > 0
        await node.client_stop(run)


@pytest.mark.parametrize("media_type", [0, 1])
@pytest.mark.parametrize("name", SOUND_ONLY)
async def test_sound_alone_is_heard(
    node: ServedNode, browser: Browser, url_of: dict[str, str], name: str, media_type: int
) -> None:
    room = new_room()
    async with chromium_page(browser, node.page_url(room)) as viewer:
        run = await node.start(room, url_of[name], StreamMode=1, MediaType=media_type, Loop=True)
        await viewer.until(lambda stats: stats["energy"] > 0)
        assert (await node.until_state(run, "running"))["plan"]["video"]["action"] == "none"
        await node.client_stop(run)


@pytest.mark.parametrize(("name", "media_type"), [("short.mp3", 2), ("silent.mp4", 1)])
async def test_a_track_that_was_asked_for_and_is_not_there_fails(
    node: ServedNode, files: str, clips: Clips, name: str, media_type: int
) -> None:
    run = await node.start(new_room(), f"{files}/{name}", StreamMode=1, MediaType=media_type)
    document = await node.until_state(run, "failed")
    assert document["reason"] == "source_unsupported"
    assert "only" in document["reason_text"]


@pytest.mark.parametrize(
    ("base", "reason"),
    [("http://169.254.169.254/", "address_not_allowed"), ("file:///etc/", "source_unsupported")],
)
async def test_a_dash_manifest_leads_nowhere_else(
    node: ServedNode, files: str, clips: Clips, base: str, reason: str
) -> None:
    text = (clips.folder / "dash/vod.mpd").read_text()
    (clips.folder / "dash/leads.mpd").write_text(text.replace("<Period", f"<BaseURL>{base}</BaseURL><Period"))
    run = await node.start(new_room(), f"{files}/dash/leads.mpd")
    document = await node.until_state(run, "failed")
    assert document["reason"] == reason
    assert base in document["reason_text"] or "--allow-networks" in document["reason_text"]


async def test_an_update_switches_the_source_while_viewers_stay(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    async with chromium_page(browser, node.page_url(room)) as viewer:
        run = await node.start(room, f"{files}/short.mp4", Loop=True)
        await viewer.until_frames(FRAME_RATE)
        before = await viewer.stats()
        task = (await node.task(run))["task_id"]
        await node.call(
            "UpdateRelayStream", RoomId=room, TaskId=task, Control={"StreamUrl": f"{files}/second.mp4"}
        )
        await viewer.until_size([320, 240])
        after = await viewer.until_frames(before["frames"] + FRAME_RATE)
        assert (after["peers"], after["connected"]) == (1, 1)
        assert (await node.until_state(run, "running"))["source"].endswith("second.mp4")
        await node.client_stop(run)


async def test_a_scheduled_start_begins_at_its_time_and_never_before(node: ServedNode, files: str) -> None:
    start_at = int(time.time()) + 3
    run = await node.start(new_room(), f"{files}/short.mp4", StartTimeStamp=start_at)
    assert (await node.task(run))["state"] == "scheduled"
    await node.until_state(run, "running")
    assert time.time() >= start_at
    await node.client_stop(run)


async def test_a_scheduled_task_can_be_stopped_before_its_time(node: ServedNode, files: str) -> None:
    run = await node.start(new_room(), f"{files}/short.mp4", StartTimeStamp=int(time.time()) + 600)
    await node.client_stop(run)
    assert (await node.until_state(run, "ended"))["reason"] == "stopped"


async def test_b_frames_are_transcoded_in_copy_mode_and_the_plan_says_so(
    node: ServedNode, browser: Browser, files: str
) -> None:
    room = new_room()
    async with chromium_page(browser, node.page_url(room)) as viewer:
        run = await node.start(room, f"{files}/b.mp4", Loop=True)
        await viewer.until_frames(FRAME_RATE)
        plan = (await node.until_state(run, "running"))["plan"]["video"]
        assert plan["action"] == "transcode"
        assert "B-frames" in plan["why"]
        assert await viewer.rate() >= ENOUGH
        await node.client_stop(run)
