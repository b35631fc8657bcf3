"""What a container holds, decodable or not, is played, left out by name, or hidden as it says."""

from collections.abc import Iterable
from pathlib import Path

import av

from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.clips import AAC, TONES, ff, pictures_and_tones
from tests.acceptance.reports.flv import AUDIO, HEAD, VIDEO, Tag, write_tag
from tests.acceptance.reports.reading import Reading

_APAC = "https://github.com/immich-app/immich/issues/30511"
_HEVC_12 = "https://github.com/ossrs/srs/issues/2562"
_WAV = "https://github.com/Rello/audioplayer/issues/89"
_EDITS = "https://github.com/mifi/lossless-cut/issues/3057"


# --- codecs that nobody decodes -----------------------------------------------------------------------------


def _hevc_flv(stage: Stage) -> str:
    """HEVC under codec id 12, as Chinese CDNs send it."""
    folder = stage.clips.dir("hevc-flv")
    tags: list[Tag] = []
    with av.open(str(stage.clips.hevc())) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        heads = ((VIDEO, b"\x1c\0\0\0\0", video), (AUDIO, b"\xaf\0", audio))
        tags += [Tag(0, kind, 0, head + bytes(s.codec_context.extradata or b"")) for kind, head, s in heads]
        for packet in container.demux(video, audio):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            ms = max(0, round(float(packet.dts * packet.time_base) * 1000))
            late_ms = round(float((packet.pts - packet.dts) * packet.time_base) * 1000)
            head = bytes([0x1C if packet.is_keyframe else 0x2C, 1]) + late_ms.to_bytes(3, "big")
            is_video = packet.stream is video
            kind, body = (VIDEO, head + bytes(packet)) if is_video else (AUDIO, b"\xaf\x01" + bytes(packet))
            tags.append(Tag(ms / 1000, kind, ms, body))
    tags.sort(key=lambda tag: (tag.ms, tag.kind == AUDIO, not tag.header))
    (folder / "hevc.flv").write_bytes(HEAD + b"".join(map(write_tag, tags)))
    return stage.site.of(folder / "hevc.flv")


def _renamed(data: bytes, handler: bytes, codec: bytes, to: bytes) -> bytes:
    """The sample entry of the first track of this kind under another name."""
    at = data.index(codec, data.index(b"stsd", data.index(handler)))
    return data[:at] + to + data[at + len(codec) :]


def _apac(stage: Stage, name: str, *maps: str) -> str:
    """As phones write spatial sound: the first sound track is of a codec that FFmpeg has no decoder for."""
    path = stage.clips.dir(name) / "clip.mov"
    stage.clips.cut(path, *maps, seconds=6)
    data = _renamed(path.read_bytes(), b"soun", b"mp4a", b"apac")
    at = data.index(b"esds", data.index(b"apac"))
    path.write_bytes(data[:at] + b"dapa" + data[at + 4 :])
    return stage.site.of(path)


def _unknown_picture(stage: Stage) -> str:
    path = stage.clips.dir("unknown-picture") / "clip.mp4"
    stage.clips.cut(path, "-movflags", "+faststart", seconds=6)
    path.write_bytes(_renamed(path.read_bytes(), b"vide", b"avc1", b"zzzz"))
    return stage.site.of(path)


def _unknown_in_mkv(stage: Stage) -> str:
    path = stage.clips.dir("unknown-in-mkv") / "clip.mkv"
    stage.clips.cut(path, seconds=6)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_QQQ", 1))
    return stage.site.of(path)


def _subtitles(stage: Stage) -> str:
    """A text track is no reason for anything."""
    folder = stage.clips.dir("subtitles")
    (folder / "a.srt").write_text("1\n00:00:01,000 --> 00:00:04,000\nHello\n")
    inputs = ("-i", stage.clips.base(), "-i", folder / "a.srt", "-t", 6, "-map", "1", "-map", "0")
    ff(*inputs, "-c", "copy", "-c:s", "mov_text", folder / "clip.mp4")
    return stage.site.of(folder / "clip.mp4")


UNKNOWN = [
    Case("hevc-flv", _hevc_flv, range(200), range(8), mode=0, report=_HEVC_12),
    Case(
        "apac-only",
        lambda s: _apac(s, "apac-only"),
        range(150),
        words=("decode|apac",),
        report=_APAC,
    ),
    Case(
        "apac-first",
        lambda s: _apac(s, "apac-first", "-map", "0:v", "-map", "0:a", "-map", "0:a"),
        range(150),
        range(6),
        report=_APAC,
    ),
    Case("unknown-picture", _unknown_picture, (), range(6), words=("decode|zzzz|unknown",)),
    Case("unknown-in-mkv", _unknown_in_mkv, range(150), words=("decode|A_QQQ|unknown",)),
    Case("subtitles", _subtitles, range(150), range(6)),
]


# --- WAV ----------------------------------------------------------------------------------------------------


def wav(name: str, *options: object, report: str = "") -> Case:
    def make(stage: Stage) -> str:
        path = stage.clips.dir(f"wav-{name}") / f"{name}.wav"
        ff("-f", "lavfi", "-i", TONES, "-t", 6, *options, path)
        return stage.site.of(path)

    return Case(f"wav-{name}", make, sounds=range(6), report=report)


def _unknown_wav(stage: Stage) -> str:
    """A format number that stands for nothing."""
    path = stage.clips.dir("wav-unknown") / "a.wav"
    ff("-f", "lavfi", "-i", TONES, "-t", 6, "-ac", 1, "-ar", 16000, "-c:a", "pcm_s16le", path)
    data = path.read_bytes()
    at = data.index(b"fmt ") + 8
    path.write_bytes(data[:at] + b"\x34\x12" + data[at + 2 :])
    return stage.site.of(path)


_MONO = ("-ac", 1, "-ar", 16000)
_QUAD = ("-af", "pan=4.0|c0=c0|c1=c0|c2=c0|c3=c0", "-ar", 16000)
_SIX = ("-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0", "-ar", 48000)

WAVS = [
    wav("ima", *_MONO, "-c:a", "adpcm_ima_wav", report=_WAV),
    wav("ms", *_MONO, "-c:a", "adpcm_ms", report=_WAV),
    wav("quad", *_QUAD, "-c:a", "pcm_s16le", report=_WAV),
    wav("s24", *_MONO, "-c:a", "pcm_s24le", report="https://github.com/jagrosh/MusicBot/issues/896"),
    wav("f32", *_MONO, "-c:a", "pcm_f32le", report=_WAV),
    wav("alaw", "-ac", 1, "-ar", 8000, "-c:a", "pcm_alaw"),
    wav("u8", "-ac", 2, "-ar", 22050, "-c:a", "pcm_u8"),
    wav("six", *_SIX, "-c:a", "pcm_s24le"),
    wav("g726", "-ac", 1, "-ar", 8000, "-c:a", "adpcm_g726", "-b:a", "32k"),
    wav("f64", *_MONO, "-c:a", "pcm_f64le"),
    Case("wav-unknown", _unknown_wav, end="source_unsupported", words=("decode|codec|format",)),
]


# --- what a container hides ---------------------------------------------------------------------------------


def _trimmed(stage: Stage, name: str) -> str:
    """Cut without encoding at 3.6 s: the edit list hides what lies between the key frame and the cut."""
    path = stage.clips.dir(name) / "cut.mp4"
    return stage.site.of(stage.clips.cut(path, source=stage.clips.longgop(), at=3.6, seconds=8))


def _trimmed_end(stage: Stage) -> str:
    """The edit lists of both tracks end after 5 of 8 s."""
    path = stage.clips.dir("trimmed-end") / "cut.mp4"
    stage.clips.cut(path, seconds=8)
    data = bytearray(path.read_bytes())
    at = data.find(b"elst")
    while at >= 0:
        data[at + 12 : at + 16] = (5000).to_bytes(4, "big")  # in the movie's thousandths
        at = data.find(b"elst", at + 4)
    path.write_bytes(data)
    return stage.site.of(path)


def _nothing_hidden(reading: Reading) -> Iterable[str]:
    if hidden := [n for n in reading.numbers if n < 90]:
        yield f"{len(hidden)} pictures are shown that were cut off"
    if any(picture.number is None for picture in reading.pictures):
        yield "there are pictures without a number"


HIDDEN = [
    Case(
        "trimmed",
        lambda s: _trimmed(s, "trimmed"),
        range(90, 290),
        range(4, 11),
        (3, 11),
        grid=True,
        more=_nothing_hidden,
        report=_EDITS,
    ),
    Case(
        "trimmed-transcoded",
        lambda s: _trimmed(s, "trimmed-transcoded"),
        range(90, 290),
        range(4, 11),
        (3, 11),
        mode=0,
        more=_nothing_hidden,
        report=_EDITS,
    ),
    Case("trimmed-end", _trimmed_end, range(125), range(5)),
]


# --- what held ----------------------------------------------------------------------------------------------


def profile(name: str, pixels: str) -> Case:
    """H.264 without B-frames in a profile of cameras and screen recorders."""

    def make(stage: Stage) -> str:
        path = stage.clips.dir(name) / "clip.mp4"
        h264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", pixels, "-bf", 0, "-g", 25)
        ff(*pictures_and_tones(8), *h264, "-b:v", "200k", *AAC, "-movflags", "+faststart", path)
        return stage.site.of(path)

    return Case(name, make, range(200), range(8))


def _recorded_webm(stage: Stage) -> Path:
    """As MediaRecorder writes it: no Cues and no duration."""
    path = stage.clips.dir("webm-loop") / "rec.webm"
    vp8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", 8, "-b:v", "200k", "-g", 50)
    opus = ("-c:a", "libopus", "-b:a", "48k")
    ff("-i", stage.clips.base(), "-t", 5, *vp8, *opus, "-f", "webm", "-live", 1, path)
    return path


HELD = [
    Case(
        "webm-loop",
        lambda s: s.site.of(_recorded_webm(s)),
        run_of=250,
        sound_s=11,
        steps=(-124, -123, -122),
        seconds=13,
        end="",
        mode=0,
        control={"Loop": True},
    ),
    profile("plain-profile", "yuv420p"),
    profile("high-444", "yuv444p"),
    profile("high-10", "yuv420p10le"),
]
