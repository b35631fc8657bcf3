"""An HTTP(S) resource as a file object that blocks, for FFmpeg's demuxers on worker threads.

Every hop of a redirect goes through the address guard, every wait has a deadline, and the event loop only
resolves names. A server that honours Range makes the file seekable, unless it packs it (gzip, deflate, br).
Never call it on the event loop's own thread.
"""

import asyncio
import io

from sluice.net.context import HttpContext
from sluice.net.dial import Dialer
from sluice.net.exchange import ErrorAnswer, HttpTimeouts
from sluice.net.http_bytes import HttpBytes
from sluice.net.unpack import Unpacker, codings_of

_TIMEOUTS = HttpTimeouts()
__all__ = ["ErrorAnswer", "HttpFile", "HttpTimeouts"]


class HttpFile:
    """A file as PyAV needs it. The first use connects. Only `abort` may be called from other threads.

    SourceError is raised by everything that talks to the server: SOURCE_UNREACHABLE, SOURCE_REFUSED (an
    answer that is an error, endless redirects), SOURCE_INTERRUPTED (lost for good, aborted),
    ADDRESS_NOT_ALLOWED, and SOURCE_UNSUPPORTED (a redirect to something other than HTTP, an answer that
    cannot be unpacked).
    """

    def __init__(
        self,
        url: str,
        dialer: Dialer,
        loop: asyncio.AbstractEventLoop,
        timeouts: HttpTimeouts = _TIMEOUTS,
        context: HttpContext | None = None,
    ) -> None:
        """`loop` runs in another thread; files of one source share a `context`.

        Raises SourceError (permanent) for a URL that is not one of HTTP.
        """
        self._bytes = HttpBytes(url, dialer, loop, context or HttpContext(), timeouts)
        self._opened = False
        self._content_type = ""
        self._unpacker: Unpacker | None = None
        self._unpacked = 0

    def wait_at_most(self, seconds: float) -> None:
        """Sets the limit for an answer and between bytes; what stalls longer is asked for once more."""
        self._bytes.wait_at_most(seconds)

    @property
    def recorded(self) -> bool:
        """Whether another answer gives the same bytes; to be set by a caller that knows. Then an answer that
        breaks off is continued, without Range by reading again what was read."""
        return self._bytes.recorded

    @recorded.setter
    def recorded(self, recorded: bool) -> None:
        self._bytes.recorded = recorded

    @property
    def size(self) -> int | None:
        """In bytes; None if the server does not tell."""
        self._open_once()
        return self._bytes.size if self._unpacker is None else None

    @property
    def content_type(self) -> str:
        """Media type in lower case, without parameters; empty when the server gives none."""
        self._open_once()
        return self._content_type

    def header(self, name: str) -> str:
        """A header of the answer; empty if there is none of that name."""
        return self._bytes.open().get(name.lower())

    @property
    def date(self) -> str:
        """The header Date of the answer (RFC 9110 5.6.7); empty if there is none."""
        return self._bytes.open().get("date")

    @property
    def url(self) -> str:
        """The address to which the redirects led."""
        self._open_once()
        return self._bytes.final.url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        self._open_once()
        return self._bytes.ranged and self._unpacker is None

    def tell(self) -> int:
        return self._bytes.position if self._unpacker is None else self._unpacked

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the reader; the request follows with the next read."""
        size = self.size
        if whence == io.SEEK_END and size is None:
            raise io.UnsupportedOperation("the server does not tell the size of the file")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: size or 0}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        if base + offset != self.tell():
            if not self.seekable():
                raise io.UnsupportedOperation("the server ignores Range requests")
            self._bytes.seek(base + offset)
        return base + offset

    def read(self, size: int) -> bytes:
        """1 to `size` bytes as they arrive; empty at the end."""
        self._open_once()
        if self._unpacker is None:
            return self._bytes.read(size)
        data = self._unpacker.read(size)
        self._unpacked += len(data)
        return data

    def close(self) -> None:
        self._bytes.close()

    def abort(self) -> None:
        """From any thread: what blocks in this file fails at once, and so does all that follows."""
        self._bytes.abort()

    def _open_once(self) -> None:
        head = self._bytes.open()
        if not self._opened:
            codings = codings_of(head.codings)
            self._unpacker = Unpacker(codings, self._bytes.read) if codings else None
            self._content_type = head.get("content-type").partition(";")[0].strip().lower()
            self._opened = True
