"""Admission on a running node: what does not fit is refused in the words of its dialect, with numbers."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sluice.client import CallFailed
from tests.acceptance.bots.client import create_bot, push_body
from tests.acceptance.node import ServedNode, serve_node

pytestmark = pytest.mark.anyio

#: Half a core or so, far above what the node itself takes.
LARGE = {"StreamMode": 0, "VideoWidth": 1920, "VideoHeight": 1080, "FrameRate": 30, "Loop": True}
NEEDED = re.compile(r"the task needs (\d+\.\d{3}) cores, and \d+\.\d{3} of (\d+\.\d{3}) are free; (.+)")
#: Whether the task would fit alone.
ADVICE = {True: "stop another task, or ask for less", False: "ask for less, or allow more (--capacity)"}


async def refused(node: ServedNode, room: str, url: str, **control: Any) -> float:
    """The cores that a relay needs, according to its refusal."""
    with pytest.raises(CallFailed) as failed:
        await node.start(room, url, **{**LARGE, **control})
    error = (failed.value.document or {})["ResponseMetadata"]["Error"]
    assert error["Code"] == "FlowLimitExceeded.TaskNumberOverLimit"
    found = NEEDED.fullmatch(error["Message"])
    assert found is not None, error
    assert found[3] == ADVICE[float(found[1]) <= float(found[2])]
    return float(found[1])


async def push(node: ServedNode, token: str, url: str) -> dict[str, Any]:
    """The envelope that a bot is answered with."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{node.url}/chatroom/v3/channel/stream/push", json=push_body("42", url), headers={"token": token}
        ) as answer,
    ):
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


@asynccontextmanager
async def node_at(folder: Path, capacity: str) -> AsyncIterator[tuple[ServedNode, float]]:
    """With the speed of the machine as the node has measured it at its start."""
    log = folder / "log"
    flags = ("--log-level", "info", "--log-format", "json", "--log-file", str(log), "--capacity", capacity)
    async with serve_node(folder / "data", *flags) as node:
        lines = map(json.loads, log.read_text().splitlines())
        yield node, next(line["speed"] for line in lines if line["event"] == "capacity for tasks")


@asynccontextmanager
async def node_for(folder: Path, large: float) -> AsyncIterator[ServedNode]:
    """A node with room for so many relays of LARGE, and not for one more. Each start measures the machine
    anew: where that was busier or less busy, the next one is sized after it."""
    (folder / "0").mkdir()
    async with node_at(folder / "0", "0.0001") as (full, speed):
        of_speed = await refused(full, "room", "http://127.0.0.1:1/clip.mp4") * speed
    for n in range(1, 9):
        (folder / str(n)).mkdir()
        capacity = (large + 0.5) * of_speed / speed
        async with node_at(folder / str(n), f"{capacity:.3f}") as (node, speed):
            if large + 0.1 < capacity * speed / of_speed < large + 0.9:
                yield node
                return
    raise AssertionError("the speed of the machine changes with each start")


async def test_a_bot_is_refused_with_numbers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serve_node(data, "--capacity", "0.0001") as node:
        rooms, media = (node.children(module)[0].nice() for module in ("sluice.rooms.engine", "sluice.media"))
        assert rooms < media or media == 19  # the last there is
        answer = await push(node, await create_bot(node, data), "http://127.0.0.1:1/song.mp3")
        assert (answer["status"], answer["err_code"], answer["result"]) == ("failed", 409, {})
        label, _, text = answer["msg"].partition(": ")
        assert label == "no capacity"
        found = NEEDED.fullmatch(text)
        assert found is not None, text
        assert found[3] == ADVICE[False], "no other task is in its way"
        assert (await asyncio.to_thread(node.client.native, "GET", "/tasks"))["tasks"] == []


async def test_what_runs_goes_on_and_the_next_is_taken_after_it(tmp_path: Path, files: str) -> None:
    url = f"{files}/short.mp4"
    async with node_for(tmp_path, large=1) as node:
        first = await node.start("room-1", url, **LARGE)
        await node.until_state(first, "running")
        frames = (await node.task(first))["stats"]["video_frames"]
        await refused(node, "room-2", url)
        later = int(time.time()) + 2
        scheduled = await node.start("room-3", url, **LARGE, StartTimeStamp=later)
        waiting = await node.until(scheduled, lambda task: task["reason_text"].startswith("waiting"))
        assert waiting["reason_text"].startswith("waiting for capacity: the task needs ")
        await node.until_state(scheduled, "starting")
        await node.until(first, lambda task: task["stats"]["video_frames"] > frames)
        assert (await node.task(first))["state"] == "running"
        await node.client_stop(first)
        await node.until_state(scheduled, "running")
        await refused(node, "room-2", url)
        await node.client_stop(scheduled)
        await node.until_state(scheduled, "ended")
        answers = await asyncio.gather(
            *(node.start(f"room-{n}", url, **LARGE) for n in range(2)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["CallFailed", "str"]
