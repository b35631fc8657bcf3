"""First start and later starts over a real data folder."""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from sluice.core.apps import Apps
from sluice.store.apps import AppRegistry
from sluice.store.credentials import open_credentials
from sluice.store.credentials_file import Credentials, read_credentials
from sluice.store.errors import CredentialsError
from sluice.store.schema import apps
from sluice.store.thread import Store, sqlite_url

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(data: Path) -> AsyncIterator[Store]:
    async with Store(sqlite_url(data)) as store:
        yield store


async def begin(store: Store, data: Path) -> tuple[Credentials, bool]:
    return await store.run(lambda conn: open_credentials(conn, data, NOW))


async def load_apps(store: Store) -> Apps:
    async with AppRegistry(store, lambda: NOW) as registry:
        return registry.apps


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def credential_files(data: Path) -> list[str]:
    return [entry.name for entry in data.iterdir() if "credentials" in entry.name]


def count_apps(conn: Connection) -> Any:
    return conn.scalar(select(func.count()).select_from(apps))


async def test_the_first_start_makes_an_app_and_a_private_file(store: Store, data: Path) -> None:
    made, new = await begin(store, data)
    assert new
    path = data / "credentials.json"
    assert mode(path) == 0o600
    assert mode(data) == 0o700
    document = json.loads(path.read_text())
    assert list(document) == ["app_id", "app_key", "access_key", "secret_key", "admin_token"]
    assert Credentials(**document) == made
    assert re.fullmatch("[0-9a-f]{24}", made.app_id)
    assert made.access_key.startswith("AKLT")
    assert len(set(document.values())) == 5
    assert credential_files(data) == ["credentials.json"]


async def test_secrets_are_not_in_the_repr(store: Store, data: Path) -> None:
    made, _ = await begin(store, data)
    assert made.app_id in repr(made)
    assert not any(secret in repr(made) for secret in (made.app_key, made.secret_key, made.admin_token))


async def test_the_app_is_found_with_its_key(store: Store, data: Path) -> None:
    made, _ = await begin(store, data)
    known = await load_apps(store)
    app, key = known.app(made.app_id), known.access_key(made.access_key)
    assert app is not None
    assert key is not None
    assert app.app_key == made.app_key
    assert (key.secret_key, key.app_ids) == (made.secret_key, frozenset({made.app_id}))
    assert known.access_key("AKLTother") is None


async def test_a_later_start_reads_the_same(data: Path) -> None:
    async with Store(sqlite_url(data)) as store:
        made, _ = await begin(store, data)
    async with Store(sqlite_url(data)) as store:
        assert await begin(store, data) == (made, False)
        assert await store.run(count_apps) == 1


async def test_two_first_starts_differ(tmp_path: Path) -> None:
    seen = []
    for name in ("one", "two"):
        async with Store(sqlite_url(tmp_path / name)) as store:
            seen.append((await begin(store, tmp_path / name))[0])
    assert seen[0].secret_key != seen[1].secret_key
    assert seen[0].admin_token != seen[1].admin_token


async def test_a_missing_file_says_what_to_do(store: Store, data: Path) -> None:
    await begin(store, data)
    (data / "credentials.json").unlink()
    with pytest.raises(CredentialsError, match=r"credentials\.json is missing.*put the file back"):
        await begin(store, data)
    assert not (data / "credentials.json").exists()


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "afile").touch()
    with pytest.raises(CredentialsError) as failure:
        read_credentials(tmp_path / "afile")
    assert str(failure.value).startswith(f"{tmp_path / 'afile'} is a file")
    assert "sluice serve" not in str(failure.value)


async def test_a_crash_before_the_commit_is_mended_by_the_next_start(store: Store, data: Path) -> None:
    def crash(conn: Connection) -> None:
        open_credentials(conn, data, NOW)
        raise KeyError("crash")

    with pytest.raises(KeyError):
        await store.run(crash)
    assert await store.run(count_apps) == 0
    mended, new = await begin(store, data)
    assert not new
    assert (await load_apps(store)).app(mended.app_id) is not None


async def test_the_file_of_another_database_is_refused(tmp_path: Path, store: Store, data: Path) -> None:
    await begin(store, data)
    async with Store(sqlite_url(tmp_path / "other")) as other:
        await begin(other, tmp_path / "other")
    (tmp_path / "other" / "credentials.json").replace(data / "credentials.json")
    with pytest.raises(CredentialsError, match="belongs to another database"):
        await begin(store, data)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"app_id": 1}', "\udcff"])
async def test_a_spoilt_file_says_what_to_do(store: Store, data: Path, content: str) -> None:
    await begin(store, data)
    (data / "credentials.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CredentialsError, match="put it back from a backup"):
        await begin(store, data)


async def test_values_of_the_file_are_texts(store: Store, data: Path) -> None:
    await begin(store, data)
    path = data / "credentials.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"admin_token": ""}))
    with pytest.raises(CredentialsError, match="are texts"):
        await begin(store, data)


async def test_a_file_that_cannot_be_written_leaves_no_app(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialsError, match="No space left"):
        await begin(store, data)
    assert await store.run(count_apps) == 0
    assert credential_files(data) == []
