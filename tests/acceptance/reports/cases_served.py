"""Further inputs of the same kinds, as packagers and servers of the world give them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.acceptance.reports import site
from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_tracks import rtmp_tags
from tests.acceptance.reports.clips import ff, fmp4_words
from tests.acceptance.reports.site import Handler, file_part, live_parts
from tests.acceptance.reports.windows import Segment, Window

# --- progress and resources ---------------------------------------------------------------------------------


def _stands_still(stage: Stage) -> str:
    """A live playlist that is never written again."""
    stage.clips.hls("stands-still", 24)
    window = Window(lambda n: Segment(f"s{n}.ts"), pause_s=(0.1, 1e9))
    return stage.site.add("stands-still/live.m3u8", window.handler())


def _two_lost(stage: Stage) -> str:
    folder = stage.clips.hls("two-lost", 12)
    for n in (2, 3):
        (folder / f"s{n}.ts").unlink()
    return stage.site.of(folder / "index.m3u8")


def _first_lost(stage: Stage) -> str:
    folder = stage.clips.hls("first-lost", 12)
    (folder / "s0.ts").unlink()
    return stage.site.of(folder / "index.m3u8")


def _dead_rendition(stage: Stage) -> str:
    """The sound's playlist is not there: pictures play, and the task says so."""
    folder = stage.clips.hls("dead-rendition", 8, "-map", "0:v")
    (folder / "master.m3u8").write_text(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="snd",NAME="Main",DEFAULT=YES,URI="a.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.42c00c,mp4a.40.2",AUDIO="snd"\nindex.m3u8\n'
    )
    return stage.site.of(folder / "master.m3u8")


def _dead_key(stage: Stage) -> str:
    folder = stage.clips.hls("dead-key", 6)
    text = (folder / "index.m3u8").read_text()
    key = '#EXT-X-KEY:METHOD=AES-128,URI="gone.key"\n#EXTINF'
    (folder / "index.m3u8").write_text(text.replace("#EXTINF", key, 1))
    return stage.site.of(folder / "index.m3u8")


def _hanging_segment(stage: Stage) -> str:
    """One segment's answer never begins."""
    folder = stage.clips.hls("hanging-segment", 12)
    stage.site.add("hanging-segment/s3.ts", live_parts([(600.0, b"")], "video/mp2t"))
    return stage.site.of(folder / "index.m3u8")


def _variant_dies(stage: Stage) -> str:
    """The best variant's live playlist is gone at the third reload; the other goes on."""
    stage.clips.hls("variant-dies", 24)
    high, low = Window(lambda n: Segment(f"s{n}.ts")), Window(lambda n: Segment(f"s{n}.ts"))
    high.faults = dict.fromkeys(range(3, 60), 404)
    answer_high = high.handler()

    async def begin_both(request: web.Request) -> web.StreamResponse:
        low.begin()
        return await answer_high(request)

    stage.site.add("variant-dies/high.m3u8", begin_both)
    stage.site.add("variant-dies/low.m3u8", low.handler())
    master = stage.clips.folder / "variant-dies/master.m3u8"
    codecs = 'CODECS="avc1.42c00c,mp4a.40.2"'
    master.write_text(
        f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=900000,{codecs}\nhigh.m3u8\n"
        f"#EXT-X-STREAM-INF:BANDWIDTH=300000,{codecs}\nlow.m3u8\n"
    )
    return stage.site.of(master)


RESOURCES = [
    Case("stands-still", _stands_still, run_of=120, sound_s=5, end="*", idle_s=8, seconds=25, gap_s=(9, 9)),
    Case(
        "two-lost",
        _two_lost,
        (*range(100), *range(200, 300)),
        (0, 1, 2, 3, 8, 9, 10, 11),
        gap_s=(4.1, 4.1),
        seconds=30,
    ),
    Case("first-lost", _first_lost, range(50, 300), range(2, 12), seconds=30),
    Case("dead-rendition", _dead_rendition, range(200), words=("404",), seconds=16),
    Case("dead-key", _dead_key, end="*", words=("gone.key",), idle_s=5, seconds=20),
    Case(
        "hanging-segment",
        _hanging_segment,
        (*range(150), *range(200, 300)),
        (*range(6), *range(8, 12)),
        gap_s=(20, 20),
        seconds=45,
    ),
    Case(
        "variant-dies",
        _variant_dies,
        run_of=250,
        sound_s=10,
        seconds=15,
        end="",
        steps=tuple(range(-150, 150)),
        gap_s=(2, 2),
    ),
]


# --- clocks -------------------------------------------------------------------------------------------------


def _restarts(stage: Stage) -> str:
    """The encoder is started again: media sequence and clock begin anew, nothing says so."""
    stage.clips.hls("encoder-restarts", 24)
    window = Window(lambda n: Segment(f"s{n if n < 6 else n - 6}.ts?n={n}"), restarts_at=6)
    return stage.site.add("encoder-restarts/live.m3u8", window.handler())


def flv_clock(name: str, begins_ms: int) -> Case:
    """Stamps of 32 bits, which may wrap."""

    def make(stage: Stage) -> str:
        tags = [tag._replace(ms=(tag.ms + begins_ms) % (1 << 32)) for tag in rtmp_tags(stage)]
        return stage.rtmp.add(name, tags)

    return Case(name, make, run_of=200, sound_s=8, seconds=10, end="")


CLOCKS = [
    Case(
        "encoder-restarts",
        _restarts,
        run_of=250,
        sound_s=10,
        seconds=20,
        end="",
        steps=tuple(range(-300, 300)),
        gap_s=(2.5, 2.5),
    ),
    flv_clock("rtmp-stamps-wrap", (1 << 32) - 4000),
    flv_clock("rtmp-stamps-turn-negative", (1 << 31) - 4000),
    flv_clock("rtmp-stamps-extended", (1 << 24) - 4000),
]


# --- playlists ----------------------------------------------------------------------------------------------


def written(name: str, write: Callable[[list[str]], str], **more: Any) -> Case:
    """A recording whose playlist is written in another way."""

    def make(stage: Stage) -> str:
        folder = stage.clips.hls(name, 8)
        (folder / "odd.m3u8").write_text(write([f"s{n}.ts" for n in range(4)]))
        return stage.site.of(folder / "odd.m3u8")

    return Case(name, make, range(200), range(8), **more)


def _loose(segments: list[str]) -> str:
    """Decimals where whole numbers belong, blanks behind colons, durations without a comma."""
    return (
        "#EXTM3U \n#EXT-X-TARGETDURATION: 2.0\n"
        + "".join(f"#EXTINF: 2.000\n{s} \n" for s in segments)
        + "#EXT-X-ENDLIST"
    )


def _full(segments: list[str]) -> str:
    """What other players use and a relay may leave."""
    head = (
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXT-X-START:TIME-OFFSET=0\n#EXT-X-ALLOW-CACHE:YES\n"
        '#EXT-X-DATERANGE:ID="a, b",START-DATE="2026-01-01T00:00:00Z",X-COM="=,\\"\n'
    )
    return head + "".join(f"#EXT-X-BITRATE:300\n#EXTINF:2.0,\n{s}\n" for s in segments) + "#EXT-X-ENDLIST\n"


def _master_of_odds(stage: Stage) -> str:
    """A master playlist with what is for others in it."""
    folder = stage.clips.hls("odd-master", 8)
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep/master.m3u8").write_text(
        '#EXTM3U\n#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9000000,URI="../iframes.m3u8",CODECS="avc1.42c00c"\n'
        '#EXT-X-SESSION-DATA:DATA-ID="a",VALUE="b, c"\n'
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="de",URI="../subs.m3u8"\n'
        '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="en",INSTREAM-ID="CC1"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"\n../sound-only.m3u8\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=8000000,CODECS="dvh1.05.06,ec-3",RESOLUTION=3840x2160\n../dolby.m3u8\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.42c00c,mp4a.40.2",RESOLUTION=320x180,SUBTITLES="s"\n'
        "../index.m3u8?token=a/b\n"
    )
    return stage.site.of(folder / "deep/master.m3u8")


def _map_range(stage: Stage) -> str:
    """One fMP4 file; the init section and all segments are byte ranges of it."""
    folder = stage.clips.dir("map-range")
    ff(*fmp4_words(stage.clips.base(), 8, 2), "-hls_flags", "single_file", folder / "index.m3u8")
    return stage.site.of(folder / "index.m3u8")


def _event(stage: Stage) -> str:
    """A list that grows and never loses its beginning."""
    stage.clips.hls("event", 24)
    head = "#EXT-X-VERSION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n"
    return stage.site.add(
        "event/live.m3u8", Window(lambda n: Segment(f"s{n}.ts"), length=99, head=head).handler()
    )


PLAYLISTS = [
    written("loose", _loose),
    written("full", _full),
    Case("odd-master", _master_of_odds, range(200), range(8)),
    Case("map-range", _map_range, range(200), range(8)),
    Case("event", _event, run_of=200, sound_s=8, seconds=11, end=""),
]


# --- HTTP ---------------------------------------------------------------------------------------------------


def _clip(stage: Stage, name: str) -> Path:
    return stage.clips.cut(stage.clips.dir(name) / "clip.mp4", "-movflags", "+faststart", seconds=6)


def answered(name: str, handler: Callable[[Path], Handler], **more: Any) -> Case:
    def make(stage: Stage) -> str:
        return stage.site.add(f"{name}/a.mp4", handler(_clip(stage, name)))

    return Case(name, make, range(150), range(6), **more)


def _unknown_total(path: Path) -> Handler:
    """206 whose Content-Range does not tell the length."""
    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        begin = request.http_range.start or 0
        if begin >= len(data):
            return web.Response(status=416)
        part = data[begin : begin + 50_000]
        headers = {"Content-Range": f"bytes {begin}-{begin + len(part) - 1}/*"}
        return web.Response(status=206, body=part, headers=headers)

    return answer


def _permanent(path: Path) -> Handler:
    return site.redirect("clip.mp4?a=b%20c#part")


def _needs_login(path: Path) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Basic dXNlcjpwYSBzcw==":
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        return file_part(path, request)

    return answer


def _login(stage: Stage) -> str:
    url = stage.site.add("login/a.mp4", _needs_login(_clip(stage, "login")))
    return url.replace("http://", "http://user:pa%20ss@")


def _no_login(stage: Stage) -> str:
    return stage.site.add("no-login/a.mp4", _needs_login(_clip(stage, "no-login")))


def _cookie_hls(stage: Stage) -> str:
    """The playlist sets a cookie that segments want."""
    folder = stage.clips.hls("cookie-hls", 6)
    for path in folder.glob("*.ts"):
        stage.site.add(f"cookie-hls/{path.name}", _wants_cookie(path))
    body = (folder / "index.m3u8").read_text()

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Set-Cookie": "seen=a=b; Path=/cookie-hls; HttpOnly"}
        return web.Response(text=body, content_type="application/x-mpegurl", headers=headers)

    return stage.site.add("cookie-hls/list.m3u8", answer)


def _wants_cookie(path: Path) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return file_part(path, request) if request.cookies.get("seen") == "a=b" else web.Response(status=403)

    return answer


def _closes_idle(path: Path) -> Handler:
    """Closes each connection behind an answer of 64 kB, without saying so before."""
    return site.closing(site.capped(path, 64_000))


HTTP = [
    answered("unknown-total", _unknown_total),
    answered("relative-redirect", _permanent),
    answered("closes-idle", _closes_idle),
    Case("login", _login, range(150), range(6)),
    Case("no-login", _no_login, end="*", idle_s=5, words=("401",), seconds=15),
    Case("cookie-hls", _cookie_hls, range(150), range(6)),
]


# --- verdicts ---------------------------------------------------------------------------------------------


def _m3u_of_radio(stage: Stage) -> str:
    data = stage.clips.mp3(30, 32, "-write_xing", "0", "-id3v2_version", "0").read_bytes()
    url = stage.site.add("m3u-of-radio/radio", site.live(data, 30, "audio/mpeg", burst_s=2))
    return stage.site.add("m3u-of-radio/list", site.text(f"#EXTM3U\n#EXTINF:-1,Radio\n{url}\n", "text/plain"))


def _xspf(stage: Stage) -> str:
    """A list in XML: not played perhaps, but then it is said what it is."""
    body = '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><trackList></trackList></playlist>'
    return stage.site.add("xspf/a.xspf", site.text(body, "application/xspf+xml"))


def _huge_length(stage: Stage) -> str:
    """A radio that announces 2 GB, as some Icecast relays do."""
    data = stage.clips.mp3(30, 32, "-write_xing", "0", "-id3v2_version", "0").read_bytes()
    radio = site.live(data, 30, "audio/mpeg", burst_s=2, headers={"Content-Length": "2147483647"})
    return stage.site.add("huge-length/radio", radio)


VERDICTS = [
    Case("m3u-of-radio", _m3u_of_radio, sound_s=6, seconds=10, end=""),
    Case("xspf", _xspf, end="source_unsupported", words=("names nothing to play",)),
    Case("huge-length", _huge_length, sound_s=6, seconds=9, end=""),
]

SERVED = [*RESOURCES, *CLOCKS, *PLAYLISTS, *HTTP, *VERDICTS]
