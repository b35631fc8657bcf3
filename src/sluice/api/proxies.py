"""Proxies in front: the headers of a trusted proxy replace the facts of its own connection.

X-Forwarded-For names the caller, X-Forwarded-Proto and -Host the scheme and host that he asked the proxy for,
X-Forwarded-Prefix the part before the path there. From anybody else these headers mean nothing and are not
read. All parts behind see paths without the prefix; `prefix_of` gives it to those that make an address.
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


_PREFIX = "sluice.prefix"
_FORWARDED = "sluice.forwarded"
#: One slash in front: two would make it an address on another host.
_PREFIX_FORM = re.compile(r"(?:/[A-Za-z0-9._~%-]{1,64}){1,8}")


def prefix_of(scope: Scope) -> str:
    """The prefix that callers see before the paths of this node: empty, or with a slash in front."""
    prefix: str = scope.get(_PREFIX, "")
    return prefix


def is_forwarded(scope: Scope) -> bool:
    """Whether a trusted proxy has sent the request."""
    return _FORWARDED in scope


def is_prefix(text: str) -> bool:
    return _PREFIX_FORM.fullmatch(text) is not None and "/.." not in text


class TrustedProxies:
    """An ASGI middleware. `networks` are CIDR texts; `prefix` is used if no proxy names one."""

    def __init__(self, app: ASGIApp, networks: Iterable[str], prefix: str = "") -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._networks and scope.get("client"):
            address = _address(scope["client"][0])
            if address is not None and self._trusts(address):
                scope = self._as_forwarded(scope)
        if scope["type"] == "http" and (prefix := scope.get(_PREFIX, self._prefix)):
            scope = _without_prefix(scope, prefix)
        await self._app(scope, receive, send)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def _as_forwarded(self, scope: Scope) -> Scope:
        forwarded = dict(scope)
        forwarded[_FORWARDED] = True
        caller = self._caller(_items(scope, b"x-forwarded-for"))
        if caller is not None:
            forwarded["client"] = (str(caller), 0)
        # Of several values the last is the one that the trusted proxy has written itself.
        scheme = _items(scope, b"x-forwarded-proto")[-1:]
        if scheme and scheme[0].lower() in ("http", "https"):
            forwarded["scheme"] = scheme[0].lower()
        host = _items(scope, b"x-forwarded-host")[-1:]
        if host:
            others = [line for line in scope["headers"] if line[0] != b"host"]
            forwarded["headers"] = [(b"host", host[0].encode("latin-1")), *others]
        prefix = _items(scope, b"x-forwarded-prefix")[-1:]
        if prefix and is_prefix(prefix[0].rstrip("/")):
            forwarded[_PREFIX] = prefix[0].rstrip("/")
        return forwarded

    def _caller(self, items: list[str]) -> _Address | None:
        """Each proxy appends its own caller; the last address that is no trusted proxy is the caller."""
        caller = None
        for item in reversed(items):
            address = _address(item)
            if address is None:
                break
            caller = address
            if not self._trusts(address):
                break
        return caller


def _without_prefix(scope: Scope, prefix: str) -> Scope:
    """The scope without the prefix, which a proxy may pass on or not."""
    path: str = scope["path"]
    inner = path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path
    return {**scope, _PREFIX: prefix, "path": inner or "/"}


def _items(scope: Scope, name: bytes) -> list[str]:
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def _address(text: str) -> _Address | None:
    """An address, with or without a port behind it; None for anything else."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
