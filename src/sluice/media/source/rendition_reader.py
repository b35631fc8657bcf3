"""Makes packets of segmented sources (HLS, DASH): one reader for each rendition, all on one clock.

A reader opens a demuxer for each file, whole or made of segments of one run (RunFile), and places its packets
on the source's clock. A run (`Segment.run`) has one clock in all renditions, by the playlist. Only packed
audio without timestamps has none, and is placed where the playlist says. Everything blocks and runs on a
worker thread.
"""

import io
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sluice.core.errors import SourceError, interrupted, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe, Track
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.demuxer import Damaged, Demuxer
from sluice.media.source.hls_forms import Form
from sluice.media.source.hls_playlist import Segment
from sluice.media.source.hls_reader import RunFile
from sluice.media.source.hls_rendition import Rendition
from sluice.media.source.sniff import ByteFile, read_up_to
from sluice.wire import id3

#: How many packets a live source may have before its next key frame: some twenty seconds.
_MOST_BEFORE_KEY = 2000
#: Runs whose clocks are kept for the other renditions; of a recording, all that a seek may go back to.
_MOST_CLOCKS = 10_000
_TAG_HEADER = 10  #: bytes that tell the length of an ID3 tag
#: Timestamps of transport streams count 33 bits of 90 kHz.
_WRAP_US = (1 << 33) * 100 // 9
#: Durations in playlists are rounded: a run that begins this near the end of the last one joins it.
_ROUNDED_US = 500_000


class RenditionReader:
    """The packets of one rendition on the source's clock, over all its runs."""

    def __init__(self, rendition: Rendition, kinds: frozenset[TrackKind], clocks: dict[int, int]) -> None:
        """`clocks`, which the readers share: what is added to the timestamps of each run."""
        self.rendition = rendition
        self.kinds = kinds
        self._clocks = clocks
        self._close_file: Callable[[], None] | None = None
        self._run_file: RunFile | None = None
        self._demuxer: Demuxer | None = None
        self._offset_us = 0
        self._ahead: deque[Packet] = deque()
        self._lead_us: int | None = None  #: media time minus the rendition's clock
        self._taken_us = 0  #: the rendition's `taken_us` when `_lead_us` was measured
        self._end_us: int | None = None  #: where the last packet ends, about
        self._has_video = False
        self._untold: dict[TrackKind, Track] = {}  #: tracks whose first packets were left out
        self.container = ""  #: of its segments, for people

    def open(self) -> Probe:
        """Raises SourceError. The probe leaves the duration of the video open."""
        while True:
            segment = self.rendition.peek()
            if segment is None:
                raise unsupported("no segment of the source can be read")
            probe = self._open_demuxer(segment)
            if probe is not None:
                break
        if probe.video is None:
            return probe
        # A fragmented file tells the duration of its first fragments only.
        return replace(probe, video=replace(probe.video, duration_us=None))

    def peek(self) -> Packet | None:
        """The next packet; None at the end, and while a rendition that may be late has none. Raises
        SourceError."""
        while not self._ahead:
            packet = self._demux()
            if packet is not None:
                packet.shift(self._offset_us)
                self._ahead.append(packet)
            elif (segment := self.rendition.peek()) is not None:
                self._open_demuxer(segment)
            else:
                return None
        return self._ahead[0]

    def due_us(self) -> int:
        return self._ahead[0].dts_us

    def take(self) -> Packet:
        """The packet that `peek` returned."""
        packet = self._ahead.popleft()
        if packet.kind in self._untold:
            packet.track = packet.track or self._untold.pop(packet.kind)
        self._end_us = packet.dts_us
        if self._taken_us != self.rendition.taken_us:
            # The demuxer asks for a segment when it has returned the one before, but for a frame or two.
            self._taken_us = self.rendition.taken_us
            self._lead_us = packet.dts_us - self._taken_us
        return packet

    def edge_us(self) -> int:
        """The media time that a live source has come to by now."""
        return self.rendition.newest_us() + (self._lead_us or 0)

    def rejoin(self, behind_us: int | None = None) -> int:
        """Leaves the current segment for the one that `Rendition.rejoin` chooses. Returns its distance from
        the end of the playlist."""
        self.close()
        segment = self.rendition.rejoin(behind_us)
        self._end_us = self.rendition.begin_us(segment) + (self._lead_us or 0)
        return self.rendition.playlist.duration_us - segment.start_us

    def begin_at_key(self) -> int | None:
        """Drops packets before the next key frame, and returns its time; audio alone begins with any packet.
        None at the end of the source. Raises SourceError."""
        sound: list[Packet] = []
        for _ in range(_MOST_BEFORE_KEY):
            packet = self.peek()
            if packet is None:
                return None
            if not self._has_video or (packet.kind is TrackKind.VIDEO and packet.key):
                self._ahead.extendleft(p for p in reversed(sound) if p.pts_us >= packet.pts_us)
                return packet.pts_us
            if packet.kind is TrackKind.AUDIO:
                sound.append(packet)
            self._leave_out()
        raise interrupted("the live source has no key frame near its edge")

    def begin_at(self, media_us: int) -> None:
        """Drops packets before this time. Raises SourceError."""
        while (packet := self.peek()) is not None and packet.pts_us < media_us:
            self._leave_out()

    def seek(self, position_us: int) -> None:
        """Goes to the beginning of the segment that has the position; in a segment that is a whole file, to
        the key frame before it."""
        if not self.rendition.playlist.ended:
            raise unsupported("a live source cannot be repeated")
        self.close()
        self._end_us = None
        self.rendition.seek(position_us)
        segment = self.rendition.peek()
        if segment is not None and segment.whole and position_us > segment.start_us:
            self._open_demuxer(segment, position_us)

    def close(self) -> None:
        self._ahead.clear()
        if self._demuxer is not None:
            self._demuxer.close()
        if self._close_file is not None:
            self._close_file()
        self._demuxer = self._run_file = self._close_file = None

    def _leave_out(self) -> None:
        packet = self.take()
        if packet.track is not None:
            self._untold[packet.kind] = packet.track

    def _demux(self) -> Packet | None:
        """The next packet of the current file; None at its end, and where the rest of it cannot be read."""
        if self._demuxer is None:
            return None
        try:
            return self._demuxer.next()
        except Damaged as error:
            if self._run_file is None:
                raise
            self._run_file.skip_segment(str(error))
            return None

    def _open_demuxer(self, segment: Segment, position_us: int | None = None) -> Probe | None:
        """Opens a demuxer for the file that begins with `segment`. None if that segment cannot be read and is
        left out. Raises SourceError."""
        self.close()
        live = not self.rendition.playlist.ended
        file = self._open_file(segment)
        timed = True
        if self._run_file is not None and self.rendition.form() is Form.AUDIO:
            file = _Tagged(file)
            timed = file.timestamp_us is not None
        joined, notes = self._end_us is not None, self.rendition.notes
        self._demuxer = Demuxer(file, live=live, joined=joined, kinds=self.kinds, notes=notes)
        try:
            probe = self._demuxer.open()
        except SourceError as error:
            if self._run_file is None or error.reason is not Reason.SOURCE_UNSUPPORTED or error.transient:
                raise
            self._run_file.skip_segment(str(error))
            return None
        self.container = self._demuxer.container
        first_us = self._demuxer.first_us
        if isinstance(file, _Tagged) and file.timestamp_us is not None:
            first_us = file.timestamp_us
        self._has_video = probe.video is not None
        offset_us = self._offset(segment, first_us, live=live, timed=timed)
        self._offset_us = offset_us + first_us - self._demuxer.first_us
        self._taken_us = self.rendition.taken_us
        self._lead_us = first_us + offset_us - self.rendition.begin_us(segment)
        if position_us is not None and file.seekable():
            self._demuxer.seek(position_us - self._offset_us)
        return probe

    def _open_file(self, segment: Segment) -> ByteFile:
        if not segment.whole:
            self._run_file = RunFile(self.rendition, segment)
            self._close_file = self._run_file.close
            return self._run_file
        self.rendition.advance(segment)
        file = self.rendition.fetcher.open(segment.part.url)
        self._close_file = partial(self.rendition.fetcher.close, file)
        return file

    def _offset(self, segment: Segment, first_us: int, *, live: bool, timed: bool) -> int:
        """What is added to the timestamps of the run that begins with `segment`.

        The reader that comes first to a run places it where the playlist says, or right behind the run
        before; the other readers use the same offset, corrected by wraps of the timestamp. `timed`: the media
        has timestamps at all.
        """
        if segment.shift_us is not None:
            return segment.shift_us
        planned_us = self._planned_us(segment, live=live)
        known_us = self._clocks.get(segment.run)
        if not timed:
            return planned_us - first_us
        if known_us is not None:
            return known_us + round((planned_us - first_us - known_us) / _WRAP_US) * _WRAP_US
        while len(self._clocks) >= _MOST_CLOCKS:
            del self._clocks[next(iter(self._clocks))]
        self._clocks[segment.run] = planned_us - first_us
        return planned_us - first_us

    def _planned_us(self, segment: Segment, *, live: bool) -> int:
        if not live:
            return segment.start_us
        if self._lead_us is None or self._end_us is None:
            return self._end_us or 0
        listed_us = self.rendition.begin_us(segment) + self._lead_us
        return self._end_us if abs(listed_us - self._end_us) < _ROUNDED_US else max(listed_us, self._end_us)


class _Tagged:
    """A segment of packed audio, with the timestamp of its ID3 tag (RFC 8216bis 3.1.4)."""

    def __init__(self, file: ByteFile) -> None:
        """Reads the tag. Raises what the file does."""
        self._file = file
        self._head = file.read(_TAG_HEADER)
        wanted = min(id3.tag_bytes(self._head), id3.MOST_BYTES)
        self._head += read_up_to(file, wanted - len(self._head))
        self.timestamp_us = id3.timestamp_us(self._head)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._file.tell() - len(self._head)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        raise OSError("segments are read in order")

    def read(self, size: int) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        return data or self._file.read(size)

    def close(self) -> None:
        self._file.close()
