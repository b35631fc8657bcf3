"""The common part of segmented sources (HLS, DASH): a reader for each rendition, and notes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.live_edge import Edge
from sluice.core.plan import Probe
from sluice.core.source_facts import Packaging, Variant
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.hls_fetch import Fetcher
from sluice.media.source.hls_playlist import Part
from sluice.media.source.hls_rendition import Rendition
from sluice.media.source.notes import Notes
from sluice.media.source.rendition_reader import RenditionReader
from sluice.media.source.rendition_set import RenditionSet
from sluice.media.source.sniff import SniffedFile
from sluice.net.http import HttpFile


class SegmentedSource(ABC):
    """`open`, then `read` until it returns nothing; `seek` in a recording. Blocks, as a FileSource."""

    live: Literal[False] = False  #: played by media time; `Probe.live` says whether it has an end
    title: ClassVar[str]  #: of the format, for people

    def __init__(
        self,
        file: HttpFile,
        head: SniffedFile,
        connect: Callable[[str], HttpFile],
        kinds: frozenset[TrackKind] = frozenset(TrackKind),
    ) -> None:
        """`file` is the playlist or manifest; `head` wraps it and is at its beginning. `connect` makes files
        from addresses. Only tracks of `kinds` are read, and only the playlists that have them."""
        self.notes = Notes()
        self._file, self._head, self._kinds = file, head, kinds
        self._fetcher = Fetcher(connect)
        self._renditions = RenditionSet()
        self._behind: Part | None = None
        self._segments = ""  #: the container of its segments

    @property
    def packaging(self) -> Packaging:
        return Packaging.listed(self.title, self._segments, *self._offered())

    @abstractmethod
    def _offered(self) -> tuple[Sequence[Variant], int]:
        """The variants of the playlist or manifest, as far as it was read, and how many more there are. From
        any thread."""

    @abstractmethod
    def open(self) -> Probe:
        """Adds the renditions and opens them. Raises SourceError."""

    def _open_renditions(self, renditions: Iterable[tuple[Rendition, frozenset[TrackKind]]]) -> list[Probe]:
        """Adds a reader for each rendition and its kinds of tracks, and opens them. Raises SourceError."""
        clocks: dict[int, int] = {}
        for rendition, kinds in renditions:
            self._renditions.add(RenditionReader(rendition, kinds, clocks))
        self._renditions.go_on_behind(self._behind)
        probes = self._renditions.open()
        self._segments = self._renditions.main.container
        return probes

    @staticmethod
    def _summed_up(probes: Sequence[Probe], *, live: bool, duration_us: int | None) -> Probe:
        """The probes of the renditions as one."""
        return Probe(
            video=next((probe.video for probe in probes if probe.video), None),
            audio=next((probe.audio for probe in probes if probe.audio), None),
            live=live,
            seekable=not live,
            duration_us=None if live else duration_us,
        )

    @property
    def played(self) -> Part | None:
        """The last segment that was read; an attempt that continues behind it shows nothing twice."""
        return self._renditions.played

    def go_on_behind(self, part: Part) -> None:
        """To be called before `open`: a live source is joined behind `part`, if its playlist still has it."""
        self._behind = part

    def read(self, until_us: int) -> list[Packet]:
        """Packets in decoding order up to `until_us`; empty at the end. Raises SourceError."""
        return self._renditions.read(until_us)

    def edge(self) -> Edge | None:
        """The live edge; None for a recording, and for a live source that has ended."""
        return self._renditions.edge()

    def skip(self) -> bool:
        """Skips ahead to the live edge, see RenditionSet. Raises SourceError."""
        return self._renditions.skip()

    def seek(self, position_us: int) -> None:
        """Goes to the position or before it. Raises SourceError: a live source cannot seek."""
        self._renditions.seek(position_us)

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""
        self._file.abort()
        self._fetcher.abort()

    def close(self) -> None:
        self._renditions.close()
        self._fetcher.close_all()
        self._file.close()


def no_segments(what: str, *, live: bool) -> SourceError:
    """`what` lists no segments; those of a live source may come."""
    return SourceError(
        Reason.IDLE_TIMEOUT if live else Reason.SOURCE_UNSUPPORTED,
        f"{what} has no segments{' yet' if live else ''}",
        transient=live,
    )
