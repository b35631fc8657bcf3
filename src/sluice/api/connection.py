"""One connection of a caller: uvicorn's protocol with limits of bytes, number and time.

A request over a limit is refused with a text while it arrives, before any of it is kept. The caller may read
the text, and is cut off then. Time counts only while we wait for the caller: an answer may take as long as it
needs, and an event stream never ends.
"""

import asyncio
import math
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sluice.api.gate import Gate, Guest
from sluice.core.limits import (
    LONGEST_BODY_PAUSE_S,
    LONGEST_BODY_S,
    LONGEST_FAREWELL_S,
    LONGEST_HEAD_S,
    LONGEST_IDLE_S,
    MOST_FAREWELL_BYTES,
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_PIPELINED,
    MOST_REQUEST_BYTES,
)

_TOO_MANY_LINES = f"a request may have {MOST_HEADERS} header lines"
_LONG_HEAD = f"the head of a request may have {MOST_HEAD_BYTES} bytes"
_LONG_REQUEST = f"a request may have {MOST_REQUEST_BYTES} bytes"
_PIPELINED = f"{MOST_PIPELINED} requests may wait for an answer; read some"
_BUSY = "the node holds too many large requests that are not complete; send it again in a moment"
_FULL = "the node has no room for another connection; try again in a moment"
_SLOW_HEAD = f"the head of a request must be complete within {LONGEST_HEAD_S:.0f} s"
_SLOW_BODY = f"a body must go on within {LONGEST_BODY_PAUSE_S:.0f} s and end within {LONGEST_BODY_S:.0f} s"
_NOT_HTTP = "this is no request of HTTP/1.1"
_UPGRADE = "a request with a body may not ask for another protocol (Upgrade); send it as HTTP/1.1"


class Phase(Enum):
    """What we wait for: the next request, the rest of its head or body, or the end of a caller that was
    refused."""

    NEXT = auto()
    HEAD = auto()
    BODY = auto()
    END = auto()


class Connection(HttpToolsProtocol):
    def __init__(self, gate: Gate, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.before: Guest | None = (
            None  #: the guest that is counted in place of this connection until it is made
        )
        self._gate = gate
        self._phase = Phase.NEXT
        self._header_lines = 0
        self._held = 0  # bytes of incomplete requests
        self._unheard = 0  # bytes from a caller that was refused
        self._refusal: tuple[int, str] | None = None  # of the request that is being parsed
        self._deadline = math.inf
        self._body_ends_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    # --- the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.before is not None:
            self._gate.leave(self.before)
        if not self._gate.enter(self):
            self.give_way()
            return
        self._wait_until(self.loop.time() + LONGEST_HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave(self)
        self._hold(0)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            self._unheard += len(data)
            if self._unheard > MOST_FAREWELL_BYTES:
                self.transport.abort()
            return
        if not self._hold(self._held + len(data)):
            return
        # Some send an empty line behind a body, which begins no request (RFC 9112 2.2).
        if self._phase is Phase.NEXT and not data.isspace():
            self._begin_head()
        super().data_received(data)
        self._check_size()
        if self._phase is Phase.BODY:
            self._expect_body()

    # --- the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._phase is not Phase.HEAD:
            self._begin_head()  # it follows another request in the same piece
        self._header_lines = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_lines += 1
        if self._header_lines > MOST_HEADERS:
            self._stop_parsing(431, _TOO_MANY_LINES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MOST_HEAD_BYTES:
            self._stop_parsing(431, _LONG_HEAD)
        if len(self.pipeline) >= MOST_PIPELINED:
            self._stop_parsing(429, _PIPELINED)
        # The parser takes what follows such a head for the other protocol, so the body would be lost: Java's
        # HttpClient asks for h2c unless it is told HTTP_1_1.
        if self.parser.should_upgrade() and any(_announces_body(*header) for header in self.headers):
            self._stop_parsing(400, _UPGRADE)
        super().on_headers_complete()
        self.cycle.transport = _Exit(self)  # type: ignore[assignment]  # all of it that is used
        self._phase = Phase.BODY
        self._body_ends_at = self.loop.time() + LONGEST_BODY_S
        self._expect_body()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._hold(0)
        self._phase = Phase.NEXT
        self._rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._phase is Phase.NEXT:
            self._rest()
        elif self._phase is Phase.BODY and not self._answering:
            self._wait_until(self.loop.time() + LONGEST_FAREWELL_S)  # nobody reads the rest of the body

    def send_400_response(self, msg: str) -> None:
        self._refuse(*(self._refusal or (400, _NOT_HTTP)))

    def end(self) -> None:
        """The caller has the last answer. If he has still to send some of the body, a close now would cause a
        reset, by which he would lose the answer."""
        if self._phase is not Phase.BODY or self.transport.is_closing():
            self.transport.close()
            return
        self._phase = Phase.END
        self._hold(0)
        self._linger()

    # --- limits -------------------------------------------------------------------------------------------

    def give_way(self) -> None:
        """Ends for the sake of another connection: see `Gate`."""
        # A close would wait until the other side says goodbye, or reads what it has asked for.
        waits = self.scheme == "https" or self.transport.get_write_buffer_size() > 0
        if not self._is_over and not self.transport.is_closing():
            self._dismiss(503, _FULL)
        if waits:
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def _is_over(self) -> bool:
        return self._phase is Phase.END

    @property
    def _answering(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _begin_head(self) -> None:
        self._phase = Phase.HEAD
        self._gate.wait(self)
        self._wait_until(self.loop.time() + LONGEST_HEAD_S)

    def _expect_body(self) -> None:
        # While reading is paused, because of other requests or a slow reader of ours, the caller is not late.
        pause = math.inf if self.flow.read_paused else LONGEST_BODY_PAUSE_S
        if self._answering:
            self._wait_until(min(self.loop.time() + pause, self._body_ends_at))

    def _rest(self) -> None:
        """Waits for nothing, or only for the next request."""
        if self._answering:
            self._gate.work(self)
            self._deadline = math.inf
        else:
            self._gate.wait(self)
            self._wait_until(self.loop.time() + LONGEST_IDLE_S)

    def _check_size(self) -> None:
        if self._phase is Phase.HEAD and self._held > MOST_HEAD_BYTES:
            self._refuse(431, _LONG_HEAD)
        elif self._held > MOST_REQUEST_BYTES:
            self._refuse(413, _LONG_REQUEST)

    def _hold(self, count: int) -> bool:
        """Counts bytes of the request. False if we stop reading from the caller."""
        more, self._held = count - self._held, count
        if self._gate.hold(more, count) or more <= 0:
            return True
        self._refuse(503, _BUSY)
        return False

    def _stop_parsing(self, status: int, text: str) -> None:
        self._refusal = status, text
        raise ValueError(text)  # the parser makes an HttpParserError of it, and that becomes our refusal

    def _wait_until(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(deadline, self._look) if deadline < math.inf else None

    def _look(self) -> None:
        self._timer = None
        if self.loop.time() < self._deadline:
            self._wait_until(self._deadline)
        elif self._phase is Phase.HEAD:
            self._refuse(408, _SLOW_HEAD)
        elif self._phase is Phase.BODY and self._answering:
            self._refuse(408, _SLOW_BODY)
        else:
            self.transport.abort()

    def _refuse(self, status: int, text: str) -> None:
        """Refuses the caller; he may read why before he is cut off."""
        if self._is_over or self.transport.is_closing():
            return
        if self._dismiss(status, text):
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Sends nothing more, and throws away what still comes."""
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
        except OSError:  # he is gone
            self.transport.abort()
            return
        self.flow.resume_reading()
        self._wait_until(self.loop.time() + LONGEST_FAREWELL_S)

    def _dismiss(self, status: int, text: str) -> bool:
        """Reads no more from the caller, and says why unless he has an answer. True if that is cut off."""
        answered = self._phase is Phase.BODY and not self._answering
        cut_off = bool(self.pipeline)
        self._phase = Phase.END
        self._hold(0)
        self._gate.refusals.count(text, self._caller)
        self._gate.wait(self)
        self.pipeline.clear()
        if self.cycle is not None:
            cut_off = cut_off or (self.cycle.response_started and not self.cycle.response_complete)
            self.cycle.disconnected = True  # the application is told
            self.cycle.message_event.set()
        if not answered and not cut_off:
            self.transport.write(_answer(status, text))
        return cut_off

    @property
    def _caller(self) -> str:
        return self.client[0] if self.client else ""


class _Exit:
    """The transport as the handler of one request sees it."""

    def __init__(self, connection: Connection) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.end


def _announces_body(name: bytes, value: bytes) -> bool:
    return name == b"transfer-encoding" or (name == b"content-length" and value != b"0")


def _answer(status: int, text: str) -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"x-content-type-options: nosniff\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
