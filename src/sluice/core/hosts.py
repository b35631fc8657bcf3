"""Host and port of an address, as callers and servers write them: one judgement for every scheme.

Each ValueError says what is wrong with the address. It never repeats the address, which may carry secrets.
"""

import ipaddress
import re
from urllib.parse import unquote

import idna

from sluice.core.limits import MOST_HOST_CHARS, MOST_LABEL_CHARS

_NO_HOST = re.compile(r"[\x00-\x20\x7f#/:<>?@\[\\\]^|%]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HEADER = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{0,5})?")
_PORT = re.compile(r"0*([0-9]{1,5})")


def check_characters(text: str, most: int) -> None:
    """Raises ValueError for a text that no address can hold, or that is longer than `most`."""
    if len(text) > most:
        raise ValueError(f"it is longer than {most} characters")
    if _SURROGATE.search(text):
        raise ValueError("it has a character that UTF-8 cannot hold (half of a surrogate pair)")


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """The host without brackets, in the form of `ascii_host`, and the port. Raises ValueError."""
    if text.startswith("["):
        inside, closed, rest = text[1:].partition("]")
        if not closed:
            raise ValueError("the bracket of its IPv6 address is not closed")
        if rest and not rest.startswith(":"):
            raise ValueError("something other than a port follows its IPv6 address")
        return _ipv6(inside), _port(rest[1:], default)
    host, _, port = text.partition(":")
    if ":" in port:
        raise ValueError("it must name a host and one port; an IPv6 address stands in brackets")
    if not host:
        raise ValueError("it must name a host")
    return ascii_host(unquote(host)), _port(port, default)


def ascii_host(host: str) -> str:
    """The host as the name service has it: in ASCII by UTS 46, as browsers do. Raises ValueError."""
    if len(host) > MOST_HOST_CHARS:
        raise ValueError(f"its host's name is longer than {MOST_HOST_CHARS} characters")
    name = host.lower() if host.isascii() else _encoded(host)
    if _NO_HOST.search(name) or not name.strip("."):
        raise ValueError("its host is no name that can exist")
    labels = name.removesuffix(".").split(".")
    if "" in labels:
        raise ValueError("its host's name has an empty part: a dot too many")
    if max(map(len, labels)) > MOST_LABEL_CHARS or len(name) > MOST_HOST_CHARS:
        raise ValueError(
            f"a part of its host's name is longer than {MOST_LABEL_CHARS} characters, "
            f"or all of it than {MOST_HOST_CHARS}"
        )
    return name


def _encoded(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode()
    except UnicodeError:  # IDNAError is one
        pass
    try:
        return host.encode("idna").decode().lower()  # the older rules take emoji, as browsers do
    except UnicodeError as error:
        raise ValueError("its host is no name that can exist") from error


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("its IPv6 address has a zone (%), which means nothing beyond one link")
    try:
        ipaddress.IPv6Address(text)
    except ValueError as error:
        raise ValueError("what stands in brackets must be an IPv6 address") from error
    return text.lower()


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ValueError("its port must be a number")
    found = _PORT.fullmatch(text)
    port = int(found[1]) if found else 0
    if not 0 < port < 65536:
        raise ValueError("its port must be 1 to 65535")
    return port


def host_name(host: str) -> str | None:
    """The name in a header Host, without port and brackets; None if it is malformed."""
    found = _HEADER.fullmatch(host.strip())
    return found["name"].strip("[]").rstrip(".").lower() if found else None
