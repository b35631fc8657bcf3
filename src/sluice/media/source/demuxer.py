"""FFmpeg's demuxers over our own byte files: tracks and packets in one form, whatever the container.

FFmpeg gets no protocol, and only demuxers that read one file: what turns out to be a list of other
addresses must not make it open anything by itself. Everything blocks and runs on a worker thread. Times are
microseconds of the container's own clock, without its wraps and jumps.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.avc import AnnexB, is_annexb
from sluice.media.source.sniff import ByteFile
from sluice.media.source.timeline import Timeline
from sluice.media.source.trims import SKIP_SAMPLES, Trims
from sluice.wire.h264 import AvcConfig, H264Error, Sps

#: Every demuxer that reads a single file and that people send: the contract's, and those that come for free.
FORMATS = "mov,flv,live_flv,mpegts,mp3,aac,matroska,ogg,wav,flac,ac3,eac3"
#: Looked at before the plan is made: packets of video for B-frames, of all tracks for their first times.
_LOOK_AHEAD, _MOST_LOOKED_AT, _MOST_LOOKED_AT_LIVE = 32, 600, 75
#: Containers of streams, whose timestamps wrap and jump; those of files may leave gaps on purpose.
_JUMPING = frozenset({"mpegts", "flv", "live_flv", "aac", "mp3"})
#: How far before a position its key frame is looked for; None: from the beginning.
_SEEK_BACK_US = (0, 2_000_000, 6_000_000, 20_000_000, None)
_ROUNDING_US = 1_000
#: How far apart a file may interleave its tracks before its picture counts as ended.
_APART_US = 10_000_000
#: Containers that say how the picture is to be turned.
_TURNING = ("mov", "matroska")
_MOV, _MP4 = "mov", "mp4"
_BASELINE = 66  # profile_idc; it has no B slices (H.264 A.2.1)
_KINDS = {"video": TrackKind.VIDEO, "audio": TrackKind.AUDIO}
_NO_PICTURES = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails


class Demuxer:
    """`open`, then `next` until it gives none. `first_us` is when the picture begins, or the sound alone."""

    def __init__(
        self, file: ByteFile, *, live: bool = False, kinds: frozenset[TrackKind] | None = None
    ) -> None:
        """`live`: probe no longer than needed. `kinds`: the tracks wanted, None for all."""
        self._file = file
        self._live = live
        self._kinds = kinds or frozenset(TrackKind)
        self._container: InputContainer | None = None
        self._streams: list[VideoStream | AudioStream] = []
        self._packets: Iterator[Any] = iter(())
        self._ahead: deque[Packet] = deque()
        self._annexb: AnnexB | None = None
        self._timeline: Timeline | None = None
        self._trims: Trims | None = None
        #: By the index of a stream: its kind, and what makes microseconds of its times.
        self._clocks: dict[int, tuple[TrackKind, int, int]] = {}
        self._reordered = False
        self._rotation: int | None = 0  #: None: not known yet
        self.first_us = 0
        self._begin_us = 0  #: of the first packet, which may come before what is shown or heard
        self.dropped = 0

    def open(self) -> Probe:
        """Raises SourceError: the file's own, or SOURCE_UNSUPPORTED for no media, or encrypted media."""
        self._container = container = self._open_container()
        if container.format.name.split(",")[0] in _JUMPING:
            self._timeline = Timeline()
        if container.format.name.startswith(_TURNING) and not self._live:
            self._rotation = None
        video = next((s for s in container.streams.video if not s.disposition & _NO_PICTURES), None)
        audio = next(iter(container.streams.audio), None)
        self._streams = [s for s in (video, audio) if s is not None and _KINDS[s.type] in self._kinds]
        if not self._streams:
            raise unsupported(_missing(self._kinds))
        self._clocks = {stream.index: _clock(stream) for stream in self._streams}
        for other in container.streams:  # not even read, where the container lets the demuxer skip it
            other.discard = Discard.default if other in self._streams else Discard.all
        if audio is not None and audio in self._streams:
            self._trims = Trims(audio, live=self._live)
        if video is not None and video.codec_context.name == "h264":
            extradata = video.codec_context.extradata or b""
            self._annexb = AnnexB(extradata) if is_annexb(extradata) else None
        self._restart()
        self._look_ahead()
        return Probe(
            video=self._video_track(video) if video in self._streams and video is not None else None,
            audio=_audio_track(audio) if audio in self._streams and audio is not None else None,
            live=self._live,
            seekable=self._file.seekable(),
            duration_us=int(container.duration) if container.duration and not self._live else None,
        )

    def next(self) -> Packet | None:
        """Raises SourceError. None at the end, and from then on."""
        return self._ahead.popleft() if self._ahead else self._demux()

    def announce(self, kind: TrackKind, extradata: bytes) -> None:
        """The first packet of that kind is to carry its decoder configuration. Only right after `open`."""
        first = next((packet for packet in self._ahead if packet.kind is kind), None)
        if first is not None and first.extradata is None:
            first.extradata = extradata

    def put_back(self, packets: list[Packet]) -> None:
        """`next` gives them again, in this order."""
        self._ahead.extendleft(reversed(packets))

    def seek(self, at_us: int) -> None:
        """To the key frame at or before `at_us`. Raises SourceError when the file cannot.

        Transport streams have no index: a jump lands anywhere, so it is tried again from further back.
        """
        for back_us in _SEEK_BACK_US:
            to_us = at_us - back_us if back_us is not None else self.first_us
            self._jump(max(0, to_us) if to_us > self.first_us else self._begin_us)
            if self._begins_at_key(at_us):
                return

    def _jump(self, at_us: int) -> None:
        assert self._container is not None  # noqa: S101 - open comes first
        try:
            self._container.seek(at_us, backward=True)
        except av.FFmpegError as error:
            raise unsupported("the source cannot be read from another position") from error
        self._restart()

    def _begins_at_key(self, at_us: int) -> bool:
        """Leaves out the video before the first key frame; False when that comes after `at_us`."""
        if not any(stream.type == "video" for stream in self._streams):
            return True
        kept: list[Packet] = []
        found = late = False
        while not found and not late and (packet := self._demux()) is not None:
            is_video = packet.kind is TrackKind.VIDEO
            late = packet.dts_us > at_us + (_ROUNDING_US if is_video else _APART_US)
            found = is_video and packet.key and not late
            if found or late or not is_video:
                kept.append(packet)
        self.put_back(kept)
        return found

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open_container(self) -> InputContainer:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none", "enable_drefs": "0"}
        if self._live:
            options["analyzeduration"] = "1500000"
        try:
            container = av.open(cast(Any, _Reading(self._file)), "r", options=options, io_open=_refuse)
        except av.FFmpegError as error:
            raise unsupported(
                "the source is no media that can be played: give the address of an HLS playlist or of an "
                "MP4, FLV, MPEG-TS, MP3, AAC, Matroska, Ogg, WAV or FLAC file or stream"
            ) from error
        assert isinstance(container, InputContainer)  # noqa: S101 - opened for reading
        return container

    def _restart(self) -> None:
        assert self._container is not None  # noqa: S101 - open comes first
        self._ahead.clear()
        if self._timeline is not None:
            self._timeline = Timeline()
        if self._trims is not None:
            self._trims.restart()
        self._packets = self._container.demux(self._streams)

    def _look_ahead(self) -> None:
        """Reads the first packets and notes what they tell."""
        first: dict[TrackKind, int] = {}
        videos, newest_us = 0, 0
        wanted = {_KINDS[stream.type] for stream in self._streams}
        most = _MOST_LOOKED_AT_LIVE if self._live else _MOST_LOOKED_AT
        while len(self._ahead) < most and (packet := self._demux()) is not None:
            self._ahead.append(packet)
            first.setdefault(packet.kind, packet.pts_us)
            if packet.kind is TrackKind.VIDEO:
                # The first B-frame of a live stream is not waited for: shifted times announce it.
                back = packet.pts_us != packet.dts_us if self._live else packet.pts_us < newest_us
                self._reordered = self._reordered or (back and (self._live or videos > 0))
                newest_us = max(newest_us, packet.pts_us)
                videos += 1
            if self._looked_enough(set(first), wanted, videos):
                break
        if not first:
            raise SourceError(
                Reason.IDLE_TIMEOUT, "the source has tracks, but no media in them", transient=True
            )
        if self._container is not None and self._container.format.name.startswith(_MOV):
            self._begin_us = min(0, *(packet.dts_us for packet in self._ahead))
        self.first_us = first.get(TrackKind.VIDEO, next(iter(first.values())))

    def _looked_enough(self, found: set[TrackKind], wanted: set[TrackKind], videos: int) -> bool:
        if found != wanted or (self._annexb is not None and not self._annexb.record()):
            return False
        most = 2 if self._live else _LOOK_AHEAD
        return TrackKind.VIDEO not in wanted or videos >= most or self._reordered

    def _demux(self) -> Packet | None:
        try:
            for packet in self._packets:
                made = self._convert(packet) if packet.size else None
                if made is not None:
                    return made
        except av.FFmpegError as error:
            if not self._file.seekable():
                raise unsupported(
                    f"the source cannot be read in one go ({error.strerror}): if it is an MP4 with its index "
                    "at the end, its server must honour Range requests, or the file be made with faststart"
                ) from error
            raise unsupported(f"the source is damaged: {error.strerror}") from error
        return None

    def _convert(self, packet: Any) -> Packet | None:
        dts, pts = packet.dts, packet.pts
        if dts is None and pts is None:
            self.dropped += 1
            return None
        kind, numerator, denominator = self._clocks[packet.stream_index]
        dts_us = (pts if dts is None else dts) * numerator // denominator
        pts_us = dts_us if pts is None else pts * numerator // denominator
        made = Packet(kind, bytes(packet), dts_us, pts_us, packet.is_keyframe)
        # Asked for once: each question for one kind costs more than the answer that there are none.
        for side in packet.iter_sidedata():
            if side.data_type == "encryption_info":
                raise unsupported("the source is encrypted (DRM), and there is no key for it")
            if side.data_type == "new_extradata":
                made.extradata = bytes(side)
            elif side.data_type == SKIP_SAMPLES and self._trims is not None:
                self._trims.note(bytes(side))
        if kind is TrackKind.AUDIO and self._trims is not None:
            self._trims.apply(packet, made)
        elif kind is TrackKind.VIDEO:
            extradata = made.extradata
            if self._annexb is not None and not self._annexb.convert(made):
                self.dropped += 1
                return None
            made.extradata = extradata or made.extradata
            if self._rotation is None:
                self._rotation = _rotation(packet)
        if self._timeline is not None:
            self._timeline.place(made)
        return made

    def _video_track(self, stream: VideoStream) -> VideoTrack:
        context = stream.codec_context
        extradata, size = context.extradata or b"", (context.width, context.height)
        reordered = self._reordered or bool(context.has_b_frames)
        if context.name == "h264":
            if self._annexb is not None:
                extradata = self._annexb.record()
            try:
                sps = Sps.parse(AvcConfig.parse(extradata).sps[0])
            except H264Error as error:
                raise unsupported(f"the source's H.264 configuration is damaged: {error}") from error
            size = (sps.width, sps.height)
            # An encoder without B-frames may still shift all its times by a constant.
            reordered = reordered and sps.profile_idc != _BASELINE
        # Only this container tells it exactly; of others it is a guess from the last timestamps.
        exact = stream.duration is not None and _MP4 in stream.container.format.name.split(",")
        return VideoTrack(
            context.name,
            extradata,
            *size,
            reordered,
            duration_us=_us(stream.duration or 0, stream) if exact and not self._live else None,
            rotation=(self._rotation or 0) % 360,
            pixel_aspect=stream.sample_aspect_ratio,
        )


class _Reading:
    """The file as FFmpeg gets it: at its end once it failed. FFmpeg may ask again, and PyAV, which keeps one
    error only, would print the traceback of the first."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._failed = False
        self.tell, self.seekable = file.tell, file.seekable

    def read(self, size: int) -> bytes:
        if self._failed:
            return b""
        self._failed = True
        data = self._file.read(size)
        self._failed = False
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._failed:
            return -1
        self._failed = True
        position = self._file.seek(offset, whence)
        self._failed = False
        return position


def _audio_track(stream: AudioStream) -> AudioTrack:
    context = stream.codec_context
    return AudioTrack(context.name, context.extradata or b"", context.sample_rate, context.channels)


def _missing(kinds: frozenset[TrackKind]) -> str:
    if len(kinds) > 1:
        return "the source has neither video nor audio that can be played"
    (kind,) = kinds
    return f"only {kind.value} was asked for, but the source has none"


def _rotation(packet: Any) -> int:
    """Degrees counter-clockwise. The display matrix is told only with a decoded picture."""
    context = packet.stream.codec_context
    context.thread_count = 1
    try:
        frames = [*packet.decode(), *context.decode(None)]
    except av.FFmpegError:
        return 0  # who plays it drops what cannot be decoded
    return int(frames[0].rotation) if frames else 0


def _us(value: int, stream: VideoStream | AudioStream) -> int:
    _, numerator, denominator = _clock(stream)
    return value * numerator // denominator


def _clock(stream: VideoStream | AudioStream) -> tuple[TrackKind, int, int]:
    base = stream.time_base
    assert base is not None  # noqa: S101 - every demuxed stream has one
    return _KINDS[stream.type], 1_000_000 * base.numerator, base.denominator


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise SourceError(
        Reason.ADDRESS_NOT_ALLOWED, "the file refers to another address, which is not opened", transient=False
    )


def unsupported(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_UNSUPPORTED, text, transient=False)
