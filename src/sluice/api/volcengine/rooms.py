"""Rooms and users: GetRoomOnlineUsers and BanRoomUser (docs/contract/volcengine.md 11).

A ban is durable before anybody is removed, and whoever lets a user in asks for bans once more afterwards. So
nobody slips through in between.
"""

from typing import Annotated, Literal

import structlog
from pydantic import Field, model_validator

from sluice.api.volcengine.errors import ILLEGAL, OpenApiError
from sluice.api.volcengine.fields import Boolean, Integer, OptionalId, Request, Result, RoomRequest
from sluice.core.apps import App
from sluice.core.errors import TooManyBans
from sluice.core.ids import RoomId, UserId
from sluice.rooms.port import Bans, RoomEngine
from sluice.tasks.port import Tasks

_SHORTEST_S, _LONGEST_S = 10, 604_800

log = structlog.get_logger(__name__)


class GetRoomOnlineUsers(RoomRequest):
    """Who is in a room. The virtual users of relays are among them."""

    # Accepted but not used: the form of the detailed answer is not known (11.1).
    property: Boolean = False
    """Detailed user data; treated as false."""
    role_type: Integer | None = None
    """A filter that goes with Property; ignored."""


class OnlineUsers(Result):
    room_exists: bool
    """With false, no other field is returned."""
    total_user: int | None = None
    total_invisible_user: int | None = None
    visible_user_list: list[str] | None = None
    invisible_user_list: list[str] | None = None


class BanRoomUser(Request):
    """Removes users: all of a room (RoomId), one from a room (RoomId and UserId), or one from all rooms of
    the app (UserId). Their relays and pushes end."""

    room_id: OptionalId = ""
    """The room; required without UserId."""
    user_id: OptionalId = ""
    """The user; required without RoomId."""
    forbidden_interval: Integer = 0
    """Seconds in which who was removed may not come back: 0 (at once, an earlier ban is lifted), or 10 to
    604800; other values are brought into this range."""

    @model_validator(mode="after")
    def _someone_is_named(self) -> "BanRoomUser":
        if not self.room_id and not self.user_id:
            raise OpenApiError(ILLEGAL, "RoomId", "give RoomId, UserId or both")
        return self

    def until(self, now: float) -> float | None:
        if self.forbidden_interval == 0:
            return None
        return now + min(max(self.forbidden_interval, _SHORTEST_S), _LONGEST_S)


class Removed(Result):
    """As of 2020-12-01."""

    message: Annotated[Literal["success"], Field(alias="message")] = "success"


class RemovedTwice(Removed):
    """As of 2023-11-01: the vendor's page and its SDK spell the field differently (11.2)."""

    message_of_sdk: Annotated[Literal["success"], Field(alias="Message")] = "success"


class RoomHandlers:
    def __init__(self, tasks: Tasks, rooms: RoomEngine, bans: Bans) -> None:
        self._tasks = tasks
        self._rooms = rooms
        self._bans = bans

    async def online_users(self, request: GetRoomOnlineUsers, app: App, now: float) -> OnlineUsers:
        users = await self._rooms.roster(app.app_id, RoomId(request.room_id))
        if not users:  # a room begins with its first user and ends with the last one
            return OnlineUsers(room_exists=False)
        return OnlineUsers(
            room_exists=True,
            total_user=len(users),
            total_invisible_user=0,
            visible_user_list=[entry.user_id for entry in users],
            invisible_user_list=[],
        )

    async def ban_as_of_2020(self, request: BanRoomUser, app: App, now: float) -> Removed:
        await self._remove(request, app, now)
        return Removed()

    async def ban(self, request: BanRoomUser, app: App, now: float) -> RemovedTwice:
        await self._remove(request, app, now)
        return RemovedTwice()

    async def _remove(self, request: BanRoomUser, app: App, now: float) -> None:
        room_id = RoomId(request.room_id) if request.room_id else None
        user_id = UserId(request.user_id) if request.user_id else None
        try:
            await self._bans.ban(app.app_id, room_id, user_id, request.until(now))
        except TooManyBans as error:
            why = f"{error.most} bans of this app are in force; lift some (0), or close whole rooms"
            raise OpenApiError(ILLEGAL, "ForbiddenInterval", why) from error
        await self._tasks.remove(app.app_id, room_id, user_id)
        await self._rooms.expel(app.app_id, room_id, user_id)
        log.info("users removed", app_id=app.app_id, room_id=room_id, user_id=user_id)
