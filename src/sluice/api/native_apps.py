"""Apps and access keys for the operator (`/api/v1/apps`, `/api/v1/keys`).

Secrets are shown once, by the call that makes them. An operator who comes from elsewhere brings his ids and
keys along, so that programs and tokens go on working unchanged.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field

from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.core.apps import Feature
from sluice.core.ids import AppId
from sluice.core.request_headers import check_headers, check_user_agent
from sluice.store.apps import AppRecord, AppRegistry, KeyRecord, new_app, new_key

#: What RTC tokens carry (docs/contract/token.md 1), in the syntax of ids.
_AppIdText = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_@\-.]{24}$")]
#: Whatever separates nothing in a credential or a header (docs/contract/signature.md 2).
_KeyName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_@\-.+]{1,128}$")]
_Secret = Annotated[str, Field(pattern=r"^[!-~]{1,256}$")]


class NewApp(Document):
    app_id: _AppIdText | None = None
    """24 characters; random when left out."""
    app_key: _Secret | None = None
    """Signs RTC tokens; random when left out."""
    access_key: _KeyName | None = None
    """Name of the app's first access key; random when left out."""
    secret_key: _Secret | None = None
    """Signs API calls; random when left out."""


class AppChange(Document):
    relay: bool | None = None
    """Whether streams may be relayed into rooms; tasks that run go on."""
    push: bool | None = None
    """Whether streams may be pushed out; tasks that run go on."""
    user_agent: Annotated[str, AfterValidator(check_user_agent)] | None = None
    """User-Agent of requests to sources over HTTP, from the next start of a task on; empty for sluice's."""
    headers: Annotated[dict[str, str], AfterValidator(check_headers)] | None = None
    """Further headers of these requests; they replace all that there were. Those that smell of a secret go to
    the origin of the source's address alone."""


class AppDocument(Document):
    app_id: str
    relay: bool
    push: bool
    user_agent: str
    headers: dict[str, str]
    """Secret values are masked."""
    created_at: float


class AppWithSecrets(AppDocument):
    """Shown once."""

    app_key: str
    access_key: str
    secret_key: str


class AppList(Document):
    apps: list[AppDocument]


class NewKey(Document):
    app_ids: Annotated[list[str], Field(min_length=1, max_length=1000)]
    """The apps that it may reach."""
    access_key: _KeyName | None = None
    """Random when left out."""
    secret_key: _Secret | None = None
    """Random when left out."""
    session_token: _Secret | None = None
    """When given, each call must carry it as X-Security-Token."""


class Enabled(Document):
    enabled: bool
    """A key that is not is unknown to the API."""


class KeyDocument(Document):
    access_key: str
    app_ids: list[str]
    enabled: bool
    has_session_token: bool
    created_at: float


class KeyWithSecret(KeyDocument):
    """Shown once."""

    secret_key: str


class KeyList(Document):
    keys: list[KeyDocument]


def routes(registry: AppRegistry, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator)
    _add_apps(api, registry)
    _add_keys(api, registry)
    return api


def _add_apps(api: APIRouter, registry: AppRegistry) -> None:
    @api.get("/apps", summary="All apps, oldest first")
    async def list_apps() -> AppList:
        return AppList(apps=[AppDocument(**_app(record)) for record in await registry.list_apps()])

    @api.post("/apps", status_code=201, summary="Make an app with its first access key")
    async def create_app(wanted: NewApp) -> AppWithSecrets:
        app = new_app(wanted.app_id, wanted.app_key)
        key = new_key([app.app_id], wanted.access_key, wanted.secret_key)
        record = await registry.create_app(app, key)
        return AppWithSecrets(
            **_app(record), app_key=app.app_key, access_key=key.access_key, secret_key=key.secret_key
        )

    @api.patch("/apps/{app_id}", summary="Switch features on or off, and set what sources are asked with")
    async def change_app(app_id: str, wanted: AppChange) -> AppDocument:
        switches = {Feature.RELAY: wanted.relay, Feature.PUSH: wanted.push}
        features = {feature: on for feature, on in switches.items() if on is not None}
        record = await registry.change_app(AppId(app_id), features, wanted.user_agent, wanted.headers)
        return AppDocument(**_app(record))


def _add_keys(api: APIRouter, registry: AppRegistry) -> None:
    @api.get("/keys", summary="All access keys, or those of one app, oldest first")
    async def list_keys(app_id: Annotated[str | None, Query()] = None) -> KeyList:
        records = await registry.list_keys()
        shown = [record for record in records if app_id is None or app_id in record.key.app_ids]
        return KeyList(keys=[KeyDocument(**_key(record)) for record in shown])

    @api.post("/keys", status_code=201, summary="Make an access key")
    async def create_key(wanted: NewKey) -> KeyWithSecret:
        apps = [AppId(app_id) for app_id in wanted.app_ids]
        key = new_key(apps, wanted.access_key, wanted.secret_key, wanted.session_token)
        return KeyWithSecret(**_key(await registry.create_key(key)), secret_key=key.secret_key)

    @api.patch("/keys/{access_key}", summary="Disable or enable an access key")
    async def enable_key(access_key: str, wanted: Enabled) -> KeyDocument:
        return KeyDocument(**_key(await registry.enable_key(access_key, wanted.enabled)))

    @api.delete("/keys/{access_key}", status_code=204, summary="Revoke an access key for ever")
    async def revoke_key(access_key: str) -> None:
        await registry.revoke_key(access_key)


def _app(record: AppRecord) -> dict[str, Any]:
    features = {feature.value: feature in record.app.features for feature in Feature}
    sent = record.app.source_headers
    return {
        "app_id": record.app.app_id,
        "user_agent": sent.user_agent,
        "headers": sent.masked(),
        "created_at": record.created_at,
        **features,
    }


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "access_key": record.key.access_key,
        "app_ids": sorted(record.key.app_ids),
        "enabled": record.enabled,
        "has_session_token": record.key.session_token is not None,
        "created_at": record.created_at,
    }
