"""Containers by ways of delivery and modes: each plays without a standstill, at the pace of time, in sync."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.reports.boxes import fragments
from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_clocks import packed_audio_files
from tests.acceptance.reports.cases_tracks import long_gop_ts, rtmp_tags, ts_parts
from tests.acceptance.reports.clips import ff
from tests.acceptance.reports.flv import HEAD, Tag, read_tags, write_tag
from tests.acceptance.reports.group import Judge, asked_for, play_all, row
from tests.acceptance.reports.recorder import Desk
from tests.acceptance.reports.site import live_parts, piped, text, without_range
from tests.acceptance.reports.ts import by_time, packets_of, tables_of
from tests.acceptance.reports.windows import Segment, Window

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

#: At once: what transcodes on two cores without being late.
_AT_ONCE = 8
_SECONDS = 8
#: Of the live ones: what is watched, and at least heard. Joined between key frames, pictures come after 4 s.
_WATCHED_S = 9.0
_JOIN_S = 1.0
_FRAGMENT_S = 0.5

_FRAGMENTED = ("-movflags", "+empty_moov+default_base_moof")
_FORMATS = {
    "mp4": ("clip.mp4", ("-movflags", "+faststart")),
    "fmp4": ("clip.mp4", (*_FRAGMENTED, "-frag_duration", 2_000_000)),
    "ts": ("clip.ts", ("-muxdelay", 0)),
    "flv": ("clip.flv", ()),
    "mkv": ("clip.mkv", ()),
}
_TYPES = {
    "mp4": "video/mp4",
    "fmp4": "video/mp4",
    "ts": "video/mp2t",
    "flv": "video/x-flv",
    "mkv": "video/x-matroska",
}

Make = Callable[[Stage, str], str]


def _file(form: str) -> Callable[[Stage, str], Path]:
    file, options = _FORMATS[form]
    return lambda stage, name: stage.clips.cut(stage.clips.dir(name) / file, *options, seconds=_SECONDS)


def _ranges(form: str) -> Make:
    return lambda stage, name: stage.site.of(_file(form)(stage, name))


def _no_ranges(form: str) -> Make:
    def make(stage: Stage, name: str) -> str:
        return stage.site.add(f"{name}/a", without_range(_file(form)(stage, name), _TYPES[form]))

    return make


# --- endless ------------------------------------------------------------------------------------------------


def _ts_live(stage: Stage, name: str) -> str:
    path = stage.clips.cut(stage.clips.dir(name) / "a.ts", "-muxdelay", 0, seconds=24)
    return stage.site.add(f"{name}/live", live_parts(ts_parts(path.read_bytes()), "video/mp2t"))


def _ts_joined(stage: Stage, name: str) -> str:
    return stage.site.add(f"{name}/live", live_parts(ts_parts(long_gop_ts(stage), _JOIN_S), "video/mp2t"))


def _long_gop_tags(stage: Stage) -> list[Tag]:
    """Headers, and what comes after a second of the clip."""
    path = stage.clips.folder / "longgop.flv"
    if not path.exists():
        stage.clips.cut(path, source=stage.clips.longgop(), seconds=24)
    tags = read_tags(path)
    headers = [tag._replace(ms=round(_JOIN_S * 1000)) for tag in tags if tag.header]
    joined = [tag.moved(at_s=-_JOIN_S) for tag in tags if not tag.header and tag.at_s >= _JOIN_S]
    return [*headers, *joined]


def _flv_of(tags: Callable[[Stage], list[Tag]]) -> Make:
    def make(stage: Stage, name: str) -> str:
        parts = [(0.0, HEAD), *((tag.at_s, write_tag(tag)) for tag in tags(stage))]
        return stage.site.add(f"{name}/live", live_parts(parts, "video/x-flv"))

    return make


def _rtmp_of(tags: Callable[[Stage], list[Tag]]) -> Make:
    return lambda stage, name: stage.rtmp.add(name, tags(stage))


def _fragments_of(source: Callable[[Stage], Path], join_s: float) -> Make:
    """Each fragment is sent when it is over."""

    def make(stage: Stage, name: str) -> str:
        path = stage.clips.dir(name) / "a.mp4"
        options = (*_FRAGMENTED, "-frag_duration", int(_FRAGMENT_S * 1e6))
        stage.clips.cut(path, *options, source=source(stage), seconds=24)
        head, parts = fragments(path.read_bytes())
        parts = parts[int(join_s / _FRAGMENT_S) :]
        timed = [(0.0, head), *(((n + 1) * _FRAGMENT_S, part) for n, part in enumerate(parts))]
        return stage.site.add(f"{name}/live", live_parts(timed, "video/mp4"))

    return make


def _mkv_live(stage: Stage, name: str) -> str:
    """Clusters of half a second, each sent when it is over."""
    cluster = (
        "-f",
        "matroska",
        "-live",
        1,
        "-cluster_time_limit",
        int(_FRAGMENT_S * 1000),
        "-flush_packets",
        1,
    )
    words = ("-re", "-i", stage.clips.base(), "-c", "copy", *cluster)
    return stage.site.add(f"{name}/live", piped(*words, content_type="video/x-matroska"))


# --- playlists ----------------------------------------------------------------------------------------------


def _hls(stage: Stage, name: str) -> str:
    return stage.site.of(stage.clips.hls(name, _SECONDS) / "index.m3u8")


def _hls_live(stage: Stage, name: str) -> str:
    stage.clips.hls(name, 24)
    return stage.site.add(f"{name}/live.m3u8", Window(lambda n: Segment(f"s{n}.ts")).handler())


def _hls_joined(stage: Stage, name: str) -> str:
    """Segments are cut by time."""
    folder, data = stage.clips.dir(name), long_gop_ts(stage)
    for n, part in enumerate(by_time(data, 2)):
        (folder / f"s{n}.ts").write_bytes(tables_of(packets_of(data)) + b"".join(part))
    return stage.site.add(f"{name}/live.m3u8", Window(lambda n: Segment(f"s{n}.ts")).handler())


def _fmp4_hls(stage: Stage, name: str, seconds: float, *, by_time: bool = False) -> Path:
    source = stage.clips.longgop() if by_time else stage.clips.base()
    cut = ("-hls_flags", "split_by_time") if by_time else ()
    return stage.clips.fmp4(name, seconds, *cut, source=source)


_MAP = '#EXT-X-VERSION:7\n#EXT-X-MAP:URI="init.mp4"\n'


def _fmp4_live(*, by_time: bool) -> Make:
    def make(stage: Stage, name: str) -> str:
        _fmp4_hls(stage, name, 24, by_time=by_time)
        window = Window(lambda n: Segment(f"s{n}.m4s"), head=_MAP)
        return stage.site.add(f"{name}/live.m3u8", window.handler())

    return make


def _packed(stage: Stage, name: str) -> str:
    return stage.site.of(packed_audio_files(stage, name, 1.4, _SECONDS))


def _packed_live(stage: Stage, name: str) -> str:
    master = packed_audio_files(stage, name, 1.4, 24)
    stage.site.add(f"{name}/index.m3u8", Window(lambda n: Segment(f"s{n}.ts")).handler())
    stage.site.add(f"{name}/a.m3u8", Window(lambda n: Segment(f"a{n}.aac", 94 * 1024 / 48_000)).handler())
    return stage.site.of(master)


def _dash(stage: Stage, name: str, seconds: float = _SECONDS) -> str:
    folder = stage.clips.dir(name)
    dash = ("-f", "dash", "-seg_duration", 2, "-use_timeline", 0)
    ff("-i", stage.clips.base(), "-t", seconds, "-c", "copy", *dash, folder / "clip.mpd")
    return stage.site.of(folder / "clip.mpd")


def _dash_live(stage: Stage, name: str) -> str:
    """By number and clock; 8 s are there when it is asked first."""
    _dash(stage, name, 24)
    recorded = (stage.clips.folder / name / "clip.mpd").read_text()
    began: list[datetime] = []

    def manifest() -> str:
        began.append(datetime.now(UTC) - timedelta(seconds=8))
        since = f"{began[0]:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        live = f'type="dynamic" availabilityStartTime="{since}" minimumUpdatePeriod="PT2S"'
        head, rest = recorded.split('type="static"')
        ended = rest.split("mediaPresentationDuration=", 1)
        return head + live + ' timeShiftBufferDepth="PT20S"' + ended[0] + ended[1].split('"', 2)[2]

    return stage.site.add(f"{name}/live.mpd", text(manifest, "application/dash+xml"))


# --- the cells ----------------------------------------------------------------------------------------------

_RECORDED: dict[str, Make] = {
    **{f"{form}-range": _ranges(form) for form in _FORMATS},
    **{f"{form}-no-range": _no_ranges(form) for form in _FORMATS},
    "hls-ts": _hls,
    "hls-fmp4": lambda stage, name: stage.site.of(_fmp4_hls(stage, name, _SECONDS) / "index.m3u8"),
    "hls-packed": _packed,
    "dash": _dash,
}
_LIVE: dict[str, Make] = {
    "fmp4-live": _fragments_of(lambda stage: stage.clips.base(), 0),
    "ts-live": _ts_live,
    "flv-live": _flv_of(rtmp_tags),
    "mkv-live": _mkv_live,
    "hls-ts-live": _hls_live,
    "hls-fmp4-live": _fmp4_live(by_time=False),
    "hls-packed-live": _packed_live,
    "dash-live": _dash_live,
    "rtmp-live": _rtmp_of(rtmp_tags),
}
_JOINED: dict[str, Make] = {
    "fmp4-joined": _fragments_of(lambda stage: stage.clips.longgop(), _JOIN_S),
    "ts-joined": _ts_joined,
    "flv-joined": _flv_of(_long_gop_tags),
    "hls-ts-joined": _hls_joined,
    "hls-fmp4-joined": _fmp4_live(by_time=True),
    "rtmp-joined": _rtmp_of(_long_gop_tags),
}
#: What a run without the slow tests takes.
_CHOSEN = {
    "mp4-no-range-copy",
    "fmp4-range-copy",
    "fmp4-live-copy",
    "ts-joined-transcode",
    "flv-live-copy",
    "mkv-live-copy",
    "hls-ts-joined-copy",
    "hls-fmp4-live-transcode",
    "hls-packed-live-copy",
    "dash-live-copy",
    "rtmp-joined-copy",
    "rtmp-live-transcode",
}


def _cell(name: str, make: Make, mode: int) -> Case:
    cell = f"{name}-{('transcode', 'copy')[mode]}"

    def played(stage: Stage) -> str:
        return make(stage, cell)

    if name in _RECORDED:
        return Case(cell, played, range(_SECONDS * 25), range(_SECONDS), mode=mode)
    burst_s = _FRAGMENT_S if name.startswith(("fmp4", "mkv")) else 0.0
    pictures = 80 if name in _JOINED else 150
    seconds = _WATCHED_S + (1 if name in _JOINED else 0)
    return Case(
        cell,
        played,
        run_of=pictures,
        sound_s=pictures / 25,
        seconds=seconds,
        end="",
        burst_s=burst_s,
        mode=mode,
    )


CELLS = [
    _cell(name, make, mode) for mode in (1, 0) for name, make in {**_RECORDED, **_LIVE, **_JOINED}.items()
]


@pytest.fixture(scope="module")
async def judge(request: pytest.FixtureRequest, stage: Stage, desk: Desk) -> Judge:
    return await play_all(stage, desk, asked_for(request, "test_matrix"), _AT_ONCE)


@pytest.fixture(scope="module")
async def table() -> AsyncIterator[list[str]]:
    lines: list[str] = []
    yield lines
    print("", *lines, sep="\n")


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    return [] if case.name in _CHOSEN else [pytest.mark.slow]


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name, marks=_marks(c)) for c in CELLS])
async def test_is_played_in_time_and_in_sync(case: Case, judge: Judge, table: list[str]) -> None:
    reading, found = judge(case)
    table.append(row(case, reading, found))
    assert not found
