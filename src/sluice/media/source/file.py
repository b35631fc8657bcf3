"""A media file over HTTP, of any container. Its player reads it ahead and paces it.

Everything blocks and runs on a worker thread; the HTTP reader bounds each wait. Times are microseconds from
the beginning of the file. If the server does not honour Range, a seek reads the file again from its
beginning.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from sluice.core.errors import interrupted
from sluice.core.plan import Probe
from sluice.core.source_facts import Packaging
from sluice.media.packets import Packet, TrackKind, kinds_of
from sluice.media.source.containers import Container, container_for
from sluice.media.source.gather import Gather
from sluice.media.source.notes import Notes
from sluice.media.source.sniff import SniffedFile
from sluice.net.http import HttpFile


class DemuxSource:
    """`open`, then `read` until it returns nothing; `seek` goes to the key frame at or before a position."""

    live: Literal[False] = False

    def __init__(
        self,
        file: HttpFile,
        head: SniffedFile,
        connect: Callable[[], HttpFile],
        kinds: frozenset[TrackKind] = frozenset(TrackKind),
        opened: tuple[Container, Probe] | None = None,
    ) -> None:
        """`head` wraps `file`; `connect` makes a new file of the same address, not connected yet. Only tracks
        of `kinds` are read. `opened`: a demuxer over `head` and its probe, where they were needed to
        recognize the source."""
        self._file, self._head, self._connect, self._kinds = file, head, connect, kinds
        self._aborted = False
        self._demuxer: Container
        self._probe: Probe | None
        self._demuxer, self._probe = opened or (container_for(head, kinds=kinds), None)
        self._gather = Gather(self._pull)
        self._bitrate_bps: int | None = None

    @property
    def packaging(self) -> Packaging:
        return Packaging(self._demuxer.container, bitrate_bps=self._bitrate_bps)

    @property
    def notes(self) -> Notes:
        return self._demuxer.notes

    def open(self) -> Probe:
        """Raises SourceError."""
        probe = self._probe or self._demuxer.open()
        self._gather.expect(kinds_of(probe))
        self._bitrate_bps = _bitrate(self._file.size, probe)
        return replace(probe, live=False)

    def read(self, until_us: int) -> list[Packet]:
        """Packets in decoding order up to `until_us`, see Gather; empty at the end of the file."""
        return self._gather.read(until_us)

    def _pull(self, _kind: TrackKind | None) -> Packet | None:
        packet = self._demuxer.next()
        if packet is not None:
            packet.shift(-self._demuxer.first_us)
        return packet

    def seek(self, position_us: int) -> None:
        """Goes to the position or before it; without Range to the beginning. Raises SourceError."""
        if self._head.seekable():
            self._gather.clear()
            self._demuxer.seek(position_us + self._demuxer.first_us)
            return
        self.close()
        recorded = self._file.recorded
        self._file = self._connect()
        self._file.recorded = recorded
        if self._aborted:
            raise interrupted("reading was aborted")
        self._head = SniffedFile(self._file)
        notes = self.notes
        self._demuxer = container_for(self._head, kinds=self._kinds)
        self.notes.absorb(notes)
        self._demuxer.open()

    def abort(self) -> None:
        """From any thread: a read that blocks fails at once."""
        self._aborted = True
        self._file.abort()

    def close(self) -> None:
        self._gather.clear()
        self._demuxer.close()
        self._file.close()


def _bitrate(size: int | None, probe: Probe) -> int | None:
    """Of a file of `size` bytes as a whole."""
    if size is None or not probe.duration_us:
        return None
    return size * 8_000_000 // probe.duration_us
