"""The ways to the node: HTTP, UDP for media, the addresses that browsers are told, proxies in front."""

import errno
import http.client
import ipaddress
import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from sluice.config import Settings
from sluice.doctor.finding import Finding, bad, ok, warning

_ANSWER_S = 2.0
_ARRIVAL_S = 1.0
_ASKED_EVERY_S = 0.2
#: An address of a documentation network (RFC 5737): connecting a UDP socket sends nothing, and shows by which
#: address this machine would go.
_ELSEWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
_ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _bound(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Raises OSError."""
    made = socket.socket(_family(host), kind)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


# --- HTTP -------------------------------------------------------------------------------------------------


def check_http(settings: Settings, *, running: bool) -> Iterator[Finding]:
    host, port = settings.listen.host, settings.listen.port
    where = f"TCP port {port} of {host}"
    try:
        _bound(host, port, socket.SOCK_STREAM).close()
        yield ok("http", f"{where} is free")
    except OSError as error:
        yield _taken(settings, where, error, running=running)
    yield from _check_exposure(settings)


def _taken(settings: Settings, where: str, error: OSError, *, running: bool) -> Finding:
    if error.errno == errno.EADDRINUSE and running:
        health = _health(settings)
        if health is None:
            return bad(
                "http", f"{where} is used, and no node answers there", "end that program, or restart the node"
            )
        return ok("http", f"the node answers at {where}: {health}")
    if error.errno == errno.EADDRINUSE:
        return bad("http", f"{where} is used by another program", "end it, or give another one with --listen")
    if error.errno == errno.EACCES:
        return bad("http", f"{where} is for root alone", "give a port from 1024 on, or CAP_NET_BIND_SERVICE")
    why = error.strerror or error
    return bad("http", f"{where} cannot be used: {why}", "name an address of this machine with --listen")


def _health(settings: Settings) -> str | None:
    """What the node says of itself; None when nothing of the kind answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.listen.host, settings.listen.host)
    port = settings.listen.port
    if settings.http.tls:
        context = ssl._create_unverified_context()  # noqa: S323 - nothing secret is sent, and it is our own
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=_ANSWER_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
    with closing(connection), suppress(OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        connection.request("GET", "/healthz")
        return str(json.loads(connection.getresponse().read(4096))["status"])
    return None


def _check_exposure(settings: Settings) -> Iterator[Finding]:
    address = settings.listen.host
    with suppress(ValueError):  # a name
        if ipaddress.ip_address(address).is_loopback:
            return
    if settings.http.tls is None and not settings.http.trusted_proxies:
        yield warning(
            "http",
            f"{address} is reached from other machines without TLS: tokens and keys can be read on the way",
            "give --tls-cert and --tls-key, or name a proxy with TLS in front with --trusted-proxies",
        )


# --- media ------------------------------------------------------------------------------------------------


def check_media_ports(settings: Settings, *, running: bool) -> Iterator[Finding]:
    first = settings.rooms.media_port
    if not first:
        yield warning(
            "media ports",
            "each start takes other UDP ports (media_port is 0)",
            "fine on this machine alone; for a firewall give one with --media-port",
        )
        return
    ports = range(first, first + settings.rooms.processes)
    shown = f"UDP port {first}" if len(ports) == 1 else f"UDP ports {first} to {ports[-1]}"
    taken = [port for port in ports if _is_taken(_media_host(settings), port)]
    if not taken:
        yield ok("media ports", f"{shown} {'is' if len(ports) == 1 else 'are'} free")
    elif running:
        yield ok("media ports", f"{shown}: in use, as by the node that runs here")
    else:
        used = ", ".join(map(str, taken))
        yield bad("media ports", f"UDP {used} is used by another program", "end it, or give --media-port")


def _is_taken(host: str, port: int) -> bool:
    try:
        _bound(host, port, socket.SOCK_DGRAM).close()
    except OSError:
        return True
    return False


def _media_host(settings: Settings) -> str:
    """Where room processes listen, as in app.py."""
    public = settings.rooms.public_ip
    if not public:
        return "127.0.0.1"
    return "::" if any(":" in address for address in public) else "0.0.0.0"


def check_candidates(settings: Settings) -> Iterator[Finding]:
    addresses = settings.rooms.public_ip
    if not addresses:
        mine = [address for family in _ELSEWHERE if (address := _own_address(family))]
        yield warning(
            "candidates",
            "there is no public_ip: only browsers on this machine see and hear",
            f"give --public-ip with the address that browsers reach{_known(mine)}",
        )
        return
    for address in addresses:
        yield _candidate(address)
        yield _reach(settings, address)


def _candidate(address: str) -> Finding:
    parsed = ipaddress.ip_address(address)
    if parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast:
        return bad("candidates", f"{address} is no address that others reach", "give another --public-ip")
    if not _is_own(address):
        mine = _own_address(_family(address))
        there = f" to {mine}" if mine else ""
        return warning(
            "candidates",
            f"{address} is no address of this machine",
            f"right behind a router that forwards UDP{there}; else give another --public-ip{_known([mine])}",
        )
    if parsed.is_private:
        return warning(
            "candidates",
            f"{address} is an address of this machine in a private network",
            "right where all browsers are in that network; else add the public one with --public-ip",
        )
    return ok("candidates", f"{address} is an address of this machine")


def _known(addresses: Sequence[str | None]) -> str:
    there = [address for address in addresses if address]
    return f"; this machine has {' and '.join(there)}" if there else ""


def _is_own(address: str) -> bool:
    """Only addresses of the machine can be bound."""
    return not _is_taken(address, 0)


def _own_address(family: socket.AddressFamily) -> str | None:
    """The address by which this machine goes elsewhere; None where it has no way there."""
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as asked, suppress(OSError):
        asked.connect(_ELSEWHERE[family])
        return str(asked.getsockname()[0])
    return None


def _reach(settings: Settings, address: str) -> Finding:
    """Sends a datagram from here to the candidate: at the media port, or beside a node that has it."""
    host, port = _media_host(settings), settings.rooms.media_port
    beside = ""
    try:
        if port and _is_taken(host, port):
            port, beside = 0, ", beside the node's own"
        receiver = _bound(host, port, socket.SOCK_DGRAM)
    except OSError as error:
        return bad(
            "reach", f"UDP of {host} cannot be used: {error.strerror}", "look at the network of this machine"
        )
    with closing(receiver):
        port = receiver.getsockname()[1]
        where = f"UDP {address}:{port}{beside}"
        try:
            arrived = _arrives(receiver, (address, port))
        except OSError as error:
            why = error.strerror or error
            return bad("reach", f"nothing can be sent to {where}: {why}", "look at routes and the firewall")
    if arrived:
        return ok(
            "reach", f"{where} is reached from this machine; whether from outside, only a browser there tells"
        )
    return warning(
        "reach",
        f"{where} is not reached from this machine",
        f"many routers do not send back what comes from inside; from outside, UDP {port} has to be open",
    )


def _arrives(receiver: socket.socket, to: tuple[str, int]) -> bool:
    """Raises OSError when nothing can be sent."""
    token, until = secrets.token_bytes(16), time.monotonic() + _ARRIVAL_S
    receiver.settimeout(_ASKED_EVERY_S)
    with closing(socket.socket(_family(to[0]), socket.SOCK_DGRAM)) as sender:
        while time.monotonic() < until:
            sender.sendto(token, to)
            with suppress(TimeoutError):
                if receiver.recv(64) == token:
                    return True
    return False


# --- proxies ----------------------------------------------------------------------------------------------


def check_proxies(settings: Settings) -> Iterator[Finding]:
    http, found = settings.http, False
    for network in map(ipaddress.ip_network, http.trusted_proxies):
        found = True
        if network.prefixlen == 0:
            yield bad(
                "proxies",
                f"trusted_proxies has {network}: every caller may say who he is",
                "name only the proxies, such as 127.0.0.1/32",
            )
        else:
            yield ok("proxies", f"X-Forwarded-… of {network} count")
    if http.base_url and not http.trusted_proxies:
        found = True
        yield warning(
            "proxies",
            f"base_url is {http.base_url}, but no proxy is trusted: all callers share its address and limits",
            "name the proxy with --trusted-proxies",
        )
    used = [name for name in _ENVIRONMENT if os.environ.get(name)]
    if used:
        yield warning(
            "proxies",
            f"{', '.join(used)} is set, and sluice does not use it: sources are connected to directly",
            "let this machine reach sources by itself",
        )
    elif not found:
        yield ok("proxies", "there is none in front, and none is used")
