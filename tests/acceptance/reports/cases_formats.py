"""Further containers and protocols as they are met: M2TS, joined packets, fragments that begin late, forms of
DASH, other RTMP servers, HTTP servers that lose their way."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.acceptance.reports import site
from tests.acceptance.reports.boxes import fragments
from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_odd import made
from tests.acceptance.reports.cases_tracks import rtmp_tags, ts_parts
from tests.acceptance.reports.clips import TONES, ff
from tests.acceptance.reports.flv import AUDIO, HEAD, VIDEO, Tag, write_tag
from tests.acceptance.reports.site import Handler, file_part, live_parts
from tests.acceptance.reports.ts import PACKET, packets_of

# --- MPEG-TS ------------------------------------------------------------------------------------------------


def _ts(stage: Stage, name: str, seconds: float = 8) -> Path:
    return stage.clips.cut(stage.clips.dir(name) / "a.ts", "-muxdelay", 0, seconds=seconds)


def _m2ts(stage: Stage) -> str:
    """Packets of 192 bytes, as cameras and Blu-ray have them."""
    path = _ts(stage, "m2ts").with_suffix(".m2ts")
    path.write_bytes(b"".join(bytes(4) + p for p in packets_of(path.with_suffix(".ts").read_bytes())))
    return stage.site.of(path)


def _mid_packet(stage: Stage) -> str:
    """A live TS that begins in the middle of a packet."""
    parts = ts_parts(_ts(stage, "mid-packet", 20).read_bytes(), 1.3)
    parts[0] = (0.0, parts[0][1][100:])
    return stage.site.add("mid-packet/live", live_parts(parts, "video/mp2t"))


def _null_packets(stage: Stage) -> str:
    """Three of four packets are stuffing, as multiplexers of constant rate send."""
    path = _ts(stage, "null-packets")
    null = b"\x47\x1f\xff\x10" + b"\xff" * (PACKET - 4)
    path.write_bytes(b"".join(p + null * 3 for p in packets_of(path.read_bytes())))
    return stage.site.of(path)


# --- MP4 ----------------------------------------------------------------------------------------------------


def _late_fragments(stage: Stage) -> str:
    """The recording of a live stream from its second 10 on: times begin there."""
    folder = stage.clips.dir("late-fragments")
    flags = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
    data = stage.clips.cut(folder / "whole.mp4", *flags, seconds=18).read_bytes()
    head, parts = fragments(data)
    (folder / "late.mp4").write_bytes(head + b"".join(parts[10:]))
    return stage.site.of(folder / "late.mp4")


def _large_meta(stage: Stage) -> str:
    """2 MB of something else in front."""
    path = stage.clips.cut(stage.clips.dir("large-meta") / "a.mp4", "-movflags", "+faststart", seconds=6)
    data = path.read_bytes()
    size = int.from_bytes(data[:4], "big")
    free = struct.pack(">I", 2_000_008) + b"free" + bytes(2_000_000)
    moov = data.index(b"moov") - 4
    moved = bytearray(data[:moov] + data[moov:])
    at = moved.find(b"stco")
    while at >= 0:
        count = int.from_bytes(moved[at + 8 : at + 12], "big")
        for n in range(count):
            place = at + 12 + 4 * n
            moved[place : place + 4] = (int.from_bytes(moved[place : place + 4], "big") + len(free)).to_bytes(
                4, "big"
            )
        at = moved.find(b"stco", at + 4)
    path.write_bytes(bytes(moved[:size]) + free + bytes(moved[size:]))
    return stage.site.of(path)


# --- DASH ---------------------------------------------------------------------------------------------------


def dash(name: str, *options: object, files: str = "clip.mpd") -> Case:
    def make(stage: Stage) -> str:
        folder = stage.clips.dir(name)
        words = ("-i", stage.clips.base(), "-t", 8, "-c", "copy", "-f", "dash", "-seg_duration", 2)
        ff(*words, *options, folder / files)
        return stage.site.of(folder / files)

    return Case(name, make, range(200), range(8))


# --- sound --------------------------------------------------------------------------------------------------


def _large_id3(stage: Stage) -> str:
    """An MP3 behind 1.5 MB of ID3."""
    path = stage.clips.dir("large-id3") / "a.mp3"
    size = 1_500_000
    head = b"ID3\x03\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(head + bytes(size) + stage.clips.mp3(6, 64, "-id3v2_version", "0").read_bytes())
    return stage.site.of(path)


def _mp3_of_two(stage: Stage) -> str:
    """Two MP3 of different rates one behind the other, as stations and joiners make them."""
    folder, data = stage.clips.dir("mp3-of-two"), b""
    for at, rate in ((0, 44100), (4, 22050)):
        words = ("-f", "lavfi", "-i", TONES, "-ss", at, "-t", 4, "-ar", rate, "-ac", 1, "-c:a", "libmp3lame")
        ff(*words, "-b:a", "64k", "-write_xing", 0, "-id3v2_version", 0, folder / f"{at}.mp3")
        data += (folder / f"{at}.mp3").read_bytes()
    (folder / "both.mp3").write_bytes(data)
    return stage.site.of(folder / "both.mp3")


def _aac_radio(stage: Stage) -> str:
    """ADTS without an end, joined inside a frame."""
    path = stage.clips.cut(stage.clips.dir("aac-radio") / "a.aac", "-vn", seconds=24)
    data = path.read_bytes()[1000:]
    return stage.site.add("aac-radio/radio", site.live(data, 23.5, "audio/aacp", burst_s=2))


# --- RTMP and FLV -------------------------------------------------------------------------------------------


def _repeated_headers(stage: Stage) -> list[Tag]:
    """Headers again before each key frame, as many servers send them."""
    tags, out = rtmp_tags(stage), []
    headers = [tag for tag in tags if tag.header]
    for tag in tags:
        if tag.key and not tag.header:
            out += [header._replace(at_s=tag.at_s, ms=tag.ms) for header in headers]
        out.append(tag)
    return out


def _publisher_again(stage: Stage) -> list[Tag]:
    """The publisher comes again after 5 s: headers, and stamps from 0."""
    first = [tag for tag in rtmp_tags(stage) if tag.at_s < 5]
    return [*first, *(tag.moved(at_s=5) for tag in rtmp_tags(stage))]


def _no_sound_header_at_first(stage: Stage) -> list[Tag]:
    """Frames of AAC come before their header does."""
    tags = rtmp_tags(stage)
    header = next(tag for tag in tags if tag.kind == AUDIO and tag.header)
    rest = [tag for tag in tags if tag is not header]
    return sorted([*rest, header._replace(at_s=1.0, ms=1000)], key=lambda tag: (tag.at_s, not tag.header))


def _empty_tags(stage: Stage) -> list[Tag]:
    """Empty messages of both kinds among the others."""
    tags = rtmp_tags(stage)
    empty = [Tag(n / 10, (AUDIO, VIDEO)[n % 2], n * 100, b"") for n in range(3, 200)]
    return sorted([*tags, *empty], key=lambda tag: tag.at_s)


def _flv_joined(stage: Stage) -> str:
    """HTTP-FLV whose head is followed by the middle of the stream, its stamps hours on."""
    tags = [tag for tag in rtmp_tags(stage) if tag.header or tag.at_s >= 1.4]
    moved = [tag.moved(at_s=0 if tag.header else -1.4, ms=0 if tag.header else 50_000_000) for tag in tags]
    parts = [(0.0, HEAD), *((tag.at_s, write_tag(tag)) for tag in moved)]
    return stage.site.add("flv-hours-on/live.flv", live_parts(parts, "video/x-flv"))


# --- HTTP ---------------------------------------------------------------------------------------------------


def _wrong_part(path: Path) -> Handler:
    """Says 206 and always gives the file from its beginning."""
    data = path.read_bytes()

    async def answer(request: web.Request) -> web.StreamResponse:
        begin = request.http_range.start or 0
        most = data[: len(data) * 6 // 10] if begin == 0 else data
        headers = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
        response = web.StreamResponse(status=206, headers=headers)
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(most)
        assert request.transport is not None
        if begin == 0:
            request.transport.close()
        return response

    return answer


def _forgets_ranges(path: Path) -> Handler:
    """Hangs up in the middle, and then answers 200 with the whole file."""
    data, asked = path.read_bytes(), [0]

    async def answer(request: web.Request) -> web.StreamResponse:
        asked[0] += 1
        response = web.StreamResponse(headers={"Accept-Ranges": "bytes"})
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data if asked[0] > 1 else data[: len(data) // 2])
        assert request.transport is not None
        if asked[0] == 1:
            request.transport.close()
        return response

    return answer


def _redirected_list(stage: Stage) -> str:
    """A playlist elsewhere: its segments are beside where it really is."""
    folder = stage.clips.hls("redirected-list", 6)
    return stage.site.add("a/b/list.m3u8", site.redirect(f"/{folder.name}/index.m3u8?token=1"))


def _busy_at_first(stage: Stage) -> str:
    path = stage.clips.cut(
        stage.clips.dir("busy-at-first") / "clip.mp4", "-movflags", "+faststart", seconds=6
    )

    async def file(request: web.Request) -> web.StreamResponse:
        return file_part(path, request)

    return stage.site.add("busy-at-first/a.mp4", site.at_first(site.status(503), file, 2))


def _http(name: str, handler: Callable[[Path], Handler], **more: Any) -> Case:
    def make(stage: Stage) -> str:
        path = stage.clips.cut(stage.clips.dir(name) / "clip.mp4", "-movflags", "+faststart", seconds=12)
        return stage.site.add(f"{name}/a.mp4", handler(path))

    more = {"pictures": range(300), "sounds": range(12), **more}
    return Case(name, make, seconds=25, **more)


def _rtmp(name: str, tags: Callable[[Stage], list[Tag]], **more: Any) -> Case:
    def make(stage: Stage) -> str:
        return stage.rtmp.add(name, tags(stage))

    return Case(name, make, run_of=220, sound_s=8, seconds=11, end="", **more)


#: Copied, a file begins again with the key frame before.
_A_GOP_AGAIN = tuple(range(-25, 1))

FORMATS = [
    Case("m2ts", _m2ts, range(200), range(8)),
    Case("mid-packet", _mid_packet, run_of=160, sound_s=6, seconds=10, end=""),
    Case("null-packets", _null_packets, range(200), range(8)),
    made("no-tables-again", "a.ts", "-c", "copy", "-pat_period", 100, "-sdt_period", 100),
    made("pes-of-one-frame", "a.ts", "-c", "copy", "-pes_payload_size", 0),
    Case("late-fragments", _late_fragments, range(250, 450), range(10, 18)),
    Case("large-meta", _large_meta, range(150), range(6)),
    made("rotated", "a.mp4", "-c", "copy", "-metadata:s:v", "rotate=90"),
    made("two-sounds", "a.mkv", "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy"),
    made("timecode", "a.mov", "-c", "copy", "-timecode", "01:00:00:00"),
    made("mkv-laced", "a.mka", "-vn", "-c:a", "libmp3lame", pictures=()),
    dash("dash-timeline", "-use_timeline", 1),
    dash("dash-single-file", "-single_file", 1),
    dash("dash-own-sound", "-adaptation_sets", "id=0,seg_duration=2,streams=v id=1,seg_duration=3,streams=a"),
    dash("dash-fragments", "-frag_type", "duration", "-frag_duration", 0.5, "-streaming", 1),
    Case("large-id3", _large_id3, sounds=range(6)),
    Case("mp3-of-two", _mp3_of_two, sounds=range(8)),
    Case("aac-radio", _aac_radio, sound_s=6, seconds=9, end=""),
    made("flac", "a.flac", "-vn", "-c:a", "flac", pictures=()),
    made("mulaw-in-mkv", "a.mkv", "-c:v", "copy", "-c:a", "pcm_mulaw", "-ar", 8000, "-ac", 1),
    _rtmp("rtmp-headers-again", _repeated_headers),
    _rtmp("rtmp-publisher-again", _publisher_again, steps=(-124,)),
    _rtmp("rtmp-late-header", _no_sound_header_at_first),
    _rtmp("rtmp-empty-messages", _empty_tags),
    Case("flv-hours-on", _flv_joined, run_of=160, sound_s=6, seconds=10, end=""),
    _http(
        "forgets-ranges", _forgets_ranges, pictures=(), sounds=(), run_of=300, sound_s=11, steps=_A_GOP_AGAIN
    ),
    _http("wrong-part", _wrong_part),
    Case("redirected-list", _redirected_list, range(150), range(6)),
    Case("busy-at-first", _busy_at_first, range(150), range(6)),
]
