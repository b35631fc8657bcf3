"""Proxies in front: what a trusted one forwards takes the place of what it did itself.

X-Forwarded-For names the caller, X-Forwarded-Proto and -Host what he sent to the proxy, X-Forwarded-Prefix
what stood before the path there. From anybody else these headers mean nothing: they are left alone and nobody
reads them. Everything behind sees paths without the prefix; who makes an address asks `prefix_of`.
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


_PREFIX = "sluice.prefix"
_FORWARDED = "sluice.forwarded"
#: One slash in front: two would make an address on another host of it.
_PREFIX_FORM = re.compile(r"(?:/[A-Za-z0-9._~%-]{1,64}){1,8}")


def prefix_of(scope: Scope) -> str:
    """What stands before the paths of this node where callers see them, empty or with a slash in front."""
    prefix: str = scope.get(_PREFIX, "")
    return prefix


def is_forwarded(scope: Scope) -> bool:
    """Whether a proxy that we trust has sent it."""
    return _FORWARDED in scope


def is_prefix(text: str) -> bool:
    return _PREFIX_FORM.fullmatch(text) is not None and "/.." not in text


class TrustedProxies:
    """An ASGI middleware; `networks` are CIDR texts, `prefix` stands where no proxy says another one."""

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
        # Of several, the last is what the proxy that we trust has written itself.
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
        """Each proxy appends whom it was called by: the last who is no proxy of ours is the caller."""
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
    """A proxy may pass paths on with the prefix or without."""
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
