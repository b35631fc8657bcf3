"""Which node a command talks to, and with which credentials.

The data folder says both: a node writes where it listens into the folder's lock. An address that was given
(`--url`, `SLUICE_URL`) comes before that.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from sluice.client import Client, NoNode
from sluice.core.apps import AccessKey
from sluice.core.errors import BadInput
from sluice.exits import Misuse
from sluice.store.credentials_file import Credentials, read_credentials
from sluice.store.folder import holder
from sluice.store.whereabouts import Whereabouts
from sluice.terminal import Style, tell

if TYPE_CHECKING:
    from sluice.config import Settings

_URL_VARIABLE = "SLUICE_URL"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
#: Hosts that are others on each machine.
_OWN = ("localhost", "127.0.0.1", "::1", *_EVERYWHERE)

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder of the node. Default: ./data", show_default=False)
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=_URL_VARIABLE,
        help="Address of the node. Default: where the node of the data folder listens.",
    ),
]


@dataclass(frozen=True, slots=True)
class LocalNode:
    """`public_url` is where browsers reach it."""

    client: Client
    credentials: Credentials
    public_url: str


def settings_with(flags: Mapping[str, object]) -> "Settings":
    """Raises Misuse."""
    from sluice.config import load_settings, unknown_variables  # commands without settings start faster

    try:
        settings = load_settings(flags, os.environ, Path("sluice.toml"))
    except BadInput as error:
        raise Misuse(str(error)) from error
    _warn(tuple(unknown_variables(os.environ)))
    return settings


@cache
def _warn(texts: tuple[str, ...]) -> None:
    for text in texts:
        tell(f"sluice: warning: {text}", Style.YELLOW)


def load_credentials(data: Path | None) -> Credentials:
    """The credentials of the data folder's node."""
    return read_credentials(settings_with({"data": data}).data)


def reach(url: str | None, data: Path | None) -> LocalNode:
    """The node at `url`, or the one that runs on the data folder. Raises NoNode, CredentialsError, Misuse."""
    folder = settings_with({"data": data}).data
    credentials = read_credentials(folder)
    key = AccessKey(credentials.access_key, credentials.secret_key, frozenset())
    if url is not None:
        source = _URL_VARIABLE if os.environ.get(_URL_VARIABLE) == url else "--url"
        given = url.rstrip("/")
        return LocalNode(Client(given, key, credentials.admin_token, origin=source), credentials, given)
    where = _where(folder)
    certificate = Path(where.certificate) if where.certificate else None
    client = Client(_loopback(where.url), key, credentials.admin_token, f"the lock of {folder}", certificate)
    return LocalNode(client, credentials, _loopback(where.public_url))


def _where(folder: Path) -> Whereabouts:
    found = holder(folder)
    if found is None:
        raise NoNode(
            f"no node is running on the data folder {folder}: start one with: sluice serve --data {folder}; "
            "or name another folder with --data, or the address of its node with --url"
        )
    if not found.url:
        raise NoNode(
            f"the process {found.pid} holds the data folder {folder} and does not say where it listens: it "
            "is starting, restoring a backup, or of an older release; try again, or name its address with "
            "--url"
        )
    if found.is_elsewhere and urlsplit(found.url).hostname in _OWN:
        raise NoNode(
            f"the node of the data folder {folder} runs on {found.host}, and listens at {found.url} there: "
            "run this in there, or name an address with --url at which it is reached from here"
        )
    return found


def _loopback(url: str) -> str:
    """Where a node that listens at every address is reached on its own machine."""
    parts = urlsplit(url)
    here = _EVERYWHERE.get(parts.hostname or "")
    return url if here is None else f"{parts.scheme}://{here}:{parts.port}"
