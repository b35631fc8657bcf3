"""The bytes of consecutive segments of a rendition, as one file for a demuxer.

The file ends where another run, initialization section, variant or form of segments begins, and behind a
segment that was left out or broke off: a demuxer that continues in the middle of something may swallow all
that follows.
"""

from sluice.core.errors import SourceError
from sluice.media.source.hls_fetch import Body
from sluice.media.source.hls_forms import Form, is_torn
from sluice.media.source.hls_playlist import Segment
from sluice.media.source.hls_rendition import Rendition

#: Bytes of a segment that show how it joins the one before: the tables, and a packet of each stream.
_SEAM_BYTES = 64 * 188


class RunFile:
    """Begins with the segment that `Rendition.peek` returned. Not seekable."""

    def __init__(self, rendition: Rendition, first: Segment) -> None:
        self._rendition = rendition
        self._first = self._segment = first
        self._form: Form | None = None
        self._body: Body | None = None
        self._header = b""  #: bytes of it that are still to be read
        self._seam: bytearray | None = None  #: the beginning of a segment that continues another
        self._begun = self._over = False
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("segments are read in order")

    def read(self, size: int) -> bytes:
        """1 to `size` bytes; none at the end. If an error ended the file, `Rendition.peek` raises it next."""
        if not self._begun:
            self._begin()
        data, self._header = self._header[:size], self._header[size:]
        while not data and not self._over and (self._body is not None or self._open_next()):
            data = self._read_body(size)
        self._position += len(data)
        return data

    def skip_segment(self, why: str) -> None:
        """A demuxer could not read the current segment: the file ends here, and another begins behind it.
        Raises SourceError when that happens too often in a row."""
        self._over = True
        self.close()
        self._rendition.spoil(self._segment, why)

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _begin(self) -> None:
        self._begun = True
        if self._open_next() and self._first.header is not None:
            self._header = self._rendition.fetcher.header(self._first.header)

    def _read_body(self, size: int) -> bytes:
        assert self._body is not None  # noqa: S101 - read opens it
        try:
            data = self._body.read(size)
        except SourceError as error:
            self._rendition.fetcher.raise_if_aborted()
            self._rendition.leave_out(f"the rest of a segment is left out: {error}")
            self._over = True
            data = b""
        if self._seam is not None:
            self._look_at_seam(self._seam, data)
        if not data:
            self._over = self._over or not self._body.is_whole()
            self.close()
        return data

    def _look_at_seam(self, seam: bytearray, data: bytes) -> None:
        seam += data
        if len(seam) >= _SEAM_BYTES or not data:
            torn = self._form is Form.TS and is_torn(bytes(seam[:_SEAM_BYTES]))
            self._rendition.torn = torn or bool(self._rendition.torn)
            self._seam = None

    def _open_next(self) -> bool:
        try:
            segment = self._rendition.peek()
        except SourceError as error:
            # A demuxer that fails does not return what it has read already.
            self._rendition.hold(error)
            segment = None
        if segment is None or not self._continues(segment):
            self._over = True
            return False
        self._seam = bytearray() if self._form is not None else None
        self._form = self._rendition.form()
        self._segment = segment
        self._body = self._rendition.take(segment)
        return True

    def _continues(self, segment: Segment) -> bool:
        first = self._first
        if (segment.run, segment.header, segment.origin) != (first.run, first.header, first.origin):
            return False
        if self._form is None:
            return True
        if self._form is Form.AUDIO:
            self._rendition.torn = False
            return False  # each segment tells its own time
        return segment.sequence == self._segment.sequence + 1 and self._rendition.form() is self._form
