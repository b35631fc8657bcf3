"""Bodies and heads of answers that go on for ever: what is read of them is counted, not timed."""

import io
from typing import TYPE_CHECKING

import pytest

from sluice.core.limits import MOST_ANSWER_HEAD_BYTES, MOST_ANSWER_HEAD_LINES, MOST_FRAMING_BYTES
from sluice.net.body import Body, read_head_lines
from sluice.wire.http_answer import Head, HttpError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNKED = Head(200, "", (("transfer-encoding", "chunked"),))


class _Endless(io.RawIOBase):
    """Gives `part` again and again; `given` counts the bytes."""

    def __init__(self, part: bytes) -> None:
        self._part = part * (65536 // len(part) + 1)
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        buffer = memoryview(buffer)
        count = min(len(buffer), 4096)
        start = self.given % (len(self._part) // 2)
        data = (self._part * 2)[start : start + count]
        buffer[: len(data)] = data
        self.given += len(data)
        return len(data)


@pytest.mark.parametrize("part", [b"a: b\r\n", b"a", b"\r\n", b" folded\r\n", b"\0"])
def test_heads_without_an_end(part: bytes) -> None:
    raw = _Endless(part)
    with pytest.raises(HttpError):
        read_head_lines(io.BufferedReader(raw))
    assert raw.given <= MOST_ANSWER_HEAD_BYTES + 16384


def test_many_lines() -> None:
    lines = b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * MOST_ANSWER_HEAD_LINES + b"\r\n"
    with pytest.raises(HttpError, match="has no end"):
        read_head_lines(io.BufferedReader(io.BytesIO(lines)))


def _read(data: bytes) -> tuple[int, int]:
    """Bytes of the body, and calls."""
    body, total, calls = Body(io.BufferedReader(io.BytesIO(data)), _CHUNKED), 0, 0
    while part := body.read1(65536):
        total, calls = total + len(part), calls + 1
    return total, calls


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_small_chunks_are_read(size: int) -> None:
    chunk = b"%x\r\n" % size + bytes(size) + b"\r\n"
    for count in (100_000 // size, 200_000 // size):
        total, calls = _read(chunk * count + b"0\r\n\r\n")
        assert total == size * count
        assert calls <= 1.2 * count  # some are cut where a buffer ends


@pytest.mark.parametrize("extension", [b"; a=b" * 100, b";" + b"x" * 60_000, b" " * 1000])
def test_extensions_without_an_end(extension: bytes) -> None:
    raw = _Endless(b"1" + extension + b"\r\na\r\n")
    body = Body(io.BufferedReader(raw), _CHUNKED)

    def read_all() -> None:
        while body.read1(65536):
            pass

    with pytest.raises(HttpError):
        read_all()
    assert raw.given <= 2 * MOST_FRAMING_BYTES


def test_one_extension_without_an_end() -> None:
    raw = _Endless(b"x")
    raw.readinto(bytearray(1))
    body = Body(io.BufferedReader(raw), _CHUNKED)
    with pytest.raises(HttpError, match="framing is longer"):
        body.read1(10)
    assert raw.given <= MOST_ANSWER_HEAD_BYTES + 16384


def test_trailers_without_an_end() -> None:
    with pytest.raises(HttpError, match="trailer"):
        _read(b"0\r\n" + b"a: b\r\n" * 10_000)
