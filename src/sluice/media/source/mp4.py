"""MP4 files over HTTP, demuxed by FFmpeg from our own guarded reader.

Everything here blocks and runs on a worker thread; the reader bounds each wait. FFmpeg gets no protocol
and no demuxer but MP4's: a file that turns out to be a playlist must not make it open anything by itself.
Times are microseconds from the beginning of the file.
"""

from collections import deque
from typing import Any

import av
from av.container import InputContainer
from av.stream import Stream as AvStream

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.media.packets import Packet, TrackKind
from sluice.net.http import HttpFile

_OPTIONS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2", "protocol_whitelist": "none", "enable_drefs": "0"}
#: Video packets looked at for B-frames before the plan is made.
_LOOK_AHEAD = 32
#: A file that interleaves its tracks worse than this is read in parts.
_MOST_PACKETS = 2000


class Mp4Source:
    """`open`, then `read` until it returns nothing; `seek` goes to the key frame at or before a position."""

    def __init__(self, file: HttpFile) -> None:
        self._file = file
        self._container: InputContainer | None = None
        self._tracks: dict[int, TrackKind] = {}
        self._ahead: deque[Packet] = deque()
        self._start_us = 0
        self._packets: Any = None

    def open(self) -> Probe:
        """Raises SourceError."""
        try:
            container = av.open(self._file, "r", options=_OPTIONS, io_open=_refuse)
        except av.FFmpegError as error:
            raise self._not_media() from error
        self._container = container
        video = next(iter(container.streams.video), None)
        audio = next(iter(container.streams.audio), None)
        chosen: list[AvStream] = [stream for stream in (video, audio) if stream is not None]
        if not chosen:
            raise self._not_media()
        self._tracks = {stream.index: _KINDS[stream.type] for stream in chosen}
        self._start_us = min((_us(s.start_time or 0, s) for s in chosen if s.type == "video"), default=0)
        self._packets = container.demux(chosen)
        reordered = self._look_ahead() if video is not None else False
        duration = container.duration
        return Probe(
            video=VideoTrack(
                video.codec_context.name,
                video.codec_context.extradata or b"",
                video.codec_context.width,
                video.codec_context.height,
                reordered or bool(video.codec_context.has_b_frames),
            )
            if video is not None
            else None,
            audio=AudioTrack(
                audio.codec_context.name,
                audio.codec_context.extradata or b"",
                audio.codec_context.sample_rate,
                audio.codec_context.channels,
            )
            if audio is not None
            else None,
            live=False,
            seekable=self._file.seekable(),
            duration_us=int(duration) if duration is not None else None,
        )

    def read(self, until_us: int) -> list[Packet]:
        """Packets in file order up to decoding time `until_us`; empty at the end of the file."""
        out: list[Packet] = []
        while len(out) < _MOST_PACKETS:
            packet = self._next()
            if packet is None:
                break
            out.append(packet)
            if packet.dts_us >= until_us:
                break
        return out

    def seek(self, position_us: int) -> None:
        """Raises SourceError when the server does not serve ranges."""
        assert self._container is not None  # noqa: S101 - open comes first
        self._ahead.clear()
        try:
            self._container.seek(position_us + self._start_us, backward=True)
        except av.FFmpegError as error:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED,
                "the source cannot be read again from an earlier position: its server ignores Range requests",
                transient=False,
            ) from error
        streams = [s for s in self._container.streams if s.index in self._tracks]
        self._packets = self._container.demux(streams)

    def abort(self) -> None:
        """From any thread: a read that blocks fails at once."""
        self._file.abort()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()

    def _look_ahead(self) -> bool:
        """Reads the first packets; True when the video's order of showing is not that of decoding."""
        found = 0
        while found < _LOOK_AHEAD:
            packet = self._demux()
            if packet is None:
                break
            self._ahead.append(packet)
            if packet.kind is TrackKind.VIDEO:
                found += 1
                if packet.pts_us != packet.dts_us:
                    return True
        return False

    def _next(self) -> Packet | None:
        return self._ahead.popleft() if self._ahead else self._demux()

    def _demux(self) -> Packet | None:
        try:
            for packet in self._packets:
                if packet.dts is None or packet.size == 0:
                    continue
                dts_us = _us(packet.dts, packet.stream) - self._start_us
                pts_us = dts_us if packet.pts is None else _us(packet.pts, packet.stream) - self._start_us
                kind = self._tracks[packet.stream.index]
                return Packet(kind, bytes(packet), dts_us, pts_us, packet.is_keyframe)
        except av.FFmpegError as error:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED, f"the file is damaged: {error.strerror}", transient=False
            ) from error
        return None

    def _not_media(self) -> SourceError:
        kind = self._file.content_type or "unknown type"
        return SourceError(
            Reason.SOURCE_UNSUPPORTED,
            f"the source is no MP4 file (the server says {kind}); this release plays MP4 over HTTP, and RTMP",
            transient=False,
        )


_KINDS = {"video": TrackKind.VIDEO, "audio": TrackKind.AUDIO}


def _us(value: int, stream: AvStream) -> int:
    base = stream.time_base
    assert base is not None  # noqa: S101 - every demuxed stream has one
    return value * 1_000_000 * base.numerator // base.denominator


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise SourceError(
        Reason.ADDRESS_NOT_ALLOWED, "the file refers to another address, which is not opened", transient=False
    )
