"""What an HTTP answer is, told by its first bytes; names and media types lie too often. No IO of its own.

`SniffedFile` gives the bytes that were looked at to the demuxer, so that no second request is needed.
"""

import io
import re
from enum import Enum
from typing import Protocol

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason

#: Enough for what comes before the root element of an MPD.
HEAD_BYTES = 1024
_FEWEST_BYTES = 12
_BOM = b"\xef\xbb\xbf"
_MPD = re.compile(rb"<(?:[a-z0-9_.-]+:)?mpd[\s>]")


class Content(Enum):
    HLS = "hls"
    DASH = "dash"
    HTML = "html"
    MP4 = "mp4"
    OTHER = "other"  #: a container for FFmpeg to recognize


class ByteFile(Protocol):
    """What FFmpeg needs of a file: `read` gives 1 to `size` bytes, none at the end."""

    def read(self, size: int) -> bytes: ...

    def seek(self, offset: int, whence: int = ...) -> int: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...

    def close(self) -> None: ...


def content_of(head: bytes) -> Content:
    """`head`: the first bytes, up to HEAD_BYTES of them."""
    text = head.removeprefix(_BOM).lstrip().lower()
    if text.startswith(b"#extm3u"):
        return Content.HLS
    if text.startswith(b"<"):
        return Content.DASH if _MPD.search(text) else Content.HTML
    return Content.MP4 if head[4:8] in (b"ftyp", b"styp", b"moov", b"moof") else Content.OTHER


def refuse_page(content: Content) -> None:
    """Raises SourceError (permanent) for what is told to be no media."""
    if content is Content.HTML:
        raise SourceError(
            Reason.SOURCE_UNSUPPORTED,
            "the server answered with an HTML or XML page instead of media; "
            "give the address of the stream itself, not of a page that shows it",
            transient=False,
        )


class SniffedFile:
    """A file whose first bytes were read already; `inner` stands behind them."""

    def __init__(self, inner: ByteFile) -> None:
        """Blocks until enough came to tell what it is. Raises what `inner.read` does."""
        self._inner = inner
        self._position = 0
        head = b""
        while len(head) < (HEAD_BYTES if head.lstrip()[:1] == b"<" else _FEWEST_BYTES):
            data = inner.read(HEAD_BYTES - len(head))
            if not data:
                break
            head += data
        self.head = head

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner.seekable()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The server is asked with the next read that needs it."""
        if whence == io.SEEK_END:
            self._position = self._inner.seek(offset, whence)
        else:
            self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def read(self, size: int) -> bytes:
        if self._position < len(self.head):
            data = self.head[self._position : self._position + size]
        else:
            if self._inner.tell() != self._position:
                self._inner.seek(self._position)
            data = self._inner.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        self._inner.close()
