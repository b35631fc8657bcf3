"""The configurations of docs/en/how-to/proxy.md, as they stand there, before a node: nginx and Caddy with
TLS, at a name of their own and under a path.

Only names of hosts, ports and files are replaced. Caddy is not among what the tests install: without it its
cases are skipped.
"""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from playwright.async_api import Browser

from sluice.client import Client
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.viewers import chromium_page
from tests.integration.nginx import await_port, free_port
from tests.integration.tls import localhost_tls
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_PAGE = Path(__file__).parents[2] / "docs/en/how-to/proxy.md"
_ROOM = "proxied"
#: Around what stands in the page, where a package of Debian has it.
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {blocks}
}}
"""
#: The page's site has a certificate of a public authority; a path needs a site around it.
_NGINX_SITE = """
server {{
    listen 443 ssl http2;
    server_name example.com;
    ssl_certificate /etc/ssl/rtc.example.com/chain.pem;
    ssl_certificate_key /etc/ssl/rtc.example.com/key.pem;
    access_log off;
    {location}
}}
"""
_CADDY = "{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}"


def _blocks(language: str) -> list[str]:
    """The page's blocks: at a name of its own, under a path."""
    found = re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    assert len(found) == 2, found
    return found


@contextmanager
def _started(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _nginx(folder: Path, inner: str, *, under_path: bool) -> Iterator[str]:
    port, blocks = free_port(), _blocks("nginx")
    text = _NGINX_SITE.format(location=blocks[1]) if under_path else blocks[0]
    text = _replaced(
        text,
        {
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl/rtc.example.com/chain.pem": f"{folder}/cert.pem",
            "/etc/ssl/rtc.example.com/key.pem": f"{folder}/key.pem",
            "example.com;": "localhost;",
            "proxy_pass http://127.0.0.1:8080": f"proxy_pass {inner}",
        },
    ).replace("/var/log/nginx/", f"{folder}/")
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, blocks=text))
    command = ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with _started(command, port):
        yield f"https://localhost:{port}"


@contextmanager
def _caddy(folder: Path, inner: str, *, under_path: bool) -> Iterator[str]:
    if shutil.which("caddy") is None:
        pytest.skip("caddy is not installed")
    port, site = free_port(), _blocks("caddy")[under_path]
    certificate = f"\n\tbind 127.0.0.1\n\ttls {folder}/cert.pem {folder}/key.pem\n"
    site = re.sub(r"^\S*example\.com \{\n", f"https://localhost:{port} {{{certificate}", site)
    site = _replaced(site, {"127.0.0.1:8080": inner.removeprefix("http://")})
    (folder / "Caddyfile").write_text(_CADDY.format(site=site))
    with _started(["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"], port):
        yield f"https://localhost:{port}"


def _replaced(text: str, pairs: dict[str, str]) -> str:
    for old, new in pairs.items():
        assert old in text, f"{_PAGE.name} does not have {old!r} any more"
        text = text.replace(old, new)
    return text


_PROXIES = {"nginx": _nginx, "caddy": _caddy}


@pytest.fixture(scope="module")
async def inner(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, files: str
) -> AsyncIterator[ServedNode]:
    """A relay plays there."""
    data = tmp_path_factory.mktemp("proxied") / "data"
    async with serve_node(data, "--trusted-proxies", "127.0.0.1/32") as node:
        await node.until_state(await node.start(_ROOM, f"{files}/short.mp4", Loop=True), "running")
        yield node


@pytest.mark.parametrize("prefix", ["", "/sluice"], ids=["name", "path"])
@pytest.mark.parametrize("proxy", list(_PROXIES))
async def test_calls_events_and_media_come_through(
    inner: ServedNode,
    browser: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
    prefix: str,
) -> None:
    _, trusting = localhost_tls(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with _PROXIES[proxy](tmp_path, inner.url, under_path=bool(prefix)) as origin:
        url = origin + prefix
        client = Client(url, inner.client.key, inner.client.admin_token)
        node = replace(inner, url=url, client=client)
        assert (await node.call("ListRelayStream", RoomId=_ROOM))["Result"]["Total"] == 1
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
            await _takes_a_long_query(http, node)
            await _gets_events_at_once(http, node)
            await _watches_and_leaves(http, node, origin, prefix)
        async with chromium_page(browser, node.page_url(_ROOM), ignore_https_errors=True) as viewer:
            await viewer.until_frames(10)


async def _takes_a_long_query(http: aiohttp.ClientSession, node: ServedNode) -> None:
    """The site around a path of nginx has nginx's own limit, 8 KB."""
    query = "x" * (4 << 10 if node.url.endswith("/sluice") else 60 << 10)
    async with http.get(f"{node.url}/readyz?{query}") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok", "failing": []})


async def _gets_events_at_once(http: aiohttp.ClientSession, node: ServedNode) -> None:
    """What is buffered would not come before the stream ends, which it does not."""
    url = f"{node.url}/rooms/{node.credentials.app_id}/{_ROOM}/events"
    bearer = {"Authorization": f"Bearer {node.token(_ROOM, 'guest')}"}
    async with asyncio.timeout(10), http.get(url, headers=bearer) as answer:
        assert await answer.content.readline() == b"event: roster\n"
        assert b'"source"' in await answer.content.readline()


async def _watches_and_leaves(
    http: aiohttp.ClientSession, node: ServedNode, origin: str, prefix: str
) -> None:
    peer = RTCPeerConnection()
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    bearer = {"Authorization": f"Bearer {node.token(_ROOM, 'viewer')}"}
    offer, headers = peer.localDescription.sdp, {**bearer, "Content-Type": "application/sdp"}
    async with http.post(node.whep_url(_ROOM, "source"), data=offer, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        place, etag = answer.headers["Location"], answer.headers["ETag"]
        await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    assert place.startswith(f"{prefix}/whep/")
    await until(lambda: peer.connectionState == "connected")
    patch = {**bearer, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag}
    async with http.patch(origin + place, data="m=audio 9 RTP/AVP 0\r\n", headers=patch) as answer:
        assert answer.status == 204, await answer.text()
    async with http.delete(origin + place, headers=bearer) as answer:
        assert answer.status == 200, await answer.text()
    await peer.close()
