"""Backups of a data folder: the database as it is at one moment and credentials.json, packed into one file.

Only both make a node: the database has apps, keys, bots, tasks and what waits to be told; the admin token is
in credentials.json alone. The copy is SQLite's own (https://sqlite.org/backup.html), so that the node may run
meanwhile and need not know. A backup is as secret as what is in it: only its owner may read it.
"""

import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sluice import __version__
from sluice.core.progress import Progress, untold
from sluice.store.credentials_file import FILE_NAME, read_credentials, sync_folder
from sluice.store.errors import BackupError
from sluice.store.folder import LOCK_NAME, held
from sluice.store.migrate import refuse_newer
from sluice.store.thread import DATABASE_NAME

_FACTS_NAME = "backup.json"
_FORMAT = 1
#: A copy that other writers hold up for so long is given up.
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a copy. `live`: tasks that go on where it is restored; `waiting`: callbacks not told yet."""

    revision: str
    apps: int
    live: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Restored:
    """`aside` is where the files are that were there before."""

    contents: Contents
    aside: Path | None


def make_backup(
    data: Path, file: Path, now: float, *, force: bool = False, tell: Progress = untold
) -> Contents:
    """Packs the folder of a node, which may be running, into `file`; with `force` in place of one that is
    there. The file is complete or not there. Raises StoreError, BackupError, CredentialsError and OSError."""
    read_credentials(data)
    database = data / DATABASE_NAME
    if not database.is_file():
        raise BackupError(f"there is no {database}; name the data folder of a node with --data")
    if file.exists() and not force:
        raise BackupError(f"{file} is there already; name another file, or replace it with --force")
    if file.exists() and not (file.is_file() and _is_packed(file)):  # to open a pipe would wait for ever
        # The node's own database would be the worst of what a slip could name.
        raise BackupError(f"{file} is no backup, which is all that --force replaces; name another file")
    with _beside(file) as folder:
        copy = folder / DATABASE_NAME
        tell("copying the database", 0, 0)
        _copy(database, copy)
        contents = _examine(copy, str(database))
        facts = {"format": _FORMAT, "release": __version__, "revision": contents.revision, "made_at": now}
        (folder / _FACTS_NAME).write_text(json.dumps(facts))
        packed = folder / "packed"
        with _private(packed) as handle:
            _pack(handle, [folder / _FACTS_NAME, copy, data / FILE_NAME], now, tell)
        packed.replace(file)
    sync_folder(file.parent)
    return contents


def _is_packed(file: Path) -> bool:
    """Whether the file begins as gzip (RFC 1952, 2.3.1), as backups do."""
    with file.open("rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def restore_backup(
    file: Path, data: Path, now: float, *, force: bool = False, tell: Progress = untold
) -> Restored:
    """Puts a backup into a data folder that no node is using. What is there is replaced with `force` alone,
    and kept in a folder inside. Raises StoreError (also for a backup of a newer release), BackupError,
    FolderError and OSError; then nothing has changed."""
    with held(data):
        before = sorted(path for path in data.iterdir() if path.name.startswith((DATABASE_NAME, FILE_NAME)))
        if before and not force:
            raise BackupError(
                f"{data} has a node's database or credentials already; name another folder with --data, or "
                "replace them with --force, which keeps them in a folder of their own"
            )
        with _beside(data / DATABASE_NAME) as folder:
            _unpack(file, folder, tell)
            tell("looking at the database", 0, 0)
            contents = _examine(folder / DATABASE_NAME, str(file))
            _check_pair(file, folder)
            aside = _put_aside(data, before, now)
            # The database first: without credentials.json a node says what is missing, without a database
            # it would begin an empty one.
            for name in (DATABASE_NAME, FILE_NAME):
                _sync_file(folder / name)
                (folder / name).replace(data / name)
        _give_to_owner(data)
        sync_folder(data)
    return Restored(contents, aside)


# --- the copy ---------------------------------------------------------------------------------------------


def _copy(database: Path, copy: Path) -> None:
    give_up_at = time.monotonic() + _LONGEST_WAIT_S

    def watch(status: int, remaining: int, total: int) -> None:
        if remaining and time.monotonic() > give_up_at:
            raise BackupError(f"{database} was locked for {_LONGEST_WAIT_S:g} s; try again later")

    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(copy)) as made,
        ):
            live.backup(made, progress=watch)
            made.execute("PRAGMA journal_mode=DELETE")  # all of it in one file
    except sqlite3.Error as error:
        raise BackupError(f"{database} cannot be copied: {error}; look at it with: sluice doctor") from error


def _examine(database: Path, what: str) -> Contents:
    """Raises BackupError for a damaged database, StoreError for one of a newer release."""
    try:
        with closing(sqlite3.connect(database)) as conn:
            (state,) = conn.execute("PRAGMA integrity_check(1)").fetchone()
            if state != "ok":
                raise BackupError(f"the database of {what} is damaged: {state}; use an older backup")
            (revision,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
            refuse_newer(revision, f"the database of {what}")
            return Contents(
                revision,
                _count(conn, "apps"),
                _count(conn, "tasks WHERE ended_at IS NULL"),
                _count(conn, "outbox WHERE status = 'pending'"),
            )
    except (sqlite3.Error, TypeError) as error:  # TypeError: there is no revision
        raise BackupError(f"{what} has no database of sluice: {error}; use another backup") from error


def _count(conn: sqlite3.Connection, where: str) -> int:
    try:
        (count,) = conn.execute(f"SELECT count(*) FROM {where}").fetchone()  # noqa: S608 - texts of ours
    except sqlite3.OperationalError:  # an older release had no such table or column
        return 0
    return int(count)


def _check_pair(file: Path, folder: Path) -> None:
    credentials = read_credentials(folder)
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as conn:
        pair = (credentials.app_id, credentials.app_key)
        known = conn.execute("SELECT 1 FROM apps WHERE app_id = ? AND app_key = ?", pair).fetchone()
    if known is None:
        raise BackupError(f"{file}: its credentials and its database do not fit together; use another backup")


# --- the file ---------------------------------------------------------------------------------------------


class _Told(io.RawIOBase):
    """A file that tells how far it was read."""

    def __init__(self, file: IO[bytes], size: int, doing: str, tell: Progress) -> None:
        self._file, self._size, self._doing, self._tell = file, size, doing, tell

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._tell(self._doing, self._file.tell(), self._size)
        return piece


def _pack(handle: IO[bytes], paths: list[Path], now: float, tell: Progress) -> None:
    with tarfile.open(fileobj=handle, mode="w:gz") as tar:
        for path in paths:
            member = tarfile.TarInfo(path.name)
            member.size, member.mode, member.mtime = path.stat().st_size, 0o600, int(now)
            with path.open("rb") as content:
                tar.addfile(member, _Told(content, member.size, "packing", tell))


def _unpack(file: Path, folder: Path, tell: Progress) -> None:
    """Only the three files that a backup has, whatever else is in there and whatever it says of them."""
    missing = {_FACTS_NAME, DATABASE_NAME, FILE_NAME}
    try:
        with file.open("rb") as handle, tarfile.open(fileobj=handle, mode="r:gz") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name in missing and member.isfile() else None
                if content is None:
                    continue
                missing.discard(member.name)
                with _private(folder / member.name) as made:
                    while piece := content.read(1 << 20):
                        made.write(piece)
                        tell("unpacking", made.tell(), member.size)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BackupError(f"{file} is no backup of sluice, or is cut short: {error}") from error
    if missing:
        raise BackupError(f"{file} is no backup of sluice: there is no {sorted(missing)[0]} in it")


def _put_aside(data: Path, before: list[Path], now: float) -> Path | None:
    if not before:
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = Path(tempfile.mkdtemp(prefix=f"replaced-{stamp}-", dir=data))
    for path in before:  # with the -wal of the database, which would spoil another one
        path.rename(aside / path.name)
    return aside


def _give_to_owner(data: Path) -> None:
    """Root may restore for the user whose node it is, who has to read the files."""
    if os.getuid() != 0:
        return
    owner = data.stat()
    for name in (DATABASE_NAME, FILE_NAME, LOCK_NAME):
        os.chown(data / name, owner.st_uid, owner.st_gid)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A private folder on the same file system, which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix=".sluice-", dir=path.parent) as name:
        yield Path(name)


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    """A new file that only its owner may read, on the disk when it is closed."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
