"""First start: one app with random credentials, in the database and in `<data>/credentials.json`.

The file is written first, then the transaction commits. After a crash in between, the next start puts the app
of the file into the database. Only the file has the admin token. There is no default password.
"""

import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from sqlalchemy import Connection

from sluice.core.apps import App
from sluice.core.ids import AppId
from sluice.store.apps import insert_app, insert_key, list_apps, new_app, new_key
from sluice.store.errors import CredentialsError

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
    """The credentials of this data folder, and whether this start made them (then they are shown, once).

    Raises CredentialsError when the file is missing, unreadable or of another database.
    """
    path = data / FILE_NAME
    known = {(record.app.app_id, record.app.app_key) for record in list_apps(conn)}
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


def _generate() -> Credentials:
    app = new_app()
    key = new_key([app.app_id])
    return Credentials(app.app_id, app.app_key, key.access_key, key.secret_key, secrets.token_hex(32))


def _insert(conn: Connection, credentials: Credentials, now: float) -> None:
    insert_app(conn, App(credentials.app_id, credentials.app_key), now)
    key = new_key([credentials.app_id], credentials.access_key, credentials.secret_key)
    insert_key(conn, key, now)


def read_credentials(data: Path) -> Credentials:
    """The credentials that the first start of this data folder wrote. Raises CredentialsError."""
    path = data / FILE_NAME
    names = [column.name for column in fields(Credentials)]
    try:
        document = json.loads(path.read_text())
        values = {name: document[name] for name in names}
    except NotADirectoryError as error:
        raise CredentialsError(
            f"{data} is a file, or lies below one: name the data folder of a node with --data"
        ) from error
    except FileNotFoundError as error:
        raise CredentialsError(
            f"there is no {path}: name the data folder of a node with --data, or start one there with: "
            f"sluice serve --data {data}"
        ) from error
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be read ({error.strerror}); run this as the user whose node it is"
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
    """Writes the whole file or none: mkstemp makes a new one with mode 0600, a rename puts it in place."""
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
    # Without this a power cut may keep the database but lose the file, and the admin token with it for ever.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
