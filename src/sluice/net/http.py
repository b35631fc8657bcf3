"""An HTTP(S) resource as a file object that blocks, for FFmpeg's demuxers on worker threads.

Every hop of a redirect goes through the address guard, every wait has a deadline, and the event loop only
resolves names. A server that honours Range makes the file seekable; one connection streams until a jump.
A body that breaks off is continued with a Range request, at most MOST_LOSSES times in a row.
Never call it on the event loop's own thread.
"""

import asyncio
import concurrent.futures
import http.client
import io
import re
import socket
import threading
from dataclasses import dataclass
from typing import cast

from sluice import __version__
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.net.dial import CONNECT_S, RESOLVE_S, Dialer, no_connection, unreachable
from sluice.net.link import Link
from sluice.net.target import HttpTarget

MOST_REDIRECTS = 5
MOST_LOSSES = 2
#: Losses are forgotten after this many bytes without one.
_FORGET_LOSSES_BYTES = 1 << 20
#: A jump forward by less than this is read through: cheaper than a new request.
_READ_THROUGH_BYTES = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Seconds; `first_byte_s` is for the answer's headers, `stall_s` between bytes of the body."""

    connect_s: float = CONNECT_S
    first_byte_s: float = 10.0
    stall_s: float = 10.0


class ErrorAnswer(SourceError):
    """The server answered, and `status` says that it will not give what was asked for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(Reason.SOURCE_REFUSED, text, transient=True)
        self.status = status


class HttpFile:
    """What PyAV wants of a file. The first use connects. All of it but `abort` belongs to one thread.

    SourceError is raised by everything that talks to the server: SOURCE_UNREACHABLE, SOURCE_REFUSED (an
    answer that is an error, endless redirects), SOURCE_INTERRUPTED (lost for good, aborted),
    ADDRESS_NOT_ALLOWED and, for a redirect to something else than HTTP, SOURCE_UNSUPPORTED.
    """

    def __init__(
        self,
        url: str,
        dialer: Dialer,
        loop: asyncio.AbstractEventLoop,
        timeouts: HttpTimeouts = HttpTimeouts(),
    ) -> None:
        """`loop` runs in another thread. Raises SourceError (permanent) for a URL that is not HTTP's."""
        self._target = self._final = HttpTarget.parse(url)
        self._dialer, self._loop, self._timeouts = dialer, loop, timeouts
        self._lock = threading.Lock()  # over what abort() touches
        self._link: Link | None = None
        self._resolving: concurrent.futures.Future[list[str]] | None = None
        self._aborted = False
        self._response: http.client.HTTPResponse | None = None
        self._opened = self._seekable = False
        self._size: int | None = None
        self._content_type = self._date = ""
        self._headers: http.client.HTTPMessage | None = None
        self._position = self._streamed = 0  # of the reader, of the body being read
        self._losses = self._since_loss = 0

    @property
    def size(self) -> int | None:
        """Bytes, None when the server does not tell."""
        self._open_once()
        return self._size

    @property
    def content_type(self) -> str:
        """Media type in lower case, without parameters; empty when the server gives none."""
        self._open_once()
        return self._content_type

    def header(self, name: str) -> str:
        """Of the answer; empty when the server gives none of that name."""
        self._open_once()
        return self._headers.get(name, "") if self._headers is not None else ""

    @property
    def date(self) -> str:
        """When the server says that it answered (RFC 9110 5.6.7); empty when it does not."""
        self._open_once()
        return self._date

    @property
    def url(self) -> str:
        """Where the redirects led."""
        self._open_once()
        return self._final.url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        self._open_once()
        return self._seekable

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the reader; the request follows with the next read."""
        self._open_once()
        if whence == io.SEEK_END and self._size is None:
            raise io.UnsupportedOperation("the server does not tell the size of the file")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        if not self._seekable and base + offset != self._position:
            raise io.UnsupportedOperation("the server ignores Range requests")
        self._position = base + offset
        return self._position

    def read(self, size: int) -> bytes:
        """1 to `size` bytes as they arrive; empty at the end."""
        self._open_once()
        while self._size is None or self._position < self._size:
            try:
                self._align()
                data = self._receive(size)
            except (OSError, http.client.HTTPException) as error:
                self._on_loss(error)
            else:
                self._position = self._streamed
                return data
        return b""

    def close(self) -> None:
        response, self._response = self._response, None
        with self._lock:
            link, self._link = self._link, None
        if response is not None:
            response.close()  # before its socket, which it flushes
        if link is not None:
            link.close()

    def abort(self) -> None:
        """From any thread: what blocks in this file fails at once, and so does all that follows."""
        with self._lock:
            self._aborted = True
            if self._resolving is not None:
                self._resolving.cancel()
            if self._link is not None:
                self._link.shut_down()

    def _open_once(self) -> None:
        self._check_aborted()
        if not self._opened:
            self._open(0)
            self._opened = True

    def _align(self) -> None:
        """Brings the body being read to the reader's position: reads on, or asks anew."""
        if self._response is not None and 0 <= self._position - self._streamed < _READ_THROUGH_BYTES:
            while self._streamed < self._position and self._receive(self._position - self._streamed):
                pass
            return
        try:
            self._open(self._position)
        except SourceError as error:
            if not error.transient:
                raise
            self._on_loss(error)
            self._align()

    def _receive(self, size: int) -> bytes:
        assert self._response is not None  # noqa: S101 - _align has opened it
        assert self._link is not None  # noqa: S101
        self._link.allow(self._timeouts.stall_s)
        data = self._response.read1(size)
        if not data and size and self._size is not None:
            raise ConnectionError("the connection was closed in the middle of the body")
        self._streamed += len(data)
        self._since_loss += len(data)
        if self._since_loss > _FORGET_LOSSES_BYTES:
            self._losses = 0
        return data

    def _on_loss(self, cause: Exception) -> None:
        """Returns when another attempt is due."""
        self.close()
        self._check_aborted()
        self._losses += 1
        self._since_loss = 0
        if not self._seekable or self._losses > MOST_LOSSES:
            stalled = isinstance(cause, TimeoutError)
            what = f"nothing came for {self._timeouts.stall_s:g} s" if stalled else "the connection was lost"
            where = f"after {self._position} bytes of {mask_url(self._target.url)}"
            raise _interrupted(f"{what} {where}") from cause

    def _check_aborted(self) -> None:
        if self._aborted:
            raise _interrupted("reading was aborted")

    def _open(self, position: int) -> None:
        """Asks for the file from `position` on."""
        self.close()
        try:
            self._follow(position)
        except SourceError:
            self.close()
            raise

    def _follow(self, position: int) -> None:
        target = self._target
        for _ in range(MOST_REDIRECTS + 1):
            try:
                self._response = response = self._request(target, position)
            except (OSError, http.client.HTTPException) as error:
                self._check_aborted()
                raise self._no_answer(error, target) from error
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                self._accept(response, target, position)
                return
            self.close()
            target = target.follow(location)
        raise _refused(f"{mask_url(self._target.url)} redirects more than {MOST_REDIRECTS} times")

    def _request(self, target: HttpTarget, position: int) -> http.client.HTTPResponse:
        link = self._connect(target)
        link.allow(self._timeouts.first_byte_s)
        link.sendall(target.request(position, f"sluice/{__version__}"))
        # The response only ever calls makefile() of its socket.
        response = http.client.HTTPResponse(cast(socket.socket, link), method="GET")
        response.begin()
        return response

    def _no_answer(self, error: Exception, target: HttpTarget) -> SourceError:
        server = f"{target.host}:{target.port}"
        if isinstance(error, TimeoutError):
            return unreachable(f"{server} did not answer within {self._timeouts.first_byte_s:g} s")
        if isinstance(error, http.client.HTTPException):
            return _refused(f"{server} does not answer in HTTP")
        return unreachable(f"{server} closed the connection without an answer")

    def _connect(self, target: HttpTarget) -> Link:
        cause: OSError | None = None
        for address in self._resolve(target):
            link = Link(address)
            with self._lock:
                self._link = link
            self._check_aborted()
            link.allow(self._timeouts.connect_s)
            try:
                link.connect(address, target.port)
                if target.tls:
                    link.start_tls(self._dialer.tls_context(), target.host)
            except OSError as error:
                cause = error
                self.close()
                self._check_aborted()
            else:
                return link
        raise no_connection(target.host, target.port, cause) from cause

    def _resolve(self, target: HttpTarget) -> list[str]:
        with self._lock:
            self._check_aborted()
            resolving = asyncio.run_coroutine_threadsafe(
                self._dialer.resolve(target.host, target.port), self._loop
            )
            self._resolving = resolving
        try:
            return resolving.result(RESOLVE_S + 1)
        except TimeoutError as error:
            resolving.cancel()
            raise unreachable(f"the name {target.host} was not resolved in time") from error
        except concurrent.futures.CancelledError as error:
            raise _interrupted("reading was aborted") from error

    def _accept(self, response: http.client.HTTPResponse, target: HttpTarget, position: int) -> None:
        if response.status not in (200, 206):
            reason = f"{response.status} {response.reason[:80]}".strip()
            text = f"the server answers {reason} to {mask_url(target.url)}"
            raise ErrorAnswer(response.status, text)
        found = (
            _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if response.status == 206
            else None
        )
        start = int(found[1]) if found else 0
        size = response.length if not found else int(found[2]) if found[2] != "*" else None
        if start != position or (self._opened and size != self._size):
            raise _interrupted(f"{mask_url(target.url)} has changed, or its server no longer honours Range")
        self._streamed, self._size, self._final = start, size, target
        self._seekable = found is not None and size is not None
        self._headers = response.headers
        self._content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self._date = response.headers.get("Date", "")


def _interrupted(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_INTERRUPTED, text, transient=True)


def _refused(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_REFUSED, text, transient=True)
