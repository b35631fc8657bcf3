"""Who is told of the events of an app, for the operator (`/api/v1/apps/{app_id}/callbacks`).

The same registrations as of `CreateCallback` and its siblings. Events themselves are in `native_callbacks`.
"""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field, WithJsonSchema

from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.callbacks.forms.volcengine_events import EVENT_NAMES, EVENT_TYPES, events_of, names_of
from sluice.callbacks.port import Callbacks
from sluice.core.apps import Apps
from sluice.core.callbacks import Registration
from sluice.core.ids import BusinessId
from sluice.core.masking import mask_url
from sluice.core.urls import CALLBACK_URL

_BusinessText = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_@\-.]{0,128}$")]


def _events(names: list[str]) -> list[str]:
    return names_of(events_of(names))


class NewRegistration(Document):
    url: Annotated[str, Field(max_length=2048), AfterValidator(CALLBACK_URL.check)]
    """Where events are sent to."""
    business_id: _BusinessText = ""
    """The business whose tasks are told; empty for all that have none of their own."""
    events: Annotated[
        list[str],
        AfterValidator(_events),
        WithJsonSchema({"type": "array", "minItems": 1, "items": {"enum": sorted(EVENT_NAMES)}}),
    ] = Field(default_factory=lambda: sorted(EVENT_TYPES.values()))
    """Names of events; all when left out."""
    secret: Annotated[str, Field(pattern=r"^[!-~]{1,256}$")] | None = None
    """Signs the callbacks; random when left out."""


class RegistrationDocument(Document):
    app_id: str
    business_id: str
    url: str
    """Secrets in it are masked."""
    events: list[str]
    from_config: bool
    """Whether it is set in sluice.toml, where alone it can be changed."""
    created_at: float
    updated_at: float


class RegistrationWithSecret(RegistrationDocument):
    """Shown once."""

    secret: str


class RegistrationList(Document):
    registrations: list[RegistrationDocument]


def routes(callbacks: Callbacks, apps: Apps, operator: Operator, clock: Callable[[], float]) -> APIRouter:
    """To be included in the application without a prefix. `clock` tells Unix seconds."""
    api = operators_router(operator, "/apps/{app_id}/callbacks")

    @api.get("", summary="Who is told of the events of an app")
    async def list_registrations(app_id: str) -> RegistrationList:
        found = await callbacks.registrations(apps.known(app_id).app_id)
        return RegistrationList(registrations=[RegistrationDocument(**_shown(one)) for one in found])

    @api.post("", status_code=201, summary="Tell somebody of the events of an app, or of one business of it")
    async def create_registration(app_id: str, wanted: NewRegistration) -> RegistrationWithSecret:
        now = clock()
        registration = Registration(
            app_id=apps.known(app_id).app_id,
            business_id=BusinessId(wanted.business_id),
            url=wanted.url,
            secret=wanted.secret or secrets.token_hex(32),
            events=events_of(wanted.events),
            created_at=now,
            updated_at=now,
        )
        await callbacks.create(registration)
        return RegistrationWithSecret(**_shown(registration), secret=registration.secret)

    @api.delete("", status_code=204, summary="Tell nobody any more")
    async def delete_registration(app_id: str, business_id: Annotated[_BusinessText, Query()] = "") -> None:
        """What still waits for it is given up."""
        await callbacks.remove(apps.known(app_id).app_id, BusinessId(business_id))

    return api


def _shown(registration: Registration) -> dict[str, Any]:
    return {
        "app_id": registration.app_id,
        "business_id": registration.business_id,
        "url": mask_url(registration.url),
        "events": names_of(registration.events),
        "from_config": registration.from_config,
        "created_at": registration.created_at,
        "updated_at": registration.updated_at,
    }
