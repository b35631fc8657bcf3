"""``<data>/credentials.json``: the app of the first start, its keys, and the admin token.

Commands read it, too, and need no database for that: nothing of it is imported here.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from sluice.core.ids import AppId
from sluice.store.errors import CredentialsError, NoDataFolder

FILE_NAME = "credentials.json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The content of credentials.json."""

    app_id: AppId
    app_key: str = field(repr=False)  #: signs RTC tokens
    access_key: str
    secret_key: str = field(repr=False)  #: signs API calls
    admin_token: str = field(repr=False)  #: bearer of /api/v1 and /console


def read_credentials(data: Path) -> Credentials:
    """The credentials that the first start of this data folder wrote. Raises CredentialsError, which is
    NoDataFolder where no node has ever started."""
    path = data / FILE_NAME
    names = [column.name for column in fields(Credentials)]
    try:
        document = json.loads(path.read_text())
        values = {name: document[name] for name in names}
    except NotADirectoryError as error:
        raise NoDataFolder(
            f"{data} is a file, or lies below one: name the data folder of a node with --data"
        ) from error
    except FileNotFoundError as error:
        raise NoDataFolder(
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


def write_credentials(path: Path, credentials: Credentials) -> None:
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
        sync_folder(path.parent)
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be written ({error.strerror}); free space or mend the folder's rights"
        ) from error


def sync_folder(folder: Path) -> None:
    """Writes the folder itself to disk. Without this a power cut could keep the database and lose the file,
    and the admin token with it for ever."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
