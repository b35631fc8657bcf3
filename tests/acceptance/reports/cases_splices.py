"""A splice may change everything, progress is new media, one bad resource does not end a source."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.clips import Clips, ff
from tests.acceptance.reports.flv import read_tags
from tests.acceptance.reports.reading import Reading
from tests.acceptance.reports.site import Handler, at_first, file_part, short_body, status
from tests.acceptance.reports.windows import Segment, Window

_HLS_JS = "https://github.com/video-dev/hls.js/issues/"
_HEAD = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n"


def _spliced(folder: Path, *names: str) -> Path:
    """A playlist of segments of 4 s, with a discontinuity between them."""
    parts = "#EXT-X-DISCONTINUITY\n".join(f"#EXTINF:4.0,\n{name}\n" for name in names)
    (folder / "index.m3u8").write_text(f"{_HEAD}{parts}#EXT-X-ENDLIST\n")
    return folder / "index.m3u8"


def _with_ad(stage: Stage, name: str, ad: Path, *options: object, at: float = 0) -> str:
    """4 s of content, 4 s of something else, the content's seconds 8 to 12."""
    folder = stage.clips.dir(name)
    stage.clips.cut(folder / "s0.ts", seconds=4)
    ff("-ss", at, "-i", ad, "-t", 4, *(options or ("-c", "copy")), folder / "s1.ts")
    stage.clips.cut(folder / "s2.ts", at=8, seconds=4)
    return stage.site.of(_spliced(folder, "s0.ts", "s1.ts", "s2.ts"))


def _mp3(stage: Stage) -> str:
    mp3 = ("-c:v", "copy", "-c:a", "libmp3lame", "-b:a", "96k")
    return _with_ad(stage, "splice-mp3", stage.clips.base(), *mp3, at=4)


def _silent_ad(stage: Stage) -> str:
    return _with_ad(stage, "splice-without-sound", stage.clips.base(), "-map", "0:v", "-c", "copy", at=4)


def _sound_ad(stage: Stage) -> str:
    return _with_ad(stage, "splice-without-picture", stage.clips.base(), "-map", "0:a", "-c", "copy", at=4)


def _other_size(reading: Reading) -> Iterable[str]:
    sizes = {picture.size for picture in reading.pictures}
    if sizes != {(320, 180), (640, 360)}:
        yield f"the pictures' sizes are {sizes}"


def _rtmp_other_size(stage: Stage) -> str:
    """4 s, then new sequence headers and another size, the stamps running on."""
    first = [tag for tag in read_tags(_flv(stage, stage.clips.base())) if tag.at_s < 4]
    second = [tag.moved(4, 4000) for tag in read_tags(_flv(stage, stage.clips.large()))]
    return stage.rtmp.add("rtmp-other-size", [*first, *second])


def _flv(stage: Stage, source: Path) -> Path:
    path = stage.clips.folder / f"{source.stem}.flv"
    return path if path.exists() else stage.clips.cut(path, source=source, seconds=24)


_AD = (*range(100), *range(100), *range(200, 300))
_AD_SOUND = (*range(4), *range(4), *range(8, 12))


def _other_clip(name: str, ad: Callable[[Clips], Path], **more: Any) -> Case:
    return Case(name, lambda stage: _with_ad(stage, name, ad(stage.clips)), _AD, _AD_SOUND, **more)


SPLICES = [
    Case("splice-mp3", _mp3, range(300), range(12), report=_HLS_JS + "2397"),
    _other_clip("splice-b-frames", Clips.bframes, grid=True, report=_HLS_JS + "2042"),
    _other_clip("splice-b-frames-transcoded", Clips.bframes, mode=0),
    _other_clip("splice-size", Clips.large, more=_other_size),
    _other_clip("splice-hevc", Clips.hevc, mode=0),
    Case(
        "splice-without-sound",
        _silent_ad,
        range(300),
        (*range(4), *range(8, 12)),
        gap_s=(0, 4.1),
    ),
    Case(
        "splice-without-picture",
        _sound_ad,
        (*range(100), *range(200, 300)),
        range(12),
        gap_s=(4.1, 0),
    ),
    Case(
        "rtmp-other-size",
        _rtmp_other_size,
        run_of=300,
        steps=(-99,),
        sound_s=10,
        seconds=14,
        end="",
        more=_other_size,
    ),
]


# --- progress is new media -------------------------------------------------------------------------------


def _nothing_again(reading: Reading) -> Iterable[str]:
    if reading.repeated:
        yield f"{len(reading.repeated)} pictures are shown again"


def _rest_is_lost(stage: Stage) -> str:
    folder = stage.clips.hls("rest-is-lost", 12)
    for n in (3, 4, 5):
        (folder / f"s{n}.ts").unlink()
    return stage.site.of(folder / "index.m3u8")


def _dies_at(path: Path, part: float) -> Handler:
    """With ranges; behind that part of the file it answers 503, and a connection ends there."""

    data = path.read_bytes()
    last = int(len(data) * part)

    async def answer(request: web.Request) -> web.StreamResponse:
        begin = request.http_range.start or 0
        if begin >= last:
            return web.Response(status=503)
        headers = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}", "Accept-Ranges": "bytes"}
        response = web.StreamResponse(status=206 if "Range" in request.headers else 200, headers=headers)
        response.content_length = len(data) - begin
        await response.prepare(request)
        await response.write(data[begin:last])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def _dying_server(stage: Stage) -> str:
    path = stage.clips.dir("dying-server") / "clip.mp4"
    stage.clips.cut(path, "-movflags", "+faststart", seconds=12)
    return stage.site.add("dying-server/a.mp4", _dies_at(path, 0.6))


PROGRESS = [
    Case("rest-is-lost", _rest_is_lost, range(150), range(6), end="*", idle_s=8, words=("404",), seconds=24),
    Case(
        "dying-server",
        _dying_server,
        run_of=150,
        sound_s=6,
        end="*",
        idle_s=8,
        words=("503|connection was lost",),
        seconds=24,
        more=_nothing_again,
    ),
]


# --- one bad resource does not end a source --------------------------------------------------------------


def _gap(stage: Stage) -> str:
    """The third segment is marked, and is not there."""
    folder = stage.clips.hls("gap", 12)
    text = (folder / "index.m3u8").read_text()
    (folder / "index.m3u8").write_text(_before(text, "s2.ts", "#EXT-X-GAP"))
    (folder / "s2.ts").unlink()
    return stage.site.of(folder / "index.m3u8")


def _before(playlist: str, segment: str, tag: str) -> str:
    lines = playlist.splitlines()
    lines.insert(lines.index(segment) - 1, tag)
    return "\n".join(lines) + "\n"


def _not_asked(reading: Reading) -> Iterable[str]:
    if "/gap/s2.ts" in reading.recording.asked:
        yield "a segment marked as a gap was asked for"


def _lost(stage: Stage) -> str:
    folder = stage.clips.hls("lost", 12)
    (folder / "s2.ts").unlink()
    return stage.site.of(folder / "index.m3u8")


def _page_for_segment(stage: Stage) -> str:
    folder = stage.clips.hls("page-for-segment", 12)
    (folder / "s2.ts").write_text("<!doctype html><title>Too many requests</title>")
    return stage.site.of(folder / "index.m3u8")


def _server_error_once(stage: Stage) -> str:
    folder = stage.clips.hls("error-once", 12)
    name = "error-once/s2.ts"
    stage.site.add(name, at_first(status(500), _file(folder / "s2.ts")))
    return stage.site.of(folder / "index.m3u8")


def _cut_once(stage: Stage) -> str:
    folder = stage.clips.hls("cut-once", 12)
    path = folder / "s2.ts"
    stage.site.add("cut-once/s2.ts", at_first(short_body(path, path.stat().st_size // 2), _file(path)))
    return stage.site.of(folder / "index.m3u8")


def _file(path: Path) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return file_part(path, request)

    return answer


def _dead_variant(stage: Stage) -> str:
    folder = stage.clips.hls("dead-variant", 12)
    (folder / "master.m3u8").write_text(
        '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.42c00c,mp4a.40.2"\ngone.m3u8\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.42c00c,mp4a.40.2"\nindex.m3u8\n'
    )
    return stage.site.of(folder / "master.m3u8")


def reload_fault(name: str, faults: dict[int, int], report: str = "") -> Case:
    """A live playlist, some reloads of which fail or are older."""

    def make(stage: Stage) -> str:
        stage.clips.hls(name, 24)
        window = Window(lambda n: Segment(f"s{n}.ts"), faults=faults)
        return stage.site.add(f"{name}/live.m3u8", window.handler())

    return Case(name, make, run_of=250, sound_s=10, seconds=12.5, end="", report=report)


def _live_lost(stage: Stage) -> str:
    """Of a live playlist one segment is never there."""
    folder = stage.clips.hls("live-lost", 24)
    (folder / "s4.ts").unlink()
    return stage.site.add("live-lost/live.m3u8", Window(lambda n: Segment(f"s{n}.ts")).handler())


def _short(name: str, *options: object) -> Case:
    """The body ends before its Content-Length, and there are no ranges; the media is whole."""

    def make(stage: Stage) -> str:
        path = stage.clips.dir(name) / name
        stage.clips.cut(path, *options, seconds=6)
        size = path.stat().st_size
        return stage.site.add(f"{name}/short", short_body(path, size, announced=size * 3 // 2))

    return Case(
        name,
        make,
        range(150) if "mp3" not in name else (),
        range(6),
        end="*",
        idle_s=5,
        seconds=16,
        report="https://github.com/airsonic/airsonic/issues/685",
    )


def _cut_mp4(stage: Stage) -> str:
    path = stage.clips.dir("short-mp4") / "clip.mp4"
    stage.clips.cut(path, "-movflags", "+faststart", seconds=12)
    size = path.stat().st_size
    return stage.site.add("short-mp4/short", short_body(path, size * 6 // 10))


_LOST = ((*range(100), *range(150, 300)), (0, 1, 2, 3, 6, 7, 8, 9, 10, 11))
_GAPS = (2.1, 2.1)

RESOURCES = [
    Case("gap", _gap, *_LOST, gap_s=_GAPS, more=_not_asked, report=_HLS_JS + "2940"),
    Case("lost", _lost, *_LOST, gap_s=_GAPS, words=("404",), seconds=30),
    Case("page-for-segment", _page_for_segment, *_LOST, gap_s=_GAPS, seconds=30),
    Case("error-once", _server_error_once, range(300), range(12), seconds=25),
    Case("cut-once", _cut_once, range(300), range(12), seconds=25),
    Case("dead-variant", _dead_variant, range(300), range(12), report=_HLS_JS + "573"),
    reload_fault("reload-stale", {3: 2}, _HLS_JS + "1225"),
    reload_fault("reload-502", {3: 502}, _HLS_JS + "5457"),
    reload_fault("reload-502-thrice", {3: 502, 4: 502, 5: 502}),
    reload_fault("reload-stale-again", {2: 1, 4: 3, 5: 2}),
    Case("live-lost", _live_lost, run_of=180, sound_s=7, seconds=12.5, end="", gap_s=_GAPS, steps=(51,)),
    _short("short.flv"),
    _short("short.mp3", "-vn", "-c:a", "libmp3lame", "-b:a", "32k"),
    Case("short-mp4", _cut_mp4, run_of=140, sound_s=5.5, end="*", idle_s=5, more=_nothing_again),
]
