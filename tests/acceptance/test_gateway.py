"""The front server of a node as it is run: TLS, and proxies in front."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sluice.core.apps import AccessKey
from sluice.wire.signature import RequestHead, parse_query, sign
from tests.acceptance.node import ServedNode, serve_node
from tests.integration.certificates import write_certificate

pytestmark = [pytest.mark.anyio, pytest.mark.light]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front")
    write_certificate(folder)
    return folder


@pytest.fixture(scope="module")
async def behind(anyio_backend: str, folder: Path) -> AsyncIterator[ServedNode]:
    """A node with TLS that trusts the proxies of this machine."""
    tls = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
    proxies = ("--trusted-proxies", "127.0.0.0/8", "--signed-hosts", "rtc.example.com,other.example.com")
    async with serve_node(folder / "data", *tls, *proxies, "--listen", "localhost:0") as node:
        yield node


async def code(node: ServedNode, signed_host: str, headers: dict[str, str], trust: Path | None = None) -> str:
    """The answer's code to a call whose signature says that it was sent to `signed_host`."""
    query = f"Action=ListRelayStream&Version=2023-11-01&AppId={node.credentials.app_id}&RoomId=room"
    key = AccessKey(node.credentials.access_key, node.credentials.secret_key, frozenset())
    head = RequestHead("GET", "/", parse_query(query), (("Host", signed_host),))
    signature = sign(head, b"", key, time.time())
    context = ssl.create_default_context(cafile=str(trust)) if trust else None
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{node.url}/?{query}", headers={**signature, **headers}, ssl=context or True) as answer,
    ):
        metadata = (await answer.json())["ResponseMetadata"]
        return str(metadata.get("Error", {"Code": "ok"})["Code"])


async def test_tls(behind: ServedNode, folder: Path) -> None:
    assert behind.url.startswith("https://localhost:")
    host = behind.url.removeprefix("https://")
    assert await code(behind, host, {}, folder / "cert.pem") == "ok"


@pytest.mark.parametrize(
    ("signed", "headers"),
    [
        ("rtc.example.com", {}),
        ("other.example.com", {}),
        ("forwarded.example.com", {"X-Forwarded-Host": "forwarded.example.com"}),
        ("forwarded.example.com", {"X-Forwarded-Host": "forwarded.example.com:443"}),
    ],
)
async def test_hosts_that_a_proxy_hides(
    behind: ServedNode, folder: Path, signed: str, headers: dict[str, str]
) -> None:
    assert await code(behind, signed, headers, folder / "cert.pem") == "ok"


async def test_a_stranger_forwards_nothing(behind: ServedNode, node: ServedNode, folder: Path) -> None:
    forwarded = {"X-Forwarded-Host": "forwarded.example.com"}
    assert await code(node, "forwarded.example.com", forwarded) == "SignatureDoesNotMatch"
    assert await code(behind, "third.example.com", {}, folder / "cert.pem") == "SignatureDoesNotMatch"
