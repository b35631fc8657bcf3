"""The data folder: who may write it, what room is left, whether its database is whole and of this release."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sluice.core.errors import SluiceError
from sluice.core.limits import LEAST_FREE_BYTES
from sluice.doctor.finding import Finding, bad, ok, warning
from sluice.store.credentials_file import FILE_NAME, read_credentials
from sluice.store.folder import is_held, refusal
from sluice.store.migrate import newest_revision, refuse_newer
from sluice.store.thread import DATABASE_NAME

_FEW_FREE_BYTES = 1 << 30
_MB = 1 << 20
_LOCK_S = 1.0


def is_running(data: Path) -> bool:
    """Whether a node is using the folder."""
    return is_held(data)


def check_folder(data: Path) -> Iterator[Finding]:
    why = refusal(data)
    if why is not None:
        yield bad("data", why, "mend that, or name another folder with --data")
        return
    there = data.exists()
    if not there:
        yield ok("data", f"{data} will be made at the first start")
    elif data.stat().st_mode & 0o077:
        yield warning("data", f"others may look into {data}, where the keys are", f"chmod 700 {data}")
    else:
        running = "; a node is using it" if is_running(data) else ""
        yield ok("data", f"{data} can be written, by its owner alone{running}")
    yield _disk(_nearest(data))
    if there and (data / DATABASE_NAME).exists():
        yield from _check_credentials(data)


def _disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    text = f"{free // _MB} MB are free where {place} is"
    if free < LEAST_FREE_BYTES:
        return bad("disk", text, "make room: soon nothing of what happens can be noted")
    if free < _FEW_FREE_BYTES:
        return warning("disk", text, "make room, or name another folder with --data")
    found = os.statvfs(place)
    if found.f_files and found.f_favail < 1000:
        return warning("disk", f"{text}, but only {found.f_favail} files more", "delete files there")
    return ok("disk", text)


def _nearest(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _check_credentials(data: Path) -> Iterator[Finding]:
    path = data / FILE_NAME
    try:
        read_credentials(data)
    except SluiceError as error:
        yield bad("credentials", str(error), "")
        return
    if path.stat().st_mode & 0o077:
        yield warning("credentials", f"others may read {path}", f"chmod 600 {path}")
    else:
        yield ok("credentials", f"{path} is there, and only its owner may read it")


def check_database(data: Path) -> Iterator[Finding]:
    path = data / DATABASE_NAME
    if not path.exists():
        if data.exists() and os.access(data, os.W_OK):
            yield ok("database", f"{path} will be made at the first start")
        return
    try:
        with closing(
            sqlite3.connect(path.resolve().as_uri() + "?mode=rw", uri=True, timeout=_LOCK_S)
        ) as conn:
            yield from _look_into(conn, path)
    except sqlite3.Error as error:
        yield bad("database", f"{path} cannot be used: {error}", _advice(error))


def _look_into(conn: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    (state,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        yield bad(
            "database", f"{path} is damaged: {state}", "go back to a backup: sluice restore FILE --force"
        )
        return
    (revision,) = conn.execute("SELECT version_num FROM alembic_version").fetchone() or (None,)
    try:
        refuse_newer(revision, str(path))
    except SluiceError as error:
        yield bad("database", str(error), "")
        return
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("UPDATE alembic_version SET version_num = version_num")
    conn.rollback()
    if revision == newest_revision():
        # Whether there is room for a write is the disk's finding.
        yield ok("database", f"{path} is whole, may be written, and is of this release ({revision})")
    else:
        yield warning(
            "database",
            f"{path} is of an older release ({revision}); the next start brings it to {newest_revision()}",
            "make a backup first, since there is no way back: sluice backup FILE",
        )


def _advice(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
        return "another program has locked it: end it, or wait for it"
    if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return "go back to a backup: sluice restore FILE --force"
    return "look at free space and at the rights of the folder and its files"
