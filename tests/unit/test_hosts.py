"""The names that the node answers to."""

from collections.abc import Sequence

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from sluice.api.hosts import KnownHosts
from sluice.api.proxies import TrustedProxies
from sluice.api.refusals import Refusals
from sluice.core.hosts import host_name
from tests.unit.asgi import Answer, call

BOTS = "/chatroom/"


async def surface(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("in")(scope, receive, send)


def ask(
    host: str | None,
    path: str = "/room",
    names: Sequence[str] = ("rtc.example.com:8443",),
    refusals: Refusals | None = None,
) -> Answer:
    headers = [] if host is None else [("Host", host)]
    return call(KnownHosts(surface, names, refusals or Refusals(), BOTS), "GET", path, headers)


@pytest.mark.parametrize(
    "host",
    [
        None,  # no browser leaves it out
        "127.0.0.1",
        "127.0.0.1:18080",  # a port that is mapped
        "[::1]:8080",
        "203.0.113.7",
        "localhost:8080",
        "LOCALHOST",
        "sluice.localhost",
        "sluice:8080",  # a container's name
        "host.docker.internal:8080",
        "sluice.media.svc.cluster.local",
        "Studio.local:8080",
        "nas.home.arpa",
        "rtc.example.com",
        "RTC.Example.com.:8080",
    ],
)
def test_right_names(host: str | None) -> None:
    assert ask(host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "rtc.example.com.evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.localhost.example",
        "evil.local.example",
        "evillocal.example",
        "evil.arpa",
        "1.2.3.4.5",
        "127.1",  # no browser sends that
        "[::1].evil.example",
        "a b",
        "",
        "user@localhost",
        "localhost/",
        "x" * 5000 + ".example",
        "localhost:999999",
    ],
)
def test_other_names(host: str) -> None:
    answer = ask(host)
    assert answer.status == 421
    assert b"--hosts" in answer.body
    assert len(answer.body) < 400


def test_what_a_name_is_not_needed_for() -> None:
    """Signed calls and those of bots are nothing that a page can make; a health check says nothing."""
    open_paths = ("/", "/healthz", "/readyz", f"{BOTS}v3/channel/stream/push")
    assert [ask("evil.example", path).status for path in open_paths] == [200] * 4
    closed_paths = ("/api/v1/tasks", "/chatroom", "/metrics")
    assert [ask("evil.example", path).status for path in closed_paths] == [421] * 3


def test_any_name() -> None:
    assert ask("evil.example", names=["*"]).status == 200


def test_two_hosts_must_both_be_right() -> None:
    app = KnownHosts(surface, [], Refusals(), BOTS)
    assert call(app, "GET", "/room", [("Host", "localhost"), ("Host", "evil.example")]).status == 421


def test_a_trusted_proxy_vouches_for_its_callers() -> None:
    app = TrustedProxies(KnownHosts(surface, [], Refusals(), BOTS), ["192.0.2.0/24"])
    headers = [("Host", "evil.example"), ("X-Forwarded-For", "198.51.100.1")]
    assert call(app, "GET", "/room", headers).status == 421

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("192.0.2.1", 1)}, receive, send)

    assert call(behind, "GET", "/room", headers).status == 200


def test_refusals_are_counted() -> None:
    refusals = Refusals()
    ask("evil.example", refusals=refusals)
    assert refusals.of("the node does not answer to this name") == 1


@pytest.mark.parametrize(
    ("host", "name"),
    [("h", "h"), ("h:", "h"), ("[::1]:1", "::1"), ("A.b.", "a.b"), ("*", None), ("h:x", None), ("[x]", None)],
)
def test_names(host: str, name: str | None) -> None:
    assert host_name(host) == name
