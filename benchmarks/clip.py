"""The media that the benchmarks send: the demonstration's clip, as files and as frames for a room.

The clip is 720p at 25 frames/s, about 1 Mbps of H.264 without B-frames, with Opus in packets of 20 ms; it
goes through the same pipes as a relayed file. It is made once into a folder that the caller names.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av.audio.stream import AudioStream
from av.video.frame import PictureType, VideoFrame

from sluice.core.plan import AudioTrack, VideoTrack
from sluice.demo import make_clip
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.h264_copy import H264Copy
from sluice.media.pipe.opus import OpusPipe
from sluice.process.link import FrameType

FRAME_RATE = 25
_DURATION_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Clip:
    """Access units (AVCC, 4-byte lengths) and Opus packets in the order of their media time."""

    frames: list[OutFrame]
    duration_us: int

    @property
    def video_kbps(self) -> float:
        octets = sum(len(frame.payload) for frame in self.frames if frame.type == FrameType.VIDEO)
        return octets * 8000 / self.duration_us


def sample_file(folder: Path, *, group: int | None = None) -> Path:
    """The clip as MP4; with `group`, encoded again with that many frames from key frame to key frame."""
    path = folder / "sample.mp4"
    if not path.exists():
        make_clip(path)
    if group is None:
        return path
    regrouped = folder / f"sample-{group}.mp4"
    if not regrouped.exists():
        _regroup(path, regrouped, group)
    return regrouped


def read_clip(path: Path) -> Clip:
    """The file's frames as a media process would send them into a room."""
    frames: list[OutFrame] = []
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        context = video.codec_context
        pipes: dict[int, tuple[TrackKind, H264Copy | OpusPipe]] = {
            video.index: (
                TrackKind.VIDEO,
                H264Copy(
                    VideoTrack(context.name, context.extradata or b"", context.width, context.height, False)
                ),
            ),
            audio.index: (TrackKind.AUDIO, OpusPipe(_audio_track(audio))),
        }
        for packet in container.demux(video, audio):
            if packet.size == 0 or packet.pts is None or packet.time_base is None:
                continue
            kind, pipe = pipes[packet.stream.index]
            at_us = int(packet.pts * packet.time_base * 1_000_000)
            frames += pipe.push(Packet(kind, bytes(packet), at_us, at_us, packet.is_keyframe))
    kept = [frame for frame in frames if 0 <= frame.media_us < _DURATION_US]
    return Clip(sorted(kept, key=lambda frame: frame.media_us), _DURATION_US)


def _audio_track(audio: AudioStream) -> AudioTrack:
    context = audio.codec_context
    return AudioTrack(context.name, context.extradata or b"", context.sample_rate, context.channels)


def _regroup(source: Path, target: Path, group: int) -> None:
    unfinished = target.with_suffix(".part")
    options = {"movflags": "faststart"}
    with (
        av.open(str(source)) as reader,
        av.open(str(unfinished), "w", format="mp4", options=options) as writer,
    ):
        video = writer.add_stream("libx264", rate=FRAME_RATE)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        video.bit_rate = 1_000_000
        video.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "main",
            "g": str(group),
            "bf": "0",
            "sc_threshold": "0",
        }
        audio = writer.add_stream_from_template(reader.streams.audio[0])
        for packet in reader.demux():
            if packet.stream.type == "audio" and packet.dts is not None:
                packet.stream = audio
                writer.mux(packet)
            elif packet.stream.type == "video":
                for frame in cast(list[VideoFrame], packet.decode()):
                    frame.pict_type = PictureType.NONE  # the encoder decides
                    writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
    unfinished.rename(target)
