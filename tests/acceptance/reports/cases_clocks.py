"""Clocks from what the source says."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.cases_tracks import rtmp_tags, ts_parts
from tests.acceptance.reports.clips import TONES, ff
from tests.acceptance.reports.flv import AUDIO, HEAD, VIDEO, write_tag
from tests.acceptance.reports.packed_audio import adts_frames, timestamp
from tests.acceptance.reports.reading import Reading
from tests.acceptance.reports.site import live_parts
from tests.acceptance.reports.windows import Segment, Window

_STREAMLINK = "https://github.com/streamlink/streamlink/issues/3534"
_RUNS = "https://github.com/google/ExoPlayer/issues/1496"
_CHAINS = "https://github.com/savonet/liquidsoap/issues/180"
_AAC_S = 1024 / 48_000
_WRAPS_S = 95_440  #: 3.7 s before the 33 bits of the clock of MPEG-TS begin anew
_FRAMES = 94  #: of AAC in a segment, 2.005 s


# --- packed audio -------------------------------------------------------------------------------------------


def packed_audio_files(stage: Stage, name: str, clock_s: float, seconds: float) -> Path:
    """Pictures in TS whose clock begins at `clock_s`, sound as ADTS whose ID3 frame says the same."""
    offset = ("-muxdelay", 0, "-muxpreload", 0, "-output_ts_offset", clock_s)
    folder = stage.clips.hls(name, seconds, "-map", "0:v", *offset)
    stage.clips.cut(folder / "all.aac", "-map", "0:a", "-f", "adts", seconds=seconds)
    frames = adts_frames((folder / "all.aac").read_bytes())
    lines = ["#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXT-X-PLAYLIST-TYPE:VOD\n"]
    for n, at in enumerate(range(0, len(frames), _FRAMES)):
        part = frames[at : at + _FRAMES]
        (folder / f"a{n}.aac").write_bytes(timestamp(clock_s + at * _AAC_S) + b"".join(part))
        lines.append(f"#EXTINF:{len(part) * _AAC_S:.5f},\na{n}.aac\n")
    (folder / "a.m3u8").write_text("".join([*lines, "#EXT-X-ENDLIST\n"]))
    return _master(folder)


def packed_audio(name: str, clock_s: float, report: str = "") -> Case:
    def make(stage: Stage) -> str:
        return stage.site.of(packed_audio_files(stage, name, clock_s, 12))

    return Case(name, make, range(300), range(12), report=report)


def _master(folder: Path) -> Path:
    """Of index.m3u8 with the sound of a.m3u8."""
    (folder / "master.m3u8").write_text(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="snd",NAME="Main",DEFAULT=YES,URI="a.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.42c00c,mp4a.40.2",AUDIO="snd"\nindex.m3u8\n'
    )
    return folder / "master.m3u8"


def _wrap(stage: Stage) -> str:
    folder = stage.clips.hls("wrap", 10, "-muxdelay", 0, "-output_ts_offset", _WRAPS_S)
    return stage.site.of(folder / "index.m3u8")


def _wrap_apart(stage: Stage) -> str:
    """Sound in a playlist of its own."""
    offset = ("-muxdelay", 0, "-output_ts_offset", _WRAPS_S)
    folder = stage.clips.hls("wrap-apart", 10, "-map", "0:v", *offset)
    sound = stage.clips.hls("wrap-apart-sound", 10, "-map", "0:a", *offset)
    for path in sound.glob("*.ts"):
        path.rename(folder / f"a-{path.name}")
    text = (sound / "index.m3u8").read_text()
    (folder / "a.m3u8").write_text("\n".join(f"a-{x}" if x.endswith(".ts") else x for x in text.splitlines()))
    return stage.site.of(_master(folder))


#: A picture at a seam may give way to the first of the next run.
_TURN = (-149, -148)


# --- runs of a live playlist --------------------------------------------------------------------------------

_SPLICE = "#EXT-X-DISCONTINUITY\n"


def slate(name: str, sequence: Callable[[int], int] | None, report: str = "") -> Case:
    """6 s over and over, a discontinuity at each turn."""

    def make(stage: Stage) -> str:
        stage.clips.hls(name, 6)
        window = Window(
            lambda n: Segment(f"s{n % 3}.ts?n={n}", tags=_SPLICE if n % 3 == 0 else ""),
            discontinuity_sequence=sequence,
        )
        return stage.site.add(f"{name}/live.m3u8", window.handler())

    return Case(name, make, run_of=400, sound_s=16, steps=_TURN, seconds=20, end="", report=report)


#: Which of the clip's segments come when: 10 s of content, 4 s of ads.
_PROGRAMME = (0, 1, 2, 3, 4, 10, 11, 5, 6, 7, 8, 9, 10, 11)
_CUTS = (0, 5, 7, 12)


def _ads(stage: Stage) -> str:
    stage.clips.hls("live-ads", 24)

    def at(n: int) -> Segment:
        place = n % len(_PROGRAMME)
        return Segment(f"s{_PROGRAMME[place]}.ts?n={n}", tags=_SPLICE if place in _CUTS else "")

    return stage.site.add("live-ads/live.m3u8", Window(at).handler())


# --- jumps --------------------------------------------------------------------------------------------------


def _jump(stage: Stage, name: str, offset_s: float) -> Path:
    """A TS whose clock goes on elsewhere after 6 s, with nothing that says so."""
    folder = stage.clips.dir(name)
    stage.clips.cut(folder / "a.ts", "-muxdelay", 0, seconds=6)
    stage.clips.cut(folder / "b.ts", "-muxdelay", 0, "-output_ts_offset", offset_s, at=6, seconds=6)
    (folder / "whole.ts").write_bytes((folder / "a.ts").read_bytes() + (folder / "b.ts").read_bytes())
    return folder / "whole.ts"


def _live_jump(stage: Stage) -> str:
    parts = ts_parts(_jump(stage, "live-ts-jump", 0).read_bytes())
    return stage.site.add("live-ts-jump/live", live_parts(parts, "video/mp2t"))


def _flv_jump(stage: Stage) -> str:
    """Stamps go on an hour later after 5 s."""
    tags = [tag.moved(ms=3_600_000) if tag.at_s >= 5 else tag for tag in rtmp_tags(stage)]
    parts = [(0.0, HEAD), *((tag.at_s, write_tag(tag)) for tag in tags)]
    return stage.site.add("flv-jump/live.flv", live_parts(parts, "video/x-flv"))


def rtmp_pause(name: str, kind: int, *, sound_ms: int = 0, report: str = "") -> Case:
    """One track pauses for 12 s; the stamps of sound may be on a clock of their own."""

    def make(stage: Stage) -> str:
        kept = [tag for tag in rtmp_tags(stage) if not (tag.kind == kind and 4 <= tag.at_s < 16)]
        return stage.rtmp.add(name, [tag.moved(ms=sound_ms) if tag.kind == AUDIO else tag for tag in kept])

    pictures, sound_s = (150, 16.0) if kind == VIDEO else (450, 5.0)
    own = (12.3, 0.0) if kind == VIDEO else (0.0, 12.3)
    return Case(
        name,
        make,
        run_of=pictures,
        sound_s=sound_s,
        steps=(301,) if kind == VIDEO else (),
        seconds=21,
        end="",
        gap_s=own,
        report=report,
    )


# --- chains -------------------------------------------------------------------------------------------------


def _chain(stage: Stage, name: str, codec: str, links: int = 2) -> Path:
    """Ogg files of 5 s one behind the other (RFC 3533), as Icecast sends them at each song."""
    folder, data = stage.clips.dir(name), b""
    for at in range(0, 5 * links, 5):
        sound = ("-f", "lavfi", "-i", TONES, "-ss", at, "-t", 5, "-ar", 48000, "-ac", 2)
        ff(*sound, "-c:a", codec, "-b:a", "48k", "-f", "ogg", folder / f"{at}.ogg")
        data += (folder / f"{at}.ogg").read_bytes()
    (folder / "chain.ogg").write_bytes(data)
    return folder / "chain.ogg"


def chain(name: str, codec: str) -> Case:
    return Case(name, lambda s: s.site.of(_chain(s, name, codec)), sounds=range(10), report=_CHAINS)


def _chained_radio(stage: Stage) -> str:
    folder = _chain(stage, "chained-radio", "libopus", 3).parent
    parts = []
    for at in range(0, 15, 5):
        data = (folder / f"{at}.ogg").read_bytes()
        step = len(data) // 50 + 1
        parts += [(max(0.0, at + n * 0.1 - 2), data[n * step : (n + 1) * step]) for n in range(50)]
    return stage.site.add("chained-radio/live", live_parts(parts, "application/ogg"))


def _apart(stage: Stage, name: str, late: str) -> str:
    """A track that begins 4 s after the other (an empty edit)."""
    base, path = stage.clips.base(), stage.clips.dir(name) / "a.mp4"
    inputs = [("-itsoffset", 4, "-i", base) if late == track else ("-i", base) for track in "va"]
    maps = ("-map", "0:v", "-map", "1:a", "-t", 10, "-c", "copy")
    ff(*inputs[0], *inputs[1], *maps, path)
    return stage.site.of(path)


def _ends_early(stage: Stage) -> str:
    """The sound ends after 4 s: FFmpeg gives its last packet at the end of the file."""
    base, path = stage.clips.base(), stage.clips.dir("sound-ends-early") / "a.ts"
    ff("-i", base, "-t", 4, "-i", base, "-map", "0:v", "-map", "1:a", "-t", 10, "-c", "copy", path)
    return stage.site.of(path)


def _no_offset(offset_s: float) -> Callable[[Reading], Iterable[str]]:
    """The sound is that much later than the picture of the same number."""

    def check(reading: Reading) -> Iterable[str]:
        worst = max((abs(o.late_s - offset_s) for o in reading.offsets), default=1.0)
        if worst > 0.045:
            yield f"sound is {worst * 1000:.0f} ms off"

    return check


CLOCKS = [
    packed_audio("packed-audio", 1.4, _STREAMLINK),
    packed_audio("packed-audio-8", 8.0, _STREAMLINK),
    packed_audio("packed-audio-20", 20.0),
    packed_audio("packed-audio-wraps", _WRAPS_S),
    Case("wrap", _wrap, range(250), range(10)),
    Case("wrap-apart", _wrap_apart, range(250), range(10)),
    slate("slate", None, _RUNS),
    slate("slate-counted", lambda first: (first + 2) // 3, _RUNS),
    Case(
        "live-ads",
        _ads,
        run_of=450,
        sound_s=17,
        steps=(251, 252, -349, -348),
        seconds=21,
        end="",
        report=_RUNS,
    ),
    Case("sound-ends-early", _ends_early, range(250), range(3), partly=(3,)),  # without that packet
    Case("ts-jumps-back", lambda s: s.site.of(_jump(s, "ts-jumps-back", 0)), range(300), range(12)),
    Case("ts-jumps-ahead", lambda s: s.site.of(_jump(s, "ts-jumps-ahead", 5000)), range(300), range(12)),
    Case("live-ts-jump", _live_jump, run_of=200, sound_s=8.5, seconds=12, end="", seams=(6,)),
    Case("flv-jump", _flv_jump, run_of=220, sound_s=9, seconds=12, end=""),
    rtmp_pause("rtmp-video-pauses", VIDEO, report="https://github.com/ossrs/srs/issues/4221"),
    rtmp_pause("rtmp-own-clocks", VIDEO, sound_ms=60_000, report="https://github.com/ossrs/srs/issues/4221"),
    rtmp_pause("rtmp-sound-pauses", AUDIO),
    chain("chain-vorbis", "libvorbis"),
    chain("chain-opus", "libopus"),
    Case("chained-radio", _chained_radio, sound_s=9, seconds=12, end="", burst_s=1),  # a page holds 1 s
    Case(
        "picture-4-s-later",
        lambda s: _apart(s, "picture-4-s-later", "v"),
        range(150),
        range(10),
        offset=False,
        more=_no_offset(-4),
    ),
    Case(
        "sound-4-s-later",
        lambda s: _apart(s, "sound-4-s-later", "a"),
        range(250),
        range(6),
        offset=False,
        more=_no_offset(4),
    ),
]
