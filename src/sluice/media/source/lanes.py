"""Segmented sources (HLS, DASH) as packets: one lane for each rendition, all on one clock.

A lane opens a demuxer for each run of segments that can be read as one file, and places what it gives on the
source's clock. Everything blocks and runs on a worker thread.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.demuxer import Demuxer
from sluice.media.source.hls_playlist import Segment
from sluice.media.source.hls_reader import Rendition, RunFile
from sluice.media.source.sniff import ByteFile

#: Packets that a live source may have before its next key frame: some twenty seconds.
_MOST_BEFORE_KEY = 2000
#: A playlist of sound whose timestamps lie further away has a clock of its own.
_CLOCKS_APART_US = 10_000_000
#: Runs whose clock is kept for the other playlist; of a recording, all that a seek may come back to.
_MOST_CLOCKS = 10_000


class Lane:
    """The packets of one rendition on the source's clock, over all its runs."""

    def __init__(self, rendition: Rendition, kinds: frozenset[TrackKind], clocks: dict[int, int]) -> None:
        """`clocks`, shared by the lanes: what is added to the timestamps of each run."""
        self.rendition = rendition
        self._kinds = kinds
        self._clocks = clocks
        self._close_file: Callable[[], None] | None = None
        self._demuxer: Demuxer | None = None
        self._offset_us = 0
        self._ahead: deque[Packet] = deque()
        self._lead_us = 0  #: media time minus the rendition's clock
        self._taken_us = 0  #: the rendition's, when that was found out
        self._end_us: int | None = None  #: where the last packet ends, about
        self._pictures = False
        self._codecs: tuple[str | None, str | None] | None = None

    def open(self) -> Probe:
        """Raises SourceError. The length of the picture is left open."""
        segment = self.rendition.peek()
        assert segment is not None  # noqa: S101 - a playlist with segments begins with one
        probe = self._open_run(segment)
        if probe.video is None:
            return probe
        # A fragmented file tells the length of its first fragments.
        return replace(probe, video=replace(probe.video, duration_us=None))

    def peek(self) -> Packet | None:
        """The next packet, None at the end. Raises SourceError."""
        while not self._ahead:
            packet = self._demuxer.next() if self._demuxer is not None else None
            if packet is not None:
                packet.dts_us += self._offset_us
                packet.pts_us += self._offset_us
                self._ahead.append(packet)
            elif (segment := self.rendition.peek()) is not None:
                self._open_run(segment)
            else:
                return None
        return self._ahead[0]

    def due_us(self) -> int:
        return self._ahead[0].dts_us

    def take(self) -> Packet:
        """The packet that `peek` showed."""
        packet = self._ahead.popleft()
        self._end_us = packet.dts_us
        if self._taken_us != self.rendition.taken_us:
            # The demuxer asks for a segment when it has given, but for a frame or two, all of the one before.
            self._taken_us = self.rendition.taken_us
            self._lead_us = packet.dts_us - self._taken_us
        return packet

    def edge_us(self) -> int:
        """The media time that a live source has come to by now."""
        return self.rendition.newest_us() + self._lead_us

    def rejoin(self, behind_us: int | None = None) -> int:
        """Leaves the present segment for the one that `Rendition.rejoin` chooses, and tells how far from the
        end of the playlist that is."""
        self.close()
        segment = self.rendition.rejoin(behind_us)
        self._end_us = self.rendition.begin_us(segment) + self._lead_us
        return self.rendition.playlist.duration_us - segment.start_us

    def begin_at_key(self) -> int | None:
        """Leaves out what comes before the next key frame, and tells its time; sound alone begins with any
        packet. None at the end of the source. Raises SourceError."""
        sound: list[Packet] = []
        for _ in range(_MOST_BEFORE_KEY):
            packet = self.peek()
            if packet is None:
                return None
            if not self._pictures or (packet.kind is TrackKind.VIDEO and packet.key):
                self._ahead.extendleft(p for p in reversed(sound) if p.pts_us >= packet.pts_us)
                return packet.pts_us
            if packet.kind is TrackKind.AUDIO:
                sound.append(packet)
            self.take()
        raise SourceError(
            Reason.SOURCE_INTERRUPTED, "the live source has no key frame near its edge", transient=True
        )

    def begin_at(self, media_us: int) -> None:
        """Leaves out what comes before. Raises SourceError."""
        while (packet := self.peek()) is not None and packet.pts_us < media_us:
            self.take()

    def seek(self, position_us: int) -> None:
        """To the beginning of the segment that holds the position, or in a whole file to its key frame."""
        if not self.rendition.playlist.ended:
            raise SourceError(Reason.SOURCE_UNSUPPORTED, "a live source cannot be repeated", transient=False)
        self.close()
        self._end_us = None
        self.rendition.seek(position_us)
        segment = self.rendition.peek()
        if segment is not None and segment.whole and position_us > segment.start_us:
            self._open_run(segment, position_us)

    def close(self) -> None:
        self._ahead.clear()
        if self._demuxer is not None:
            self._demuxer.close()
        if self._close_file is not None:
            self._close_file()
        self._demuxer = self._close_file = None

    def _open_run(self, segment: Segment, position_us: int | None = None) -> Probe:
        self.close()
        live = not self.rendition.playlist.ended
        file = self._open_file(segment)
        self._demuxer = Demuxer(file, live=live, kinds=self._kinds)
        probe = self._demuxer.open()
        codecs = (probe.video.codec if probe.video else None, probe.audio.codec if probe.audio else None)
        if self._codecs is not None and codecs != self._codecs:
            raise SourceError(
                Reason.SOURCE_INTERRUPTED, "the source changed its codecs in mid-stream", transient=True
            )
        self._codecs = codecs
        self._pictures = probe.video is not None
        self._offset_us = self._offset(segment, live)
        self._taken_us = self.rendition.taken_us
        self._lead_us = self._demuxer.first_us + self._offset_us - self.rendition.begin_us(segment)
        if position_us is not None and file.seekable():
            self._demuxer.seek(position_us - self._offset_us)
        self._announce(probe)
        return probe

    def _open_file(self, segment: Segment) -> ByteFile:
        if not segment.whole:
            run = RunFile(self.rendition, segment)
            self._close_file = run.close
            return run
        self.rendition.advance(segment)
        file = self.rendition.fetcher.open(segment.part.url)
        self._close_file = partial(self.rendition.fetcher.close, file)
        return file

    def _offset(self, segment: Segment, live: bool) -> int:
        """A recording's runs begin where its playlist says, a live stream's behind what came before, unless
        the playlist tells it, too."""
        assert self._demuxer is not None  # noqa: S101 - just opened
        told = segment.shift_us is not None
        planned_us = (self._end_us or 0) if live and not told else segment.start_us
        known_us = segment.shift_us if told else self._clocks.get(segment.run)
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
