"""The body of an HTTP answer by its framing (RFC 9112 6 and 7), read from a stream that blocks."""

import io
import re

from sluice.core.limits import MOST_ANSWER_HEAD_BYTES, MOST_ANSWER_HEAD_LINES, MOST_FRAMING_BYTES
from sluice.wire.http_answer import Head, HttpError

#: Bytes of framing for each byte of the body that are not counted.
_FRAMING = 8
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


def read_head_lines(stream: io.BufferedReader) -> list[bytes]:
    """The lines up to the empty one; empty lines before the status are skipped. Raises HttpError, OSError."""
    lines: list[bytes] = []
    left = MOST_ANSWER_HEAD_BYTES
    while left > 0 and len(lines) < MOST_ANSWER_HEAD_LINES:
        line = stream.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            break
        line = line.rstrip(b"\r\n")
        if line:
            lines.append(line)
        elif lines:
            return lines
    raise HttpError("the head of the answer has no end" if lines else "there is no answer")


class Body:
    """`read1` returns what has arrived; no bytes at the end of the body."""

    def __init__(self, stream: io.BufferedReader, head: Head) -> None:
        self._stream = stream
        self._chunked = head.chunked
        self._left = 0 if self._chunked else head.length  #: of the chunk or the body; None: until the close
        self._over = head.status in (204, 205, 304)
        self._framing = 0  #: bytes around the chunks beyond _FRAMING for each of theirs

    def read1(self, size: int) -> bytes:
        """Raises ConnectionError when the body breaks off, HttpError for malformed chunks."""
        if self._chunked and self._left == 0 and not self._over:
            self._next_chunk()
        if self._over or self._left == 0:
            return b""
        data = self._stream.read1(size if self._left is None else min(size, self._left))
        if self._left is None:
            self._over = not data and size > 0
            return data
        if not data and size:
            raise ConnectionError("the connection was closed in the middle of the body")
        self._left -= len(data)
        self._framing = max(0, self._framing - _FRAMING * len(data))
        if self._chunked and self._left == 0:
            self._line()
        return data

    def _next_chunk(self) -> None:
        found = _CHUNK_SIZE.fullmatch(self._line())
        if found is None:
            raise HttpError("a chunk of the body has no size")
        self._left = int(found[1], 16)
        if self._left == 0:
            self._over = True
            for _ in range(MOST_ANSWER_HEAD_LINES):  # the trailer
                if not self._line():
                    return
            raise HttpError("the trailer of the body has no end")

    def _line(self) -> bytes:
        line = self._stream.readline(MOST_ANSWER_HEAD_BYTES)
        if not line.endswith(b"\n"):
            if len(line) >= MOST_ANSWER_HEAD_BYTES:
                raise HttpError(f"a line of the body's framing is longer than {MOST_ANSWER_HEAD_BYTES} bytes")
            raise ConnectionError("the connection was closed in the middle of the body")
        self._framing += len(line)
        if self._framing > MOST_FRAMING_BYTES:
            raise HttpError("the body is nearly nothing but the framing of its chunks")
        return line.rstrip(b"\r\n")
