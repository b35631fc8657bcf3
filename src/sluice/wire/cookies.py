"""Cookies of one source (RFC 6265): which a server may set, and which are sent where. Bounded; time is an
argument.

One rule is stricter than in browsers: a cookie that a server on an unusual port sets without a domain is sent
to that port only, since another port of a host is often another service.
"""

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

from sluice.core.addresses import is_address
from sluice.core.http_url import PORTS, HttpUrl
from sluice.core.limits import MOST_COOKIE_BYTES, MOST_COOKIE_HEADER_BYTES, MOST_COOKIES

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Cookie:
    name: str
    value: str
    domain: str
    port: int | None  #: the only one it is sent to; None: all of the host's
    host_only: bool
    path: str
    secure: bool
    until: float | None

    def goes_to(self, url: HttpUrl, now: float) -> bool:
        if self.until is not None and self.until <= now:
            return False
        if self.port is not None and self.port != url.port:
            return False
        if url.host != self.domain and (self.host_only or not url.host.endswith("." + self.domain)):
            return False
        if self.secure and url.scheme != "https":
            return False
        path = url.path.partition("?")[0]
        return path.startswith(self.path) and (
            self.path.endswith("/") or path[len(self.path) :][:1] in ("", "/")
        )


class CookieJar:
    """The cookies of one source; the oldest are dropped beyond MOST_COOKIES."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str, int | None], _Cookie] = {}

    def store(self, url: HttpUrl, lines: list[str], now: float) -> None:
        """`lines`: values of Set-Cookie in an answer of `url`. Cookies that it may not set are ignored."""
        for line in lines:
            cookie = _parse(url, line, now)
            if cookie is None:
                continue
            key = (cookie.name, cookie.domain, cookie.path, cookie.port)
            self._cookies.pop(key, None)
            if cookie.until is None or cookie.until > now:
                self._cookies[key] = cookie
        while len(self._cookies) > MOST_COOKIES:
            del self._cookies[next(iter(self._cookies))]

    def header(self, url: HttpUrl, now: float) -> str:
        """The value of Cookie in a request for `url`, empty for none: longer paths first, then older ones."""
        sent = [cookie for cookie in self._cookies.values() if cookie.goes_to(url, now)]
        sent.sort(key=lambda cookie: -len(cookie.path))
        header = ""
        for cookie in sent:
            pair = f"{cookie.name}={cookie.value}" if cookie.name else cookie.value
            if len(header) + len(pair) + 2 <= MOST_COOKIE_HEADER_BYTES:
                header += f"; {pair}" if header else pair
        return header


def _parse(url: HttpUrl, line: str, now: float) -> _Cookie | None:
    if len(line) > MOST_COOKIE_BYTES or _CONTROL.search(line):
        return None
    pair, *rest = line.split(";")
    name, equals, value = pair.partition("=")
    name, value = (name.strip(), value.strip()) if equals else ("", pair.strip())
    attributes = {}
    for part in rest:
        key, _, text = part.partition("=")
        attributes[key.strip().lower()] = text.strip()
    if not name and not value:
        return None
    domain = attributes.get("domain", "").lower().lstrip(".")
    host_only = not domain or domain == url.host
    if not host_only and (is_address(url.host) or "." not in domain or not url.host.endswith("." + domain)):
        return None
    secure = "secure" in attributes
    if secure and url.scheme != "https":
        return None
    if name.startswith(("__Secure-", "__Host-")) and not secure:
        return None
    path = attributes.get("path", "")
    if not path.startswith("/"):
        path = url.path.partition("?")[0].rpartition("/")[0] or "/"
    return _Cookie(
        name=name,
        value=value,
        domain=url.host if host_only else domain,
        port=url.port if not domain and url.port not in PORTS.values() else None,
        host_only=not domain or is_address(url.host),
        path=path,
        secure=secure,
        until=_until(attributes, now),
    )


def _until(attributes: dict[str, str], now: float) -> float | None:
    age = attributes.get("max-age", "")
    if re.fullmatch(r"-?\d+", age):
        return now + min(int(age[:12]), 10**10)
    date = parsedate_tz(attributes.get("expires", ""))
    if date is None:
        return None
    try:
        return float(mktime_tz(date))
    except (ValueError, OverflowError):
        return None
