"""A file as FFmpeg reads it: one container, which ends where the next one begins in the same bytes."""

import io
import time

from sluice.core.errors import SourceError, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_BARREN_BYTES
from sluice.media.source.mp4_claims import Mp4Claims
from sluice.media.source.notes import Notes
from sluice.media.source.sniff import ByteFile
from sluice.media.source.splits import OggSplit, Split, TsSplit

#: How long a transport stream is waited for that brings only null packets and tables.
_MOST_IDLE_S = 10.0
_IDLE = "the transport stream brings nothing but null packets; is its encoder fed?"
_HEAD_BYTES = 4096


class CutFile:
    """Positions count from the beginning of the current container; `go_on` moves to the next one.

    A file that failed is at its end: FFmpeg may ask again, and PyAV, which keeps only one error, would print
    the traceback of the first.
    """

    def __init__(self, file: ByteFile, notes: Notes) -> None:
        self._file, self._notes = file, notes
        self._failed = False
        self._split: Split | None = None
        self._claims: Mp4Claims | None = None
        self.barren = 0  #: bytes since the last packet; the demuxer sets it to 0 for each packet
        self._sniffed = False
        self._prefix = b""
        self._base = self._at = 0
        self._held = b""  #: read, but not returned yet
        self._examined = 0  #: position in the file up to which `_split` has seen it; -1: it begins anew
        self._next: int | None = None  #: position in the file where the next container begins
        self._waited_s = 0.0  #: for bytes, since media came
        self.head = b""  #: the first bytes of the file
        self.seekable = file.seekable

    @property
    def is_first(self) -> bool:
        return self._base == 0

    @property
    def note(self) -> str:
        """What is odd about the bytes that were read, in words; empty as a rule."""
        if isinstance(self._split, TsSplit) and self._split.idle and self._split.barren:
            return _IDLE
        return self._split.note if self._split is not None else ""

    @property
    def programs(self) -> list[frozenset[int]]:
        """The PIDs of each program of a transport stream; none for other files."""
        return self._split.programs if isinstance(self._split, TsSplit) else []

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._failed:
            return -1
        self._failed = True
        if whence == io.SEEK_END:
            end = self._file.seek(0, io.SEEK_END)
            offset += end - self._base + len(self._prefix)
        elif whence == io.SEEK_CUR:
            offset += self._at
        if offset != self._at:
            self._at, self._held = offset, b""
        self._failed = False
        return self._at

    def read(self, size: int) -> bytes:
        """1 to `size` bytes, none at the end of the container."""
        if self._failed:
            return b""
        self._failed = True
        data = self._read(size)
        self._failed = False
        self._at += len(data)
        return data

    def jumped(self) -> None:
        """The next bytes come from another position: the next container is searched for from there on."""
        self._examined, self._next = -1, None

    def go_on(self) -> bool:
        """Moves to the next container; False when there is none."""
        if self._next is None or self._split is None:
            return False
        self._prefix = self._split.prefix
        self._begin_from(self._next, self._held)
        return True

    def rewind(self) -> None:
        """Moves to the first container of the file. Those behind it are found again."""
        self._prefix, self._split, self._sniffed = b"", None, False
        self._begin_from(0)

    def _begin_from(self, base: int, held: bytes = b"") -> None:
        self._base, self._held, self._at = base, held, 0
        self._examined, self._next = base, None

    def _read(self, size: int) -> bytes:
        if self._at < len(self._prefix):
            return self._prefix[self._at : self._at + size]
        position = self._base + self._at - len(self._prefix)
        if position == self._next:
            return b""
        chunk = self._held
        if not chunk:
            if self._file.tell() != position:
                self._file.seek(position)
            begun = time.monotonic()
            chunk = self._file.read(size)
            self._waited_s += time.monotonic() - begun
            self._check(position, chunk)
        chunk, self._held = chunk[:size], chunk[size:]
        return self._up_to_cut(position, chunk)

    def _check(self, position: int, chunk: bytes) -> None:
        """Raises SourceError where the file claims too much, or brings too much without a packet."""
        self.barren += len(chunk)
        if self.barren > MOST_BARREN_BYTES:
            why = self.note or "an MP4 with its index at the end needs a server that honours Range requests"
            size = f"{MOST_BARREN_BYTES >> 20} MiB"
            raise unsupported(f"{size} of the source came without anything that can be played ({why})")
        if not self._sniffed and _split_for(chunk) is None:
            self._claims = Mp4Claims()
        if self._claims is not None:
            self._claims.feed(position, chunk)

    def _up_to_cut(self, position: int, chunk: bytes) -> bytes:
        if not self._sniffed:
            self._sniffed = True
            self._split, self.head = _split_for(chunk), chunk[:_HEAD_BYTES]
        if self._next is not None and position < self._next:
            return chunk[: self._next - position]
        if self._split is None or self._next is not None:
            return chunk
        if self._examined < 0:
            self._split.jumped()
            self._examined = position
        seen = self._examined - position
        if not 0 <= seen < len(chunk):  # FFmpeg reads at other positions, too
            return chunk
        cut = self._split.feed(chunk[seen:])
        if self._split.note:
            self._notes.add(self._split.note)
        if isinstance(self._split, TsSplit):
            self._check_idle(idle=self._split.idle)
        self._examined = position + len(chunk)
        if cut is None:
            return chunk
        self._held = chunk[seen + cut :] + self._held
        self._next = self._examined = position + seen + cut
        return chunk[: seen + cut]

    def _check_idle(self, *, idle: bool) -> None:
        if not idle:
            self._waited_s = 0.0
        elif self._waited_s > _MOST_IDLE_S:
            raise SourceError(Reason.IDLE_TIMEOUT, _IDLE, transient=True)


def _split_for(head: bytes) -> Split | None:
    if head.startswith(b"OggS"):
        return OggSplit()
    return TsSplit() if head.startswith(b"G") else None
