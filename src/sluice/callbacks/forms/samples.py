"""A body of each callback as its form makes it, and what its fields mean: for people who write receivers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.callbacks.forms.form import Form
from sluice.callbacks.forms.trtc import TrtcForm
from sluice.callbacks.forms.volc import VolcForm
from sluice.callbacks.forms.volcengine import VolcengineForm
from sluice.callbacks.forms.volcengine_events import EVENT_TYPES
from sluice.callbacks.forms.volcengine_numbers import REASON_NUMBER
from sluice.core.callbacks import LONG_RETRY, EventKind, Registration
from sluice.core.ids import AppId, BusinessId
from sluice.core.lifecycle import Reason
from sluice.core.tasks import Dialect
from sluice.store.outbox import PENDING, OutboxEntry

_AT = 1_767_225_600.25
_APP, _EVENT_ID = AppId("6a0f3c1de52b4a9f8d7e6c5b"), "5f0c2f5e-8f0e-4c58-9d5e-0d8a5c1c7a11"
_SECRET = "known-to-both"  # noqa: S105 - of an example


@dataclass(frozen=True, slots=True)
class Field:
    """`values`: what each of its values means. `inside`: fields of an object, or of the JSON in a string."""

    name: str
    meaning: str
    type: str = "string"
    values: Mapping[int, str] = field(default_factory=dict)
    inside: tuple["Field", ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """`when` says when it is sent, `body` is one that was."""

    name: str
    when: str
    body: Mapping[str, Any]
    fields: tuple[Field, ...]


def _number(name: str, meaning: str, values: Mapping[int, str] | None = None) -> Field:
    return Field(name, meaning, "integer", values or {})


#: Reasons for which a relay ends or recovers, and that have a number of their own.
_RELAY_REASONS = {
    *(Reason.SOURCE_UNREACHABLE, Reason.SOURCE_REFUSED, Reason.SOURCE_UNSUPPORTED, Reason.SOURCE_INTERRUPTED),
    *(Reason.IDLE_TIMEOUT, Reason.LIFETIME_EXCEEDED, Reason.PUBLISH_FAILED, Reason.REPLACED, Reason.REMOVED),
    *(Reason.INTERNAL_ERROR, Reason.SERVER_SHUTDOWN, Reason.ADDRESS_NOT_ALLOWED, Reason.MEDIA_CRASH),
    *(Reason.NO_CAPACITY, Reason.INVALID_POSITION),
}


def _reasons() -> dict[int, str]:
    named = {0: "none, or it was stopped, or the source ended"}
    return named | {
        number: reason.text for reason, number in REASON_NUMBER.items() if reason in _RELAY_REASONS
    }


_ROOM_ID, _USER_ID = Field("RoomId", "The room."), Field("UserId", "The user.")
_TASK_ID = Field("TaskId", "The task, as the caller named it.")
_TIMESTAMP = _number("Timestamp", "When it happened, in Unix milliseconds.")
_DEVICE = Field("DeviceType", "server for virtual users, else empty.")

_RELAY = (
    *(_ROOM_ID, _TASK_ID, Field("UserId", "The virtual user of the relay.")),
    Field("StreamUrl", "The source, as the caller gave it."),
    _number("Status", "What the relay does.", {1: "starting", 2: "running", 3: "ended"}),
    _number("StartTimeStamp", "The scheduled start in Unix seconds; 0: at once."),
    Field("Msg", "Why, for people."),
    Field("Vid", "The run: the id of the task in the node's own API."),
    _number("Reason", "Why a relay ended or waits for its source.", _reasons()),
)
_PUSH = (
    *(Field("AppId", "The app."), Field("BusinessId", "The business of the task; may be empty.")),
    *(_ROOM_ID, _TASK_ID, _number("Code", "1: it failed, or a kind of media is stalled; else 0.")),
    Field("ErrorMessage", "What is wrong, for people; with Code 1."),
    _number("Status", "", {1: "not started", 2: "running", 3: "ended", 4: "failed"}),
    _number(
        "PushStreamState",
        "With Status 2: what it does.",
        {
            0: "no state",
            1: "not pushing yet",
            2: "connecting",
            3: "reconnecting",
            4: "connected",
            5: "pushing",
            6: "stopped",
        },
    ),
    Field(
        "StopReason",
        "Empty, StopByAPI, StartTaskFailed, IdleTimeOut, UserDisconnect or UnknownStopReason.",
    ),
    Field("Reason", "As StopReason; of a stalled push which kind of media has stopped."),
    _TIMESTAMP,
)
_ROOM = (_ROOM_ID, _TIMESTAMP)
_LASTED = _number("Duration", "How long it lasted, in milliseconds.")
_USER = (*_ROOM, _USER_ID, _DEVICE, Field("UserExtraInfo", "Always empty."))
_LEFT = (
    *(*_USER, _LASTED),
    _number("Reason", "Why the user left.", {0: "by itself", 1: "its connection was lost", 3: "removed"}),
)
_CAPTURE = (
    *(*_ROOM, _USER_ID, _DEVICE, Field("ExtraInfo", "Always empty.")),
    _number("StreamIndex", "The stream.", {0: "camera and microphone", 1: "screen"}),
    _number("Reason", "Always 0."),
)

_IN_ROOM = {"room_id": "Room1", "at": _AT}
_BY_USER = {**_IN_ROOM, "user_id": "Anna", "device": "", "why": "left"}
_OF_RELAY = {
    **_IN_ROOM,
    "task_id": "Relay1",
    "business_id": "Business1",
    "user_id": "Clip",
    "url": "https://example.com/clip.mp4",
    "state": "failed",
    "reason": Reason.SOURCE_UNREACHABLE.code,
    "text": "the source cannot be reached: example.com has no address",
    "start_at": 0,
    "run_id": "run_2f6d0c9ab1e35f7c4d18",
    "again": False,
    "never_began": False,
    "callback_url": "https://example.com/told",
}
_OF_PUSH = {
    **_IN_ROOM,
    "task_id": "Push1",
    "business_id": "Business1",
    "state": "running",
    "stage": "pushing",
    "reason": Reason.NONE.code,
    "text": "",
}
_STOPPED = {"state": "ended", "reason": Reason.STOPPED.code}
#: When an event is sent, the data of one, and its fields.
_EVENTS: dict[EventKind, tuple[str, dict[str, Any], tuple[Field, ...]]] = {
    EventKind.RELAY_STATE: (
        "A relay starts, runs, loses its source, has it again, or ends.",
        _OF_RELAY,
        _RELAY,
    ),
    EventKind.PUSH_STARTED: ("A push was accepted.", {**_OF_PUSH, "stage": "waiting"}, _PUSH),
    EventKind.PUSH_UPDATED: ("A push was changed.", _OF_PUSH, _PUSH),
    EventKind.PUSH_STATE: ("A push does something else than before.", _OF_PUSH, _PUSH),
    EventKind.PUSH_STOPPED: ("A push has ended.", {**_OF_PUSH, **_STOPPED}, _PUSH),
    EventKind.ROOM_CREATED: ("The first user enters a room.", _IN_ROOM, _ROOM),
    EventKind.ROOM_DESTROYED: (
        "The last user has left a room.",
        {**_IN_ROOM, "duration_ms": 61_000},
        (*_ROOM, _LASTED),
    ),
    EventKind.USER_JOINED: ("A user enters a room.", _BY_USER, _USER),
    EventKind.USER_LEFT: ("A user has left a room.", {**_BY_USER, "duration_ms": 60_500}, _LEFT),
    EventKind.AUDIO_STARTED: ("A user sends sound.", {**_BY_USER, "stream": 0}, _CAPTURE),
    EventKind.AUDIO_STOPPED: ("A user sends no sound any more.", {**_BY_USER, "stream": 0}, _CAPTURE),
    EventKind.VIDEO_STARTED: ("A user sends pictures.", {**_BY_USER, "stream": 0}, _CAPTURE),
    EventKind.VIDEO_STOPPED: ("A user sends no pictures any more.", {**_BY_USER, "stream": 0}, _CAPTURE),
}


def volcengine_samples() -> list[Sample]:
    """Of each event that a registration of an app may list."""
    registration = Registration(_APP, BusinessId(""), "https://example.com/told", _SECRET, (), _AT, _AT)
    form = VolcengineForm(LONG_RETRY)
    return [
        Sample(
            EVENT_TYPES[kind],
            when,
            _body(form, _entry(kind, data, Dialect.VOLCENGINE), registration),
            _envelope(data_fields),
        )
        for kind, (when, data, data_fields) in _EVENTS.items()
    ]


def _envelope(data: tuple[Field, ...]) -> tuple[Field, ...]:
    return (
        Field("EventType", "The name of the event."),
        Field("EventData", "A text that holds JSON; this very text is signed.", inside=data),
        Field("EventTime", "When it happened, RFC 3339."),
        Field("EventId", "The same on each delivery of this event."),
        *(Field("AppId", "The app."), Field("Version", "Always 2020-12-01.")),
        *(Field("Nonce", "Four digits."), Field("Noce", "The same; an old spelling.")),
        Field(
            "Signature",
            "SHA-256 in hex of EventType, EventData, EventTime, EventId, Version, AppId, Nonce and the "
            "secret, sorted as bytes and joined.",
        ),
        Field("BusinessId", "The business of the task, if it has one."),
    )


def bot_samples() -> list[Sample]:
    """Of both lines, at the `callback_url` of a push."""
    relay = {**_OF_RELAY, "room_id": "42", "task_id": "the task_id that push answered"}
    running = {**relay, "state": "running", "reason": Reason.NONE.code, "text": ""}
    return [
        Sample(
            "Line trtc",
            "A stream begins, begins again after its source was lost, or ends. Header SDK-Type: trtc.",
            _body(TrtcForm(), _entry(EventKind.RELAY_STATE, running, Dialect.BOT_TRTC)),
            _TRTC,
        ),
        Sample(
            "Line volc",
            "A stream begins, loses its source, has it again, or ends. Header SDK-Type: volc.",
            _body(VolcForm(), _entry(EventKind.RELAY_STATE, relay, Dialect.BOT_VOLC)),
            _VOLC,
        ),
    ]


_TRTC = (
    _number("EventGroupId", "Always 7."),
    _number("EventType", "", {701: "the stream begins, or cannot", 702: "the stream has ended"}),
    _number("CallbackMsTs", "When the event was made, in Unix milliseconds."),
    Field(
        "EventInfo",
        "",
        "object",
        inside=(
            _number("EventMsTs", "When it happened, in Unix milliseconds."),
            Field("TaskId", "From the answer to the push."),
            _number("Status", "", {0: "done", 1: "it cannot be played", 2: "it plays again"}),
        ),
    ),
)
_VOLC = (
    Field("EventId", "The same on each delivery of this event."),
    Field("EventTime", "When it happened, RFC 3339 with the offset +08:00."),
    Field("EventType", "Always RelayStreamStateChanged."),
    Field("EventData", "", "object", inside=_RELAY),
)


def _body(form: Form, entry: OutboxEntry, registration: Registration | None = None) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(form.render(entry, registration).body)
    return body


def _entry(kind: EventKind, data: dict[str, Any], dialect: Dialect) -> OutboxEntry:
    return OutboxEntry(
        id=1,
        event_id=_EVENT_ID,
        app_id=_APP,
        destination="",
        order_key="",
        dialect=dialect,
        kind=kind,
        data=data,
        created_at=_AT,
        status=PENDING,
        attempts=0,
        first_at=None,
        next_at=_AT,
        settled_at=None,
        last_error="",
        epoch=0,
    )
