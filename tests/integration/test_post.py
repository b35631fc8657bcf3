"""POSTs over TLS and to servers that do not speak HTTP; the rest is in test_callbacks."""

import socket
import ssl
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


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with Poster(LOOPBACK) as poster:
        with pytest.raises(PostFailed, match=r"the name nobody\.invalid cannot be resolved"):
            await poster.post("http://nobody.invalid/?token=sesame", {}, b"")
