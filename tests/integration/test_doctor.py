"""What the doctor says of good and bad machines, folders and settings."""

import http.server
import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice.cli import cli
from sluice.config import HttpSettings, ListenSettings, Settings, load_settings
from sluice.doctor import data, examine, machine, network
from sluice.doctor.finding import Finding, Level
from sluice.media import codecs
from sluice.store.credentials import open_credentials
from sluice.store.folder import held
from sluice.store.thread import Store, sqlite_url

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Of a node."""
    path = tmp_path / "data"
    async with Store(sqlite_url(path)) as store:
        await store.run(lambda conn: open_credentials(conn, path, 1_800_000_000.0))
    return path


def settings(tmp_path: Path, **flags: object) -> Settings:
    """With free ports, if nothing else is said."""
    given = {"data": tmp_path / "data", "listen": "127.0.0.1:0", "media_port": free_udp_port()}
    return load_settings(given | flags, {}, tmp_path / "none.toml")


def free_udp_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def said(findings: Iterator[Finding], check: str) -> list[tuple[str, str]]:
    """Level and text with advice of each finding of a check."""
    return [
        (found.level.value, f"{found.text} → {found.advice}") for found in findings if found.check == check
    ]


def one(findings: Iterator[Finding], check: str) -> tuple[str, str]:
    (found,) = said(findings, check)
    return found


def test_a_machine_without_a_node_is_looked_at_and_not_changed(tmp_path: Path) -> None:
    findings = list(examine(settings(tmp_path)))
    assert not [found for found in findings if found.level is Level.BAD]
    checks = {found.check for found in findings}
    assert checks == {
        *("release", "time", "limits", "codecs", "data", "disk", "http", "media ports"),
        *("candidates", "proxies"),
    }
    assert all(bool(found.advice) is (found.level is not Level.OK) for found in findings)
    assert list(tmp_path.iterdir()) == []


def test_the_command_has_an_exit_status(tmp_path: Path) -> None:
    flags = ["doctor", "--data", str(tmp_path), "--media-port", str(free_udp_port()), "--json"]
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        bad = CliRunner().invoke(cli, [*flags, "--listen", used])
    good = CliRunner().invoke(cli, [*flags, "--listen", used])
    assert [(run.exit_code, json.loads(run.output)["ok"]) for run in (bad, good)] == [(1, False), (0, True)]
    for_people = CliRunner().invoke(cli, [*flags[:-1], "--listen", used])
    assert "ok       http: TCP port" in for_people.output


# --- network ----------------------------------------------------------------------------------------------


def test_ports_that_others_have(tmp_path: Path) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as tcp,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        taken = settings(
            tmp_path, listen=f"127.0.0.1:{tcp.getsockname()[1]}", media_port=udp.getsockname()[1]
        )
        level, text = one(network.check_http(taken, running=False), "http")
        assert (level, "used by another program → end it, or give another one" in text) == ("bad", True)
        level, text = one(network.check_media_ports(taken, running=False), "media ports")
        assert (level, "is used by another program → end it" in text) == ("bad", True)
        assert one(network.check_media_ports(taken, running=True), "media ports")[0] == "ok"
    elsewhere = replace(taken, listen=ListenSettings("192.0.2.77", 1))
    assert said(network.check_http(elsewhere, running=False), "http")[0][0] == "bad"


@pytest.mark.parametrize(
    ("address", "candidate", "words", "reach"),
    [
        ("127.0.0.1", "bad", "no address that others reach", "ok"),
        ("203.0.113.7", "warning", "no address of this machine → right behind a router", "warning"),
    ],
)
def test_candidates(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    candidate: str,
    words: str,
    reach: str,
) -> None:
    monkeypatch.setattr(network, "_ARRIVAL_S", 0.3)
    findings = list(network.check_candidates(settings(tmp_path, public_ip=(address,))))
    level, text = one(iter(findings), "candidates")
    assert (level, words in text) == (candidate, True)
    assert one(iter(findings), "reach")[0] in (reach, "bad")  # bad: there is no route to it at all


def test_proxies_and_what_strangers_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in network._ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    known = settings(tmp_path)
    assert one(network.check_proxies(known), "proxies")[0] == "ok"
    everybody = replace(known, http=HttpSettings(trusted_proxies=("0.0.0.0/0",)))
    assert "every caller may say who he is" in one(network.check_proxies(everybody), "proxies")[1]
    under = replace(known, http=HttpSettings(base_url="https://example.com/sluice"))
    assert one(network.check_proxies(under), "proxies")[0] == "warning"
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy:3128")
    level, text = one(network.check_proxies(known), "proxies")
    assert (level, "https_proxy is set" in text, "secret" in text) == ("warning", True, False)
    open_to_all = replace(known, listen=ListenSettings("0.0.0.0", 0))
    assert [level for level, _ in said(network.check_http(open_to_all, running=False), "http")] == [
        "ok",
        "warning",
    ]


# --- the data folder --------------------------------------------------------------------------------------


async def test_a_folder_and_its_database(folder: Path) -> None:
    assert one(data.check_folder(folder), "data")[0] == "ok"
    assert one(data.check_folder(folder), "credentials")[0] == "ok"
    assert "is of this release" in one(data.check_database(folder), "database")[1]
    with held(folder):
        assert data.is_running(folder)
        assert "a node is using it" in one(data.check_folder(folder), "data")[1]
    assert not data.is_running(folder)
    open_to_others(folder)
    assert one(data.check_folder(folder), "data") == (
        "warning",
        f"others may look into {folder}, where the keys are → chmod 700 {folder}",
    )
    assert one(data.check_folder(folder), "credentials")[0] == "warning"
    spoil(folder / "credentials.json")
    assert one(data.check_folder(folder), "credentials")[0] == "bad"


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    for path, cannot in ((file, "cannot be the data folder"), (file / "below", "cannot be made")):
        level, text = one(data.check_folder(path), "data")
        assert (level, f"{cannot}: {file} is a file → mend that" in text) == ("bad", True)


async def test_databases_that_cannot_be_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_LOCK_S", 0.1)
    path = folder / "sluice.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        level, text = one(data.check_database(folder), "database")
        assert (level, "locked" in text, "end it, or wait" in text) == ("bad", True, True)
    for revision, expected, words in (
        ("0001", "warning", "older release (0001); the next start brings it to"),
        ("9999", "bad", "of a newer release of sluice"),
    ):
        with closing(sqlite3.connect(path)) as conn, conn:
            conn.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        level, text = one(data.check_database(folder), "database")
        assert (level, words in text) == (expected, True)
    spoil(path)
    level, text = one(data.check_database(folder), "database")
    assert (level, "sluice restore FILE" in text) == ("bad", True)


def open_to_others(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "credentials.json").chmod(0o644)


def spoil(path: Path) -> None:
    path.write_bytes(b"noise" * 1000)


def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=0)
    monkeypatch.setattr("sluice.doctor.data.shutil.disk_usage", lambda path: usage)
    levels = []
    for free in (1 << 20, 500 << 20, 5 << 30):
        usage.free = free
        levels.append(one(data.check_folder(tmp_path), "disk")[0])
    assert levels == ["bad", "warning", "ok"]


# --- the machine ------------------------------------------------------------------------------------------


@contextmanager
def clock_server(date: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(404)
            self.send_header("Date", date)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    with clock_server("Thu, 01 Jan 2026 00:00:00 GMT") as url:
        level, text = said(machine.check_time(url), "time")[-1]
        assert (level, "ahead of that of 127.0.0.1 → set it" in text) == ("bad", True)
    for other, why in ((url, "cannot be read"), ("file:///etc/passwd", "no address of a web server")):
        level, text = said(machine.check_time(other), "time")[-1]
        assert (level, why in text) == ("warning", True)
    monkeypatch.setattr("sluice.doctor.machine.time.time", lambda: 0.0)
    assert one(machine.check_time(None), "time")[0] == "bad"


@pytest.mark.parametrize(("hard", "level"), [(100, "bad"), (1024, "warning"), (65536, "ok"), (-1, "ok")])
def test_limits(monkeypatch: pytest.MonkeyPatch, hard: int, level: str) -> None:
    monkeypatch.setattr("sluice.doctor.machine.resource.getrlimit", lambda which: (hard, hard))
    assert said(machine.check_limits(), "limits")[0][0] == level


def test_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(machine.check_codecs(), "codecs")[0] == "ok"
    unknown = (codecs.Wanted("no-such", "w", "a push"), codecs.Wanted("none", "r", "MP3", needed=False))
    monkeypatch.setattr(codecs, "_WANTED", unknown)
    found = said(machine.check_codecs(), "codecs")
    assert [level for level, _ in found] == ["bad", "warning"]
    assert "there is no encoder no-such, which a push needs" in found[0][1]
