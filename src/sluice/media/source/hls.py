"""HLS, recorded and live: our own reader of playlists, FFmpeg's demuxers behind it.

FFmpeg's demuxer for HLS is not used: it resolves addresses against where it asked instead of where it was
redirected to, skips lost segments without a word, and sleeps where nothing can wake it. Media time begins
with the first segment that is played and runs on over discontinuities. A playlist that ended is an end;
a live one that stops growing is a loss (design 5).
"""

from collections.abc import Callable
from typing import Literal

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.demuxer import Demuxer
from sluice.media.source.hls_playlist import Segment, Variant, best_variant, is_master, parse_media
from sluice.media.source.hls_reader import Fetcher, Rendition, RunFile, read_text
from sluice.media.source.sniff import SniffedFile
from sluice.net.http import HttpFile

_MOST_PACKETS = 2000
#: A playlist of sound whose timestamps lie further away has a clock of its own.
_CLOCKS_APART_US = 10_000_000
#: Runs whose clock is kept for the other playlist; of a recording, all that a seek may come back to.
_MOST_CLOCKS = 10_000


class HlsSource:
    """`open`, then `read` until it returns nothing; `seek` in a recording. Blocks, as every file does."""

    live: Literal[False] = (
        False  #: played like a file, by media time; `Probe.live` says whether it has an end
    )

    def __init__(self, playlist: HttpFile, head: SniffedFile, connect: Callable[[str], HttpFile]) -> None:
        """`head` stands over `playlist`, at its beginning; `connect` makes files from addresses."""
        self._playlist, self._head = playlist, head
        self._fetcher = Fetcher(connect)
        self._lanes: list[_Lane] = []

    def open(self) -> Probe:
        """Raises SourceError."""
        text, base = read_text(self._head), self._playlist.url
        variant = best_variant(text, base) if is_master(text) else Variant(base, 0, (), None)
        if is_master(text):
            text, base = self._fetcher.text(variant.url)
        clocks: dict[int, int] = {}
        both = frozenset(TrackKind)
        main_kinds = both if variant.audio_url is None else frozenset({TrackKind.VIDEO})
        self._lanes = [self._lane(variant.url, text, base, main_kinds, clocks)]
        if variant.audio_url is not None:
            sound, sound_base = self._fetcher.text(variant.audio_url)
            only = frozenset({TrackKind.AUDIO})
            self._lanes.append(self._lane(variant.audio_url, sound, sound_base, only, clocks))
        probes = [lane.open() for lane in self._lanes]
        playlist = self._lanes[0].rendition.playlist
        return Probe(
            video=next((p.video for p in probes if p.video), None),
            audio=next((p.audio for p in probes if p.audio), None),
            live=not playlist.ended,
            seekable=playlist.ended,
            duration_us=playlist.duration_us if playlist.ended else None,
        )

    def read(self, until_us: int) -> list[Packet]:
        """Packets in the order of decoding up to `until_us`; empty at the end. Raises SourceError."""
        out: list[Packet] = []
        while len(out) < _MOST_PACKETS:
            lanes = [lane for lane in self._lanes if lane.peek() is not None]
            if not lanes:
                break
            packet = min(lanes, key=_Lane.due_us).take()
            out.append(packet)
            if packet.dts_us >= until_us:
                break
        return out

    def seek(self, position_us: int) -> None:
        """To the beginning of the segment that holds the position; a live source cannot."""
        for lane in self._lanes:
            lane.seek(position_us)

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""
        self._playlist.abort()
        self._fetcher.abort()

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
        self._playlist.close()

    def _lane(
        self, url: str, text: str, base: str, kinds: frozenset[TrackKind], clocks: dict[int, int]
    ) -> "_Lane":
        playlist = parse_media(text, base)
        if not playlist.segments:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED if playlist.ended else Reason.IDLE_TIMEOUT,
                "the playlist has no segments" + ("" if playlist.ended else " yet"),
                transient=not playlist.ended,
            )
        return _Lane(Rendition(url, playlist, self._fetcher), kinds, clocks)


class _Lane:
    """The packets of one rendition on the source's clock, over all its runs."""

    def __init__(self, rendition: Rendition, kinds: frozenset[TrackKind], clocks: dict[int, int]) -> None:
        """`clocks`, shared by the lanes: what is added to the timestamps of each run."""
        self.rendition = rendition
        self._kinds = kinds
        self._clocks = clocks
        self._file: RunFile | None = None
        self._demuxer: Demuxer | None = None
        self._offset_us = 0
        self._next: Packet | None = None
        self._end_us: int | None = None  #: where the last packet ends, about
        self._codecs: tuple[str | None, str | None] | None = None

    def open(self) -> Probe:
        """Raises SourceError."""
        segment = self.rendition.peek()
        assert segment is not None  # noqa: S101 - a playlist with segments begins with one
        return self._open_run(segment)

    def peek(self) -> Packet | None:
        """The next packet, None at the end. Raises SourceError."""
        while self._next is None:
            self._next = self._demuxer.next() if self._demuxer is not None else None
            if self._next is not None:
                self._next.dts_us += self._offset_us
                self._next.pts_us += self._offset_us
                return self._next
            segment = self.rendition.peek()
            if segment is None:
                return None
            self._open_run(segment)
        return self._next

    def due_us(self) -> int:
        return self._next.dts_us if self._next is not None else 0

    def take(self) -> Packet:
        """The packet that `peek` showed."""
        packet, self._next = self._next, None
        assert packet is not None  # noqa: S101 - peek comes first
        self._end_us = packet.dts_us
        return packet

    def seek(self, position_us: int) -> None:
        if not self.rendition.playlist.ended:
            raise SourceError(Reason.SOURCE_UNSUPPORTED, "a live source cannot be repeated", transient=False)
        self.close()
        self._end_us = self._next = None
        self.rendition.seek(position_us)

    def close(self) -> None:
        if self._demuxer is not None:
            self._demuxer.close()
        if self._file is not None:
            self._file.close()
        self._demuxer = self._file = None

    def _open_run(self, segment: Segment) -> Probe:
        self.close()
        live = not self.rendition.playlist.ended
        self._file = RunFile(self.rendition, segment)
        self._demuxer = Demuxer(self._file, live=live, kinds=self._kinds)
        probe = self._demuxer.open()
        codecs = (probe.video.codec if probe.video else None, probe.audio.codec if probe.audio else None)
        if self._codecs is not None and codecs != self._codecs:
            raise SourceError(
                Reason.SOURCE_INTERRUPTED, "the source changed its codecs in mid-stream", transient=True
            )
        self._codecs = codecs
        self._offset_us = self._offset(segment, live)
        self._announce(probe)
        return probe

    def _offset(self, segment: Segment, live: bool) -> int:
        """A recording's runs begin where its playlist says, a live stream's behind what came before."""
        assert self._demuxer is not None  # noqa: S101 - just opened
        planned_us = (self._end_us or 0) if live else segment.start_us
        known_us = self._clocks.get(segment.run)
        first_us = self._demuxer.first_us
        if known_us is not None and abs(first_us + known_us - planned_us) < _CLOCKS_APART_US:
            return known_us
        while len(self._clocks) >= _MOST_CLOCKS:
            del self._clocks[next(iter(self._clocks))]
        self._clocks.setdefault(segment.run, planned_us - first_us)
        return planned_us - first_us

    def _announce(self, probe: Probe) -> None:
        """Another run may have other parameter sets: they go with its first packet of each kind."""
        assert self._demuxer is not None  # noqa: S101 - just opened
        for track, kind in ((probe.video, TrackKind.VIDEO), (probe.audio, TrackKind.AUDIO)):
            if track is not None and track.extradata:
                self._demuxer.announce(kind, track.extradata)
