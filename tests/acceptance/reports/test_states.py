"""Pictures, sound or both of a live source stop: task and page say so within 3 s, programs are told."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser

from sluice.callbacks.forms.volcengine_numbers import REASON_NUMBER
from sluice.core.lifecycle import Reason
from sluice.process.link import FrameType
from tests.acceptance.node import ServedNode
from tests.acceptance.reports.case import Stage
from tests.acceptance.reports.cases_clocks import packed_audio_files
from tests.acceptance.reports.cases_tracks import rtmp_tags
from tests.acceptance.reports.flv import AUDIO, HEAD, VIDEO, Tag, write_tag
from tests.acceptance.reports.recorder import Desk, Recording
from tests.acceptance.reports.site import live_parts
from tests.acceptance.reports.windows import Segment, Window
from tests.acceptance.viewers import chromium_page
from tests.integration.receiver import Receiver

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

BOUND_S = 3.0
_STOPS_S, _GOES_ON_S, _WATCHED_S = 5.0, 10.0, 14.0
_HLS_STOPS_S, _HLS_GOES_ON_S = 1.0, 30.0  #: three segments are kept from before
_POLL_S = 0.05
_KINDS = {
    "pictures": (frozenset({FrameType.VIDEO}), "pictures_stopped", "The picture stands still"),
    "sound": (frozenset({FrameType.AUDIO}), "sound_stopped", "No sound"),
    "both": (frozenset({FrameType.VIDEO, FrameType.AUDIO}), "source_interrupted", ""),
}
_FLV_KINDS = {FrameType.VIDEO: VIDEO, FrameType.AUDIO: AUDIO}


@dataclass
class Watched:
    """`page` has what the page said of the stream, each with its time."""

    recording: Recording
    page: list[tuple[float, str]] = field(default_factory=list)


def _tags(stage: Stage, stops: str) -> list[Tag]:
    silent = {_FLV_KINDS[kind] for kind in _KINDS[stops][0]}
    tags = rtmp_tags(stage)
    return [tag for tag in tags if tag.kind not in silent or not _STOPS_S <= tag.at_s < _GOES_ON_S]


def _rtmp(stage: Stage, name: str, stops: str) -> str:
    return stage.rtmp.add(name, _tags(stage, stops))


def _flv(stage: Stage, name: str, stops: str) -> str:
    parts = [(0.0, HEAD), *((tag.at_s, write_tag(tag)) for tag in _tags(stage, stops))]
    return stage.site.add(f"{name}/live.flv", live_parts(parts, "video/x-flv"))


def _hls(stage: Stage, name: str, stops: str) -> str:
    """Pictures and sound in playlists of their own, one or both of which are not written any more."""
    master = packed_audio_files(stage, name, 1.4, 24)
    kinds, pause = _KINDS[stops][0], (_HLS_STOPS_S, _HLS_GOES_ON_S)
    for kind, playlist, segment, seconds in (
        (FrameType.VIDEO, "index.m3u8", "s{}.ts", 2.0),
        (FrameType.AUDIO, "a.m3u8", "a{}.aac", 94 * 1024 / 48_000),
    ):
        window = Window(_named(segment, seconds), pause_s=pause if kind in kinds else (0.0, 0.0))
        stage.site.add(f"{name}/{playlist}", window.handler())
    return stage.site.of(master)


def _named(segment: str, seconds: float) -> Callable[[int], Segment]:
    return lambda n: Segment(segment.format(n), seconds)


SOURCES: dict[str, Callable[[Stage, str, str], str]] = {"rtmp": _rtmp, "flv": _flv, "hls": _hls}
CELLS = [(source, stops) for source in SOURCES for stops in _KINDS]


class Matrix:
    """All of it at once; the pages of one source are watched, too."""

    def __init__(self) -> None:
        self.watched: dict[tuple[str, str], Watched] = {}
        self.told: list[tuple[float, dict[str, Any]]] = []

    async def play(self, stage: Stage, desk: Desk, browser: Browser) -> None:
        urls = {
            (source, stops): await asyncio.to_thread(SOURCES[source], stage, _room(source, stops), stops)
            for source, stops in CELLS
        }
        async with asyncio.TaskGroup() as group:
            for (source, stops), url in urls.items():
                group.create_task(self._play_one(desk, browser, source, stops, url))

    async def _play_one(self, desk: Desk, browser: Browser, source: str, stops: str, url: str) -> None:
        room = _room(source, stops)
        watched = self.watched[source, stops] = Watched(Recording(0.0))
        async with contextlib.AsyncExitStack() as stack:
            if source == "rtmp":
                viewer = await stack.enter_async_context(chromium_page(browser, desk.node.page_url(room)))
                looking = asyncio.create_task(_look(viewer.page, watched))
                stack.callback(looking.cancel)
            watched.recording = await desk.record(room, url, _WATCHED_S)


def _room(source: str, stops: str) -> str:
    return f"states-{source}-{stops}"


_SAID = """() => {
    const figure = document.querySelector('figure');
    const texts = figure ? [...figure.children].filter(e => !e.hidden).map(e => e.textContent) : [];
    return figure ? [figure.dataset.state, ...texts].join(' ') : '';
}"""


async def _look(page: Any, watched: Watched) -> None:
    while True:
        said = await page.evaluate(_SAID)
        if not watched.page or watched.page[-1][1] != said:
            watched.page.append((time.monotonic(), said))
        await asyncio.sleep(_POLL_S)


@pytest.fixture(scope="module")
async def matrix(stage: Stage, desk: Desk, reports_node: ServedNode, browser: Browser) -> Matrix:
    matrix = Matrix()
    async with Receiver() as receiver:
        params = {"EventList": ["RelayStreamStateChanged"], "SecretKey": "states-secret", "URL": receiver.url}
        await reports_node.call("CreateCallback", version="2020-12-01", **params)
        count = 0

        async def note() -> None:
            nonlocal count
            while True:
                await asyncio.sleep(_POLL_S)
                matrix.told += [(time.monotonic(), got.data) for got in receiver.got[count:]]
                count = len(receiver.got)

        noting = asyncio.create_task(note())
        try:
            await matrix.play(stage, desk, browser)
        finally:
            noting.cancel()
            await reports_node.call("DeleteCallback", version="2020-12-01")
    return matrix


def _hole(recording: Recording, kinds: frozenset[FrameType]) -> tuple[float, float]:
    """When frames of these kinds pause longest: the last before it, and the first after it (or the end)."""
    walls = [a.wall_s for a in recording.arrivals if a.frame.type in kinds]
    ends = [*walls[1:], recording.began_s + _WATCHED_S]
    return max(zip(walls, ends, strict=True), key=lambda pair: pair[1] - pair[0])


@pytest.mark.parametrize(("source", "stops"), CELLS)
async def test_the_task_says_what_stopped(matrix: Matrix, source: str, stops: str) -> None:
    recording = matrix.watched[source, stops].recording
    kinds, reason, _ = _KINDS[stops]
    stopped, went_on = _hole(recording, kinds)
    assert went_on - stopped > 2
    said = [seen for seen in recording.seen if seen.wall_s > stopped and seen.state == "recovering"]
    assert said, recording.texts
    print(f"{source} {stops}: the task after {said[0].wall_s - stopped:.2f} s ({said[0].text})")
    assert said[0].wall_s - stopped < BOUND_S
    assert said[0].reason == reason
    assert not [s for s in recording.seen if s.wall_s < stopped and s.state == "recovering"], recording.texts


@pytest.mark.parametrize(("source", "stops"), [cell for cell in CELLS if cell[0] != "hls"])
async def test_the_task_runs_again(matrix: Matrix, source: str, stops: str) -> None:
    recording = matrix.watched[source, stops].recording
    _, went_on = _hole(recording, _KINDS[stops][0])
    again = [seen for seen in recording.seen if seen.wall_s > went_on - 0.5 and seen.state == "running"]
    assert again, recording.texts
    print(f"{source} {stops}: running again after {again[0].wall_s - went_on:.2f} s")
    assert again[0].wall_s - went_on < BOUND_S


@pytest.mark.parametrize("stops", list(_KINDS))
async def test_the_page_says_what_stopped(matrix: Matrix, stops: str) -> None:
    watched = matrix.watched["rtmp", stops]
    kinds, _, words = _KINDS[stops]
    stopped, went_on = _hole(watched.recording, kinds)
    wanted = words or "reconnecting"
    said = [at for at, text in watched.page if stopped < at < went_on and wanted in text]
    assert said, watched.page
    print(f"rtmp {stops}: the page after {said[0] - stopped:.2f} s")
    assert said[0] - stopped < BOUND_S
    last = watched.page[-1][1]
    assert last.startswith("live"), watched.page
    assert "still" not in last, watched.page
    assert "No sound" not in last, watched.page


@pytest.mark.parametrize("stops", list(_KINDS))
async def test_the_callback_says_what_stopped_and_that_it_is_back(matrix: Matrix, stops: str) -> None:
    kinds, reason, _ = _KINDS[stops]
    stopped, went_on = _hole(matrix.watched["rtmp", stops].recording, kinds)
    of_room = [(at, data) for at, data in matrix.told if data["RoomId"] == _room("rtmp", stops)]
    number = REASON_NUMBER[Reason.of(reason)]
    said = [at for at, data in of_room if (data["Status"], data["Reason"]) == (2, number)]
    assert said, of_room
    print(f"rtmp {stops}: the callback after {said[0] - stopped:.2f} s")
    assert said[0] - stopped < BOUND_S
    again = [at for at, data in of_room if data["Msg"] == "source reconnected"]
    assert again, of_room
    print(f"rtmp {stops}: the callback {again[0] - went_on:.2f} s after it is back")
    assert again[0] - went_on < BOUND_S
