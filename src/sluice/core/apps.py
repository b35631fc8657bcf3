"""Applications and their keys, as the node keeps them in memory. Secrets never appear in a repr."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from sluice.core.errors import NotFound
from sluice.core.ids import AppId
from sluice.core.request_headers import PLAIN, RequestHeaders


class Feature(Enum):
    """What an app may be allowed to do."""

    RELAY = "relay"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class App:
    app_id: AppId  #: 24 characters, as RTC tokens demand (docs/contract/token.md 1)
    app_key: str = field(repr=False)  #: signs RTC tokens
    features: frozenset[Feature] = frozenset(Feature)
    source_headers: RequestHeaders = PLAIN  #: sent with each request to the sources of its tasks


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Signs API calls; `app_ids` are the apps it may reach."""

    access_key: str
    secret_key: str = field(repr=False)
    app_ids: frozenset[AppId]
    session_token: str | None = field(default=None, repr=False)  #: if there is one, each call must carry it


class Apps:
    """Look-up of the configured apps and of the access keys in force.

    This is a copy: the database is the truth, and `replace` brings the copy up to date.
    """

    def __init__(self, apps: Iterable[App] = (), keys: Iterable[AccessKey] = ()) -> None:
        self.replace(apps, keys)

    def replace(self, apps: Iterable[App], keys: Iterable[AccessKey]) -> None:
        self._apps = {app.app_id: app for app in apps}
        self._keys = {key.access_key: key for key in keys}

    def app(self, app_id: str) -> App | None:
        return self._apps.get(AppId(app_id))

    def known(self, app_id: str) -> App:
        """Raises NotFound."""
        app = self.app(app_id)
        if app is None:
            raise NotFound(f"there is no app {app_id}")
        return app

    def access_key(self, access_key: str) -> AccessKey | None:
        return self._keys.get(access_key)
