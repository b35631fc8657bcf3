"""Frozen, black and silent sources are named in the task's document, and no clip of the tests is."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sluice.core.tasks import StreamMode
from sluice.demo import make_clip
from tests.acceptance.clips import Clips, make_flashes, run_ffmpeg
from tests.acceptance.node import ServedNode
from tests.acceptance.reports.clips import Clips as ReportedClips
from tests.acceptance.test_relay import new_room
from tests.integration.clips import make_mp4
from tests.integration.signals import story_of

#: More than twice as long as what is named has to last.
_WATCHED_S = 12
_MOVING, _TONE = "testsrc2=size=320x180:rate=25", "sine=frequency=440:sample_rate=48000"
_STILL = f"{_MOVING},loop=loop=-1:size=1:start=75"


@pytest.fixture(scope="module")
def good(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What the tests play, each once; recordings of the same in segments are left out."""
    folder = tmp_path_factory.mktemp("good")
    make_flashes(folder / "flashes.mp4", 4)
    make_mp4(folder / "numbers.mp4", seconds=4, sound=False)
    make_clip(folder / "sample.mp4")
    reported = ReportedClips(folder)
    for make in (reported.base, reported.longgop, reported.bframes):
        make()
    # By name: other tests put their own clips into the folder that is served.
    shared = [f"{name}.mp4" for name in ("long", "short", "hevc", "b", "second", "silent", "marked", "loop")]
    shared += ["short.flv", "short.ts", "short.m4a", "short.mp3", "loop.flv", "loop.ts"]
    return sorted([*(clips.folder / name for name in shared), *folder.glob("*.mp4")])


def test_no_clip_of_the_tests_is_named(good: list[Path]) -> None:
    named: dict[str, Any] = {}
    for path in good:
        for mode in StreamMode:
            if mode is StreamMode.COPY and path.stem == "hevc":
                continue
            story = story_of(path, mode, seconds=_WATCHED_S)
            states = {state for _, state in (*story.video, *story.audio)}
            if states != {"ok"}:
                named[f"{path.name} {mode.name}"] = story.video, story.audio
    assert not named
    assert len(good) > 12


async def test_what_is_wrong_with_a_source_stands_in_the_document(
    node: ServedNode, files: str, clips: Clips, live_url: str
) -> None:
    await asyncio.to_thread(_make_bad, clips.folder)
    cases = [
        ("frozen.mp4", 1, {"video": "frozen", "audio": "silent"}),
        ("frozen.mp4", 0, {"video": "frozen", "audio": "silent"}),
        ("black.mkv", 1, {"video": "black", "audio": "ok"}),
        ("short.mp4", 1, {"video": "ok", "audio": "ok"}),
    ]
    size = {"VideoWidth": 320, "VideoHeight": 180, "FrameRate": 15}
    runs = [
        await node.start(
            new_room(),
            f"{files}/{name}",
            StreamMode=mode,
            Loop=wanted["video"] == "ok",
            **(size if mode == 0 else {}),
        )
        for name, mode, wanted in cases
    ]
    for run, (name, mode, wanted) in zip(runs, cases, strict=True):
        if wanted["video"] == "ok":
            continue
        document = await node.until(run, lambda d, w=wanted: _signal(d) == w)  # type: ignore[misc]
        lasted = document["stats"]["last_second"]
        assert lasted["kbps"] == pytest.approx(lasted["bytes_out"] * 8 / 1000, abs=0.1), (name, mode)
        assert abs(document["stats"]["av_offset_ms"]) <= 100
        begins_s = 3 if name == "frozen.mp4" else 0
        since = document["signal"]["video_since"] - document["started_at"]
        assert since == pytest.approx(begins_s, abs=1.5), "the time at which that left"
    runs.append(await node.start(new_room(), live_url))
    live = await node.until(runs[-1], lambda d: d["stats"]["delay_s"] is not None and d["source_facts"])
    assert 0 <= live["stats"]["delay_s"] < 3
    assert (live["source_facts"]["live"], live["source_facts"]["duration_s"]) == (True, None)
    document = await node.task(runs[-2])
    assert _signal(document) == cases[-1][2]
    assert document["stats"]["level_dbfs"] == pytest.approx(-24.1, abs=1)
    assert document["stats"]["delay_s"] is None, "a recording has no edge"
    facts = document["source_facts"]
    assert (facts["container"], facts["live"], facts["duration_s"]) == (
        "MP4",
        False,
        pytest.approx(6, abs=0.1),
    )
    video = {"width": 640, "height": 360, "frame_rate": 25, "gop_s": 1, "b_frames": False}
    assert {name: facts["video"][name] for name in video} == video
    assert (facts["audio"]["codec"], facts["audio"]["sample_rate"]) == ("aac", 44100)
    await asyncio.gather(*(node.client_stop(run) for run in runs))


def _signal(document: dict[str, Any]) -> dict[str, Any]:
    signal = document["signal"] or {}
    return {kind: signal.get(kind) for kind in ("video", "audio")}


def _make_bad(folder: Path) -> None:
    """In the folder that is served: frozen and silent after 3 s, and black with a tone as Opus."""
    plain = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-pix_fmt", "yuv420p")
    quiet = f"{_TONE},volume=0:enable='gte(t,3)'"
    run_ffmpeg(
        *("-f", "lavfi", "-i", _STILL, "-f", "lavfi", "-i", quiet, "-t", "30"),
        *(*plain, "-c:a", "aac", "-movflags", "+faststart", str(folder / "frozen.mp4")),
    )
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=black:size=320x180:rate=25", "-f", "lavfi", "-i", _TONE, "-t", "30"),
        *(*plain, "-c:a", "libopus", "-ac", "2", str(folder / "black.mkv")),
    )
