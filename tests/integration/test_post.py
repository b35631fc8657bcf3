"""POSTs over TLS and to servers that do not speak HTTP; the rest is in test_callbacks."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from sluice.core.addresses import AddressPolicy
from sluice.net.post import Poster, PostFailed
from tests.integration.scripted import ScriptedServer, wait_for_close
from tests.integration.test_http_reader import certificate  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio

LOOPBACK = AddressPolicy(["127.0.0.0/8"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def accept(request: str, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    wait_for_close(connection)


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_trusted_server(certificate: Path) -> None:  # noqa: F811
    trust = ssl.create_default_context(cafile=str(certificate))
    with ScriptedServer(accept, server_context(certificate)) as server:
        async with Poster(LOOPBACK, tls=trust) as poster:
            await poster.post(server.url("/path?query"), {"Content-Type": "application/json"}, b"{}")
    (request,) = server.requests
    assert request.startswith("POST /path?query HTTP/1.1\r\n")
    assert "Content-Length: 2\r\n" in request


async def test_a_server_that_nobody_trusts(certificate: Path) -> None:  # noqa: F811
    with ScriptedServer(accept, server_context(certificate)) as server:
        async with Poster(LOOPBACK) as poster:
            with pytest.raises(PostFailed, match="its certificate is not trusted"):
                await poster.post(server.url(), {}, b"{}")
    assert server.requests == []


async def test_credentials_of_the_address_are_sent() -> None:
    with ScriptedServer(accept) as server:
        async with Poster(LOOPBACK) as poster:
            await poster.post(server.url().replace("://", "://user:pass@"), {}, b"{}")
    assert "Authorization: Basic dXNlcjpwYXNz\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"nonsense\r\n\r\n", "the answer is not HTTP"),
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "the answer is 204, only 200 counts"),
    ],
)
async def test_answers_that_do_not_count(answer: bytes, why: str) -> None:
    with ScriptedServer(lambda request, connection: connection.sendall(answer)) as server:
        async with Poster(LOOPBACK) as poster:
            with pytest.raises(PostFailed, match=why):
                await poster.post(server.url(), {}, b"")


def for_ever(connection: socket.socket, part: bytes) -> None:
    """Returns when the client hangs up."""
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(part)


_OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("begin", "part", "why"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "more than 10 interim answers"),
        (b"", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 102 P\r\n\r\n", "more than 10 interim answers"),
        (_OK, b"A: b\r\n" * 1000, "head is longer than 32768 bytes or 500 lines"),
        (_OK, b"A: " + b"b" * 40_000 + b"\r\n", "head is longer than 32768 bytes"),
        (_OK, b"A" * 65536, "a line without an end"),
        (b"", b"\r\n" * 30_000, "head is longer than 32768 bytes"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x" * 9999, "the answer is 302"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", b"x" * 9999, "the answer is 101"),
    ],
)
async def test_answers_without_an_end(begin: bytes, part: bytes, why: str) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(begin)
        for_ever(connection, part)

    with ScriptedServer(answer) as server:
        async with Poster(LOOPBACK) as poster:
            with pytest.raises(PostFailed, match=why) as caught:
                await poster.post(server.url(), {}, b"")
    assert not caught.value.silent


@pytest.mark.parametrize(
    "head", [b"\r\n", b"Content-Length: 99999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1;"]
)
async def test_a_body_without_an_end_costs_nothing(head: bytes) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(_OK + head)
        for_ever(connection, b"x" * 65536)

    with ScriptedServer(answer) as server:
        async with Poster(LOOPBACK) as poster:
            await poster.post(server.url(), {}, b"")


@pytest.mark.parametrize("drip", [b"", b"H", b"\r\n"])
async def test_who_says_nothing_is_given_all_in_all(drip: bytes) -> None:
    """Neither bytes one by one nor a receiver that reads nothing of a large body moves the deadline."""

    over = threading.Event()

    def answer(request: str, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                connection.sendall(drip)

    with ScriptedServer(answer) as server:
        async with Poster(LOOPBACK, timeout_s=0.5) as poster:
            with pytest.raises(PostFailed, match=r"no answer within 0\.5 s") as caught:
                await poster.post(server.url(), {}, bytes(4 << 20))
            over.set()
    assert caught.value.silent


async def test_a_connection_is_used_again_until_it_is_old_or_over() -> None:
    connections: list[socket.socket] = []

    def answer(request: str, connection: socket.socket) -> None:
        connections.append(connection)
        for length in (2, 2, 70_000):
            connection.sendall(_OK + b"Content-Length: %d\r\n\r\n" % length + b"x" * length)
            if not connection.recv(65536):
                return

    with ScriptedServer(answer) as server:
        async with Poster(LOOPBACK) as poster:
            for used in (1, 1, 1, 2):  # the third reply is too long
                await poster.post(server.url(), {}, b"")
                assert len(connections) == used


async def test_an_answer_that_nobody_asked_for_is_no_answer_to_the_next() -> None:
    def answer(request: str, connection: socket.socket) -> None:
        status = b"500 No" if server.requests[1:] else b"200 OK"
        connection.sendall(
            b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n" + _OK + b"Content-Length: 0\r\n\r\n"
        )
        wait_for_close(connection)

    with ScriptedServer(answer) as server:
        async with Poster(LOOPBACK) as poster:
            await poster.post(server.url(), {}, b"")
            with pytest.raises(PostFailed, match="the answer is 500"):
                await poster.post(server.url(), {}, b"")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://[x", "the bracket of its IPv6 address is not closed"),
        (f"http://{'x' * 64}.test/", "longer than 63"),
        (f"http://h:{'9' * 5000}/", "its port must be 1 to 65535"),
        ("http://h\ud800/", "surrogate"),
        ("http://[fe80::1%25eth0]/", "has a zone"),
        ("http://:80/", "must name a host"),
        ("ftp://h/", "it must begin with http"),
    ],
)
async def test_addresses_that_cannot_be_used(url: str, why: str) -> None:
    async with Poster(LOOPBACK) as poster:
        with pytest.raises(PostFailed, match=f"the address cannot be used: .*{why}"):
            await poster.post(url, {}, b"")


async def test_a_header_cannot_end_a_line() -> None:
    async with Poster(LOOPBACK) as poster:
        with pytest.raises(ValueError, match="more than one line"):
            await poster.post("http://127.0.0.1/", {"Sign": "a\r\nX: y"}, b"")


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with Poster(LOOPBACK) as poster:
        with pytest.raises(PostFailed, match=r"the name nobody\.invalid cannot be resolved"):
            await poster.post("http://nobody.invalid/?token=sesame", {}, b"")
