"""The text of HLS playlists: lines, attribute lists, numbers and variables (RFC 8216bis 4.1 to 4.3). No IO.

Strangers write these texts: the work is linear in their length, and its results are bounded (core/limits.py).
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from sluice.core.budget import Budget
from sluice.core.errors import SourceError, unsupported
from sluice.core.http_url import join_url
from sluice.core.lifecycle import Reason
from sluice.core.limits import LONGEST_ADDRESS, MOST_ADDRESS_CHARS, MOST_PLAYLIST_LINES

_LINE = re.compile(r"[^\r\n]+")
_ATTRIBUTE = re.compile(r'\s*([A-Z0-9-]+)\s*=\s*("[^"]*"|[^,]*)', re.ASCII)
_HEX = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,32})", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_VARIABLE = re.compile(r"\{\$([A-Za-z0-9_-]{1,200})\}", re.ASCII)
#: Variables may be made of variables, and double with each.
_LONGEST_VALUE = 64 << 10
_ENDLESS = "the variables of the playlist make texts without end"
_LONGEST_S = 1e6
_MOST_ATTRIBUTES = 1000  #: of a tag


def lines_of(text: str) -> Iterator[str]:
    """The lines, stripped, without blank ones. Raises SourceError."""
    lines = Budget(MOST_PLAYLIST_LINES, f"the playlist has more than {MOST_PLAYLIST_LINES} lines")
    for found in _LINE.finditer(text):
        if line := found[0].strip():
            lines.spend()
            yield line


def check_head(text: str) -> None:
    """4.4.1.1: a playlist begins with #EXTM3U. Raises SourceError, which is transient: servers answer with a
    page at times."""
    if not next(lines_of(text), "").lstrip("\ufeff").startswith("#EXTM3U"):
        raise SourceError(
            Reason.SOURCE_REFUSED, "the server answers with something else than a playlist", transient=True
        )


class Variables:
    """What EXT-X-DEFINE defines (4.4.2.3). In a playlist without it, nothing that looks like one is a
    variable."""

    def __init__(self, base: str, imported: "Variables | None" = None) -> None:
        """`base`: the address of the playlist; `imported`: variables of its master playlist."""
        self._base, self._imported = base, imported
        self._values: dict[str, str] = {}
        self._query: dict[str, str] | None = None  #: of the address, once it was needed
        self._chars = Budget(MOST_ADDRESS_CHARS, _ENDLESS)  #: that may be filled in

    def define(self, line: str) -> None:
        """Raises SourceError for a variable that is not defined, or defined twice, as the RFC asks."""
        found = attributes(line, self)
        if "NAME" in found:
            name, value = found["NAME"], found.get("VALUE", "")
        elif "IMPORT" in found:
            name = found["IMPORT"]
            if self._imported is None:
                raise unsupported(
                    f"the playlist needs the variable {name[:80]!r} of its master playlist: give the address "
                    "of that one"
                )
            value = self._imported.get(name)
        else:
            name = found.get("QUERYPARAM", "")
            if self._query is None:
                query = self._base.partition("#")[0].partition("?")[2]
                self._query = dict(reversed(parse_qsl(query, keep_blank_values=True)))
            if name not in self._query:
                raise unsupported(f"the playlist needs the parameter {name[:80]!r} in its address")
            value = self._query[name]
        if name in self._values:
            raise unsupported(f"the playlist defines the variable {name[:80]!r} twice")
        self._values[name] = value

    def get(self, name: str) -> str:
        if name not in self._values:
            raise unsupported(f"the playlist uses the variable {name[:80]!r} without defining it")
        return self._values[name]

    def fill(self, text: str) -> str:
        if not self._values or "{$" not in text:
            return text
        filled, at, length = [], 0, 0
        for found in _VARIABLE.finditer(text):
            filled += [text[at : found.start()], self.get(found[1])]
            length += len(filled[-1]) + len(filled[-2])
            at = found.end()
            if length > _LONGEST_VALUE:
                raise unsupported(_ENDLESS)
        self._chars.spend(length)
        return "".join(filled) + text[at:]


def attributes(line: str, variables: Variables) -> dict[str, str]:
    """The attribute list of a tag's line (4.2); quoted values are without their quotes."""
    found: dict[str, str] = {}
    at = line.find(":") + 1
    for _ in range(_MOST_ATTRIBUTES):
        if not at:
            break
        match = _ATTRIBUTE.match(line, at)
        if match is not None:
            value = match[2].strip()
            found[match[1]] = variables.fill(value.strip('"')) if value[:1] in ('"', "0", "{") else value
            at = match.end()
        at = line.find(",", at) + 1
    return found


def address(base: str, uri: str) -> str:
    """The absolute address. Text that is no address is returned as it is, and fails when it is opened. Raises
    SourceError."""
    if max(len(base), len(uri)) > LONGEST_ADDRESS:
        raise unsupported(f"the playlist has an address of more than {LONGEST_ADDRESS} characters")
    try:
        return join_url(base, uri)
    except ValueError:
        return uri


class Addresses:
    """Makes the addresses of one playlist absolute, and bounds how many characters they have in all."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._chars = address_budget()

    def of(self, uri: str) -> str:
        """Raises SourceError."""
        found = address(self._base, uri)
        self._chars.spend(len(found))
        return found


def address_budget(what: str = "playlist") -> Budget:
    many = f"the addresses of the {what} have more than {MOST_ADDRESS_CHARS} characters"
    return Budget(MOST_ADDRESS_CHARS, many)


def integer(value: str) -> int:
    """4.2: a decimal integer up to 2^64-1. Raises SourceError."""
    text = value.strip()
    if not _INTEGER.fullmatch(text) or int(text) >> 64:
        raise unsupported(f"the playlist has a malformed number: {text[:40]!r}")
    return int(text)


def microseconds(value: str) -> int:
    """The microseconds of a decimal number of seconds. Raises SourceError."""
    try:
        seconds = float(value.strip())
    except ValueError as error:
        raise unsupported(f"the playlist has a malformed duration: {value.strip()[:40]!r}") from error
    if not -_LONGEST_S < seconds < _LONGEST_S:
        raise unsupported(f"the playlist has an impossible duration: {value.strip()[:40]!r}")
    return round(seconds * 1_000_000)


def date_us(value: str) -> int | None:
    """Microseconds since 1970 of an ISO 8601 date and time, in UTC without a zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1e6)
    except (ValueError, OverflowError):
        return None


def byte_range(value: str) -> tuple[int, int | None]:
    """Length, and the offset if there is one (4.4.4.2). Raises SourceError."""
    length, at, offset = value.strip().partition("@")
    return integer(length), integer(offset) if at else None


def initialization_vector(value: str) -> bytes:
    """Raises SourceError."""
    found = _HEX.fullmatch(value.strip())
    if found is None:
        raise unsupported("the playlist has a malformed initialization vector")
    return int(found[1], 16).to_bytes(16, "big")
