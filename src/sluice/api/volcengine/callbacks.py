"""The callback family: who is told of an app's events (docs/contract/volcengine.md 10).

The vendor spells AppId and BusinessId in two ways and expects them in the body or in the query; both are
taken everywhere.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import structlog
from pydantic import AfterValidator, AliasChoices, Field, WithJsonSchema

from sluice.api.volcengine.envelope import DEFAULT_REGION
from sluice.api.volcengine.fields import Id, OptionalId, Request, Result, Text, illegal
from sluice.callbacks.forms.volcengine_events import EVENT_NAMES, events_of, names_of
from sluice.callbacks.port import Callbacks
from sluice.core.apps import App
from sluice.core.callbacks import Registration
from sluice.core.ids import BusinessId
from sluice.core.masking import mask_url
from sluice.core.urls import CALLBACK_URL

_LONGEST_SECRET = 256

log = structlog.get_logger(__name__)


def _url(value: str) -> str:
    try:
        return CALLBACK_URL.check(value)
    except ValueError as error:
        raise illegal(str(error)) from error


def _secret(value: str) -> str:
    if len(value) > _LONGEST_SECRET:
        raise illegal(f"must not be longer than {_LONGEST_SECRET} characters")
    return value


def _events(value: list[str]) -> list[str]:
    try:
        return names_of(events_of(value))
    except ValueError as error:
        raise illegal(str(error)) from error


class _AppRequest(Request):
    app_id: Annotated[Id, Field(validation_alias=AliasChoices("AppId", "AppID"))]
    """The application; also spelled AppID."""


class _CallbackRequest(_AppRequest):
    business_id: Annotated[OptionalId, Field(validation_alias=AliasChoices("BusinessId", "BusinessID"))] = ""
    """The business whose tasks are told; empty for all that have no callback of their own. Also spelled
    BusinessID."""


class _Registering(_CallbackRequest):
    event_list: Annotated[
        list[str],
        AfterValidator(_events),
        WithJsonSchema({"type": "array", "minItems": 1, "items": {"enum": sorted(EVENT_NAMES)}}),
    ]
    """The events that are told."""
    secret_key: Annotated[Text, AfterValidator(_secret)]
    """Signs the callbacks."""
    url: Annotated[Text, Field(alias="URL"), AfterValidator(_url)]
    """Where callbacks are sent to."""

    def registration(self, app: App, now: float) -> Registration:
        return Registration(
            app_id=app.app_id,
            business_id=BusinessId(self.business_id),
            url=self.url,
            secret=self.secret_key,
            events=events_of(self.event_list),
            created_at=now,
            updated_at=now,
        )


class CreateCallback(_Registering):
    """Registers a callback for an app, or for one business of it."""


class UpdateCallback(_Registering):
    """Replaces address, secret and events of a callback; what still waits goes there too."""


class DeleteCallback(_CallbackRequest):
    """Ends a callback; what still waits for it is given up."""


class GetCallback(_AppRequest):
    """All callbacks of an app."""


class CallbackItem(Result):
    account_id: str = ""
    app_id: str
    business_id: str
    created_at: str
    event_list: list[str]
    region: str = DEFAULT_REGION
    secret_key: str
    url: Annotated[str, Field(alias="URL")]
    updated_at: str


class CallbackList(Result):
    """The callback of the whole app, else the first one; and all of them."""

    account_id: str = ""
    app_id: str = ""
    business_id: str = ""
    callbacks: list[CallbackItem]
    created_at: str = ""
    event_list: str = ""
    """Names with commas between."""
    region: str = ""
    secret_key: str = ""
    url: Annotated[str, Field(alias="URL")] = ""
    updated_at: str = ""


class CallbackHandlers:
    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks

    async def create(self, request: CreateCallback, app: App, now: float) -> str:
        await self._callbacks.create(request.registration(app, now))
        _log("callback created", request, app)
        return "ok"

    async def update(self, request: UpdateCallback, app: App, now: float) -> str:
        await self._callbacks.change(request.registration(app, now))
        _log("callback updated", request, app)
        return "ok"

    async def delete(self, request: DeleteCallback, app: App, now: float) -> str:
        await self._callbacks.remove(app.app_id, BusinessId(request.business_id))
        log.info("callback deleted", app_id=app.app_id, business_id=request.business_id)
        return "ok"

    async def get(self, request: GetCallback, app: App, now: float) -> CallbackList:
        return _list(await self._callbacks.registrations(app.app_id))


def _log(message: str, request: _Registering, app: App) -> None:
    log.info(message, app_id=app.app_id, business_id=request.business_id, url=mask_url(request.url))


def _list(registrations: Iterable[Registration]) -> CallbackList:
    items = [_item(registration) for registration in registrations]
    if not items:
        return CallbackList(callbacks=[])
    first = items[0].model_dump() | {"event_list": ",".join(items[0].event_list)}
    return CallbackList(**first, callbacks=items)


def _item(registration: Registration) -> CallbackItem:
    return CallbackItem(
        app_id=registration.app_id,
        business_id=registration.business_id,
        created_at=_time(registration.created_at),
        event_list=names_of(registration.events),
        secret_key=registration.secret,
        url=registration.url,
        updated_at=_time(registration.updated_at),
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
