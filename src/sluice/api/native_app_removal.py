"""The end of an app, for the operator (`DELETE /api/v1/apps/{app_id}`).

Live tasks keep an app from being deleted, unless the operator has them stopped. The app goes first, so that
nobody begins anything more; then its tasks end, and everybody leaves its rooms.
"""

from typing import Annotated

import structlog
from fastapi import APIRouter, Query

from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.core.errors import NotNow, RoomError
from sluice.core.ids import AppId
from sluice.rooms.port import RoomEngine
from sluice.store.apps import AppRegistry
from sluice.tasks.port import Tasks

log = structlog.get_logger(__name__)


class RemovedApp(Document):
    app_id: str
    tasks: int
    """Live tasks that were stopped."""
    keys: list[str]
    """Access keys that reached this app alone, and were revoked with it."""


def routes(
    registry: AppRegistry, tasks: Tasks, rooms: RoomEngine, operator: Operator, own_app: AppId
) -> APIRouter:
    """To be included in the application without a prefix. `own_app` is that of credentials.json."""
    api = operators_router(operator, "/apps/{app_id}")

    @api.delete("", summary="Delete an app for ever, with its bots, channels, callbacks, bans and own keys")
    async def delete_app(app_id: str, stop: Annotated[bool, Query()] = False) -> RemovedApp:
        """Refused with 409 while tasks of it are live, unless `stop` is given; ended tasks stay listed. The
        app of credentials.json stays: the node does not start without it."""
        id = AppId(app_id)
        if id == own_app:
            raise NotNow(
                f"{app_id} is the app of credentials.json, without which the node does not start; switch its "
                "relays and pushes off instead"
            )
        removed = await registry.delete_app(id, with_live_tasks=stop)
        await tasks.remove(id, None, None)
        try:
            await rooms.expel(id, None, None)
        except RoomError as error:  # its process died, and everybody in it has left with that
            log.warning("rooms of a deleted app", app_id=app_id, why=str(error))
        log.info("an app was deleted", app_id=app_id, stopped=removed.live, keys=len(removed.keys))
        return RemovedApp(app_id=app_id, tasks=removed.live, keys=list(removed.keys))

    return api
