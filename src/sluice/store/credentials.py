"""First start: one app with random credentials, in the database and in `<data>/credentials.json` (design 6).

The file is written first, then the transaction commits; a crash in between leaves a file whose app the next
start puts into the database. The admin token is in the file alone. No default password anywhere.
"""

import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from sqlalchemy import Connection, insert, select

from sluice.core.apps import AccessKey, App, Apps
from sluice.core.ids import AppId
from sluice.store.errors import CredentialsError
from sluice.store.schema import access_key_apps, access_keys, apps

FILE_NAME = "credentials.json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The content of credentials.json."""

    app_id: AppId
    app_key: str = field(repr=False)  #: signs RTC tokens
    access_key: str
    secret_key: str = field(repr=False)  #: signs API calls
    admin_token: str = field(repr=False)  #: bearer of /api/v1 and /console


def open_credentials(conn: Connection, data: Path, now: float) -> tuple[Credentials, bool]:
    """The credentials of this data folder, and whether this start made them (then show them, once).

    Raises CredentialsError when the file is missing, unreadable or of another database.
    """
    path = data / FILE_NAME
    known = {(row.app_id, row.app_key) for row in conn.execute(select(apps))}
    made = not path.exists()
    if made and known:
        raise CredentialsError(
            f"{path} is missing, but the database already has apps; put the file back from a backup, "
            "or move the database away to begin anew with new credentials"
        )
    if made:
        credentials = _generate()
        _write(path, credentials)
    else:
        credentials = read_credentials(data)
    if not known:
        _insert(conn, credentials, now)
    elif (credentials.app_id, credentials.app_key) not in known:
        raise CredentialsError(
            f"{path} belongs to another database: it names the app {credentials.app_id}; "
            "put back the file that was written together with this database"
        )
    return credentials, made


def load_apps(conn: Connection) -> Apps:
    """Every app and access key."""
    reach: dict[str, set[AppId]] = {}
    for row in conn.execute(select(access_key_apps)):
        reach.setdefault(row.access_key, set()).add(AppId(row.app_id))
    return Apps(
        [App(AppId(row.app_id), row.app_key) for row in conn.execute(select(apps))],
        [
            AccessKey(row.access_key, row.secret_key, frozenset(reach.get(row.access_key, ())))
            for row in conn.execute(select(access_keys))
        ],
    )


def _generate() -> Credentials:
    # Hex alone: no character that a shell, a URL or a command line takes for something else.
    return Credentials(
        app_id=AppId(secrets.token_hex(12)),
        app_key=secrets.token_hex(16),
        access_key=f"AKLT{secrets.token_hex(16)}",
        secret_key=secrets.token_hex(32),
        admin_token=secrets.token_hex(32),
    )


def _insert(conn: Connection, credentials: Credentials, now: float) -> None:
    conn.execute(insert(apps).values(app_id=credentials.app_id, app_key=credentials.app_key, created_at=now))
    conn.execute(
        insert(access_keys).values(
            access_key=credentials.access_key, secret_key=credentials.secret_key, created_at=now
        )
    )
    conn.execute(insert(access_key_apps).values(access_key=credentials.access_key, app_id=credentials.app_id))


def read_credentials(data: Path) -> Credentials:
    """What the first start of this data folder wrote. Raises CredentialsError."""
    path = data / FILE_NAME
    names = [column.name for column in fields(Credentials)]
    try:
        document = json.loads(path.read_text())
        values = {name: document[name] for name in names}
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be read ({error.strerror}); give its owner's rights back"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialsError(
            f"{path} is not the JSON object with {', '.join(names)} that the first start wrote; "
            "put it back from a backup"
        ) from error
    if not all(isinstance(value, str) and value for value in values.values()):
        raise CredentialsError(f"{path}: {', '.join(names)} are texts; put the file back from a backup")
    return Credentials(**values)


def _write(path: Path, credentials: Credentials) -> None:
    """The whole file or none: mkstemp creates exclusively with mode 0600, a rename puts it in place."""
    text = json.dumps(asdict(credentials), indent=2) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE_NAME}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).rename(path)
        finally:
            Path(name).unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be written ({error.strerror}); free space or mend the folder's rights"
        ) from error


def _sync_folder(folder: Path) -> None:
    # Without it a power cut may keep the database and lose the file, and with it the admin token for ever.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
