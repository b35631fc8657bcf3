"""WebRTC clients that are no browsers publish and watch as they come: ffmpeg's WHIP muxer without flags,
GStreamer's webrtcbin (strict about answers) and libdatachannel (OBS has it). `scripts/setup clients` installs
the last two.
"""

import asyncio
import json
import time
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.acceptance.node import ServedNode
from tests.acceptance.publishers import ffmpeg_whip
from tests.acceptance.viewers import aiortc_viewer, chromium_page

pytestmark = pytest.mark.anyio

CLIENTS = Path(__file__).parent / "clients"
GSTREAMER, LIBDATACHANNEL = CLIENTS / "gstreamer.py", CLIENTS / "libdatachannel.mjs"
SECONDS = 4
#: Of 25 pictures and 50 packets of sound a second, what a client gets at least that has to connect first.
PICTURES, SOUNDS = 15 * SECONDS, 30 * SECONDS


def new_room() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


def whip_url(node: ServedNode, room: str) -> str:
    return f"{node.url}/whip/{node.credentials.app_id}/{room}"


async def run(*command: str | Path) -> dict[str, Any]:
    """What a client says at its end."""
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found: dict[str, Any] = json.loads(output)
    print(found)
    return found


async def test_ffmpeg_publishes_without_flags(node: ServedNode, browser: Browser) -> None:
    """It offers setup:passive (https://github.com/ossrs/ffmpeg-webrtc/pull/58): the server begins DTLS."""
    room = new_room()
    began = time.monotonic()
    async with (
        ffmpeg_whip(node, room, "anna", "-tune", "zerolatency") as publisher,
        chromium_page(browser, node.page_url(room)) as viewer,
    ):
        stats = await viewer.until_frames(50)
        assert stats["energy"] > 0
        assert publisher.returncode is None
    print(f"50 pictures and sound {time.monotonic() - began:.1f} s after the start")


# --- scripts/setup clients --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_gstreamer_publishes(node: ServedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    room = new_room()
    token = node.token(room, "anna", publish=True)
    publisher = asyncio.create_task(
        run("/usr/bin/python3", GSTREAMER, "publish", whip_url(node, room), token, str(SECONDS))
    )
    async with aiortc_viewer(node.whep_url(room, "anna"), node.token(room, "guest"), monkeypatch) as viewer:
        await viewer.until_slices(PICTURES)
    found = await publisher
    assert (found["state"], found["error"]) == ("connected", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("caps", "pictures"),
    [
        (",packetization-mode=(string)1,profile-level-id=(string)42e01f", True),
        ("", True),  # https://github.com/bluenviron/mediamtx/pull/4117
        (",packetization-mode=(string)0", False),  # of the first section nothing is taken: it still connects
    ],
)
async def test_gstreamer_watches(node: ServedNode, caps: str, pictures: bool) -> None:
    room = new_room()
    url, token = node.whep_url(room, "anna"), node.token(room, "guest")
    async with ffmpeg_whip(node, room, "anna", "-tune", "zerolatency"):
        found = await run("/usr/bin/python3", GSTREAMER, "watch", url, token, str(SECONDS), caps)
    assert (found["state"], found["error"]) == ("connected", "")
    assert found["audio"] >= SOUNDS
    assert found["video"] >= PICTURES if pictures else found["video"] == 0


@pytest.mark.slow
async def test_libdatachannel_watches_and_publishes(
    node: ServedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It publishes what it watches."""
    room = new_room()
    urls, token = (node.whep_url(room, "anna"), whip_url(node, room)), node.token(room, "bea", publish=True)
    async with ffmpeg_whip(node, room, "anna", "-tune", "zerolatency"):
        client = asyncio.create_task(run("node", LIBDATACHANNEL, *urls, token, str(2 * SECONDS)))
        async with aiortc_viewer(
            node.whep_url(room, "bea"), node.token(room, "guest"), monkeypatch
        ) as viewer:
            await viewer.until_slices(PICTURES)
        found = await client
    assert (found["watching"], found["publishing"], found["error"]) == ("connected", "connected", "")
    assert found["audio"] >= SOUNDS
    assert found["video"] >= PICTURES
