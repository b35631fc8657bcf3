"""Reads the renditions of a segmented source side by side on one clock, and skips ahead in a live one.

A live source that fell behind continues where a viewer who joins now would begin: all renditions at one key
frame. Its clock has no gap where media is left out, so that listeners notice only a fade.
"""

import time

from sluice.core.errors import interrupted
from sluice.core.live_edge import Edge
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind, kinds_of
from sluice.media.source.gather import Gather
from sluice.media.source.hls_playlist import Part
from sluice.media.source.hls_rendition import SegmentsGone
from sluice.media.source.rendition_reader import RenditionReader

#: Behind media that is left out, the clock continues this far before the end of the audio: pipes take an
#: overlap of less than 30 ms for jitter, and fade over 20 ms of the rest.
_OVERLAP_US = 100_000
#: How long no rendition may bring anything, and the pause between two tries.
_STALL_S, _PAUSE_S = 10.0, 0.2


class RenditionSet:
    """The first reader, `main`, sets the pace; it has the video if there is any."""

    def __init__(self) -> None:
        self._readers: list[RenditionReader] = []
        self._played: Part | None = None  #: once it is closed
        self._left_out_us = 0
        self._newest: dict[TrackKind, int] = {}  #: decoding time of the last packet that was read
        self._gather = Gather(self._pull)

    @property
    def main(self) -> RenditionReader:
        return self._readers[0]

    @property
    def played(self) -> Part | None:
        return self._readers[0].rendition.taken if self._readers else self._played

    def add(self, reader: RenditionReader) -> None:
        self._readers.append(reader)
        if len(self._readers) > 1:
            self._gather.read_apart()

    def go_on_behind(self, part: Part | None) -> None:
        """To be called before `open`: begins behind this segment, not where a viewer who joins now would."""
        main, *others = self._readers
        behind_us = main.rendition.go_on_behind(part) if part is not None else None
        if behind_us is not None:
            for reader in others:
                reader.rendition.rejoin(behind_us)

    def open(self) -> list[Probe]:
        """Raises SourceError."""
        probes = [reader.open() for reader in self._readers]
        if not self.main.rendition.playlist.ended:
            self.main.rendition.brief = True
            if len(self._readers) > 1:
                self.main.rendition.accompany("picture")
        for probe in probes:
            self._gather.expect(kinds_of(probe))
        return probes

    def read(self, until_us: int) -> list[Packet]:
        """Packets in decoding order up to `until_us`, see Gather; empty at the end. Raises SourceError."""
        since = time.monotonic()
        while not (packets := self._gather.read(until_us)) and not self.main.rendition.playlist.ended:
            # A rendition that fails is played without; here none of them has anything.
            failures = [reader.rendition.failure for reader in self._readers]
            if failures[0] is not None and all(failures):
                raise failures[0]
            if len(self._readers) > 1 and time.monotonic() - since > _STALL_S:
                text = f"none of the playlists of the live source brought anything for {_STALL_S:g} s"
                raise interrupted(text)
            self.main.rendition.fetcher.wait(_PAUSE_S)
        return packets

    def _pull(self, kind: TrackKind | None) -> Packet | None:
        readers = [reader for reader in self._readers if kind is None or kind in reader.kinds]
        while True:
            try:
                ready = [reader for reader in readers if reader.peek() is not None]
            except SegmentsGone:
                self.main.rendition.lags()  # its playlist may be older than that of the other reader
                if self.main.rendition.playlist.ended:
                    return None
                self._rejoin()
                continue
            if not ready:
                return None
            packet = min(ready, key=RenditionReader.due_us).take()
            packet.shift(-self._left_out_us)
            self._newest[packet.kind] = packet.dts_us
            return packet

    def begin_at(self, media_us: int) -> None:
        """Drops packets before this time in all readers but the first. Raises SourceError."""
        for reader in self._readers[1:]:
            reader.begin_at(media_us)

    def edge(self) -> Edge | None:
        """The live edge; None when the source is a recording or has become one."""
        playlist = self.main.rendition.playlist
        if playlist.ended:
            return None
        target_us = playlist.duration_us - playlist.join().start_us
        return Edge(self.main.edge_us() - self._left_out_us, target_us, playlist.target_us)

    def skip(self) -> bool:
        """Skips to where a viewer who joins now begins; False if that is not ahead. Raises SourceError."""
        ahead = self.main.rendition.lags()
        if ahead:
            self._rejoin()
        return ahead

    def seek(self, position_us: int) -> None:
        """Raises SourceError where a reader cannot."""
        self._gather.clear()
        for reader in self._readers:
            reader.seek(position_us)

    def close(self) -> None:
        """Lets go of the readers: with their playlists they take megabytes, and `Gather` points back here."""
        self._gather.clear()
        self._played = self.played
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def _rejoin(self) -> None:
        main, *others = self._readers
        behind_us = main.rejoin()
        main.rendition.brief = False  # to have nothing yet would be taken for the end
        begin_us = main.begin_at_key()
        main.rendition.brief = True
        if begin_us is None:
            return  # it has ended meanwhile
        for reader in others:
            reader.rendition.lags()  # brings its playlist up to date, too
            reader.rejoin(behind_us)
        self.begin_at(begin_us)
        end_us = self._newest.get(TrackKind.AUDIO, max(self._newest.values(), default=0))
        self._left_out_us = begin_us - end_us + _OVERLAP_US
        self._gather.cut(end_us)
