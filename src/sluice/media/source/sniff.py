"""Recognizes an HTTP answer by its first bytes: names and media types are wrong too often. No IO of its own.

`SniffedFile` passes these bytes on to the demuxer, so that no second request is needed.
"""

import io
import re
from enum import Enum
from typing import Protocol

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason

#: Enough for what stands before the root element of an MPD, and for the length that a container tells.
HEAD_BYTES = 1024
_CHUNK_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_MPD = re.compile(rb"<(?:[a-z0-9_.-]+:)?mpd[\s>]")
_XSPF = re.compile(rb"<(?:[a-z0-9_.-]+:)?playlist[\s>]")
_HTML = re.compile(rb"<(?:!doctype html|html|head|body|title|script|meta|div|p|h1)[\s>]")
_PLS = re.compile(rb"\[playlist\]")
_JSON = re.compile(rb'[{[]\s*["\[{\]}0-9tfn-]')
#: No text has these: control characters other than white space, or a first byte 0xFF (MPEG audio).
_NO_TEXT = re.compile(rb"^\xff|[\x00-\x08\x0e-\x1f\x7f]")
_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof")
_PICTURE_BRANDS = (b"avif", b"heic", b"heix", b"heif", b"mif1")


class Content(Enum):
    """The form of an answer; for people where it is no media."""

    M3U = "m3u"  #: an HLS playlist or a list of addresses: its tags tell which
    PLS = "pls"
    XSPF = "xspf"
    DASH = "dash"
    HTML = "an HTML page"
    XML = "an XML document"
    JSON = "JSON"
    TEXT = "text"  #: some forms of it are lists of addresses
    EMPTY = "an empty body"
    IMAGE = "an image"
    PDF = "a PDF document"
    ARCHIVE = "an archive (ZIP, gzip, RAR, 7z)"
    NOTES = "a MIDI file, which holds notes and no sound"
    MP4 = "mp4"
    OTHER = "other"  #: a container for FFmpeg to recognize


_MAGIC = (
    (b"\x89PNG\r\n", Content.IMAGE),
    (b"\xff\xd8\xff", Content.IMAGE),
    (b"GIF8", Content.IMAGE),
    (b"II*\0", Content.IMAGE),
    (b"MM\0*", Content.IMAGE),
    (b"%PDF-", Content.PDF),
    (b"PK\x03\x04", Content.ARCHIVE),
    (b"\x1f\x8b\x08", Content.ARCHIVE),
    (b"Rar!\x1a\x07", Content.ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", Content.ARCHIVE),
    (b"MThd", Content.NOTES),
)
_ADVICE = {
    Content.HTML: "give the address of the stream itself, not of a page that shows it",
    Content.JSON: "it may be an error message: open the address in a browser",
    Content.XML: "it may be an error message: open the address in a browser",
}
_FOREIGN = frozenset(
    {Content.HTML, Content.XML, Content.JSON, Content.TEXT, Content.EMPTY, Content.IMAGE, Content.PDF}
    | {Content.ARCHIVE, Content.NOTES}
)


class Readable(Protocol):
    """A file that is read in order."""

    def read(self, size: int) -> bytes:
        """1 to `size` bytes, none at the end."""
        ...


class ByteFile(Readable, Protocol):
    """What FFmpeg needs of a file."""

    def seek(self, offset: int, whence: int = ...) -> int: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...

    def close(self) -> None: ...


def read_up_to(file: Readable, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file. Raises what `file.read` does."""
    parts: list[bytes] = []
    while size > 0 and (data := file.read(min(size, _CHUNK_BYTES))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def content_of(head: bytes) -> Content:
    """`head`: the first bytes, up to HEAD_BYTES of them."""
    for magic, content in _MAGIC:
        if head.startswith(magic):
            return content
    if head[4:8] in _MP4_BOXES:
        return Content.IMAGE if head[8:12] in _PICTURE_BRANDS else Content.MP4
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Content.IMAGE
    text = head.removeprefix(_BOM).lstrip().lower()
    if not text:
        return Content.EMPTY
    if text.startswith(b"#extm3u"):
        return Content.M3U
    if text.startswith(b"<"):
        return _markup(text)
    if _NO_TEXT.search(head):
        return Content.OTHER
    if _PLS.match(text):
        return Content.PLS
    return Content.JSON if _JSON.match(text) else Content.TEXT


def _markup(text: bytes) -> Content:
    # A page may mention manifests, a manifest hardly pages: the first match decides.
    found = [
        (match.start(), n, content)
        for n, (form, content) in enumerate(
            ((_MPD, Content.DASH), (_XSPF, Content.XSPF), (_HTML, Content.HTML))
        )
        if (match := form.search(text)) is not None
    ]
    return min(found)[2] if found else Content.XML


def refuse_foreign(content: Content) -> None:
    """Raises SourceError for content that is no media."""
    if content in _FOREIGN:
        advice = _ADVICE.get(content, "give the address of the stream or file itself")
        raise SourceError(
            Reason.SOURCE_UNSUPPORTED,
            f"the server answered with {content.value}, which is no media; {advice}",
            transient=content is Content.EMPTY,  # a stream that has not begun, for instance
        )


class SniffedFile:
    """A file whose first bytes (`head`) were read already; `inner` is positioned behind them."""

    def __init__(self, inner: ByteFile) -> None:
        """Blocks until enough came to recognize the content. Raises what `inner.read` does."""
        self._inner = inner
        self._position = 0
        self.head = read_up_to(inner, HEAD_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner.seekable()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Sends nothing: the next read asks the server if it needs to."""
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
