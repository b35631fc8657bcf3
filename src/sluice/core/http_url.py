"""HTTP addresses as browsers read them (WHATWG URL): where to connect, what to ask, where references lead.

Callers and servers write addresses with spaces, plain UTF-8, backslashes and dots, and expect what a browser
makes of them. Nothing here judges whether a host may be reached.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from sluice.core.hosts import check_characters, host_and_port
from sluice.core.limits import MOST_URL_CHARS

PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AROUND = "".join(map(chr, range(0x21)))  #: control characters and the space
_DROPPED = str.maketrans("", "", "\t\r\n")
#: Characters that stay as they are in a path and in a query. Percent signs do: addresses come encoded.
_PATH_SAFE = "!$%&'()*+,-./:;=@[\\]_|~"
_QUERY_SAFE = "!$%&()*+,-./:;=?@[\\]^_`{|}~"
#: A reference of names alone, without anything that is joined in another way than by appending it.
_PLAIN = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*(?:\?[\w.=&/-]*)?", re.ASCII)
_DOT, _DOT_DOT = re.compile(r"\.|%2e", re.IGNORECASE), re.compile(r"(?:\.|%2e){2}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """`url` is the address as it was written or joined, for people and as a base; the rest is ASCII."""

    url: str
    scheme: str
    host: str  #: without brackets
    port: int
    path: str  #: with the query, percent-encoded, without the fragment
    credentials: str | None = None  #: ``user:password``

    @classmethod
    def parse(cls, url: str) -> "HttpUrl":
        """Raises ValueError for anything but an http or https address with a host; the text says why and
        repeats nothing of the address."""
        text = _trimmed(url)
        check_characters(text, MOST_URL_CHARS)
        found = _SCHEME.match(text)
        scheme = found[1].lower() if found else ""
        if found is None or scheme not in PORTS:
            raise ValueError("it must begin with http:// or https://")
        rest, query = _split(text[found.end() :])
        authority, _, path = rest.lstrip("/").partition("/")
        userinfo, at, host_port = authority.rpartition("@")
        host, port = host_and_port(host_port, PORTS[scheme])
        target = quote(_without_dots("/" + path), safe=_PATH_SAFE)
        if query is not None:
            target += "?" + quote(query, safe=_QUERY_SAFE)
        return cls(text, scheme, host, port, target, _credentials(userinfo) if at else None)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port in the form of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def join_url(base: str, reference: str) -> str:
    """The address that `reference` (of a redirect, of a playlist) means in a document from `base`.

    `//` in paths stays, which urljoin does not guarantee. Raises ValueError when `base` is no HTTP address.
    """
    if _PLAIN.fullmatch(reference):
        # The names of segments: a playlist of half a day has 20,000, and is read again every few seconds.
        return _folder_of(base) + reference
    return _joined(base, reference)


@lru_cache(maxsize=64)
def _folder_of(base: str) -> str:
    """The prefix of plain names. Raises as `join_url`."""
    return _joined(base, "name").removesuffix("name")


def _joined(base: str, reference: str) -> str:
    text = _trimmed(reference)
    scheme, root, path, query = _base_of(base)
    found = _SCHEME.match(text)
    if found is not None:
        rest = text[found.end() :]
        if found[1].lower() != scheme or rest[:2].replace("\\", "/") == "//":
            return text
        text = rest  # http:name, the old way to be relative
    given, asked = _split(text)
    if given.startswith("//"):
        return f"{scheme}:{_restored(given, asked)}"
    if given.startswith("/"):
        return root + _restored(_without_dots(given), asked)
    if given:
        return root + _restored(_without_dots(path[: path.rfind("/") + 1] + given), asked)
    return root + _restored(path, asked if asked is not None else query)


@lru_cache(maxsize=64)
def _base_of(base: str) -> tuple[str, str, str, str | None]:
    """Scheme, scheme with authority, path and query. Raises as `join_url`."""
    return (HttpUrl.parse(base).scheme, *_taken_apart(_trimmed(base)))


def _trimmed(url: str) -> str:
    return url.strip(_AROUND).translate(_DROPPED)


def _split(text: str) -> tuple[str, str | None]:
    """The part before the query, with slashes for backslashes, and the query; without the fragment."""
    before, mark, query = text.partition("#")[0].partition("?")
    return before.replace("\\", "/"), query if mark else None


def _taken_apart(url: str) -> tuple[str, str, str | None]:
    """Scheme with authority, path and query."""
    scheme, _, rest = url.partition(":")
    before, query = _split(rest)
    authority, _, path = before.lstrip("/").partition("/")
    return f"{scheme.lower()}://{authority}", "/" + path, query


def _restored(path: str, query: str | None) -> str:
    return path if query is None else f"{path}?{query}"


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if _DOT_DOT.fullmatch(segment):
            del kept[-1:]
        elif not _DOT.fullmatch(segment):
            kept.append(segment)
            continue
        if last:
            kept.append("")
    return "/" + "/".join(kept)


def _credentials(userinfo: str) -> str:
    user, _, password = userinfo.partition(":")
    return f"{unquote(user)}:{unquote(password)}"
