"""Further inputs of the same kinds, as encoders, packagers and servers of the world make them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.acceptance.reports import site
from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_tracks import rtmp_tags
from tests.acceptance.reports.clips import ff
from tests.acceptance.reports.flv import AUDIO, HEAD, read_tags, write_tag
from tests.acceptance.reports.site import Handler, live_parts, without_range
from tests.acceptance.reports.windows import Segment, Window


def made(
    name: str, file: str, *options: object, source: str = "base", seconds: float = 6, **more: Any
) -> Case:
    """A file that ffmpeg makes of a clip."""

    def make(stage: Stage) -> str:
        path = stage.clips.dir(name) / file
        ff("-i", getattr(stage.clips, source)(), "-t", seconds, *options, path)
        return stage.site.of(path)

    more.setdefault("sounds", range(int(seconds)))
    return Case(name, make, more.pop("pictures", range(int(seconds * 25))), **more)


# --- reading ------------------------------------------------------------------------------------------------


def _one_fragment(stage: Stage, name: str) -> Path:
    """The whole clip is one fragment: all pictures, then all sound."""
    flags = ("-movflags", "+empty_moov+default_base_moof", "-frag_duration", 100_000_000)
    return stage.clips.cut(stage.clips.dir(name) / "a.mp4", *flags, seconds=12)


def _separate_fragments(stage: Stage) -> str:
    """Each track has fragments of its own, as packagers write them."""
    folder = stage.clips.dir("separate-fragments")
    words = ("-i", stage.clips.base(), "-t", 12, "-c", "copy", "-f", "hls", "-hls_time", 2)
    fmp4 = ("-hls_playlist_type", "vod", "-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4")
    options = ("-hls_segment_options", "movflags=+separate_moof")
    ff(*words, *fmp4, *options, "-hls_segment_filename", folder / "s%d.m4s", folder / "index.m3u8")
    return stage.site.of(folder / "index.m3u8")


def _moov_last(stage: Stage) -> str:
    path = stage.clips.cut(stage.clips.dir("moov-last") / "a.mp4", seconds=6)
    return stage.site.of(path)


READING = [
    Case("one-fragment", lambda s: s.site.of(_one_fragment(s, "one-fragment")), range(300), range(12)),
    Case(
        "one-fragment-no-range",
        lambda s: s.site.add(
            "one-fragment-no-range/a", without_range(_one_fragment(s, "one-fragment-no-range"))
        ),
        range(300),
        range(12),
    ),
    Case("separate-fragments", _separate_fragments, range(300), range(12)),
    Case("moov-last", _moov_last, range(150), range(6)),
]


# --- tracks -------------------------------------------------------------------------------------------------


def _cover(stage: Stage) -> str:
    """An MP3 with a picture of its own, as shops sell them."""
    folder = stage.clips.dir("cover-art")
    ff("-f", "lavfi", "-i", "testsrc2=size=600x600", "-frames:v", 1, folder / "a.png")
    inputs = ("-i", stage.clips.mp3(8, 64), "-i", folder / "a.png", "-map", "0", "-map", "1", "-c", "copy")
    ff(*inputs, "-id3v2_version", 3, "-disposition:v", "attached_pic", folder / "a.mp3")
    return stage.site.of(folder / "a.mp3")


def _flv_sound_alone(stage: Stage) -> str:
    """Its head promises pictures that never come."""
    tags = [tag for tag in rtmp_tags(stage) if tag.kind == AUDIO]
    parts = [(0.0, HEAD), *((tag.at_s, write_tag(tag)) for tag in tags)]
    return stage.site.add("flv-sound-alone/live.flv", live_parts(parts, "video/x-flv"))


def _two_programmes(stage: Stage) -> str:
    """A TS of two programmes; the first is played."""
    folder = stage.clips.dir("two-programmes")
    maps = ("-map", "0:v", "-map", "0:a", "-map", "0:v", "-map", "0:a", "-c", "copy")
    programmes = ("-program", "title=A:st=0:st=1", "-program", "title=B:st=2:st=3")
    ff("-i", stage.clips.base(), "-t", 8, *maps, *programmes, folder / "a.ts")
    return stage.site.of(folder / "a.ts")


def _garbage(stage: Stage) -> str:
    """A TS with 40 kB of noise in its middle."""
    path = stage.clips.cut(stage.clips.dir("noise-inside") / "a.ts", seconds=12)
    data = path.read_bytes()
    middle = len(data) // 2
    noise = bytes((n * 7919) >> 3 & 255 for n in range(40_000))
    path.write_bytes(data[:middle] + noise + data[middle + 40_000 :])
    return stage.site.of(path)


def _pids_swap(stage: Stage) -> str:
    """A new PMT calls the PID of pictures one of sound, and the other way round."""
    folder = stage.clips.dir("pids-swap")
    stage.clips.cut(folder / "a.ts", "-muxdelay", 0, seconds=6)
    later = ("-output_ts_offset", 6, "-tables_version", 1, "-map", "0:a", "-map", "0:v")
    stage.clips.cut(folder / "b.ts", "-muxdelay", 0, *later, at=6, seconds=6)
    (folder / "whole.ts").write_bytes((folder / "a.ts").read_bytes() + (folder / "b.ts").read_bytes())
    return stage.site.of(folder / "whole.ts")


TRACKS = [
    Case("cover-art", _cover, (), range(8)),
    Case("flv-sound-alone", _flv_sound_alone, sound_s=6, seconds=10, end=""),
    Case("two-programmes", _two_programmes, range(200), range(8)),
    Case(
        "noise-inside",
        _garbage,
        run_of=200,
        sound_s=8,
        steps=tuple(range(2, 60)),
        end="end_of_stream",
        gap_s=(2, 2),
    ),
    Case("pids-swap", _pids_swap, range(300), range(12)),
]


# --- splices ------------------------------------------------------------------------------------------------

_HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n"


def splice(name: str, *ad: object, **more: Any) -> Case:
    """4 s, 4 s of the same encoded in another way, 4 s."""

    def make(stage: Stage) -> str:
        folder = stage.clips.dir(name)
        stage.clips.cut(folder / "s0.ts", seconds=4)
        ff("-ss", 4, "-i", stage.clips.base(), "-t", 4, *ad, folder / "s1.ts")
        stage.clips.cut(folder / "s2.ts", at=8, seconds=4)
        parts = "#EXT-X-DISCONTINUITY\n".join(f"#EXTINF:4.0,\ns{n}.ts\n" for n in range(3))
        (folder / "index.m3u8").write_text(f"{_HEAD}{parts}#EXT-X-ENDLIST\n")
        return stage.site.of(folder / "index.m3u8")

    return Case(name, make, range(300), range(12), **more)


def _other_map(stage: Stage) -> str:
    """fMP4: another EXT-X-MAP with another size at the discontinuity."""
    folder = stage.clips.dir("other-map")
    lines = ""
    for n, source in enumerate((stage.clips.base(), stage.clips.large(), stage.clips.base())):
        words = (
            "-i",
            source,
            "-t",
            4,
            "-c",
            "copy",
            "-f",
            "hls",
            "-hls_time",
            4,
            "-hls_segment_type",
            "fmp4",
        )
        names = ("-hls_fmp4_init_filename", f"i{n}.mp4", "-hls_segment_filename", folder / f"s{n}-%d.m4s")
        ff(*words, "-hls_playlist_type", "vod", *names, folder / "tmp.m3u8")
        lines += "#EXT-X-DISCONTINUITY\n" if n else ""
        lines += f'#EXT-X-MAP:URI="i{n}.mp4"\n#EXTINF:4.0,\ns{n}-0.m4s\n'
    (folder / "index.m3u8").write_text(f"{_HEAD}{lines}#EXT-X-ENDLIST\n")
    return stage.site.of(folder / "index.m3u8")


def _rtmp_other_sound(stage: Stage) -> str:
    """After 5 s a new AAC header: mono of 44.1 kHz."""
    path = stage.clips.dir("rtmp-other-sound") / "a.flv"
    ff("-i", stage.clips.base(), "-t", 14, "-c:v", "copy", "-c:a", "aac", "-ac", 1, "-ar", 44100, path)
    first = [tag for tag in rtmp_tags(stage) if tag.at_s < 5]
    tags = read_tags(path)
    header = next(tag for tag in tags if tag.kind == AUDIO and tag.header)._replace(at_s=5, ms=5000)
    rest = [tag for tag in tags if tag.at_s >= 5 and not tag.header]
    return stage.rtmp.add("rtmp-other-sound", [*first, header, *rest])


_LOW = ("-c:v", "copy", "-c:a", "aac", "-b:a", "48k", "-ac", 1, "-ar", 22050)
_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", 25)

SPLICES = [
    splice("splice-mono", *_LOW),
    splice("splice-ac3", "-c:v", "copy", "-c:a", "ac3", "-b:a", "128k"),
    splice(
        "splice-mpeg2", "-c:v", "mpeg2video", "-b:v", "800k", "-g", 25, "-c:a", "mp2", "-b:a", "128k", mode=0
    ),
    splice("splice-mpeg2-copy", "-c:v", "mpeg2video", "-b:v", "800k", "-g", 25, "-c:a", "copy", grid=True),
    Case("other-map", _other_map, (*range(100), *range(100), *range(100)), (*range(4),) * 3),
    Case("rtmp-other-sound", _rtmp_other_sound, run_of=250, sound_s=10, seconds=12, end=""),
]


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
    """The best variant's live playlist is gone after 5 s; the other goes on."""
    stage.clips.hls("variant-dies", 24)
    high, low = Window(lambda n: Segment(f"s{n}.ts")), Window(lambda n: Segment(f"s{n}.ts"))
    high.faults = dict.fromkeys(range(3, 60), 404)
    stage.site.add("variant-dies/high.m3u8", high.handler())
    low.begin()
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
    made("hour-offset", "a.ts", "-c", "copy", "-output_ts_offset", 3600),
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
    (folder / "deep").mkdir()
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
    words = (
        "-i",
        stage.clips.base(),
        "-t",
        8,
        "-c",
        "copy",
        "-f",
        "hls",
        "-hls_time",
        2,
        "-hls_segment_type",
        "fmp4",
    )
    ff(*words, "-hls_playlist_type", "vod", "-hls_flags", "single_file", folder / "index.m3u8")
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
        return web.FileResponse(path)

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
        return web.FileResponse(path) if request.cookies.get("seen") == "a=b" else web.Response(status=403)

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


# --- verdicts and media -------------------------------------------------------------------------------------


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


_SIX = ("-c:v", "copy", "-c:a", "eac3", "-ac", 6, "-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0")
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8, "-b:v", "300k", "-c:a", "libopus")

MEDIA = [
    Case("m3u-of-radio", _m3u_of_radio, sound_s=6, seconds=10, end=""),
    Case("xspf", _xspf, end="source_unsupported", words=("XML|xspf|playlist",)),
    Case("huge-length", _huge_length, sound_s=6, seconds=9, end=""),
    made("mpeg4-part-2", "a.mp4", "-c:v", "mpeg4", "-b:v", "800k", "-c:a", "copy", mode=0),
    made("mpeg4-part-2-copy", "a.mp4", "-c:v", "mpeg4", "-b:v", "800k", "-c:a", "copy", grid=True),
    made("mjpeg", "a.mkv", "-c:v", "mjpeg", "-q:v", 3, "-c:a", "pcm_s16le", mode=0),
    made("vp9", "a.webm", *_VP9, mode=0),
    made("alac", "a.m4a", "-vn", "-c:a", "alac", pictures=()),
    made("opus-in-mp4", "a.mp4", "-c:v", "copy", "-c:a", "libopus", "-strict", -2),
    made("flac-in-ogg", "a.ogg", "-vn", "-c:a", "flac", pictures=()),
    made("ac3-in-ts", "a.ts", "-c:v", "copy", "-c:a", "ac3", "-b:a", "192k"),
    made("six-channels", "a.mkv", *_SIX),
    made("mp2-in-ts", "a.ts", "-c:v", "copy", "-c:a", "mp2", "-b:a", "128k"),
    made("latm", "a.ts", "-c", "copy", "-mpegts_flags", "latm"),
    made("mp3-in-flv", "a.flv", "-c:v", "copy", "-c:a", "libmp3lame", "-ar", 44100),
    made(
        "interlaced",
        "a.ts",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-flags",
        "+ilme+ildct",
        "-x264opts",
        "tff=1",
        "-bf",
        0,
        "-g",
        25,
        "-b:v",
        "400k",
        "-c:a",
        "copy",
    ),
    made(
        "slices",
        "a.mp4",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        0,
        "-g",
        25,
        "-x264-params",
        "slices=4",
        "-b:v",
        "300k",
        "-c:a",
        "copy",
    ),
]

ODD = [*READING, *TRACKS, *SPLICES, *RESOURCES, *CLOCKS, *PLAYLISTS, *HTTP, *MEDIA]
