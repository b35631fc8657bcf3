"""Which node a command talks to: the one that holds the data folder, wherever it listens, and no other."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sluice.client import NoNode
from sluice.core.ids import AppId
from sluice.exits import Misuse
from sluice.local_node import reach
from sluice.secret_files import read_secret
from sluice.store.credentials_file import Credentials, write_credentials
from sluice.store.errors import NoDataFolder
from sluice.store.folder import LOCK_NAME, held, holder
from sluice.store.whereabouts import Whereabouts, of_this_process, read_whereabouts
from tests.integration.certificates import write_certificate


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder in which a node has started once; the working folder is another one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLUICE_URL", raising=False)
    folder = tmp_path / "data"
    write_credentials(folder / "credentials.json", Credentials(AppId("a" * 24), "k", "AK", "sk", "admin"))
    return folder


def test_a_node_is_found_by_its_folder(data: Path) -> None:
    with held(data) as hold:
        with pytest.raises(NoNode, match=f"the process {os.getpid()} holds the data folder {data} and does"):
            reach(None, data)
        hold.tell(of_this_process("http://127.0.0.1:4711", "https://rtc.example.com/sluice"))
        node = reach(None, None)  # ./data
        assert node.client.url == "http://127.0.0.1:4711"
        assert node.public_url == "https://rtc.example.com/sluice"
        assert node.credentials.admin_token == "admin"
    with pytest.raises(NoNode, match=f"no node is running on the data folder {data}: start one with: sluice"):
        reach(None, data)


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("http://0.0.0.0:80", "http://127.0.0.1:80"),
        ("https://[::]:443", "https://[::1]:443"),
        ("http://192.0.2.1:80", "http://192.0.2.1:80"),
    ],
)
def test_a_node_that_listens_everywhere_is_reached_here(data: Path, url: str, reached: str) -> None:
    with held(data) as hold:
        hold.tell(of_this_process(url, url))
        node = reach(None, data)
        assert (node.client.url, node.public_url) == (reached, reached)


def test_a_node_in_another_container(data: Path) -> None:
    with held(data) as hold:
        hold.tell(Whereabouts(1, "elsewhere", "http://127.0.0.1:8080", "http://127.0.0.1:8080"))
        with pytest.raises(NoNode, match=r"runs on elsewhere, and listens at http://127.0.0.1:8080 there"):
            reach(None, data)
        hold.tell(Whereabouts(1, "elsewhere", "http://192.0.2.1:8080", "http://192.0.2.1:8080"))
        assert reach(None, data).client.url == "http://192.0.2.1:8080"


def test_what_a_dead_node_has_left_is_not_believed(data: Path) -> None:
    (data / LOCK_NAME).write_bytes(of_this_process("http://127.0.0.1:1", "http://127.0.0.1:1").text())
    assert holder(data) is None
    with pytest.raises(NoNode, match="no node is running"):
        reach(None, data)


@pytest.mark.parametrize("left", [b"", b"\xff", b"[]", b'{"pid": "x"}', b'{"pid": 1, "host": 2}', b"x y"])
def test_texts_that_no_node_has_written(data: Path, left: bytes) -> None:
    assert read_whereabouts(left) is None
    with held(data):
        (data / LOCK_NAME).write_bytes(left)
        with pytest.raises(NoNode, match="holds the data folder"):
            reach(None, data)


def test_a_node_of_an_older_release() -> None:
    assert read_whereabouts(b"77 host") == Whereabouts(77, "host")


def test_an_address_that_is_given_comes_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(data) as hold:
        hold.tell(of_this_process("http://127.0.0.1:4711"))
        assert reach("http://127.0.0.1:1/", data).public_url == "http://127.0.0.1:1"
    with pytest.raises(NoNode, match=r"no node answers at http://127.0.0.1:1, which --url names, \(Connec"):
        reach("http://127.0.0.1:1", data).client.native("GET", "/node")
    monkeypatch.setenv("SLUICE_URL", "http://127.0.0.1:1")
    with pytest.raises(NoNode, match="which SLUICE_URL names,"):
        reach("http://127.0.0.1:1", data).client.native("GET", "/node")


def test_folders_and_files_that_are_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NoDataFolder, match=f"there is no {tmp_path}/other/credentials.json"):
        reach(None, tmp_path / "other")
    with pytest.raises(Misuse, match="/no/such/file: cannot be read: No such file"):
        read_secret(Path("/no/such/file"))
    (tmp_path / "sluice.toml").write_text("media_prot = 1")
    with pytest.raises(
        Misuse, match=r"sluice.toml: media_prot: there is no such setting; did you mean media_"
    ):
        reach(None, data)


def test_variables_that_are_no_setting(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_LISTN", "x")
    monkeypatch.setenv("SLUICE_PORT", "tcp://10.0.0.1:8080")
    monkeypatch.setenv("SLUICE_SERVICE_HOST", "10.0.0.1")
    for _ in range(2):
        with pytest.raises(NoNode):
            reach(None, data)
    warning = "sluice: warning: SLUICE_LISTN is no setting and is not used; did you mean SLUICE_LISTEN?\n"
    assert capsys.readouterr().err == warning


# --- certificates -----------------------------------------------------------------------------------------


class _Node(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"seen": self.headers["Authorization"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves https with cert.pem and key.pem of the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    class Server(HTTPServer):
        def handle_error(self, request: object, address: object) -> None:
            pass  # a client that does not trust it

    server = Server(("127.0.0.1", 0), _Node)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_node_shows_the_certificate_of_its_setting(data: Path, tmp_path: Path) -> None:
    """It is made out to a name that is not asked for, and signed by nobody."""
    other = tmp_path / "other"
    other.mkdir()
    for folder in (tmp_path, other):
        write_certificate(folder)
    with held(data) as hold, serving(tmp_path) as url:
        hold.tell(of_this_process(url, url, tmp_path / "cert.pem"))
        assert reach(None, data).client.native("GET", "/node") == {"seen": "Bearer admin"}
        hold.tell(of_this_process(url, url, other / "cert.pem"))
        with pytest.raises(NoNode, match="CERTIFICATE_VERIFY_FAILED"):
            reach(None, data).client.native("GET", "/node")
        with pytest.raises(NoNode, match="CERTIFICATE_VERIFY_FAILED"):
            reach(url, data).client.native("GET", "/node")
        hold.tell(of_this_process(url, url, tmp_path / "gone.pem"))
        with pytest.raises(NoNode, match=r"gone.pem, the certificate of the node at .* cannot be read"):
            reach(None, data).client.native("GET", "/node")


# --- the beginning of a command ---------------------------------------------------------------------------


def loaded(module: str, *names: str) -> str:
    """Which of these modules come with this one."""
    code = f"import sys, {module}; print([name for name in {names} if name in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def test_commands_start_without_what_others_need() -> None:
    database = ("alembic", "sqlalchemy")
    node = ("asyncio", "av", "fastapi", "starlette", "structlog")
    assert loaded("sluice.cli", *database, *node, "pydantic", "rich.console") == "[]\n"
    assert loaded("sluice.config", *database, "asyncio", "fastapi") == "[]\n"


def test_a_reader_that_goes_ends_the_command(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sluice", "--version"]
    with os.fdopen(writer, "w") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.PIPE, text=True, check=False, timeout=30
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_closed_streams_and_odd_locales_keep_nobody_from_printing(tmp_path: Path) -> None:
    command = f"{sys.executable} -m sluice"
    other = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for line, printed in (
        (f"{command} --version >&-", ""),
        (f"{command} --version 2>&-", "sluice "),
        (f"{command} serve -h", "\\u2026"),
    ):
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, check=False, timeout=30, env=other
        )
        assert (done.returncode, done.stderr) == (0, ""), line
        assert printed in done.stdout


def test_this_machine_is_here() -> None:
    assert not of_this_process().is_elsewhere
    assert Whereabouts(1, f"not-{socket.gethostname()}").is_elsewhere
