"""What is told to the programs of callers, and when it is tried again. Pure: no names of a dialect.

An event is told in the order of its `order_key`, strictly; keys do not wait for each other
(docs/contract/callbacks.md 3). This module decides which events the change of a task makes (`core.kinds`
names the function of each kind); `callbacks.forms` decides how they look. Most events go to whoever is
registered for them; those of a bot's task go to the address that came with it, or to nobody.
"""

import hashlib
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from sluice.core.errors import Culprit, SluiceError
from sluice.core.ids import AppId, BusinessId, RoomId
from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage
from sluice.core.tasks import Dialect, RelaySpec, Task


class EventKind(Enum):
    RELAY_STATE = "relay_state"
    PUSH_STARTED = "push_started"
    PUSH_UPDATED = "push_updated"
    PUSH_STATE = "push_state"
    PUSH_STOPPED = "push_stopped"
    ROOM_CREATED = "room_created"
    ROOM_DESTROYED = "room_destroyed"
    USER_JOINED = "user_joined"
    USER_LEFT = "user_left"
    AUDIO_STARTED = "audio_started"
    AUDIO_STOPPED = "audio_stopped"
    VIDEO_STARTED = "video_started"
    VIDEO_STOPPED = "video_stopped"


@dataclass(frozen=True, slots=True)
class CallbackEvent:
    """`data` is all that a form needs of it, as JSON; later changes of a task do not show in it."""

    kind: EventKind
    app_id: AppId
    business_id: BusinessId  #: which registration it looks for; empty for rooms
    order_key: str
    data: dict[str, Any]
    at: float  #: Unix seconds
    dialect: Dialect = Dialect.VOLCENGINE  #: whose form it takes
    destination: str = ""  #: `url_destination` of the address in `data`; empty: whoever is registered


@dataclass(frozen=True, slots=True)
class Registration:
    """Who is told of what. `business_id` is empty for the one of the whole app.

    `events` are values of EventKind, and such names as the caller's dialect knows alone and we never send.
    """

    app_id: AppId
    business_id: BusinessId
    url: str = field(repr=False)
    secret: str = field(repr=False)
    events: tuple[str, ...]
    created_at: float
    updated_at: float
    from_config: bool = False  #: of sluice.toml; callers see it but cannot change it

    @property
    def destination(self) -> str:
        return f"{self.app_id}/{self.business_id}"


#: How the destinations that are no registrations begin. No app has such an id.
URL_DESTINATIONS = "url/"


def url_destination(url: str) -> str:
    """The name of an address that came with a task: tasks that share it share what is due there. Short,
    since it stands in an index, and without the secrets that an address may carry."""
    return URL_DESTINATIONS + hashlib.sha256(url.encode()).hexdigest()[:32]


class RegistrationRefused(SluiceError):
    """It exists already, does not exist, or is not the caller's to change; the text says which."""

    culprit = Culprit.CALLER


class NotRegistered(RegistrationRefused):
    """There is no such registration."""


class CallbackNotFound(SluiceError):
    culprit = Culprit.CALLER


# --- when ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """When a failed delivery is tried again, in seconds.

    `pauses_s` follow the first, second, … delivery, the last one stays; they count from the end of the
    delivery, or from its beginning where `from_beginning`. No delivery begins later than `longest_s` after
    the first, and there are at most `most`.
    """

    pauses_s: tuple[float, ...]
    longest_s: float
    most: int | None = None
    from_beginning: bool = False

    def next_at(self, attempts: int, first_at: float, began_at: float, ended_at: float) -> float | None:
        """When delivery `attempts + 1` is due after `attempts` that failed; None gives up."""
        if self.most is not None and attempts >= self.most:
            return None
        pause = self.pauses_s[min(attempts, len(self.pauses_s)) - 1]
        at = max(began_at + pause, ended_at) if self.from_beginning else ended_at + pause
        return at if at <= first_at + self.longest_s else None


#: Events that are older than this when one before them is given up are given up with it: the receiver was
#: tried for so long. Keeps what waits for a dead receiver bounded in time.
STALE_S = 24 * 3600.0
#: docs/contract/callbacks.md 3: the vendor's two retries, then ours.
LONG_RETRY = RetryPlan((0.0, 3.0, 10.0, 30.0, 60.0, 300.0), STALE_S)
VENDOR_RETRY = RetryPlan((0.0, 3.0), STALE_S, most=3)
#: Every 10 s until the message is older than a minute.
MINUTE_RETRY = RetryPlan((10.0,), 60.0, from_beginning=True)


# --- what ---------------------------------------------------------------------------------------------------


#: What a relay that stands still is told of. Why else it may recover (a pause, a node that starts again) is
#: no matter of its source's.
_STOPS = frozenset(
    {
        Reason.PICTURES_STOPPED,
        Reason.SOUND_STOPPED,
        Reason.SOURCE_INTERRUPTED,
        Reason.SOURCE_UNREACHABLE,
        Reason.SOURCE_REFUSED,
        Reason.SOURCE_UNSUPPORTED,
    }
)


def room_order_key(app_id: AppId, room_id: RoomId) -> str:
    return f"room/{app_id}/{room_id}"


def relay_events(
    task: Task[Any], now: float, *, staged: bool = False, resumed: bool = False
) -> tuple[CallbackEvent, ...]:
    """As `kinds.TaskEvents`. Nobody is told of a pause, and so nobody of media that flows after it."""
    if resumed:
        return ()
    return _relay_events(task, now) if task.dialect is Dialect.VOLCENGINE else _bot_events(task, now)


def _relay_events(task: Task[RelaySpec], now: float) -> tuple[CallbackEvent, ...]:
    """Accepted, media flows (again), a kind of it has stopped, over (docs/contract/callbacks.md 4)."""
    stopped = task.state is State.RECOVERING and task.reason in _STOPS
    if task.epoch and task.state.live and not (stopped or task.state is State.RUNNING):
        return ()
    data = _data_of(task, now) | {
        "user_id": task.user_id,
        "url": task.spec.url,
        "start_at": task.spec.start_at,
        "again": task.state is State.RUNNING and task.flowed_at != now,
        "never_began": not (task.state.live or task.flowed_at or task.reason is Reason.STOPPED),
    }
    return (_event(EventKind.RELAY_STATE, task, data, now),)


def _bot_events(task: Task[RelaySpec], now: float) -> tuple[CallbackEvent, ...]:
    """As a relay's, at the address that came with the task alone (docs/contract/callbacks.md 4, 6, 7)."""
    url = task.spec.callback_url
    # Line 1 has numbers neither for an acceptance nor for media that stopped and may come back.
    unknown = task.dialect is Dialect.BOT_TRTC and (not task.epoch or task.state is State.RECOVERING)
    if not url or unknown:
        return ()
    return tuple(
        replace(
            event,
            dialect=task.dialect,
            destination=url_destination(url),
            data=event.data | {"callback_url": url},
        )
        for event in _relay_events(task, now)
    )


def push_events(
    task: Task[Any], now: float, *, staged: bool = False, resumed: bool = False
) -> tuple[CallbackEvent, ...]:
    """As `kinds.TaskEvents` (docs/contract/callbacks.md 5.2). A push that fails before it ever flowed tells
    both that it could not start and that it is over."""
    if staged or task.state is State.STOPPING:
        kinds: tuple[EventKind, ...] = (EventKind.PUSH_STATE,)
    elif task.state is State.RUNNING and task.flowed_at == now:
        kinds = (EventKind.PUSH_STARTED,)
    elif task.state is State.FAILED and task.flowed_at is None:
        kinds = (EventKind.PUSH_STARTED, EventKind.PUSH_STOPPED)
    elif not task.state.live:
        kinds = (EventKind.PUSH_STOPPED,)
    else:
        kinds = ()  # its stages tell
    data = _data_of(task, now) | {"stage": task.stage.code, "stalled": task.stage is PushStage.STALLED}
    return tuple(_event(kind, task, data, now) for kind in kinds)


def _data_of(task: Task[Any], now: float) -> dict[str, Any]:
    return {
        "run_id": task.id,
        "room_id": task.room_id,
        "task_id": task.task_id,
        "business_id": task.business_id,
        "state": task.state.value,
        "reason": task.reason.code,
        "text": task.reason_text,
        "at": now,
    }


def _event(kind: EventKind, task: Task[Any], data: dict[str, Any], now: float) -> CallbackEvent:
    # By the caller's names and not by run: a TaskId that is started again goes on where it was.
    identity = (task.kind.value, task.app_id, task.business_id, task.room_id, task.task_id)
    return CallbackEvent(kind, task.app_id, task.business_id, "/".join(identity), data, now)
