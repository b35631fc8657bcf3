"""Which actions there are: the one table from which the gateway and the OpenAPI document are made.

Versions and methods: docs/contract/volcengine.md 2; rates: section 6. A new action is a row here, and its
models and its handler beside `relay`, `push`, `callbacks` or `rooms`. Versions that differ have a row each.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from sluice.api.volcengine.callbacks import (
    CallbackHandlers,
    CallbackList,
    CreateCallback,
    DeleteCallback,
    GetCallback,
    UpdateCallback,
)
from sluice.api.volcengine.fields import Request
from sluice.api.volcengine.push import (
    GetPushSingleStreamToCDNTask,
    PushHandlers,
    PushTaskResult,
    StartPushSingleStreamToCDN,
    StopPushStreamToCDN,
)
from sluice.api.volcengine.relay import (
    ListRelayStream,
    RelayHandlers,
    RelayPage,
    StartRelayStream,
    StopRelayStream,
    UpdateRelayStream,
)
from sluice.api.volcengine.rooms import (
    BanRoomUser,
    GetRoomOnlineUsers,
    OnlineUsers,
    Removed,
    RemovedTwice,
    RoomHandlers,
)
from sluice.callbacks.port import Callbacks
from sluice.core.apps import App, Feature
from sluice.rooms.port import Bans, RoomEngine
from sluice.tasks.port import Tasks

M = TypeVar("M", bound=Request)
#: The Result of what changes or stops something.
Done = Literal["ok"]

_RELAY, _PUSH = Feature.RELAY, Feature.PUSH
_OLD, _ROOMS, _NEW = "2020-12-01", "2023-08-01", "2023-11-01"
_RELAYS, _PUSHES = (_OLD, _NEW), (_OLD, "2023-06-01", _NEW)


@dataclass(frozen=True, slots=True)
class Action(Generic[M]):
    """An action has the name of its request model. GET takes parameters from the query, POST from the body.

    `result` is the type of the envelope's Result, which `handle` makes. An app may call it `per_second`
    times a second, and only with `feature` on. `query_too`: what the body lacks may stand in the query, and
    the body may be empty.
    """

    method: Literal["GET", "POST"]
    versions: tuple[str, ...]
    request: type[M]
    result: Any
    handle: Callable[[M, App, float], Awaitable[object]]
    per_second: int
    feature: Feature | None = None
    query_too: bool = False

    @property
    def name(self) -> str:
        return self.request.__name__


def action_table(
    tasks: Tasks, rooms: RoomEngine, bans: Bans, callbacks: Callbacks
) -> tuple[Action[Any], ...]:
    relay, push, room = RelayHandlers(tasks), PushHandlers(tasks), RoomHandlers(tasks, rooms, bans)
    callback = CallbackHandlers(callbacks)
    return (
        Action("POST", _RELAYS, StartRelayStream, str, relay.start, 150, _RELAY),
        Action("POST", _RELAYS, UpdateRelayStream, Done, relay.update, 150, _RELAY),
        Action("POST", _RELAYS, StopRelayStream, Done, relay.stop, 150, _RELAY),
        Action("GET", _RELAYS, ListRelayStream, RelayPage, relay.list, 150, _RELAY),
        Action("POST", _PUSHES, StartPushSingleStreamToCDN, str, push.start, 150, _PUSH),
        Action("POST", _PUSHES, StopPushStreamToCDN, Done, push.stop, 150, _PUSH),
        Action("GET", _PUSHES, GetPushSingleStreamToCDNTask, PushTaskResult, push.get, 150, _PUSH),
        Action("POST", (_OLD,), CreateCallback, Done, callback.create, 20, query_too=True),
        Action("POST", (_OLD,), UpdateCallback, Done, callback.update, 20, query_too=True),
        Action("POST", (_OLD,), DeleteCallback, Done, callback.delete, 20, query_too=True),
        Action("GET", (_OLD,), GetCallback, CallbackList, callback.get, 20),
        Action("GET", (_ROOMS, _NEW), GetRoomOnlineUsers, OnlineUsers, room.online_users, 40),
        Action("POST", (_OLD,), BanRoomUser, Removed, room.ban_as_of_2020, 20),
        Action("POST", (_NEW,), BanRoomUser, RemovedTwice, room.ban, 40),
    )
