"""Playlists by the letter, addresses and HTTP as the world uses them, verdicts from what a server answers."""

import subprocess
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from aiohttp import web

from tests.acceptance.reports import site
from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_tracks import rtmp_tags
from tests.acceptance.reports.clips import TONES, ff
from tests.acceptance.reports.reading import Reading
from tests.acceptance.reports.windows import Segment, Window

_HLS = "application/vnd.apple.mpegurl"
_RFC = "https://www.rfc-editor.org/rfc/rfc8216"
_M3U8 = "https://github.com/grafov/m3u8/issues/221"
_MAP = "https://github.com/rutgersc/m3u8-rs/pull/83"


# --- playlists by the letter -----------------------------------------------------------------------------

_MEDIA = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="snd",NAME="Main, loud",DEFAULT=YES,AUTOSELECT=YES,URI="a.m3u8"\n'
_VARIANT = (
    '#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.42c00c,mp4a.40.2",RESOLUTION=320x180,AUDIO="snd"\n'
    "index.m3u8\n"
)


def rendition(name: str, *lines: str) -> Case:
    """Sound in a playlist of its own, which the master playlist names in any order."""

    def make(stage: Stage) -> str:
        folder = stage.clips.hls(name, 10, "-map", "0:v")
        sound = stage.clips.hls(f"{name}-sound", 10, "-map", "0:a")
        for path in sound.glob("*.ts"):
            path.rename(folder / f"a{path.name}")
        listed = (sound / "index.m3u8").read_text()
        (folder / "a.m3u8").write_text(listed.replace("\ns", "\nas"))
        (folder / "master.m3u8").write_text("".join(("#EXTM3U\n#EXT-X-VERSION:4\n", *lines)))
        return stage.site.of(folder / "master.m3u8")

    return Case(name, make, range(250), range(10), report=_M3U8)


_KEY, _IV = bytes(range(16)), bytes(range(16, 32))
_KEY_TAG = f'#EXT-X-KEY:METHOD=AES-128,URI="key.bin",IV=0x{_IV.hex()}\n'
_HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n"


def _encrypt(path: Path, to: Path) -> None:
    aes = ("openssl", "enc", "-aes-128-cbc", "-K", _KEY.hex(), "-iv", _IV.hex())
    subprocess.run([*aes, "-in", path, "-out", to], check=True, timeout=10)


def keys(name: str, head: str, encrypted: set[str], *, none_from: int | None = None) -> Case:
    """fMP4 of four segments; `encrypted` are those of its files that are, `none_from` begins METHOD=NONE."""

    def make(stage: Stage) -> str:
        folder = stage.clips.fmp4(name, 8)
        (folder / "key.bin").write_bytes(_KEY)
        for file in encrypted:
            _encrypt(folder / file, folder / "tmp")
            (folder / "tmp").rename(folder / file)
        none = "#EXT-X-KEY:METHOD=NONE\n"
        listed = "".join(f"{none if n == none_from else ''}#EXTINF:2.0,\ns{n}.m4s\n" for n in range(4))
        (folder / "index.m3u8").write_text(f"{_HEAD}{head}{listed}#EXT-X-ENDLIST\n")
        return stage.site.of(folder / "index.m3u8")

    return Case(name, make, range(200), range(8), report=_MAP)


_ALL = {f"s{n}.m4s" for n in range(4)}
_MAP_TAG = '#EXT-X-MAP:URI="init.mp4"\n'


def edited(name: str, edit: dict[str, str], seconds: int = 12, report: str = _RFC) -> Case:
    """A recording whose playlist is written in another way."""

    def make(stage: Stage) -> str:
        folder = stage.clips.hls(name, seconds)
        text = (folder / "index.m3u8").read_text()
        for old, new in edit.items():
            assert old in text, text
            text = text.replace(old, new)
        (folder / "index.m3u8").write_bytes(text.encode())
        return stage.site.of(folder / "index.m3u8")

    return Case(name, make, range(seconds * 25), range(seconds), report=report)


def _byte_ranges(stage: Stage) -> str:
    """One file; offsets are left out where a range follows the one before."""
    folder = stage.clips.hls("byte-ranges", 12, "-hls_flags", "single_file")
    text = (folder / "index.m3u8").read_text()
    lines = text.splitlines()
    ranges = [n for n, line in enumerate(lines) if line.startswith("#EXT-X-BYTERANGE")]
    for n in ranges[1:]:
        lines[n] = lines[n].split("@")[0]
    (folder / "index.m3u8").write_text("\n".join(lines))
    return stage.site.of(folder / "index.m3u8")


def _low_latency(stage: Stage) -> str:
    """Segments with parts, a hint of what comes next, and a time: played as an ordinary live playlist."""
    stage.clips.hls("low-latency", 24)
    head = (
        "#EXT-X-VERSION:9\n#EXT-X-PART-INF:PART-TARGET=0.5\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,CAN-SKIP-UNTIL=12.0\n"
    )

    def at(n: int) -> Segment:
        parts = "".join(f'#EXT-X-PART:DURATION=0.5,URI="s{n}.{k}.ts"\n' for k in range(4))
        stamp = f"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{n * 2:02}.000Z\n"
        return Segment(f"s{n}.ts", tags=parts + stamp)

    return stage.site.add("low-latency/live.m3u8", Window(at, head=head).handler())


PLAYLISTS = [
    rendition("media-before", _MEDIA, _VARIANT),
    rendition("media-after", _VARIANT, _MEDIA),
    keys("map-before-key", _MAP_TAG + _KEY_TAG, _ALL),
    keys("key-before-map", _KEY_TAG + _MAP_TAG, {*_ALL, "init.mp4"}),
    keys("key-then-none", _KEY_TAG + _MAP_TAG, {"s0.m4s", "s1.m4s", "init.mp4"}, none_from=2),
    edited("vod-without-end", {"#EXT-X-ENDLIST\n": ""}, 16, "https://github.com/video-dev/hls.js/issues/668"),
    edited("long-sequence", {"#EXT-X-MEDIA-SEQUENCE:0": "#EXT-X-MEDIA-SEQUENCE:1764517200000000000"}),
    edited("longest-sequence", {"#EXT-X-MEDIA-SEQUENCE:0": f"#EXT-X-MEDIA-SEQUENCE:{2**64 - 100}"}),
    edited("carriage-returns", {"#EXTM3U\n": "\ufeff#EXTM3U\n\n", "\n": "\r\n"}),
    edited(
        "comments",
        {"#EXTINF:": "# by a packager, 2 s\n\n#EXT-X-UNKNOWN:A=1\n#EXTINF:", ",\ns": ",a, title\ns"},
    ),
    edited(
        "variables",
        {"#EXT-X-VERSION:3": '#EXT-X-VERSION:8\n#EXT-X-DEFINE:NAME="n",VALUE="s"', "\ns": "\n{$n}"},
    ),
    Case("byte-ranges", _byte_ranges, range(300), range(12)),
    Case("low-latency", _low_latency, run_of=220, sound_s=9, seconds=12, end=""),
]


# --- addresses and HTTP ---------------------------------------------------------------------------------


def _plain(stage: Stage, name: str, seconds: float = 8) -> Path:
    path = stage.clips.dir(name) / "clip.mp4"
    return stage.clips.cut(path, "-movflags", "+faststart", seconds=seconds)


def _gzip(stage: Stage) -> str:
    folder = stage.clips.hls("gzip", 8)
    return stage.site.add("gzip/live.m3u8", site.packed(folder / "index.m3u8", _HLS))


def _gzip_segments(stage: Stage) -> str:
    folder = stage.clips.hls("gzip-segments", 8)
    for path in folder.glob("*.ts"):
        stage.site.add(f"gzip-segments/{path.name}", site.packed(path, "video/mp2t"))
    return stage.site.of(folder / "index.m3u8")


def _redirects(stage: Stage) -> str:
    url = stage.site.of(_plain(stage, "redirects"))
    for n in range(7):
        url = stage.site.add(f"redirects/{n}", site.redirect(url))
    return url


def _redirect_in_words(stage: Stage) -> str:
    """A Location as it stands in many a header: not encoded, and without a host."""
    path = _plain(stage, "redirect-in-words").rename(stage.clips.folder / "redirect-in-words/音 乐.mp4")
    assert path.is_file()
    return stage.site.add("redirect-in-words/a", site.raw_redirect("/redirect-in-words/音 乐.mp4"))


def _words_in_address(stage: Stage) -> str:
    path = _plain(stage, "words-in-address").rename(stage.clips.folder / "words-in-address/音 乐.mp4")
    assert path.is_file()
    return f"{stage.site.url}/words-in-address/音 乐.mp4?name=音 乐"


def _cookie(stage: Stage) -> str:
    path = _plain(stage, "cookie")
    return stage.site.add("cookie/a.mp4", site.after_cookie(site.without_range(path, "video/mp4")))


def _capped(stage: Stage) -> str:
    return stage.site.add("capped/a.mp4", site.capped(_plain(stage, "capped", 20), 128_000))


def _one_attempt(reading: Reading) -> Iterable[str]:
    if any(seen.state == "recovering" for seen in reading.recording.seen):
        yield f"it tried anew: {reading.recording.texts}"


def _query_in_app(stage: Stage) -> str:
    return stage.rtmp.add("livestream", rtmp_tags(stage), app="live?vhost=demo.example")


def _folder_in_stream(stage: Stage) -> str:
    """As servers of recordings name them: the app is the first part alone."""
    return stage.rtmp.add("mp4:dir/clip.mp4", rtmp_tags(stage), app="vod")


_REDIRECTS = "https://github.com/podverse/podverse-rn/issues/2161"

ADDRESSES = [
    Case("gzip", _gzip, range(200), range(8), report="https://github.com/ytdl-org/youtube-dl/issues/28303"),
    Case("gzip-segments", _gzip_segments, range(200), range(8)),
    Case("redirects", _redirects, range(200), range(8), report=_REDIRECTS),
    Case("redirect-in-words", _redirect_in_words, range(200), range(8)),
    Case("words-in-address", _words_in_address, range(200), range(8)),
    Case("cookie", _cookie, range(200), range(8), report=_REDIRECTS),
    Case(
        "capped",
        _capped,
        range(500),
        range(20),
        seconds=26,
        more=_one_attempt,
        report="https://github.com/jetty/jetty.project/issues/2249",
    ),
    Case(
        "query-in-app",
        _query_in_app,
        run_of=150,
        sound_s=6,
        seconds=8,
        end="",
        report="https://github.com/videojs/video.js/issues/2909",
    ),
    Case("folder-in-stream", _folder_in_stream, run_of=150, sound_s=6, seconds=8, end=""),
]


# --- verdicts from the answer ---------------------------------------------------------------------------


def _asked_again(reading: Reading) -> Iterable[str]:
    recording = reading.recording
    if sum(path.endswith("/radio") for path in recording.asked) < 2:
        yield "the station was not asked again"


def station(name: str, kbit: int, burst_s: float, **headers: str) -> Case:
    """A radio that sends what it has kept at once, and hangs up after 8 s."""

    def make(stage: Stage) -> str:
        data = stage.clips.mp3(60, kbit, "-write_xing", "0", "-id3v2_version", "0").read_bytes()
        radio = site.live(data, 60, "audio/mpeg", burst_s=burst_s, lasts_s=8, headers=headers)
        return stage.site.add(f"{name}/radio", radio)

    return Case(
        name,
        make,
        sound_s=10,
        seconds=15,
        end="",
        paced=False,
        gap_s=(0, 2),
        more=_asked_again,
        report="https://github.com/flyth/ts3soundbot/issues/184",
    )


def _other_codec(stage: Stage) -> str:
    """A radio whose next show comes in another codec over the same answer; who asks anew gets only that."""
    first = stage.clips.mp3(30, 32, "-write_xing", "0", "-id3v2_version", "0").read_bytes()
    path = stage.clips.dir("radio-codec") / "next.aac"
    ff("-f", "lavfi", "-i", TONES, "-t", 30, "-c:a", "aac", "-b:a", "64k", path)
    second = path.read_bytes()
    asked = count()

    async def answer(request: web.Request) -> web.StreamResponse:
        parts = [(n / 10, second[n * len(second) // 300 : (n + 1) * len(second) // 300]) for n in range(300)]
        if next(asked) == 0:
            begin = [(n / 10, first[n * len(first) // 300 : (n + 1) * len(first) // 300]) for n in range(40)]
            parts = begin + [(4 + at_s, part) for at_s, part in parts]
        return await site.live_parts(parts, "audio/mpeg")(request)

    return stage.site.add("radio-codec/radio", answer)


def _icy(stage: Stage) -> str:
    data = stage.clips.mp3(30, 32, "-write_xing", "0", "-id3v2_version", "0").read_bytes()
    return stage.site.add("icy/radio", site.icy(data, 30))


def songs(name: str, kind: str) -> Case:
    """A list of two files: each is played once."""

    def make(stage: Stage) -> str:
        folder = stage.clips.dir(name)
        for n, at in enumerate((0, 5)):
            mp3 = ("-c:a", "libmp3lame", "-b:a", "64k", folder / f"{n}.mp3")
            ff("-ss", at, "-i", stage.clips.base(), "-t", 5, "-vn", *mp3)
        urls = [stage.site.of(folder / f"{n}.mp3") for n in range(2)]
        bodies = {
            "audio/x-mpegurl": f"#EXTM3U\n#EXTINF:5,First\n{urls[0]}\n#EXTINF:5,Second\n1.mp3\n",
            "audio/x-scpls": f"[playlist]\nNumberOfEntries=2\nFile1={urls[0]}\nFile2={urls[1]}\nVersion=2\n",
        }
        return stage.site.add(f"{name}/list", site.text(bodies[kind], kind))

    return Case(name, make, sounds=range(10), gap_s=(0, 0.7))


def _without_length(stage: Stage) -> str:
    path = _plain(stage, "without-length")
    return stage.site.add("without-length/a.mp4", site.without_range(path, "video/mp4", length=False))


VERDICTS = [
    Case(
        "radio-codec",
        _other_codec,
        sound_s=8,
        seconds=22,
        end="",
        paced=False,
        gap_s=(0, 9),
        more=_asked_again,
    ),
    station("radio-big-burst", 24, 21),
    station("radio-burst-icy", 24, 21, **{"icy-name": "test", "icy-br": "24"}),
    Case(
        "icy",
        _icy,
        sound_s=6,
        seconds=9,
        end="",
        report="https://github.com/streamlink/streamlink/issues/2464",
    ),
    songs("m3u-of-songs", "audio/x-mpegurl"),
    songs("pls-of-songs", "audio/x-scpls"),
    Case("without-length", _without_length, range(200), range(8)),
]
