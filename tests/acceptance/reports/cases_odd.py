"""Further inputs of the same kinds, as encoders and recorders of the world make them."""

from pathlib import Path
from typing import Any

from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_tracks import rtmp_tags
from tests.acceptance.reports.clips import ff, fmp4_words
from tests.acceptance.reports.flv import AUDIO, HEAD, read_tags, write_tag
from tests.acceptance.reports.site import live_parts, without_range


def made(
    name: str, file: str, *options: object, source: str = "base", seconds: float = 6, **more: Any
) -> Case:
    """A file that ffmpeg makes of a clip."""

    def make(stage: Stage) -> str:
        path = stage.clips.dir(name) / file
        ff("-i", getattr(stage.clips, source)(), "-t", seconds, *options, path)
        return stage.site.of(path)

    more = {"pictures": range(int(seconds * 25)), "sounds": range(int(seconds)), **more}
    return Case(name, make, **more)


# --- reading ------------------------------------------------------------------------------------------------


def _one_fragment(stage: Stage, name: str) -> Path:
    """The whole clip is one fragment: all pictures, then all sound."""
    flags = ("-movflags", "+empty_moov+default_base_moof", "-frag_duration", 100_000_000)
    return stage.clips.cut(stage.clips.dir(name) / "a.mp4", *flags, seconds=12)


def _separate_fragments(stage: Stage) -> str:
    """Each track has fragments of its own, as packagers write them."""
    options = ("-hls_segment_options", "movflags=+separate_moof")
    folder = stage.clips.fmp4("separate-fragments", 12, *options)
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

    more = {"pictures": range(300), "sounds": range(12), **more}
    return Case(name, make, **more)


def _other_map(stage: Stage) -> str:
    """fMP4: another EXT-X-MAP with another size at the discontinuity."""
    folder = stage.clips.dir("other-map")
    lines = ""
    for n, source in enumerate((stage.clips.base(), stage.clips.large(), stage.clips.base())):
        names = ("-hls_fmp4_init_filename", f"i{n}.mp4", "-hls_segment_filename", folder / f"s{n}-%d.m4s")
        ff(*fmp4_words(source, 4, 4), *names, folder / "tmp.m3u8")
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


#: StreamMode 1 takes no other codec than H.264 (contract of StartRelayStream).
_NOT_COPIED: dict[str, Any] = {"end": "source_unsupported", "words": ("takes only H.264",)}
_LOW = ("-c:v", "copy", "-c:a", "aac", "-b:a", "48k", "-ac", 1, "-ar", 22050)
_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", 25)

SPLICES = [
    splice("splice-mono", *_LOW),
    splice("splice-ac3", "-c:v", "copy", "-c:a", "ac3", "-b:a", "128k"),
    splice(
        "splice-mpeg2", "-c:v", "mpeg2video", "-b:v", "800k", "-g", 25, "-c:a", "mp2", "-b:a", "128k", mode=0
    ),
    splice(
        "splice-mpeg2-copy",
        *("-c:v", "mpeg2video", "-b:v", "800k", "-g", 25, "-c:a", "copy"),
        pictures=range(100),
        sounds=range(4),
        **_NOT_COPIED,
    ),
    Case("other-map", _other_map, (*range(100), *range(100), *range(100)), (*range(4),) * 3),
    Case("rtmp-other-sound", _rtmp_other_sound, run_of=250, sound_s=10, seconds=12, end=""),
]


# --- media ------------------------------------------------------------------------------------------------

_SIX = ("-c:v", "copy", "-c:a", "eac3", "-ac", 6, "-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0")
_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8, "-b:v", "300k", "-c:a", "libopus")

MEDIA = [
    made("hour-offset", "a.ts", "-c", "copy", "-output_ts_offset", 3600),
    made("mpeg4-part-2", "a.mp4", "-c:v", "mpeg4", "-b:v", "800k", "-c:a", "copy", mode=0),
    made(
        "mpeg4-part-2-copy",
        "a.mp4",
        *("-c:v", "mpeg4", "-b:v", "800k", "-c:a", "copy"),
        pictures=(),
        sounds=(),
        **_NOT_COPIED,
    ),
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

ODD = [*READING, *TRACKS, *SPLICES, *MEDIA]
