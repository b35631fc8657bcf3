"""A node as its operator knows it: first start, restart, sudden death."""

import asyncio
import json
import stat
from pathlib import Path

import psutil
import pytest
from playwright.async_api import Browser

from tests.acceptance.clips import FRAME_RATE
from tests.acceptance.node import serve_node
from tests.acceptance.viewers import chromium_page

pytestmark = pytest.mark.anyio


async def test_the_first_start_makes_credentials_that_only_the_owner_reads(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_node(data) as first:
        file = data / "credentials.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        document = json.loads(file.read_text())
        assert list(document) == ["app_id", "app_key", "access_key", "secret_key", "admin_token"]
        assert len(document["app_id"]) == 24
    async with serve_node(data) as second:
        assert second.credentials == first.credentials


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
