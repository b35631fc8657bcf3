"""The XML of MPEG-DASH manifests: elements by their local names, values in our units. No IO.

Whatever cannot be read raises SourceError (permanent), as everything does that a manifest gets wrong.
"""

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from sluice.core.errors import unsupported
from sluice.core.http_url import join_url
from sluice.media.source.hls_text import date_us

#: An ISO 8601 duration; years and months have no fixed length, and nobody means them but as zero.
_DURATION = re.compile(
    r"P(?:0+Y)?(?:0+M)?(?:(\d{1,6})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d*)?)S)?)?", re.ASCII
)
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)


def parse_xml(text: str) -> Element:
    """The root, all names without their namespaces."""
    # Without a document type there are no entities, neither those that grow nor those that name files.
    if "<!DOCTYPE" in text:
        raise unsupported("the DASH manifest has a document type, which none needs")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - see above
    except (ElementTree.ParseError, ValueError) as error:
        raise unsupported(f"the DASH manifest is damaged: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


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
    """An absolute address. What is none stays as it is told: whoever opens it says so."""
    if not url:
        return base
    try:
        return join_url(base, url)
    except ValueError:
        return url if "://" in url else base + url
