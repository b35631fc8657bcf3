"""FFmpeg's demuxers over our own byte files: tracks and packets in one form, whatever the container.

FFmpeg gets no protocol, and only demuxers that read one file: a file that turns out to be a list of addresses
must not make it open any of them. Everything blocks and runs on a worker thread. Times are microseconds of
the container's own clock, without its wraps and jumps.

The first packet of a track describes it (`Packet.track`), whenever it comes. Where the bytes continue as
another container (splits.py), that one is opened in its turn, and its tracks continue the old ones.
"""

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import av
from av.container import InputContainer
from av.stream import Discard

from sluice.core.budget import Allowance
from sluice.core.errors import SourceError, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.limits import (
    LONGEST_PACKET,
    MOST_ALLOCATION_BYTES,
    MOST_PIXELS,
    MOST_RESTARTS,
    MOST_RESTARTS_PER_S,
    MOST_TRACKS,
)
from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.core.source_facts import container_title
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.cut_file import CutFile
from sluice.media.source.mp4_boxes import fault_of_mp4
from sluice.media.source.notes import Notes
from sluice.media.source.rates import PacketRates
from sluice.media.source.sniff import ByteFile
from sluice.media.source.streams import StreamTrack, of_one_program, playable
from sluice.media.source.timeline import Timeline

#: Demuxers that read a single file, of a kind that people send: the contract's, and those that come for free.
FORMATS = "mov,mpegts,mp3,aac,matroska,ogg,wav,flac,ac3,eac3,aiff,caf,amr,avi,asf"
#: Containers of streams, whose timestamps wrap and jump; those of files may leave gaps on purpose.
_JUMPING = frozenset({"mpegts", "aac", "mp3", "ogg"})
#: Containers in which tracks may begin whenever they like.
_OPEN_ENDED = frozenset({"mpegts"})
#: Pictures that are examined for B-frames: of recordings, of live streams.
_LOOK_AHEAD, _LOOK_AHEAD_LIVE = 32, 2
#: How long announced tracks are waited for once another has begun: media, bytes, and time.
_WAIT_US, _WAIT_BYTES, _WAIT_S = 30_000_000, 4 << 20, 3.0
WAIT_LIVE_US, WAIT_LIVE_S = 10_000_000, 1.5
#: How much media FFmpeg examines, in microseconds: of a live source, of a container that continues another.
_LOOK_LIVE, _LOOK_ON = "500000", "100000"
#: A source that brings so many bytes without a track that can be decoded has none.
_MOST_BARREN_BYTES = 64 << 20
#: A stream that brings nothing for so long, while another of its kind does, has ended.
_OVER_US = 1_000_000
#: How far before a position its key frame is looked for; None: from the beginning.
_SEEK_BACK_US = (0, 2_000_000, 6_000_000, 20_000_000, None)
_ROUNDING_US = 1_000
#: How far apart a file may interleave its tracks before its video counts as ended.
_APART_US = 10_000_000
#: Packets in a row that cannot be read before the rest is given up.
_MOST_ERRORS = 20
_MOV = "mov"
#: FFmpeg opens nothing by itself, and decodes no larger pictures than pipes do when it examines streams.
_OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",
    "enable_drefs": "0",
    "max_streams": str(MOST_TRACKS),
    "max_pixels": str(MOST_PIXELS),
}
_TOO_MUCH = (
    f"has more than {MOST_TRACKS} tracks, or claims what would take more than "
    f"{MOST_ALLOCATION_BYTES >> 20} MiB of memory at once"
)
_NO_MEDIA = (
    "the source is no media that can be played: give the address of an HLS playlist or of an MP4, FLV, "
    "MPEG-TS, MP3, AAC, Matroska, Ogg, WAV or FLAC file or stream"
)


class Damaged(SourceError):
    """The rest of the source cannot be read."""

    def __init__(self, text: str) -> None:
        super().__init__(Reason.SOURCE_UNSUPPORTED, text, transient=False)


class Demuxer:
    """`open`, then `next` until it gives none. `first_us` is when the picture begins, or the sound alone."""

    def __init__(
        self,
        file: ByteFile,
        *,
        live: bool = False,
        joined: bool = False,
        kinds: frozenset[TrackKind] | None = None,
        notes: Notes | None = None,
    ) -> None:
        """`live`: probe no longer than needed. `joined`: in the middle, since the file continues another one.
        `kinds`: the tracks wanted, None for all. `notes`: of the source that the file is a part of."""
        self._file = file
        self._live, self._joined = live, live or joined
        self._kinds = kinds or frozenset(TrackKind)
        self._container: InputContainer | None = None
        self.notes = notes or Notes()
        self._cut_file = CutFile(file, self.notes)
        self._streams: dict[int, StreamTrack] = {}
        self._playing: dict[TrackKind, StreamTrack] = {}
        self._packets: Iterator[Any] = iter(())
        self._ahead: deque[Packet] = deque()  #: examined, or put back
        self._made: deque[Packet] = deque()  #: of the container, next
        self._timeline: Timeline | None = None
        self._read_bytes = self._errors = 0
        self._rates = PacketRates()
        self._restarts = Allowance(MOST_RESTARTS, MOST_RESTARTS_PER_S)
        self._made_us = 0  #: time of the last packet that was made
        self.first_us = 0
        self._begin_us = 0  #: of the first packet, which may come before what is shown or heard
        self.dropped = 0
        self.container = ""  #: its title, for people

    def open(self) -> Probe:
        """Raises SourceError: the file's own, or SOURCE_UNSUPPORTED for no media, or encrypted media."""
        until_s = time.monotonic() + (WAIT_LIVE_S if self._live else _WAIT_S)
        container = self._open_container()
        name, duration = _name(container), container.duration
        if name in _JUMPING:
            self._timeline = Timeline()
        self._look_ahead(until_s)
        if name == _MOV:
            self._begin_us = min(0, *(packet.dts_us for packet in self._ahead))
        tracks = {kind: stream.track() for kind, stream in self._playing.items()}
        for packet in self._ahead:
            track = tracks.pop(packet.kind, None)
            if track is not None:
                packet.track = packet.track or track
        return self._probe(duration, complete=name not in _OPEN_ENDED)

    def next(self) -> Packet | None:
        """Raises SourceError. None at the end, and from then on."""
        return self._ahead.popleft() if self._ahead else self._demux()

    @property
    def ahead(self) -> int:
        """How many packets `next` returns without reading."""
        return len(self._ahead) + len(self._made)

    def put_back(self, packets: list[Packet]) -> None:
        """`next` returns them again, in this order."""
        self._ahead.extendleft(reversed(packets))

    def seek(self, at_us: int) -> None:
        """Goes to the key frame at or before `at_us`. Raises SourceError when the file cannot seek.

        Transport streams have no index: a jump lands anywhere, so it is tried again from further back.
        """
        if not self._cut_file.is_first:
            self._close_container()
            self._cut_file.rewind()
            self._open_container()
        for back_us in _SEEK_BACK_US:
            to_us = at_us - back_us if back_us is not None else self.first_us
            self._jump(max(0, to_us) if to_us > self.first_us else self._begin_us)
            if self._begins_at_key(at_us):
                return

    def close(self) -> None:
        """Also releases what FFmpeg made, even if somebody keeps this object: packets hold codecs."""
        self._ahead.clear()
        self._made.clear()
        self._close_container()

    # --- containers ---------------------------------------------------------------------------------------

    def _open_container(self) -> InputContainer:
        """Opens the current container of the file. Raises SourceError."""
        joined = not self._cut_file.is_first or self._joined
        options = dict(_OPTIONS)
        if joined:  # tracks that come later join: none is waited for
            options["analyzeduration"] = _LOOK_LIVE if self._cut_file.is_first else _LOOK_ON
        try:
            container = av.open(cast(Any, self._cut_file), "r", options=options, io_open=_refuse)
        except av.MemoryError as error:
            raise unsupported(f"the source {_TOO_MUCH}") from error
        except av.FFmpegError as error:
            if self._cut_file.note:
                raise self._no_media() from error
            raise unsupported(fault_of_mp4(self._cut_file.head, self._file) or _NO_MEDIA) from error
        assert isinstance(container, InputContainer)  # noqa: S101 - opened for reading
        self._container = container
        self.container = container_title(_name(container))
        found, left_out = playable(container, self._kinds)
        found, further = of_one_program(found, self._cut_file.programs)
        for text in (*left_out, *further):
            self.notes.add(text)
        if not found and self._cut_file.is_first:
            raise self._no_media() if self._cut_file.note else unsupported(self._nothing(left_out))
        if _name(container) not in _OPEN_ENDED:  # one of each kind will do
            found = list({stream.type: stream for stream in reversed(found)}.values())
        for other in container.streams:  # FFmpeg does not even read the others, where the container allows
            other.discard = Discard.default if other in found else Discard.all
        self._streams = {
            stream.index: StreamTrack(stream, live=self._live, joined=joined) for stream in found
        }
        self._playing = {}
        self._packets = container.demux(found)
        return container

    def _close_container(self) -> None:
        self._packets = iter(())
        self._streams, self._playing = {}, {}
        if self._container is not None:
            self._container.close()
            self._container = None

    def _go_on(self) -> bool:
        """Opens the container that follows the one that ended; False when there is none."""
        if not self._cut_file.go_on():
            return False
        if not self._restarts.take(self._made_us):
            raise unsupported(
                f"the source begins anew more than {MOST_RESTARTS_PER_S:g} times a second (links of an Ogg "
                "file, or program maps of a transport stream)"
            )
        self._close_container()
        self._open_container()
        return True

    def _restart(self) -> None:
        self._ahead.clear()
        self._made.clear()
        self._rates = PacketRates()
        self._restarts.begin_anew()
        self._made_us = 0
        if self._timeline is not None:
            self._timeline = Timeline()
        for stream in self._streams.values():
            stream.restart()
        self._demux_on()

    def _demux_on(self) -> None:
        """Demuxes on from the container's position: an error or a jump ends a generator of packets."""
        assert self._container is not None  # noqa: S101 - open comes first
        streams = [s for s in self._container.streams if s.index in self._streams]
        self._packets = self._container.demux(cast(Any, streams))

    def _probe(self, duration: int | None, *, complete: bool) -> Probe:
        tracks = [stream.track() for stream in self._playing.values()]
        return Probe(
            video=next((track for track in tracks if isinstance(track, VideoTrack)), None),
            audio=next((track for track in tracks if isinstance(track, AudioTrack)), None),
            live=self._live,
            seekable=self._file.seekable(),
            duration_us=int(duration) if duration and not self._live else None,
            complete=complete,
        )

    def _nothing(self, left_out: list[str]) -> str:
        if left_out:
            return "the source has nothing that can be played: " + "; ".join(left_out)
        if len(self._kinds) > 1:
            return "the source has neither video nor audio that can be played"
        (kind,) = self._kinds
        return f"only {kind.value} was asked for, but the source has none"

    # --- packets ------------------------------------------------------------------------------------------

    def _look_ahead(self, until_s: float) -> None:
        """Reads until every announced track has begun, or was waited for long enough."""
        first: dict[TrackKind, int] = {}
        videos, newest_us = 0, 0
        wanted = {stream.kind for stream in self._streams.values()}
        while (packet := self._demux_current() if first else self._demux()) is not None:
            self._ahead.append(packet)
            if not packet.hidden:
                first.setdefault(packet.kind, packet.pts_us)
            if packet.kind is TrackKind.VIDEO:
                # The first B-frame of a live stream is not waited for: shifted times announce it.
                self._playing[packet.kind].note_order(
                    shifted=self._live and packet.pts_us != packet.dts_us,
                    reordered=videos > 0 and packet.pts_us < newest_us,
                )
                newest_us = max(newest_us, packet.pts_us)
                videos += 1
            if self._looked_enough(set(first), wanted, videos):
                break
            span_us = packet.dts_us - self._ahead[0].dts_us
            waited = span_us > (WAIT_LIVE_US if self._live else _WAIT_US)
            if waited or self._read_bytes > _WAIT_BYTES or time.monotonic() > until_s:
                break
        if not first:
            raise self._no_media()
        self.first_us = first.get(TrackKind.VIDEO, next(iter(first.values())))

    def _looked_enough(self, found: set[TrackKind], wanted: set[TrackKind], videos: int) -> bool:
        if found != wanted:
            return False
        most = _LOOK_AHEAD_LIVE if self._live else _LOOK_AHEAD
        video = self._playing.get(TrackKind.VIDEO)
        return video is None or videos >= most or video.reordered or video.shifted

    def _no_media(self) -> SourceError:
        if self._cut_file.note:
            return SourceError(
                Reason.SOURCE_UNSUPPORTED,
                f"nothing can be played: {self._cut_file.note}",
                transient=self._live,
            )
        if self.dropped:
            text = "nothing of the source can be decoded: no key frame with parameter sets came"
            return SourceError(Reason.SOURCE_UNSUPPORTED, text, transient=self._live)
        return SourceError(Reason.IDLE_TIMEOUT, "the source has tracks, but no media in them", transient=True)

    def _demux(self) -> Packet | None:
        while (packet := self._demux_current()) is None and self._go_on():
            pass
        return packet

    def _demux_current(self) -> Packet | None:
        """The next packet of the current container."""
        while True:
            try:
                if self._made:
                    return self._made.popleft()
                for packet in self._packets:
                    self._errors = 0
                    if packet.size:
                        self._convert(packet)
                    if self._made:
                        return self._made.popleft()
            except (av.FFmpegError, IndexError) as error:  # IndexError: a stream that was not there before
                self._take_error(error)
            else:
                return None

    def _take_error(self, error: Exception) -> None:
        """Reads on behind damaged data. Raises SourceError where that does not help."""
        self._errors += 1
        self.notes.unusable += 1
        strerror = error.strerror if isinstance(error, av.FFmpegError) else "unknown stream"
        if isinstance(error, av.MemoryError):
            strerror = f"it {_TOO_MUCH}"
        if not self._file.seekable() and not self._read_bytes:
            raise unsupported(
                f"the source cannot be read in one go ({strerror}): if it is an MP4 with its index "
                "at the end, its server must honour Range requests, or the file be made with faststart"
            ) from error
        if self._errors > _MOST_ERRORS or isinstance(error, av.EOFError):
            raise Damaged(f"the source cannot be read on: {strerror}") from error
        self._demux_on()

    def _convert(self, packet: Any) -> None:
        """Appends the packets that can be used to `_made`."""
        stream = self._streams[packet.stream_index]
        playing = self._playing.get(stream.kind)
        if playing is not None and playing is not stream and not self._takes_over(packet, stream, playing):
            return
        self._read_bytes += packet.size
        self._cut_file.barren = 0
        if packet.size > LONGEST_PACKET:
            raise unsupported(f"the source has a packet of more than {LONGEST_PACKET >> 20} MiB")
        made = stream.convert(packet)
        if not made:
            self.dropped += not stream.waits
            self.notes.unusable += not stream.waits
            if not self._playing and self._read_bytes > _MOST_BARREN_BYTES:
                raise self._no_media()
            return
        if playing is not stream:
            self._playing[stream.kind] = stream
            made[0].track = stream.track()
        if self._timeline is not None:
            for each in made:
                self._timeline.place(each)
        self._made_us = made[-1].dts_us
        self._rates.check(made)
        self._made += made

    def _takes_over(self, packet: Any, stream: StreamTrack, playing: StreamTrack) -> bool:
        """Whether `playing` has ended, so that `stream` takes over."""
        if packet.dts is None and packet.pts is None:
            return False
        at_us = stream.time_us(packet)
        return playing.last_us is not None and at_us > playing.last_us + _OVER_US

    # --- positions ----------------------------------------------------------------------------------------

    def _jump(self, at_us: int) -> None:
        assert self._container is not None  # noqa: S101 - open comes first
        try:
            self._container.seek(at_us, backward=True)
        except av.FFmpegError as error:
            raise unsupported("the source cannot be read from another position") from error
        self._cut_file.jumped()
        self._restart()

    def _begins_at_key(self, at_us: int) -> bool:
        """Drops video before the first key frame; False when that comes after `at_us`."""
        if not any(stream.kind is TrackKind.VIDEO for stream in self._streams.values()):
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


def _name(container: InputContainer) -> str:
    return container.format.name.split(",")[0]


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise SourceError(
        Reason.ADDRESS_NOT_ALLOWED, "the file refers to another address, which is not opened", transient=False
    )
