"""First start: one app with random credentials, in the database and in `<data>/credentials.json`.

The file is written first, then the transaction commits. After a crash in between, the next start puts the app
of the file into the database. Only the file has the admin token. There is no default password.
"""

import secrets
from pathlib import Path

from sqlalchemy import Connection

from sluice.core.apps import App
from sluice.store.apps import insert_app, insert_key, list_apps, new_app, new_key
from sluice.store.credentials_file import FILE_NAME, Credentials, read_credentials, write_credentials
from sluice.store.errors import CredentialsError


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
        write_credentials(path, credentials)
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
