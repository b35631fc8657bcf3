"""A node as its operator knows it: first start, restart, sudden death."""

import asyncio
import json
import stat
import sys
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from playwright.async_api import Browser

from tests.acceptance.clips import FRAME_RATE, Clips
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.player import RATES, Picture, playing
from tests.acceptance.viewers import chromium_page

pytestmark = [pytest.mark.anyio, pytest.mark.light]


async def test_the_first_start_makes_credentials_that_only_the_owner_reads(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_node(data) as first:
        file = data / "credentials.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        document = json.loads(file.read_text())
        assert list(document) == ["app_id", "app_key", "access_key", "secret_key", "admin_token"]
        assert len(document["app_id"]) == 24
        assert "the node answers at" in await doctor(data, first)
    async with serve_node(data) as second:
        assert second.credentials == first.credentials


async def doctor(data: Path, node: ServedNode) -> str:
    """What it says beside a node, where nothing is bad."""
    listen = node.url.removeprefix("http://")
    command = (sys.executable, "-m", "sluice", "doctor", "--data", str(data), "--listen", listen)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_tasks_go_on_after_a_restart(tmp_path: Path, browser: Browser, files: str) -> None:
    data = tmp_path / "data"
    async with serve_node(data) as node:
        run = await node.start("room", f"{files}/long.mp4", Loop=True)
        before = await node.until(run, lambda task: task["position_s"] >= 1)
    async with serve_node(data) as node:
        async with chromium_page(browser, node.page_url("room")) as viewer:
            await viewer.until_frames(FRAME_RATE)
        after = await node.until_state(run, "running")
        assert after["started_at"] == before["started_at"]
        assert after["position_s"] >= before["position_s"]


async def test_a_relay_goes_on_where_it_was_when_its_node_is_killed(
    tmp_path: Path, files: str, clips: Clips
) -> None:
    """The picture that a viewer saw last, and the first one that the next life of the node sends."""
    size = {"StreamMode": 0, "VideoWidth": 320, "VideoHeight": 180, "FrameRate": FRAME_RATE}
    async with (
        serve_node(tmp_path / "data") as node,
        playing(node.whep_url("room", "source"), node.token("room", "guest")) as player,
    ):
        await node.start("room", f"{files}/{clips.marked.name}", **size)
        await player.until_pictures(4 * FRAME_RATE)
        node.process.kill()
        await asyncio.to_thread(node.process.wait, 10)
        seen = player.pictures[-1].number
    async with (
        serve_node(tmp_path / "data") as node,
        playing(node.whep_url("room", "source"), node.token("room", "guest")) as player,
    ):
        await player.until_pictures(3 * FRAME_RATE)
        back_s = (seen + 1 - first_in_time(player.pictures)) / FRAME_RATE
    print(f"killed at {seen / FRAME_RATE:.2f} s, went on {back_s:.2f} s before")
    # Positions are noted once a second. The last picture may have been on its way to the viewer.
    assert -0.1 <= back_s <= 1.2


def first_in_time(pictures: list[Picture]) -> int:
    """The first that the next one follows as it should: those before it, from a key frame on, lead there in
    haste or are left out."""
    return next(
        a.number
        for a, b in pairwise(pictures)
        if b.number == a.number + 1 and b.timestamp - a.timestamp > RATES["video"] / (2 * FRAME_RATE)
    )


async def test_children_die_with_a_node_that_is_killed_and_its_tasks_resume(
    tmp_path: Path, files: str
) -> None:
    data = tmp_path / "data"
    async with serve_node(data) as node:
        run = await node.start("room", f"{files}/long.mp4", Loop=True)
        await node.until_state(run, "running")
        children = node.process.children()
        assert len(children) >= 2
        node.process.kill()
        await asyncio.to_thread(psutil.wait_procs, children, 10)
        assert not [child for child in children if child.is_running()]
    async with serve_node(data) as node:
        await node.until_state(run, "running")
