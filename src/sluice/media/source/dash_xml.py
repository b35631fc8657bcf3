"""The XML of MPEG-DASH manifests: elements by their local names, values in our units. No IO.

Anything malformed raises SourceError (permanent), as every fault of a manifest does.
"""

import re
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from sluice.core.budget import Budget
from sluice.core.errors import unsupported
from sluice.core.http_url import join_url
from sluice.core.limits import DEEPEST_ELEMENT, LONGEST_ADDRESS, LONGEST_TAG, MOST_ELEMENTS, MOST_PERIODS
from sluice.media.source.hls_text import date_us

#: An ISO 8601 duration. Years and months have no fixed length, so that only zeros of them are accepted.
_DURATION = re.compile(
    r"P(?:0+Y)?(?:0+M)?(?:(\d{1,6})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d*)?)S)?)?", re.ASCII
)
#: Given to the parser at once; it holds the interpreter lock meanwhile.
_PIECE_BYTES = 32 << 10
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)


def parse_xml(text: str) -> Element:
    """The root element; all names are without prefixes. Namespaces are not resolved, since each element would
    then cost as much as the name of its namespace is long."""
    tree = _Tree()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = tree.start, tree.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = tree.builder.data, _refuse_document_type
    data = text.encode("utf-8", "replace")
    try:
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            parser.Parse(piece)
            if at + len(piece) - parser.CurrentByteIndex > LONGEST_TAG:
                raise unsupported(f"the DASH manifest has a tag of more than {LONGEST_TAG} bytes")
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise unsupported(f"the DASH manifest is damaged: {error}") from error
    return tree.builder.close()


class _Tree:
    """Builds the elements, bounded in number and depth: while they are read, so that what is refused takes no
    memory."""

    def __init__(self) -> None:
        self.builder = TreeBuilder()
        self._elements = Budget(MOST_ELEMENTS, f"the DASH manifest has more than {MOST_ELEMENTS} elements")
        self._periods = Budget(MOST_PERIODS, f"the DASH manifest has more than {MOST_PERIODS} periods")
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements.spend()
        self._depth += 1
        if self._depth > DEEPEST_ELEMENT:
            raise unsupported(f"the DASH manifest has elements more than {DEEPEST_ELEMENT} deep")
        local = name.rpartition(":")[2]
        if local == "Period":
            self._periods.spend()
        self.builder.start(local, attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        self.builder.end(name.rpartition(":")[2])


def _refuse_document_type(*_: object) -> NoReturn:
    """Without a document type there are no entities, neither those that expand nor those that name files."""
    raise unsupported("the DASH manifest has a document type, which none needs")


def duration_us(text: str | None) -> int | None:
    """Microseconds of an ISO 8601 duration, None without one."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise unsupported(f"the DASH manifest has a malformed duration: {text[:40]!r}")
    days, hours, minutes, seconds = (float(group or 0) for group in found.groups())
    return round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1e6)


def unix_us(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 date and time; without a zone it is UTC."""
    found = date_us(text)
    if found is None:
        raise unsupported(f"the DASH manifest has a malformed time: {text[:40]!r}")
    return found


def integer(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not _INTEGER.fullmatch(text.strip()):
        raise unsupported(f"the DASH manifest has a malformed number: {text[:40]!r}")
    return int(text)


def join(base: str, url: str | None) -> str:
    """The absolute address. Text that is no address is returned as it is, and fails when it is opened."""
    if max(len(base), len(url or "")) > LONGEST_ADDRESS:
        raise unsupported(f"the DASH manifest has an address of more than {LONGEST_ADDRESS} characters")
    if not url:
        return base
    try:
        return join_url(base, url)
    except ValueError:
        return url if "://" in url else base + url
