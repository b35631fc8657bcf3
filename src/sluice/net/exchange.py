"""One HTTP request and its answer over a connection of its own, whose address was checked. Blocks.

The event loop only resolves names. `abort` may be called from any thread; all else belongs to one.
"""

import asyncio
import concurrent.futures
import threading
from dataclasses import dataclass

from sluice.core.errors import SourceError, interrupted
from sluice.core.http_url import HttpUrl
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_INTERIM
from sluice.net.body import Body, read_head_lines
from sluice.net.context import HttpContext
from sluice.net.dial import CONNECT_S, RESOLVE_S, Dialer, no_connection, unreachable
from sluice.net.link import Link
from sluice.wire.http_answer import Head, HttpError, parse_head

#: Refusals that may pass in a moment.
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Seconds; `first_byte_s` is for the answer's headers, `stall_s` between bytes of the body."""

    connect_s: float = CONNECT_S
    first_byte_s: float = 10.0
    stall_s: float = 10.0


class ErrorAnswer(SourceError):
    """The server answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        denied = 400 <= status < 500 and status not in _PASSING
        super().__init__(Reason.SOURCE_REFUSED, text, transient=True, denied=denied)
        self.status = status


class Exchange:
    def __init__(
        self, dialer: Dialer, loop: asyncio.AbstractEventLoop, context: HttpContext, timeouts: HttpTimeouts
    ) -> None:
        self.timeouts = timeouts
        self._dialer, self._loop, self._context = dialer, loop, context
        self._lock = threading.Lock()  # over what abort() touches
        self._link: Link | None = None
        self._resolving: concurrent.futures.Future[list[str]] | None = None
        self._aborted = False
        self._body: Body | None = None

    @property
    def answered(self) -> bool:
        """Whether there is a body to read."""
        return self._body is not None

    def ask(self, url: HttpUrl, begin: int | None) -> Head:
        """The head of the answer to a GET for the bytes from `begin` on; its body can be read then.

        Raises SourceError.
        """
        self.close()
        try:
            link = self._connect(url)
            link.allow(self.timeouts.first_byte_s)
            link.sendall(self._context.request(url, begin))
            stream = link.makefile()
            head = parse_head(read_head_lines(stream))
            for _ in range(MOST_INTERIM):
                if not 100 <= head.status < 200 or head.status == 101:
                    break
                head = parse_head(read_head_lines(stream))
        except (OSError, HttpError) as error:
            self.close()
            self.check_aborted()
            raise self._no_answer(error, url) from error
        self._dialer.way.answered(url.url, head.status)
        self._context.learn(url, head)
        self._body = Body(stream, head)
        return head

    def read1(self, size: int) -> bytes:
        """The bytes of the body that have come; none at its end. Raises OSError, HttpError."""
        assert self._body is not None  # noqa: S101 - ask comes first
        assert self._link is not None  # noqa: S101
        self._link.allow(self.timeouts.stall_s)
        data = self._body.read1(size)
        self._dialer.note_received(len(data))
        return data

    def close(self) -> None:
        self._body = None
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def abort(self) -> None:
        """From any thread: what blocks here fails at once, and so does all that follows."""
        with self._lock:
            self._aborted = True
            if self._resolving is not None:
                self._resolving.cancel()
            if self._link is not None:
                self._link.shut_down()

    def check_aborted(self) -> None:
        if self._aborted:
            raise interrupted("reading was aborted")

    def _connect(self, url: HttpUrl) -> Link:
        cause: OSError | None = None
        for address in self._resolve(url):
            link = Link(address)
            with self._lock:
                self._link = link
            self.check_aborted()
            link.allow(self.timeouts.connect_s)
            try:
                link.connect(address, url.port)
                if url.scheme == "https":
                    link.start_tls(self._dialer.tls_context(), url.host.removesuffix("."))
            except OSError as error:
                cause = error
                self.close()
                self.check_aborted()
            else:
                self._dialer.way.connected()
                return link
        raise no_connection(url.host, url.port, cause) from cause

    def _resolve(self, url: HttpUrl) -> list[str]:
        with self._lock:
            self.check_aborted()
            resolving = asyncio.run_coroutine_threadsafe(self._dialer.resolve(url.host), self._loop)
            self._resolving = resolving
        try:
            return resolving.result(RESOLVE_S + 1)
        except TimeoutError as error:
            resolving.cancel()
            raise unreachable(f"the name {url.host} was not resolved in time") from error
        except concurrent.futures.CancelledError as error:
            raise interrupted("reading was aborted") from error

    def _no_answer(self, error: Exception, url: HttpUrl) -> SourceError:
        server = f"{url.host}:{url.port}"
        if isinstance(error, TimeoutError):
            return unreachable(f"{server} did not answer within {self.timeouts.first_byte_s:g} s")
        if isinstance(error, HttpError):
            return refused(f"{server} does not answer in HTTP: {error}")
        return unreachable(f"{server} closed the connection without an answer")


def refused(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_REFUSED, text, transient=True)
