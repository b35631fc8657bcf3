"""Heads of answers as servers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.http_answer import ByteRange, Head, HttpError, parse_head


def _head(*lines: bytes) -> Head:
    return parse_head([b"HTTP/1.1 200 OK", *lines])


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 206 Partial Content", 206, "Partial Content"),
        (b"HTTP/1.0 404", 404, ""),
        (b"HTTP/2 200 ", 200, ""),
        (b"http/1.1 200 ok", 200, "ok"),
        (b"ICY 200 OK", 200, "OK"),
        ("HTTP/1.1 403 没有".encode(), 403, "没有"),
    ],
)
def test_status(line: bytes, status: int, reason: str) -> None:
    head = parse_head([line])
    assert (head.status, head.reason) == (status, reason)


@pytest.mark.parametrize(
    "line", [b"", b"220 ready", b"HTTP/1.1 OK", b"HTTP/1.1 20 OK", b"RTSP/1.0 200 OK", b"\xff"]
)
def test_no_status(line: bytes) -> None:
    with pytest.raises(HttpError):
        parse_head([line])


def test_headers() -> None:
    head = _head(
        b"Location: /a",
        b"no header at all",
        b": nothing",
        b"X-Long: one",
        b"  two",
        b"SET-COOKIE : a=1",
        b"set-cookie:b=2",
        "X-Utf8: 歌曲".encode(),
        b"X-Other: \xb8\xe8 a%20b",
    )
    assert head.get("location") == "/a"
    assert head.get("x-long") == "one two"
    assert head.all("set-cookie") == ["a=1", "b=2"]
    assert (head.get("x-utf8"), head.get("x-other")) == ("歌曲", "%B8%E8 a%20b")
    assert head.get("x-missing") == ""


@pytest.mark.parametrize(
    ("lines", "length", "chunked"),
    [
        ([b"Content-Length: 5"], 5, False),
        ([b"Content-Length: 5", b"Content-Length: 5"], 5, False),
        ([b"Content-Length: 5, 5"], 5, False),
        ([b"Content-Length: 5", b"Content-Length: 6"], None, False),
        ([b"Content-Length: -1"], None, False),
        ([b"Content-Length: x"], None, False),
        ([b"Content-Length: " + b"9" * 99], None, False),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], None, True),
        ([b"Transfer-Encoding: GZIP, Chunked"], None, True),
        ([b"Transfer-Encoding: identity", b"Content-Length: 5"], 5, False),
        ([], None, False),
    ],
)
def test_framing(lines: list[bytes], length: int | None, chunked: bool) -> None:
    head = _head(*lines)
    assert (head.length, head.chunked) == (length, chunked)


def test_codings() -> None:
    assert _head(b"Content-Encoding: gzip", b"Transfer-Encoding: br, chunked").codings == ["gzip", "br"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes 0-99/1000", ByteRange(0, 100, 1000)),
        (b"Bytes 5-5/*", ByteRange(5, 6, None)),
        (b"bytes=0-9/10", ByteRange(0, 10, 10)),
        (b"bytes 9-5/10", None),
        (b"bytes */10", None),
        (b"items 0-9/10", None),
    ],
)
def test_ranges(value: bytes, expected: ByteRange | None) -> None:
    assert _head(b"Content-Range: " + value).content_range == expected


def test_size_of_what_has_no_such_range() -> None:
    assert _head(b"Content-Range: bytes */10").size_without_range == 10
    assert _head().size_without_range is None


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_arbitrary_lines_raise_nothing_else(lines: list[bytes]) -> None:
    try:
        head = parse_head([b"HTTP/1.1 200 OK", *lines])
    except HttpError:
        return
    for _, value in head.headers:
        value.encode()
    assert head.length is None or head.length >= 0
    assert head.codings is not None
    assert head.content_range is None or head.content_range.end > head.content_range.start
