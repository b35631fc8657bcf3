"""The head of an HTTP/1 answer, and how its body is framed (RFC 9112, RFC 9110 14), as servers write them.

Lines that are no header are skipped, as browsers do. A header value is decoded as UTF-8. Where it is none,
its bytes beyond ASCII are percent-encoded, as they would be in a request for an address with them.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

#: Shoutcast servers say ICY where others say HTTP/1.0.
_STATUS_LINE = re.compile(rb"(?:HTTP/(\d)(?:\.(\d))?|ICY) +(\d{3})(?: +(.*))?", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes[ =](\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_NO_RANGE = re.compile(r"bytes[ =]\*/(\d{1,18})", re.IGNORECASE)
_LENGTH = re.compile(r"\d{1,18}")
_ASCII = "".join(map(chr, range(0x20, 0x7F)))


class HttpError(Exception):
    """The bytes are not HTTP."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a 206 answer: from `start` up to `end`, which is excluded."""

    start: int
    end: int
    size: int | None  #: of the whole; None when the server does not tell


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and the headers."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]  #: names in lower case
    version: tuple[int, int] = (1, 1)

    def get(self, name: str) -> str:
        """The first header of this name; empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def tokens(self, name: str) -> list[str]:
        """The items of all headers of this name, in lower case."""
        items = ",".join(self.all(name)).lower().split(",")
        return [item.strip() for item in items if item.strip()]

    @property
    def keeps_alive(self) -> bool:
        """Whether the server takes another request on the same connection (RFC 9112 9.3)."""
        return self.version >= (1, 1) and "close" not in self.tokens("connection")

    @property
    def chunked(self) -> bool:
        return self.tokens("transfer-encoding")[-1:] == ["chunked"]

    @property
    def codings(self) -> list[str]:
        """Content and transfer codings in the order in which they were applied, without chunked."""
        applied = self.tokens("content-encoding") + self.tokens("transfer-encoding")
        return [coding for coding in applied if coding != "chunked"]

    @property
    def length(self) -> int | None:
        """Bytes of the body. None when the body ends by itself, and when the server names two lengths."""
        lengths = set(self.tokens("content-length"))
        if self.chunked or len(lengths) != 1:
            return None
        (length,) = lengths
        return int(length) if _LENGTH.fullmatch(length) else None

    @property
    def content_range(self) -> ByteRange | None:
        found = _CONTENT_RANGE.match(self.get("content-range"))
        if found is None or int(found[2]) < int(found[1]):
            return None
        return ByteRange(int(found[1]), int(found[2]) + 1, int(found[3]) if found[3] != "*" else None)

    @property
    def size_without_range(self) -> int | None:
        """The size of the whole, as a 416 answer tells it."""
        found = _NO_RANGE.match(self.get("content-range"))
        return int(found[1]) if found else None


def parse_head(lines: list[bytes]) -> Head:
    """`lines` without their ends, up to the empty one. Raises HttpError."""
    found = _STATUS_LINE.fullmatch(lines[0].strip()) if lines else None
    if found is None:
        raise HttpError("the answer does not begin with a status")
    headers: list[tuple[str, bytes]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t"):  # a folded line goes on with the one before it
            if headers:
                headers[-1] = (headers[-1][0], headers[-1][1] + b" " + line.strip())
        elif colon and name.strip():
            headers.append((_text(name.strip()).lower(), value.strip()))
    version = int(found[1] or 1), int(found[2] or 0)
    texts = tuple((name, _text(value)) for name, value in headers)
    return Head(int(found[3]), _text(found[4] or b""), texts, version)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return quote_from_bytes(data, safe=_ASCII)
