"""A viewer whose network lets no UDP out joins through TURN: coturn with the configuration of
docs/en/how-to/network.md, in which only addresses and ports are replaced.

Needs root for the viewer's network namespace, and coturn, which the tests do not install.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.node import serve_node
from tests.integration.nginx import await_port, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_ROOT = Path(__file__).parents[2]
_NETWORK = f"sluice-{os.getpid()}"
_OURS, _VIEWERS = "10.213.77.1", "10.213.77.2"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def _network_without_udp() -> Iterator[None]:
    """A namespace with a link to this one, over which all goes but UDP."""
    inside = ("ip", "-n", _NETWORK)
    _run("ip", "netns", "add", _NETWORK)
    try:
        link = f"sl{os.getpid()}"
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "out", "netns", _NETWORK)
        _run("ip", "address", "add", f"{_OURS}/30", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run(*inside, "address", "add", f"{_VIEWERS}/30", "dev", "out")
        for name in ("lo", "out"):
            _run(*inside, "link", "set", name, "up")
        _run(*inside, "rule", "add", "ipproto", "udp", "to", f"{_OURS}/32", "priority", "1", "prohibit")
        yield
    finally:
        _run("ip", "netns", "delete", _NETWORK)  # with the link


@contextmanager
def _coturn(folder: Path) -> Iterator[str]:
    """Its address as a setting of the node."""
    page = (_ROOT / "docs/en/how-to/network.md").read_text()
    found = re.search(r"```text\n(listening-port=3478\n.*?)```", page, re.DOTALL)
    assert found is not None
    port = free_port()
    text = found[1].replace("3478", str(port)).replace("203.0.113.8", _OURS)
    text += f"allowed-peer-ip={_OURS}\nuserdb={folder}/turndb\npidfile={folder}/pid\nlog-file=stdout\n"
    (folder / "turnserver.conf").write_text(text)
    process = subprocess.Popen(
        ["turnserver", "-c", str(folder / "turnserver.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port, process, _OURS)
        yield f"turn:sluice:turn-secret@{_OURS}:{port}?transport=tcp"
    finally:
        process.terminate()
        process.wait(10)


async def test_a_viewer_without_udp_joins_through_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0 or shutil.which("turnserver") is None:
        pytest.skip("needs root, and coturn")
    with _network_without_udp(), _coturn(tmp_path) as server:
        monkeypatch.setenv("SLUICE_ICE_SERVER", server)
        where = ("--listen", f"{_OURS}:0", "--public-ip", _OURS)
        async with serve_node(tmp_path / "data", *where) as node:
            viewer = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", _NETWORK, sys.executable, "-m", "tests.acceptance.turned"),
                *(node.whep_url("room", "anna"), node.token("room", "viewer")),
                cwd=_ROOT,
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await asyncio.wait_for(viewer.communicate(), 60)
    assert said.split() == [b"connecting", b"connected"]
