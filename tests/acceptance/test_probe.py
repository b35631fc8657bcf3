"""Probes through the API and from the command line, on the shared node: nothing is left of them."""

import asyncio
import contextlib
import json
import sys
from functools import partial
from typing import Any

import psutil
import pytest

from sluice.client import CallFailed
from sluice.core.limits import MOST_PROBES
from tests.acceptance.clips import Clips
from tests.acceptance.node import ServedNode
from tests.hostile.sources import answer_nothing, drip_body, endless_boxes, looping_playlists
from tests.hostile.strangers import stranger
from tests.integration.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.light]

#: Descriptors and threads that a media process may have besides, such as a timer's or a pool's.
_MORE = 4


async def probe(node: ServedNode, url: str, **more: Any) -> dict[str, Any]:
    return await asyncio.to_thread(node.client.native, "POST", "/probe", {"url": url, **more})


async def tasks(node: ServedNode) -> list[dict[str, Any]]:
    document = await asyncio.to_thread(node.client.native, "GET", "/tasks?limit=1000")
    found: list[dict[str, Any]] = document["tasks"]
    return found


async def test_sources_are_told_of(node: ServedNode, files: str, live_url: str) -> None:
    before = await tasks(node)
    names = ["short.mp4", "short.flv", "short.ts", "short.mp3", "vod.m3u8", "dash/vod.mpd"]
    urls = [*(f"{files}/{name}" for name in names), live_url]
    found = [await probe(node, url) for url in urls]
    containers = [document["source"]["container"] for document in found]
    assert containers == ["MP4", "FLV", "MPEG-TS", "MP3", "HLS", "MPEG-DASH", "RTMP"]
    for document in found:
        assert document["failure"] is None
        sound = document["source"]["container"] == "MP3"
        assert document["modes"]["copy"]["plan"]["video"]["action"] == ("none" if sound else "copy")
        assert document["modes"]["transcode"]["plan"]["audio"]["action"] == "transcode"
        assert document["seconds"] < 5
        if not sound:
            video = document["source"]["video"]
            assert (video["width"], video["height"]) == (640, 360)
            assert (video["gop_s"], video["b_frames"]) == (pytest.approx(1, abs=0.1), False)
    assert [task["id"] for task in await tasks(node)] == [task["id"] for task in before]


async def test_the_plan_is_that_of_a_task(node: ServedNode, files: str) -> None:
    url = f"{files}/b.mp4"
    planned = (await probe(node, url, stream_mode=1))["modes"]["copy"]["plan"]
    run = await node.start("probed", url)
    task = await node.until(run, lambda document: document["plan"] is not None)
    assert {kind: task["plan"][kind] for kind in ("video", "audio")} == planned
    with contextlib.suppress(CallFailed):  # it has ended by itself
        await node.client_stop(run)


async def sluice(node: ServedNode, *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sluice", "probe", *words, "--url", node.url, "--data", str(node.data)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command(node: ServedNode, files: str, clips: Clips) -> None:
    (code, text), (json_code, output), (gone, said) = await asyncio.gather(
        sluice(node, f"{files}/{clips.short.name}"),
        sluice(node, f"{files}/hevc.mp4", "--mode", "copy", "--json"),
        sluice(node, f"{files}/gone.mp4?token=Secret"),
    )
    assert code == 0, text
    assert "H.264 Constrained Baseline, 640x360, 25 pictures a second" in text
    assert "source is H.264 without B-frames" in text
    document = json.loads(output)
    assert (json_code, list(document["modes"])) == (1, ["copy"])
    assert "only H.264 can be copied" in document["modes"]["copy"]["failure"]["message"]
    assert gone == 1
    assert "404 Not Found" in said
    assert "Secret" not in said


async def test_strangers_end_in_time_and_leave_nothing(node: ServedNode) -> None:
    media = node.children("sluice.media")
    before = {process.pid: _held(process) for process in media}
    rows = len(await tasks(node))
    scripts = [answer_nothing, drip_body, looping_playlists, endless_boxes]
    assert len(scripts) == MOST_PROBES
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(stranger(script)) for script in scripts]
        found = await asyncio.gather(*(probe(node, server.url("/a.m3u8")) for server in servers))
        for document in found:
            assert document["failure"]["culprit"] == "source", document
            assert document["seconds"] < 5
        await until(lambda: all(len(server.ended_s) == len(server.asked) for server in servers))
    assert len(await tasks(node)) == rows
    assert set(media) <= set(node.children("sluice.media")), "nobody died"
    for process in media:
        await until(partial(_is_back, process, before[process.pid]))


def _held(process: psutil.Process) -> tuple[int, int]:
    return process.num_fds(), process.num_threads()


def _is_back(process: psutil.Process, before: tuple[int, int]) -> bool:
    return all(now <= then + _MORE for now, then in zip(_held(process), before, strict=True))
