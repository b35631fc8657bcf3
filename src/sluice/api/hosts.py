"""The names that the node answers to. This protects against DNS rebinding: pages of strangers whose name
points at us.

The browser sends the name of such a page in the header Host. Accepted are addresses, names of this machine
(`localhost`), names without a dot and those of private networks, which nobody can own in the DNS, and the
names that the operator has given. Any name may be used for signed calls and calls of bots, since no page has
their keys and tokens, for a trusted proxy, and for the health checks, which reveal nothing. With our own TLS
the browser has compared the name already.
"""

import ipaddress
from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sluice.api.proxies import is_forwarded
from sluice.api.refusals import Refusals
from sluice.core.hosts import host_name

#: Paths whose calls are signed, or that reveal nothing.
_OPEN = ("", "/", "/healthz", "/readyz")
#: Ends of names that the DNS gives to nobody (RFC 6761, 6762 and 8375; ICANN has set `internal` aside):
#: machines found by mDNS, services of Kubernetes, `host.docker.internal`.
_PRIVATE = (".localhost", ".local", ".home.arpa", ".internal")
_WHY = "the node does not answer to this name"


class KnownHosts:
    """An ASGI middleware. `names` are the operator's, ``*`` is any. Below `open_root` any name is right."""

    def __init__(self, app: ASGIApp, names: Iterable[str], refusals: Refusals, open_root: str) -> None:
        self._app = app
        self._open_root = open_root
        self._names = {name for name in map(host_name, names) if name}
        self._any = "*" in names
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_open = path in _OPEN or path.startswith(self._open_root)
        if scope["type"] != "http" or is_open or is_forwarded(scope) or self._any:
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        names = [host_name(host) for host in hosts]
        if all(name is not None and self._is_ours(name) for name in names):
            await self._app(scope, receive, send)
            return
        client = HTTPConnection(scope).client
        self._refusals.count(_WHY, client.host if client else "")
        name = next((name for name in names if name), None) or "HOST"
        text = f"{_WHY}; use its address, or start it with --hosts {name}"
        await PlainTextResponse(text, 421)(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        return name in self._names or "." not in name or name.endswith(_PRIVATE) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
