"""One POST to an address that somebody else chose: guarded, bounded in time and size, never redirected.

The Dialer connects, so the very address that is connected to is judged. Nothing of the environment is used:
no proxy, cookie or netrc. Only the status of an answer counts. All its heads, with the interim ones, may have
a few lines; the rest is not read.
"""

import asyncio
import base64
import contextlib
import ssl
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sluice import __version__
from sluice.core.addresses import AddressPolicy
from sluice.core.errors import Culprit, SluiceError, SourceError
from sluice.core.http_url import HttpUrl
from sluice.core.limits import MOST_ANSWER_HEAD_LINES, MOST_INTERIM, MOST_REPLY_BYTES, MOST_REPLY_HEAD_BYTES
from sluice.net.dial import Dialer
from sluice.wire.http_answer import Head, HttpError, parse_head

#: Seconds for each address of a name, so that a silent one leaves time for the next.
_CONNECT_S = 2.0
#: We close idle connections before servers usually do: a POST on a connection that is being closed fails, and
#: must not be repeated unasked.
_KEEP_ALIVE_S = 1.5
_MOST_IDLE = 256
_DRAIN_S = 1.0


class PostFailed(SluiceError):
    """`silent`: no answer came in time, so that the connection was held for all that time."""

    culprit = Culprit.DESTINATION

    def __init__(self, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent


@dataclass(eq=False, slots=True)
class _Connection:
    reader: StreamReader
    writer: StreamWriter
    expiry: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self.expiry is not None:
            self.expiry.cancel()
        # An orderly close could block, and nobody needs what is still to be read.
        self.writer.transport.abort()


class Poster:
    """An async context manager. The caller bounds how many posts run at once."""

    def __init__(
        self, policy: AddressPolicy, *, timeout_s: float = 5.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """`timeout_s` bounds all from the look-up of the name to the answer's headers. `tls` replaces the
        default context, which trusts the system's authorities."""
        self._dialer = Dialer(policy, tls)
        self._timeout_s = timeout_s
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        idle = [connection for connections in self._idle.values() for connection in connections]
        self._idle.clear()
        for connection in idle:
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                closing = (connection.writer.wait_closed() for connection in idle)
                await asyncio.gather(*closing, return_exceptions=True)

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> None:
        """Returns when the answer is 200. Raises PostFailed."""
        try:
            target = HttpUrl.parse(url)
        except ValueError as error:
            raise PostFailed(f"the address cannot be used: {error}") from error
        request = _head(target, headers, body) + body
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._take_idle(target) or await self._connect(target)
                head = await self._ask(connection, request)
        except TimeoutError:
            raise PostFailed(f"no answer within {self._timeout_s:g} s", silent=True) from None
        await self._settle(target, connection, head)
        if head.status != 200:
            raise PostFailed(f"the answer is {head.status}, only 200 counts")

    async def _connect(self, target: HttpUrl) -> _Connection:
        tls = target.scheme == "https"
        try:
            return _Connection(
                *await self._dialer.connect(target.host, target.port, tls=tls, each_s=_CONNECT_S)
            )
        except SourceError as error:
            raise PostFailed(str(error), silent=isinstance(error.__cause__, TimeoutError)) from error

    async def _ask(self, connection: _Connection, request: bytes) -> Head:
        """The head of the answer. A receiver may answer before it has taken all that is sent."""
        answered = False
        try:
            connection.writer.write(request)
            head = await _read_answer(connection.reader)
            answered = True
        except HttpError as error:
            raise PostFailed(f"the answer is not HTTP: {error}") from error
        except OSError as error:
            raise PostFailed("the connection was closed without an answer") from error
        finally:
            if not answered:
                connection.close()
        return head

    async def _settle(self, target: HttpUrl, connection: _Connection, head: Head) -> None:
        """Reads a short body, so that the connection can be used again. What it says does not matter."""
        length, kept = head.length, False
        try:
            if head.keeps_alive and length is not None and length <= MOST_REPLY_BYTES:
                async with asyncio.timeout(_DRAIN_S):
                    await connection.reader.readexactly(length)
                kept = self._keep(target.origin, connection)
        except (OSError, EOFError):  # TimeoutError is one
            pass
        finally:
            if not kept:
                connection.close()

    def _keep(self, origin: tuple[str, str, int], connection: _Connection) -> bool:
        """Keeps the connection for the next post to the same server; False if there is no room."""
        if sum(map(len, self._idle.values())) >= _MOST_IDLE:
            return False
        self._idle.setdefault(origin, []).append(connection)
        loop = asyncio.get_running_loop()
        connection.expiry = loop.call_later(_KEEP_ALIVE_S, self._expire, origin, connection)
        return True

    def _expire(self, origin: tuple[str, str, int], connection: _Connection) -> None:
        self._forget(origin, connection)
        connection.close()

    async def _take_idle(self, target: HttpUrl) -> _Connection | None:
        while connections := self._idle.get(target.origin):
            connection = connections[-1]
            self._forget(target.origin, connection)
            if connection.expiry is not None:
                connection.expiry.cancel()
            usable = False
            try:
                usable = not connection.writer.is_closing() and await _is_quiet(connection.reader)
            finally:
                if not usable:
                    connection.close()
            if usable:
                return connection
        return None

    def _forget(self, origin: tuple[str, str, int], connection: _Connection) -> None:
        self._idle[origin].remove(connection)
        if not self._idle[origin]:
            del self._idle[origin]


async def _is_quiet(reader: StreamReader) -> bool:
    """Whether it is open and holds no unasked answer, which the next post would take for its own."""
    try:
        async with asyncio.timeout(0):
            await reader.read(1)
    except TimeoutError:
        return True
    except OSError:
        pass
    return False


def _head(target: HttpUrl, headers: dict[str, str], body: bytes) -> bytes:
    """Raises ValueError for a header that would end a line."""
    ours = {
        "Host": target.authority,
        "User-Agent": f"sluice/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Length": str(len(body)),
    }
    if target.credentials is not None:
        ours["Authorization"] = f"Basic {base64.b64encode(target.credentials.encode()).decode()}"
    lines = [f"POST {target.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (ours | headers).items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header of a callback has more than one line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _read_answer(reader: StreamReader) -> Head:
    """The first head that is no interim one. Raises HttpError, PostFailed, OSError."""
    left = MOST_REPLY_HEAD_BYTES
    for _ in range(MOST_INTERIM + 1):
        lines, used = await _read_lines(reader, left)
        left -= used
        head = parse_head(lines)
        if not 100 <= head.status < 200 or head.status == 101:
            return head
    raise PostFailed(f"more than {MOST_INTERIM} interim answers (1xx) came, and no other")


async def _read_lines(reader: StreamReader, most_bytes: int) -> tuple[list[bytes], int]:
    """The lines of one head, and the bytes that they took; empty lines before the head are skipped."""
    lines: list[bytes] = []
    used = 0
    while len(lines) < MOST_ANSWER_HEAD_LINES:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if lines or error.partial:
                raise HttpError("it ends within its head") from error
            raise ConnectionError from error
        except asyncio.LimitOverrunError as error:
            raise PostFailed("the answer's head has a line without an end") from error
        used += len(line)
        if used > most_bytes:
            break
        if stripped := line.rstrip(b"\r\n"):
            lines.append(stripped)
        elif lines:
            return lines, used
    limit = f"{MOST_REPLY_HEAD_BYTES} bytes or {MOST_ANSWER_HEAD_LINES} lines"
    raise PostFailed(f"the answer's head is longer than {limit}")
