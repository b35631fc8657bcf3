"""Proxies in front: what a trusted one forwards takes the place of what it did itself.

X-Forwarded-For names the caller, X-Forwarded-Proto and -Host what he sent to the proxy. From anybody else
these headers mean nothing: they are left alone and nobody reads them.
"""

import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """An ASGI middleware; `networks` are CIDR texts."""

    def __init__(self, app: ASGIApp, networks: Iterable[str]) -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(network) for network in networks]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._networks and scope["type"] == "http" and scope.get("client"):
            address = _address(scope["client"][0])
            if address is not None and self._trusts(address):
                scope = self._as_forwarded(scope)
        await self._app(scope, receive, send)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def _as_forwarded(self, scope: Scope) -> Scope:
        forwarded = dict(scope)
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
