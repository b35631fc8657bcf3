"""The streams of an open container as tracks: chooses those that are played, and converts their packets.

A track begins with its first packet that can be decoded: H.264 needs its parameter sets, and video that is
joined in the middle needs a key frame. Packets before that are dropped and counted.
"""

from functools import partial
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sluice.core.errors import unsupported
from sluice.core.limits import MOST_PIXELS
from sluice.core.plan import AudioTrack, Track, VideoTrack
from sluice.core.source_facts import language_of
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.avc import H264Units
from sluice.media.source.trims import SKIP_SAMPLES, Trims
from sluice.wire.h264 import AvcConfig, H264Error, Sps

_KINDS = {"video": TrackKind.VIDEO, "audio": TrackKind.AUDIO}
_NO_PICTURES = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
#: Containers that say by how much pictures are to be rotated.
_ROTATING = ("mov", "matroska")
_MP4 = "mp4"
#: Packets without a timestamp that wait for one; a PES packet holds fewer frames.
_MOST_UNTIMED = 64


class StreamTrack:
    """One stream of a container. `begun`: a packet of it could be decoded."""

    def __init__(self, stream: VideoStream | AudioStream, *, live: bool, joined: bool) -> None:
        """`joined`: in the middle, since the stream continues another one or began long ago."""
        self.kind = _KINDS[stream.type]
        self.index = stream.index
        self.begun = False
        self.shifted = False  #: PTS and DTS differ, which B-frames may cause
        self.reordered = False  #: B-frames were seen
        self.last_us: int | None = None  #: decoding time of the last packet
        self._step_us = 0  #: and its duration, 0 where that is not known
        self._untimed: list[Any] = []  #: packets that wait for the time of one behind them
        self._stream, self._joined = stream, joined
        base = stream.time_base
        assert base is not None  # noqa: S101 - every demuxed stream has one
        self._numerator, self._denominator = 1_000_000 * base.numerator, base.denominator
        self._h264: H264Units | None = None
        self._trims: Trims | None = None
        context = stream.codec_context
        if isinstance(stream, AudioStream):
            self._trims = Trims(stream, live=joined)
        elif context.name == "h264":
            self._h264 = H264Units(context.extradata or b"", context.codec_tag)
        rotating = stream.container.format.name.startswith(_ROTATING)
        self._rotation: int | None = None if rotating and not live else 0  #: None: not known yet
        self._hiding = False  #: the last picture is not to be shown

    def convert(self, packet: Any) -> list[Packet]:
        """The packets that can be used: this one, and those before it that had no timestamp. Demuxers give
        the timestamp of only the first frame in a PES packet, and durations once they have seen more."""
        if packet.dts is None and packet.pts is None:
            if self.last_us is None or len(self._untimed) >= _MOST_UNTIMED:
                return []
            if not self._step_us:
                self._untimed.append(packet)
                return []
            at_us = self.last_us + self._step_us
            return self._convert(packet, at_us, at_us)
        pts, dts_us = packet.pts, self.time_us(packet)
        made: list[Packet] = []
        if self._untimed and self.last_us is not None:
            begin_us, step_us = self.last_us, (dts_us - self.last_us) // (len(self._untimed) + 1)
            for n, waiting in enumerate(self._untimed, 1):
                made += self._convert(waiting, begin_us + n * step_us, begin_us + n * step_us)
            self._untimed.clear()
        pts_us = dts_us if pts is None else pts * self._numerator // self._denominator
        return made + self._convert(packet, dts_us, pts_us)

    def _convert(self, packet: Any, dts_us: int, pts_us: int) -> list[Packet]:
        made = Packet(self.kind, bytes(packet), dts_us, pts_us, packet.is_keyframe)
        made.hidden = packet.is_discard
        # Read in one pass: to ask for one type costs more than to find that there is none of any.
        for side in packet.iter_sidedata():
            if side.data_type == "encryption_info":
                raise unsupported("the source is encrypted (DRM), and there is no key for it")
            if side.data_type == "new_extradata":
                made.extradata = bytes(side)
            elif side.data_type == SKIP_SAMPLES and self._trims is not None:
                self._trims.note(bytes(side))
        if self._trims is not None:
            self._trims.apply(packet, made)
            self.begun = True
        elif not self._convert_picture(packet, made):
            return []
        self.last_us = dts_us
        self._step_us = (packet.duration or 0) * self._numerator // self._denominator
        return [made]

    @property
    def waits(self) -> bool:
        """Whether packets are held that `convert` returns later."""
        return bool(self._untimed)

    def time_us(self, packet: Any) -> int:
        """Decoding time of a packet that has one."""
        time = packet.pts if packet.dts is None else packet.dts
        return int(time * self._numerator // self._denominator)

    def note_order(self, *, shifted: bool, reordered: bool) -> None:
        """Takes what a packet shows of B-frames."""
        self.shifted |= shifted
        self.reordered |= reordered

    def restart(self) -> None:
        """To be called after a jump."""
        self.last_us = None
        self._untimed.clear()
        if self._trims is not None:
            self._trims.restart()

    def track(self) -> Track:
        """The track, as far as it is known by now."""
        if isinstance(self._stream, AudioStream):
            context = self._stream.codec_context
            return AudioTrack(
                context.name,
                context.extradata or b"",
                context.sample_rate,
                context.channels,
                context,
                profile=context.profile or "",
                bitrate_bps=context.bit_rate or None,
                language=language_of(self._stream.metadata.get("language", "")),
            )
        return self._video_track(self._stream)

    def _convert_picture(self, packet: Any, made: Packet) -> bool:
        extradata = made.extradata
        if self._h264 is not None and not self._h264.convert(made):
            return False
        made.extradata = extradata or made.extradata
        if not self.begun:
            if not made.key or (self._h264 is not None and not self._h264.record()):
                return False
            self.begun = True
        if self._rotation is None:
            self._rotation = _rotation(packet)
        if self._hiding and made.key and not made.hidden:
            self._hiding = False
            made.track = self.track()  # from here on nothing is hidden
        elif made.hidden and not self._hiding:
            self._hiding = True
            made.track = self.track()
        return True

    def _video_track(self, stream: VideoStream) -> VideoTrack:
        context = stream.codec_context
        extradata, size = context.extradata or b"", (context.width, context.height)
        reordered = self.shifted or self.reordered or bool(context.has_b_frames)
        if self._h264 is not None:
            extradata = self._h264.record()
            try:
                sps = Sps.parse(AvcConfig.parse(extradata).sps[0])
            except H264Error as error:
                raise unsupported(f"the source's H.264 parameter sets are damaged: {error}") from error
            size = (sps.width, sps.height)
            reordered = sps.reorders(shifted=reordered, seen=self.reordered)
        # Only MP4 tells the length exactly; in other containers it is a guess from the last timestamps.
        exact = stream.duration is not None and _MP4 in stream.container.format.name.split(",")
        length = (stream.duration or 0) * self._numerator // self._denominator
        return VideoTrack(
            context.name,
            extradata,
            *size,
            reordered,
            duration_us=length if exact and not self._joined else None,
            rotation=(self._rotation or 0) % 360,
            pixel_aspect=stream.sample_aspect_ratio,
            hides_beginning=self._hiding,
            context=context,
            profile=context.profile or "",
            frame_rate=stream.average_rate,
            bitrate_bps=context.bit_rate or None,
        )


def playable(
    container: InputContainer, kinds: frozenset[TrackKind]
) -> tuple[list[VideoStream | AudioStream], list[str]]:
    """The streams that may be played, preferred ones first; and notes about what is left out."""
    found: list[VideoStream | AudioStream] = []
    left_out: list[str] = []
    streams: list[VideoStream | AudioStream] = [*container.streams.video, *container.streams.audio]
    for stream in streams:
        if _KINDS[stream.type] not in kinds or stream.disposition & _NO_PICTURES:
            continue
        context: Any = stream.codec_context  # PyAV's types say that there is always one
        if context is None:
            left_out.append(
                f"track {stream.index + 1} ({stream.type}) is left out: there is no decoder for it"
            )
        else:
            found.append(stream)
    # Where a container does not tell, the first stream of each kind is its default.
    found.sort(key=lambda stream: not stream.disposition & Disposition.default)
    return found, left_out


def of_one_program(
    found: list[VideoStream | AudioStream], programs: list[frozenset[int]]
) -> tuple[list[VideoStream | AudioStream], list[str]]:
    """Those streams, of the ones that `playable` found, that may be played together; and notes about the
    others. `programs`: ids of the streams of each program; empty where all streams belong together."""
    notes: list[str] = []
    held = [program for program in programs if any(stream.id in program for stream in found)]
    if len(held) > 1:
        best = max(held, key=partial(_worth, found))
        found = [stream for stream in found if stream.id in best]
        notes.append(_left_out(len(held) - 1, "program"))
    for kind, name in (("video", "picture track"), ("audio", "sound track")):
        further = sum(stream.type == kind for stream in found) - 1
        if further > 0:
            notes.append(_left_out(further, name))
    return found, notes


def _worth(found: list[VideoStream | AudioStream], program: frozenset[int]) -> tuple[int, int]:
    """How many kinds of the program have had media, and how many kinds it has."""
    own = [stream for stream in found if stream.id in program]
    fed = [s for s in own if (s.width if isinstance(s, VideoStream) else s.codec_context.sample_rate)]
    return len({stream.type for stream in fed}), len({stream.type for stream in own})


def _left_out(count: int, what: str) -> str:
    return f"{count} further {what} is left out" if count == 1 else f"{count} further {what}s are left out"


def _rotation(packet: Any) -> int:
    """Degrees counter-clockwise. FFmpeg gives the display matrix only with a decoded picture."""
    context = packet.stream.codec_context
    context.options = {"max_pixels": str(MOST_PIXELS)}
    context.thread_count = 1
    try:
        frames = [*packet.decode(), *context.decode(None)]
    except av.FFmpegError:
        return 0  # the player drops what cannot be decoded
    return int(frames[0].rotation) if frames else 0
