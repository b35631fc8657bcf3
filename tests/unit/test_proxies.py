"""Proxies in front: whose X-Forwarded headers count, and what they change."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from sluice.api.proxies import TrustedProxies, prefix_of

NETWORKS = ("10.0.0.0/8", "fd00::/8")


def seen(
    client: str | None,
    *headers: tuple[str, str],
    networks: tuple[str, ...] = NETWORKS,
    path: str = "/whip/a/b",
    prefix: str = "",
) -> Scope:
    """The scope that the application behind gets."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    async def receive() -> Message:
        raise AssertionError("it does not read")

    async def send(message: Message) -> None:
        raise AssertionError("it does not write")

    lines = [(b"host", b"inner:8080"), *((name.lower().encode(), value.encode()) for name, value in headers)]
    scope = {
        "type": "http",
        "scheme": "http",
        "headers": lines,
        "path": path,
        "client": (client, 4711) if client else None,
    }

    async def drive() -> None:
        await TrustedProxies(app, networks, prefix)(scope, receive, send)

    asyncio.run(drive())
    return scopes[0]


ALL = (
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "rtc.example"),
)


def test_a_trusted_proxy() -> None:
    scope = seen("10.1.2.3", *ALL)
    assert scope["client"] == ("203.0.113.9", 0)
    assert scope["scheme"] == "https"
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"rtc.example"]


@pytest.mark.parametrize("client", ["203.0.113.7", "11.0.0.1", "2001:db8::1", None, "unix"])
def test_anybody_else(client: str | None) -> None:
    scope = seen(client, *ALL)
    assert scope["client"] == ((client, 4711) if client else None)
    assert scope["scheme"] == "http"
    assert scope["headers"][0] == (b"host", b"inner:8080")


def test_nobody_is_trusted_by_default() -> None:
    assert seen("10.1.2.3", *ALL, networks=())["scheme"] == "http"


@pytest.mark.parametrize(
    ("chain", "caller"),
    [
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the first may be anybody's invention
        ("203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("203.0.113.9:1234", "203.0.113.9"),
        ("[2001:db8::9]:1234", "2001:db8::9"),
        ("10.9.9.9", "10.9.9.9"),
        ("nonsense, 10.9.9.9", "10.9.9.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("nonsense", "10.1.2.3"),
        ("", "10.1.2.3"),
    ],
)
def test_the_caller_is_the_last_that_is_no_proxy(chain: str, caller: str) -> None:
    assert seen("10.1.2.3", ("X-Forwarded-For", chain))["client"][0] == caller


def test_lines_of_a_header_are_one_list() -> None:
    scope = seen("fd00::1", ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "10.9.9.9"))
    assert scope["client"][0] == "203.0.113.9"


@pytest.mark.parametrize(("given", "scheme"), [("HTTPS", "https"), ("http, https", "https"), ("ftp", "http")])
def test_schemes(given: str, scheme: str) -> None:
    assert seen("10.1.2.3", ("X-Forwarded-Proto", given))["scheme"] == scheme


def test_a_proxy_that_is_seen_as_mapped_ipv6() -> None:
    assert seen("::ffff:10.1.2.3", *ALL)["scheme"] == "https"


@pytest.mark.parametrize(
    ("given", "path", "prefix", "inner"),
    [
        ("/sluice", "/whip/a/b", "/sluice", "/whip/a/b"),
        ("/sluice/", "/sluice/whip/a/b", "/sluice", "/whip/a/b"),
        ("/outer, /a/b-c", "/a/b-c", "/a/b-c", "/"),
        ("/sluice", "/sluices/x", "/sluice", "/sluices/x"),
        ("/", "/whip", "", "/whip"),
        ("//evil.example", "/whip", "", "/whip"),
        ("https://evil.example", "/whip", "", "/whip"),
        ("/a/../b", "/whip", "", "/whip"),
        ("/a b", "/whip", "", "/whip"),
        ("/a?b", "/whip", "", "/whip"),
        ("/x" * 9, "/whip", "", "/whip"),
    ],
)
def test_prefixes(given: str, path: str, prefix: str, inner: str) -> None:
    scope = seen("10.1.2.3", ("X-Forwarded-Prefix", given), path=path)
    assert (prefix_of(scope), scope["path"]) == (prefix, inner)


def test_a_prefix_that_a_stranger_forwards() -> None:
    scope = seen("203.0.113.7", ("X-Forwarded-Prefix", "/sluice"))
    assert prefix_of(scope) == ""


def test_a_prefix_of_the_operator() -> None:
    scope = seen("203.0.113.7", ("X-Forwarded-Prefix", "/evil"), path="/sluice/room", prefix="/sluice")
    assert (prefix_of(scope), scope["path"]) == ("/sluice", "/room")
    assert prefix_of(seen("10.1.2.3", ("X-Forwarded-Prefix", "/b"), prefix="/sluice")) == "/b"
