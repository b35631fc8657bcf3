"""The operator's view of callbacks: ``/api/v1/callbacks``, a part of the native API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from sluice.api.native import Begins, OfApp, operators_router
from sluice.api.operator import Operator
from sluice.callbacks.port import Callbacks
from sluice.core.ids import AppId


class CallbackPage(BaseModel):
    """A page of events that are told to callers, newest first."""

    callbacks: list[dict[str, Any]]


def routes(callbacks: Callbacks, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator, "/callbacks")

    @api.get("", summary="Events that wait to be delivered, are dead, or were delivered lately")
    async def list_callbacks(
        state: Literal["pending", "dead", "delivered"] | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        app_id: OfApp = None,
        begins: Begins = "",
    ) -> CallbackPage:
        of_app = None if app_id is None else AppId(app_id)
        found = await callbacks.list_documents(
            state, limit=limit, offset=offset, begins=begins, app_id=of_app
        )
        return CallbackPage(callbacks=found)

    @api.get("/{event_id}", summary="One event")
    async def show_callback(event_id: str) -> dict[str, Any]:
        return await callbacks.document(event_id)

    @api.post("/{event_id}/replay", summary="Send an event again")
    async def replay_callback(event_id: str) -> dict[str, Any]:
        """At once and outside the order, with the same EventId."""
        return await callbacks.replay(event_id)

    return api
