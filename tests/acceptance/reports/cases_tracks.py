"""Reading by the slowest track, and tracks that come and go."""

from pathlib import Path

from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.clips import ff
from tests.acceptance.reports.flv import AUDIO, VIDEO, Tag, read_tags, write_flv, write_tag
from tests.acceptance.reports.reading import Reading
from tests.acceptance.reports.site import live_parts, without_range
from tests.acceptance.reports.ts import AUDIO as PID_AUDIO
from tests.acceptance.reports.ts import VIDEO as PID_VIDEO
from tests.acceptance.reports.ts import by_time, packets_of, pid_of, tables_of
from tests.acceptance.reports.windows import Segment, Window

_GITHUB = "https://github.com/"


# --- reading by the slowest track ------------------------------------------------------------------------


def _fmp4_segments(stage: Stage, name: str, seconds: int, total: float) -> Path:
    """ffmpeg's default: a segment holds all its pictures and then all its sound."""
    return stage.clips.fmp4(name, total, every_s=seconds)


def fmp4_hls(name: str, seconds: int) -> Case:
    def make(stage: Stage) -> str:
        return stage.site.of(_fmp4_segments(stage, name, seconds, 12) / "index.m3u8")

    return Case(name, make, range(300), range(12), report=_GITHUB + "BasisVR/Basis/pull/924")


def _fmp4_live(stage: Stage) -> str:
    _fmp4_segments(stage, "fmp4-live", 2, 24)
    head = '#EXT-X-VERSION:7\n#EXT-X-MAP:URI="init.mp4"\n'
    window = Window(lambda n: Segment(f"s{n}.m4s"), head=head)
    return stage.site.add("fmp4-live/live.m3u8", window.handler())


def _plain(stage: Stage) -> Path:
    path = stage.clips.folder / "plain.mp4"
    return path if path.exists() else stage.clips.cut(path, "-movflags", "+faststart", seconds=12)


def _fragments(stage: Stage, folder: str) -> Path:
    path = stage.clips.dir(folder) / "fragments.mp4"
    flags = ("-movflags", "+empty_moov+default_base_moof", "-frag_duration", 4_000_000)
    return stage.clips.cut(path, *flags, seconds=12)


def _fragments_file(stage: Stage) -> str:
    return stage.site.of(_fragments(stage, "fragments-file"))


def _fragments_without_range(stage: Stage) -> str:
    path = _fragments(stage, "fragments-no-range")
    return stage.site.add("fragments-no-range/a.mp4", without_range(path, "video/mp4"))


def _by_track(tags: list[Tag], stretch_s: float) -> list[Tag]:
    """Each stretch has all its pictures first, then all its sound."""
    return sorted(tags, key=lambda tag: (tag.at_s // stretch_s, tag.kind == AUDIO))


def _flv_by_track(stage: Stage) -> str:
    folder = stage.clips.dir("flv-by-track")
    tags = read_tags(stage.clips.cut(folder / "whole.flv", seconds=12))
    (folder / "by-track.flv").write_bytes(write_flv(_by_track(tags, 3)))
    return stage.site.of(folder / "by-track.flv")


def _ts_by_track(stage: Stage) -> str:
    """2.4 s of pictures, then the sound of the same time."""
    folder = stage.clips.dir("ts-by-track")
    path = stage.clips.cut(folder / "whole.ts", "-muxdelay", 0, seconds=12)
    packets = [p for part in by_time(path.read_bytes(), 2.4) for p in sorted(part, key=pid_of)]
    (folder / "by-track.ts").write_bytes(b"".join(packets))
    return stage.site.of(folder / "by-track.ts")


READING = [
    Case("plain-mp4", lambda stage: stage.site.of(_plain(stage)), range(300), range(12)),
    Case("plain-transcoded", lambda stage: stage.site.of(_plain(stage)), range(300), range(12), mode=0),
    fmp4_hls("fmp4-hls-2", 2),
    fmp4_hls("fmp4-hls-6", 6),
    Case("fmp4-live", _fmp4_live, run_of=200, sound_s=8, seconds=11, end=""),
    Case("fragments-file", _fragments_file, range(300), range(12)),
    Case("fragments-no-range", _fragments_without_range, range(300), range(12)),
    Case("flv-by-track", _flv_by_track, range(300), range(12)),
    Case("ts-by-track", _ts_by_track, range(300), range(12)),
]


# --- tracks that come and go -----------------------------------------------------------------------------


def rtmp_tags(stage: Stage) -> list[Tag]:
    path = stage.clips.folder / "base.flv"
    return read_tags(path if path.exists() else stage.clips.cut(path, seconds=24))


def _late(tags: list[Tag], kind: int, at_s: float, *, announced: bool) -> list[Tag]:
    """Without what a track has before `at_s`; its header comes at once, or right before the rest."""
    header = next(tag for tag in tags if tag.kind == kind and tag.header)
    rest = [tag for tag in tags if not tag.header and (tag.kind != kind or tag.at_s >= at_s)]
    others = [tag for tag in tags if tag.header and tag.kind != kind]
    late = header if announced else header._replace(at_s=at_s, ms=round(at_s * 1000))
    return sorted([*others, late, *rest], key=lambda tag: (tag.at_s, not tag.header))


def rtmp_late(name: str, kind: int, at_s: float, *, announced: bool, report: str = "") -> Case:
    def make(stage: Stage) -> str:
        return stage.rtmp.add(name, _late(rtmp_tags(stage), kind, at_s, announced=announced))

    late_s = 13 - at_s
    pictures, sound_s = (late_s * 25, 11.0) if kind == VIDEO else (280, late_s)
    return Case(
        name,
        make,
        run_of=int(pictures) - 40,
        sound_s=sound_s - 1.5,
        seconds=14,
        end="",
        more=_early,
        report=report,
    )


def _early(reading: Reading) -> list[str]:
    """What is there is not held back for what may come."""
    first_s = reading.first_s
    return [] if first_s is not None and first_s < 4 else [f"the first frame comes after {first_s} s"]


def _flv_sound_later(stage: Stage) -> str:
    """Its head tells of pictures alone."""
    tags = _late(rtmp_tags(stage), AUDIO, 4, announced=False)
    parts = [(0.0, b"FLV\x01\x01\0\0\0\x09\0\0\0\0"), *((tag.at_s, write_tag(tag)) for tag in tags)]
    return stage.site.add("flv-sound-later/live.flv", live_parts(parts, "video/x-flv"))


def _late_sound_ts(stage: Stage, name: str) -> Path:
    """5 s of pictures alone, then a PMT of another version that names sound, too."""
    folder = stage.clips.dir(name)
    stage.clips.cut(folder / "a.ts", "-map", "0:v", "-muxdelay", 0, seconds=5)
    later = ("-muxdelay", 0, "-output_ts_offset", 5, "-tables_version", 1)
    stage.clips.cut(folder / "b.ts", *later, at=5, seconds=9)
    (folder / "whole.ts").write_bytes((folder / "a.ts").read_bytes() + (folder / "b.ts").read_bytes())
    _two(folder, 5, 9)
    return folder


def _two(folder: Path, first_s: int, second_s: int) -> None:
    """A playlist of a.ts and b.ts."""
    lines = f"#EXTINF:{first_s}.0,\na.ts\n#EXTINF:{second_s}.0,\nb.ts\n#EXT-X-ENDLIST\n"
    (folder / "index.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:{max(first_s, second_s)}\n{lines}")


def _other_pids(stage: Stage, name: str) -> Path:
    """After 6 s picture and sound are on other PIDs, clocks running on."""
    folder = stage.clips.dir(name)
    stage.clips.cut(folder / "a.ts", "-muxdelay", 0, seconds=6)
    later = ("-output_ts_offset", 6, "-mpegts_start_pid", 0x200, "-tables_version", 1)
    stage.clips.cut(folder / "b.ts", "-muxdelay", 0, *later, at=6, seconds=6)
    (folder / "whole.ts").write_bytes((folder / "a.ts").read_bytes() + (folder / "b.ts").read_bytes())
    _two(folder, 6, 6)
    return folder


def ts_parts(data: bytes, from_s: float = 0.0, step_s: float = 0.1) -> list[tuple[float, bytes]]:
    """A TS as a tuner sends it, joined at a time of it."""
    parts = list(by_time(data, step_s))[round(from_s / step_s) :]
    return [(n * step_s, b"".join(part)) for n, part in enumerate(parts)]


def _live_other_pids(stage: Stage) -> str:
    data = (_other_pids(stage, "live-other-pids") / "whole.ts").read_bytes()
    return stage.site.add("live-other-pids/live", live_parts(ts_parts(data), "video/mp2t"))


def long_gop_ts(stage: Stage) -> bytes:
    path = stage.clips.folder / "longgop.ts"
    if not path.exists():
        stage.clips.cut(path, "-muxdelay", 0, source=stage.clips.longgop(), seconds=24)
    return path.read_bytes()


def _mid_gop(stage: Stage) -> str:
    """Key frames are 5 s apart, and the last was a second ago."""
    parts = ts_parts(long_gop_ts(stage), 1.0)
    return stage.site.add("mid-gop/live.ts", live_parts(parts, "video/mp2t"))


def _mid_gop_hls(stage: Stage) -> str:
    """Segments are cut by time, not at key frames."""
    folder, data = stage.clips.dir("mid-gop-hls"), long_gop_ts(stage)
    tables = tables_of(packets_of(data))
    for n, part in enumerate(by_time(data, 2)):
        (folder / f"c{n}.ts").write_bytes(tables + b"".join(part))
    window = Window(lambda n: Segment(f"c{n}.ts"))
    return stage.site.add("mid-gop-hls/live.m3u8", window.handler())


def _absent_video(stage: Stage, name: str) -> Path:
    """The PMT names an H.264 PID that never has a packet."""
    folder = stage.clips.dir(name)
    whole = stage.clips.cut(folder / "whole.ts", seconds=8)
    kept = [p for p in packets_of(whole.read_bytes()) if pid_of(p) != PID_VIDEO]
    (folder / "sound.ts").write_bytes(b"".join(kept))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8.0,\nsound.ts\n#EXT-X-ENDLIST\n"
    (folder / "index.m3u8").write_text(playlist)
    return folder


def _sound_pauses(stage: Stage) -> str:
    """A TS that has no sound from 4 to 8 s."""
    folder = stage.clips.dir("ts-sound-pauses")
    whole = stage.clips.cut(folder / "whole.ts", "-muxdelay", 0, seconds=12)
    parts = list(by_time(whole.read_bytes(), 1))
    kept = [p for n, part in enumerate(parts) for p in part if not (4 <= n < 8 and pid_of(p) == PID_AUDIO)]
    (folder / "paused.ts").write_bytes(b"".join(kept))
    return stage.site.of(folder / "paused.ts")


def avc3(stage: Stage, name: str, *options: object) -> Path:
    """An MP4 whose parameter sets are in the samples alone, as `MP4Box -add x:xps_inband` writes it."""
    folder = stage.clips.dir(name)
    raw = ("-map", "0:v", "-bsf:v", "h264_mp4toannexb", "-f", "h264")
    stage.clips.cut(folder / "v.h264", *raw, seconds=6)
    inputs = (
        "-r",
        25,
        "-i",
        folder / "v.h264",
        "-i",
        stage.clips.base(),
        "-t",
        6,
        "-map",
        "0:v",
        "-map",
        "1:a",
    )
    ff(*inputs, "-c", "copy", *(options or ("-movflags", "+faststart")), folder / "inband.mp4")
    data = (folder / "inband.mp4").read_bytes()
    at = data.index(b"avcC") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    body = data[at + 8 : at + 13] + b"\xe0\0"
    record = (8 + len(body)).to_bytes(4, "big") + b"avcC" + body
    free = size - len(record)
    assert free >= 8
    data = data[:at] + record + free.to_bytes(4, "big") + b"free" + bytes(free - 8) + data[at + size :]
    name_at = data.index(b"avc1", data.index(b"stsd"))
    (folder / "avc3.mp4").write_bytes(data[:name_at] + b"avc3" + data[name_at + 4 :])
    return folder / "avc3.mp4"


_AVC3_FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
_AVC3, _PIDS = _GITHUB + "gpac/gpac/issues/1238", _GITHUB + "google/ExoPlayer/issues/5566"
_MID_GOP, _ABSENT = _GITHUB + "stackia/rtp2httpd/issues/282", _GITHUB + "google/ExoPlayer/issues/6622"
_LATER, _COMES = _GITHUB + "arut/nginx-rtmp-module/issues/620", _GITHUB + "google/ExoPlayer/issues/9920"

TRACKS = [
    rtmp_late("rtmp-video-announced", VIDEO, 7, announced=True, report=_LATER),
    rtmp_late("rtmp-camera-later", VIDEO, 7, announced=False, report=_LATER),
    rtmp_late("rtmp-microphone-later", AUDIO, 7, announced=False),
    rtmp_late("rtmp-sound-announced", AUDIO, 7, announced=True),
    Case("flv-sound-later", _flv_sound_later, run_of=230, sound_s=7, seconds=13, end=""),
    Case(
        "ts-sound-later",
        lambda s: s.site.of(_late_sound_ts(s, "ts-sound-later") / "whole.ts"),
        range(350),
        range(5, 14),
        report=_COMES,
    ),
    Case(
        "ts-sound-later-no-range",
        lambda s: s.site.add(
            "ts-sound-later-no-range/a",
            without_range(_late_sound_ts(s, "ts-sound-later-no-range") / "whole.ts"),
        ),
        range(350),
        range(5, 14),
        report=_COMES,
    ),
    Case(
        "hls-sound-later",
        lambda s: s.site.of(_late_sound_ts(s, "hls-sound-later") / "index.m3u8"),
        range(350),
        range(5, 14),
        report=_COMES,
    ),
    Case("mid-gop", _mid_gop, run_of=120, sound_s=7, seconds=12, end="", report=_MID_GOP),
    Case("mid-gop-hls", _mid_gop_hls, run_of=120, sound_s=8, seconds=12, end="", report=_MID_GOP),
    Case(
        "absent-video",
        lambda s: s.site.of(_absent_video(s, "absent-video") / "sound.ts"),
        sounds=range(8),
        report=_ABSENT,
    ),
    Case(
        "absent-video-hls",
        lambda s: s.site.of(_absent_video(s, "absent-video-hls") / "index.m3u8"),
        sounds=range(8),
        report=_ABSENT,
    ),
    Case("ts-sound-pauses", _sound_pauses, range(300), [0, 1, 2, 3, 8, 9, 10, 11], gap_s=(0, 4.1)),
    Case("avc3", lambda s: s.site.of(avc3(s, "avc3")), range(150), range(6), report=_AVC3),
    Case(
        "avc3-transcoded",
        lambda s: s.site.of(avc3(s, "avc3-transcoded")),
        range(150),
        range(6),
        mode=0,
        report=_AVC3,
    ),
    Case(
        "avc3-fragments",
        lambda s: s.site.of(avc3(s, "avc3-fragments", *_AVC3_FRAGMENTS)),
        range(150),
        range(6),
    ),
    Case(
        "other-pids",
        lambda s: s.site.of(_other_pids(s, "other-pids") / "whole.ts"),
        range(300),
        range(12),
        report=_PIDS,
    ),
    Case(
        "other-pids-hls",
        lambda s: s.site.of(_other_pids(s, "other-pids-hls") / "index.m3u8"),
        range(300),
        range(12),
        report=_PIDS,
    ),
    Case("live-other-pids", _live_other_pids, run_of=200, sound_s=9, seconds=13, end="", report=_PIDS),
]
