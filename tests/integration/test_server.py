"""The HTTP server under the gateway: requests of real clients byte by byte, certificates that change."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp

from sluice.api.server import Certificate, listening, serving
from sluice.api.volcengine.actions import action_table
from sluice.api.volcengine.gateway import Gateway
from sluice.core.apps import Apps
from sluice.core.errors import BadInput
from tests.integration.certificates import write_certificate
from tests.testing import FakeBans, FakeCallbacks, FakeRooms, FakeTasks
from tests.unit.captures import FOLDER, KEY, Capture, load_all

pytestmark = pytest.mark.anyio

CAPTURES = load_all()
_DEADLINE_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def gateway(now: float) -> ASGIApp:
    actions = action_table(FakeTasks(lambda: now), FakeRooms(), FakeBans(), FakeCallbacks())
    return Gateway(actions, Apps([], [KEY]), lambda: now)


class Connection:
    """One connection of a client that writes bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def serial(self) -> int:
        """The serial number of the certificate that the server showed."""
        certificate = self._writer.get_extra_info("ssl_object").getpeercert()
        return int(certificate["serialNumber"], 16)

    async def ask(self, request: bytes) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        self._writer.write(request)
        async with asyncio.timeout(_DEADLINE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.partition(":")[2])
                for line in head.split("\r\n")
                if line.lower().startswith("content-length:")
            )
            body = await self._reader.readexactly(length)
        return int(head.split(" ")[1]), json.loads(body)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def served(
    app: ASGIApp, host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None
) -> AsyncIterator[str]:
    """Its address."""
    with listening(host, 0, tls) as listener:
        async with serving(app, listener):
            yield listener.url


@asynccontextmanager
async def connected(url: str, trust: Path | None = None) -> AsyncIterator[Connection]:
    host, _, port = url.partition("://")[2].rpartition(":")
    context = ssl.create_default_context(cafile=str(trust)) if trust else None
    async with asyncio.timeout(_DEADLINE_S):
        connection = Connection(*await asyncio.open_connection(host, int(port), ssl=context))
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
async def test_requests_of_real_clients(anyio_backend: str, capture: Capture) -> None:
    """As they went over the wire, chunks included; the clock stands where it stood."""
    raw = (FOLDER / f"{capture.name}.raw").read_bytes()
    async with served(gateway(capture.now)) as url, connected(url) as client:
        status, document = await client.ask(raw)
        assert (await client.ask(raw))[0] == status, "the connection goes on: all of the body was read"
    error = document["ResponseMetadata"]["Error"]
    assert "CodeN" not in error, "the gateway let it in"
    assert status == 400, "their values are placeholders (captures' README)"
    # One byte of the signature changed, and it is refused.
    at = raw.index(b"ignature=") + len(b"ignature=")
    forged = raw[:at] + (b"0" if raw[at : at + 1] != b"0" else b"1") + raw[at + 1 :]
    async with served(gateway(capture.now)) as url, connected(url) as client:
        status, document = await client.ask(forged)
    assert (status, document["ResponseMetadata"]["Error"]["Code"]) == (401, "SignatureDoesNotMatch")


@pytest.mark.parametrize("target", ["/?Action=ListRelayStream", "http://h:1/?Action=ListRelayStream"])
async def test_forms_of_the_target(anyio_backend: str, target: str) -> None:
    async with served(gateway(0)) as url, connected(url) as client:
        status, document = await client.ask(f"GET {target} HTTP/1.1\r\nHost: h:1\r\n\r\n".encode())
    assert (status, document["ResponseMetadata"]["Error"]["Code"]) == (400, "MissingParameter")


# --- TLS ----------------------------------------------------------------------------------------------------

REQUEST = b"GET /?Action=ListRelayStream HTTP/1.1\r\nHost: h\r\n\r\n"


def serial_of(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).serial_number


async def test_a_certificate_that_changes_drops_no_connection(anyio_backend: str, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    first = serial_of(tmp_path)
    async with served(gateway(0), "localhost", files) as url:
        assert url.startswith("https://localhost:")
        async with connected(url, files[0]) as before:
            assert before.serial == first
            assert (await before.ask(REQUEST))[0] == 400
            write_certificate(tmp_path)
            second = serial_of(tmp_path)
            async with asyncio.timeout(_DEADLINE_S):
                while True:
                    try:
                        async with connected(url, files[0]) as after:
                            assert after.serial == second
                            break
                    except ssl.SSLCertVerificationError:  # still the first
                        await asyncio.sleep(0.05)
            assert (await before.ask(REQUEST))[0] == 400


async def test_half_of_a_new_pair_changes_nothing(anyio_backend: str, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    old = tmp_path / "old.pem"
    old.write_bytes((tmp_path / "cert.pem").read_bytes())
    certificate = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    write_certificate(tmp_path, key=False)
    certificate.look()
    server = await asyncio.start_server(
        lambda reader, writer: writer.close(), "localhost", 0, ssl=certificate.context
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with connected(f"https://localhost:{port}", old) as client:
            assert client.serial == x509.load_pem_x509_certificate(old.read_bytes()).serial_number


@pytest.mark.parametrize("spoil", ["no file", "no key", "another key", "locked key"])
async def test_what_is_no_certificate(anyio_backend: str, tmp_path: Path, spoil: str) -> None:
    write_certificate(tmp_path)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    if spoil == "no file":
        cert.unlink()
    elif spoil == "no key":
        key.write_text("nothing")
    elif spoil == "another key":
        write_certificate(tmp_path, chain=False)
    else:
        secret = ec.generate_private_key(ec.SECP256R1())
        locked = serialization.BestAvailableEncryption(b"password")
        form = serialization.PrivateFormat.PKCS8
        key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, form, locked))
    with pytest.raises(BadInput, match="cannot be used"):
        Certificate(cert, key)
