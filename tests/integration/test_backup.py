"""Backups of real data folders: of one in use, into another, and what is refused."""

import asyncio
import json
import os
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.cli import cli
from sluice.core.errors import SluiceError
from sluice.store.backup import make_backup, restore_backup
from sluice.store.credentials import open_credentials
from sluice.store.credentials_file import Credentials, read_credentials
from sluice.store.errors import BackupError, FolderError, StoreError
from sluice.store.folder import held
from sluice.store.tasks import insert_task, live_tasks
from sluice.store.thread import Store, sqlite_url
from tests.integration.test_store import a_task

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """Of a node that has one live task."""
    return await a_node(tmp_path / "data")


async def a_node(data: Path) -> Path:
    async with Store(sqlite_url(data)) as store:
        await store.run(lambda conn: open_credentials(conn, data, NOW))
        await store.run(lambda conn: insert_task(conn, a_task()))
    return data


@pytest.fixture
async def running(data: Path) -> AsyncIterator[Store]:
    with held(data):
        async with Store(sqlite_url(data)) as store:
            yield store


def leftovers(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.glob(".sluice*")]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def opened(data: Path) -> tuple[Credentials, int]:
    """As a node opens it: its credentials and the number of live tasks."""
    async with Store(sqlite_url(data)) as store:
        credentials, first_start = await store.run(lambda conn: open_credentials(conn, data, NOW))
        assert not first_start
        return credentials, len(await store.run(live_tasks))


async def test_a_node_in_use_is_copied_and_the_copy_is_a_node(
    running: Store, data: Path, tmp_path: Path
) -> None:
    async def write() -> None:
        for n in range(200):
            await running.run(lambda conn, n=n: insert_task(conn, a_task(f"more {n}")))  # type: ignore[misc]

    writing = asyncio.ensure_future(write())
    file, other = tmp_path / "backup", tmp_path / "other" / "data"
    contents = await asyncio.to_thread(make_backup, data, file, NOW)
    await writing
    assert (contents.apps, contents.waiting) == (1, 0)
    assert 1 <= contents.live <= 201
    assert mode(file) == 0o600
    restored = restore_backup(file, other, NOW)
    assert (restored.contents, restored.aside) == (contents, None)
    assert await opened(other) == (read_credentials(data), contents.live)
    assert mode(other) == 0o700
    assert {name: mode(other / name) for name in ("sluice.db", "credentials.json")} == {
        "sluice.db": 0o600,
        "credentials.json": 0o600,
    }
    assert leftovers(tmp_path, other) == []


async def test_what_is_there_is_replaced_by_force_alone_and_kept(data: Path, tmp_path: Path) -> None:
    file, theirs = tmp_path / "backup", await a_node(tmp_path / "theirs")
    before = read_credentials(theirs)
    (theirs / "sluice.db-wal").touch()
    make_backup(data, file, NOW)
    with pytest.raises(BackupError, match=r"has a node's database .* already; .*--force"):
        restore_backup(file, theirs, NOW)
    assert read_credentials(theirs) == before
    aside = restore_backup(file, theirs, NOW, force=True).aside
    assert aside is not None
    assert read_credentials(theirs) == read_credentials(data)
    assert read_credentials(aside) == before
    assert sorted(path.name for path in aside.iterdir()) == ["credentials.json", "sluice.db", "sluice.db-wal"]
    assert mode(aside) == 0o700
    assert await opened(theirs) == (read_credentials(data), 1)
    with pytest.raises(BackupError, match=r"is there already; .*--force"):
        make_backup(data, file, NOW)
    make_backup(data, file, NOW, force=True)


@pytest.mark.parametrize("name", ["sluice.db", "credentials.json"])
async def test_force_replaces_backups_alone(data: Path, name: str) -> None:
    before = (data / name).read_bytes()
    (data / "link").symlink_to(name)
    for file in (data / name, data / "link"):
        with pytest.raises(BackupError, match="is no backup, which is all that --force replaces"):
            make_backup(data, file, NOW, force=True)
    assert (data / name).read_bytes() == before


async def test_what_is_no_file_is_not_replaced(data: Path, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    for place in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(BackupError, match="is no backup"):
            make_backup(data, place, NOW, force=True)


async def test_a_folder_in_use_is_not_restored_into(running: Store, data: Path, tmp_path: Path) -> None:
    make_backup(data, tmp_path / "backup", NOW)
    with pytest.raises(FolderError, match="is using"):
        restore_backup(tmp_path / "backup", data, NOW, force=True)
    await running.run(live_tasks)


def pack(file: Path, **members: bytes) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members.items():
            path = file.with_name("member")
            path.write_bytes(content)
            tar.add(path, name.replace("__", "."))
    return file


async def test_what_is_no_backup_changes_nothing(data: Path, tmp_path: Path) -> None:
    make_backup(data, good := tmp_path / "good", NOW)
    whole = good.read_bytes()
    (cut := tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (text := tmp_path / "text").write_text("hello")
    credentials = (data / "credentials.json").read_bytes()
    other = json.dumps(json.loads(credentials) | {"app_key": "another"}).encode()
    database = (data / "sluice.db").read_bytes()
    facts = {"backup__json": b"{}"}
    bad = {
        cut: "cut short",
        text: "is no backup of sluice",
        pack(tmp_path / "empty", **facts): "there is no credentials.json in it",
        pack(
            tmp_path / "mixed", **facts, sluice__db=database, credentials__json=other
        ): "do not fit together",
        pack(
            tmp_path / "noise", **facts, sluice__db=b"noise" * 999, credentials__json=credentials
        ): "no database",
    }
    for file, why in bad.items():
        with pytest.raises(BackupError, match=why):
            restore_backup(file, tmp_path / "new", NOW)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["node.lock"]
    with pytest.raises(FileNotFoundError):
        restore_backup(tmp_path / "missing", tmp_path / "new", NOW)


async def test_a_backup_of_a_newer_release_is_refused(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "sluice.db")) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="of a newer release of sluice: its revision is 9999"):
        make_backup(data, tmp_path / "backup", NOW)
    assert not (tmp_path / "backup").exists()


async def test_a_folder_without_a_node_has_nothing_to_copy(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match=r"there is no .*credentials\.json"):
        make_backup(tmp_path / "none", tmp_path / "backup", NOW)


@pytest.mark.skipif(os.getuid() != 0, reason="only root restores for others")
async def test_root_restores_for_the_owner_of_the_folder(data: Path, tmp_path: Path) -> None:
    (theirs := tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    make_backup(data, tmp_path / "backup", NOW)
    restore_backup(tmp_path / "backup", theirs, NOW)
    assert {path.stat().st_uid for path in theirs.iterdir()} == {65534}


async def test_the_commands(data: Path, tmp_path: Path) -> None:
    file, other = str(tmp_path / "backup"), str(tmp_path / "other")
    made = CliRunner().invoke(cli, ["backup", file, "--data", str(data), "--json"])
    assert json.loads(made.output)["live"] == 1
    back = CliRunner().invoke(cli, ["restore", file, "--data", other])
    assert back.exit_code == 0
    assert "live      1" in back.output
    secrets = [value for name, value in json.loads((data / "credentials.json").read_text()).items()]
    assert not [secret for secret in secrets if secret in made.output + back.output]
