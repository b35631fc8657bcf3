"""An HTTP URL taken apart: where to connect, what to ask for, and what a redirect makes of it."""

import base64
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url

_PORTS = {"http": 80, "https": 443}
#: Characters that stay as they are in a request target; the percent sign since URLs come encoded.
_SAFE = "/%:@!$&'()*+,;=~-._?"


@dataclass(frozen=True, slots=True)
class HttpTarget:
    url: str
    scheme: str
    host: str
    port: int
    path: str  #: with the query, percent-encoded
    credentials: str | None  #: ``user:password``

    @classmethod
    def parse(cls, url: str) -> "HttpTarget":
        """Raises SourceError (permanent) for anything but a usable http or https URL."""
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError as error:
            raise _unusable(url) from error
        if parts.scheme not in _PORTS or not host or not host.isprintable() or " " in host:
            raise _unusable(url)
        credentials = None
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        path = quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            path += "?" + quote(parts.query, safe=_SAFE)
        return cls(url, parts.scheme, host, port or _PORTS[parts.scheme], path, credentials)

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    def follow(self, location: str) -> "HttpTarget":
        """The target of a redirect. Credentials go along only to where they were meant for."""
        following = HttpTarget.parse(urljoin(self.url, location))
        here, there = ((t.scheme, t.host, t.port) for t in (self, following))
        if following.credentials is None and here == there:
            return HttpTarget(
                following.url,
                following.scheme,
                following.host,
                following.port,
                following.path,
                self.credentials,
            )
        return following

    def request(self, position: int, agent: str) -> bytes:
        """A GET request for the bytes from `position` on (RFC 9112; Range: RFC 9110 section 14)."""
        host = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: {host}" if self.port == _PORTS[self.scheme] else f"Host: {host}:{self.port}",
            f"User-Agent: {agent}",
            "Accept: */*",
            "Accept-Encoding: identity",
            f"Range: bytes={position}-",
            "Connection: close",
        ]
        if self.credentials is not None:
            lines.append(f"Authorization: Basic {base64.b64encode(self.credentials.encode()).decode()}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _unusable(url: str) -> SourceError:
    return SourceError(
        Reason.SOURCE_UNSUPPORTED,
        f"{mask_url(url)} is no usable address: it must begin with http:// or https:// and name a host",
        transient=False,
    )
