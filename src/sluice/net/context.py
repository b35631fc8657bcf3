"""What all HTTP requests of one source share: the user agent, headers, cookies, and passwords by origin.

Authorization, cookies and headers that may carry a secret go only to the origin that they are meant for.
Several threads use it at once.
"""

import base64
import threading
import time

from sluice import __version__
from sluice.core.http_url import HttpUrl
from sluice.core.masking import is_secret_header
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.wire.cookies import CookieJar
from sluice.wire.http_answer import Head

_MOST_PASSWORDS = 20


class HttpContext:
    def __init__(self, headers: RequestHeaders = PLAIN) -> None:
        """Secret ones of the operator's `headers` go only to the origin that is asked first."""
        self._headers = headers
        self._home: tuple[str, str, int] | None = None
        self._lock = threading.Lock()
        self._cookies = CookieJar()
        self._passwords: dict[tuple[str, str, int], str] = {}

    def request(self, url: HttpUrl, begin: int | None) -> bytes:
        """A GET request for the bytes from `begin` on; None: for all (RFC 9112; RFC 9110 14)."""
        with self._lock:
            if self._home is None:
                self._home = url.origin
            if url.credentials is not None and len(self._passwords) < _MOST_PASSWORDS:
                self._passwords.setdefault(url.origin, url.credentials)
            password = url.credentials or self._passwords.get(url.origin)
            cookie = self._cookies.header(url, time.time())
        lines = [
            f"GET {url.path} HTTP/1.1",
            f"Host: {url.authority}",
            f"User-Agent: {self._headers.user_agent or f'sluice/{__version__}'}",
            "Accept-Encoding: identity",
            "Connection: close",
        ]
        if begin is not None:
            lines.append(f"Range: bytes={begin}-")
        own = {name.lower(): (name, value) for name, value in self._headers.headers}
        if url.origin != self._home:
            own = {name: pair for name, pair in own.items() if not is_secret_header(name)}
        if "accept" not in own:
            lines.append("Accept: */*")
        if password is not None:
            own["authorization"] = "Authorization", f"Basic {base64.b64encode(password.encode()).decode()}"
        if cookie:
            ours = own.pop("cookie", None)
            own["cookie"] = "Cookie", f"{ours[1]}; {cookie}" if ours else cookie
        lines += [f"{name}: {value}" for name, value in own.values()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def learn(self, url: HttpUrl, head: Head) -> None:
        """Takes the cookies of an answer."""
        if lines := head.all("set-cookie"):
            with self._lock:
                self._cookies.store(url, lines, time.time())
