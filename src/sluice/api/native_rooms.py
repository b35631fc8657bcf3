"""Rooms for the operator (`/api/v1/rooms`): who is there, what is published, and how it reaches whom.

The documents are those of `core.room_documents`, made by the room's process when they are asked for.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator

from sluice.api.native import Document, OfApp, operators_router
from sluice.api.operator import Operator
from sluice.core.errors import BadInput, NotFound
from sluice.core.ids import AppId, RoomId, is_valid_id
from sluice.core.room_documents import RoomDocument, RoomSummary
from sluice.rooms.port import RoomEngine

#: Most rooms of a page, and most users, streams and peers of one: a room process makes them between packets.
_MOST = 200
_Limit = Annotated[int, Query(ge=1, le=_MOST)]


def _read_place(text: str) -> str:
    app_id, slash, room_id = text.partition("/")
    if not slash or not (is_valid_id(app_id) and is_valid_id(room_id)):
        raise ValueError("write app/room, as `next` of the page before has it")
    return text


class RoomPage(Document):
    """Rooms in the order of app and room."""

    rooms: list[RoomSummary]
    next: str | None
    """To be given as `after` for the page that follows; null where this is the last."""


def routes(rooms: RoomEngine, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator, "/rooms")

    @api.get("", summary="Rooms with somebody in them")
    async def list_rooms(
        after: Annotated[str | None, AfterValidator(_read_place), Query()] = None,
        limit: _Limit = 100,
        app_id: OfApp = None,
    ) -> RoomPage:
        of_app, _, room_id = (after or f"{app_id or ''}/").partition("/")
        place = (AppId(of_app), RoomId(room_id)) if of_app else None
        found = await rooms.rooms(place, limit)
        # They come in the order of apps, so that those of one app are together.
        shown = [room for room in found if app_id in (None, room.app_id)]
        last = f"{shown[-1].app_id}/{shown[-1].room_id}" if len(shown) == limit else None
        return RoomPage(rooms=shown, next=last)

    @api.get("/{app_id}/{room_id}", summary="One room: users, streams and peers")
    async def show_room(
        app_id: str,
        room_id: str,
        limit: _Limit = 100,
        offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    ) -> RoomDocument:
        """`limit` and `offset` are of its users, of its streams and of its peers; `counts` has all. Loss is
        what viewers report, or what we miss of publishers, before it is repaired."""
        for name, value in (("app_id", app_id), ("room_id", room_id)):
            if not is_valid_id(value):
                raise BadInput(name, "must have 1 to 128 of the characters a-z, A-Z, 0-9, @ . _ and -")
        room = await rooms.room(AppId(app_id), RoomId(room_id), offset=offset, limit=limit)
        if room is None:
            raise NotFound(f"nobody is in room {room_id} of app {app_id}")
        return room

    return api
