"""The Volcengine form: registered per app, signed in its body (docs/contract/callbacks.md 1 to 5).

The fields of the events' data stand here, the vendor's names of events in `volcengine_events`, the numbers of
states and reasons in `volcengine_numbers`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sluice.callbacks.forms.form import NobodyRegistered, Post
from sluice.callbacks.forms.relay_state import relay_data
from sluice.callbacks.forms.volcengine_events import EVENT_TYPES
from sluice.callbacks.forms.volcengine_numbers import PushReport, push_report
from sluice.core.callbacks import EventKind, Registration, RetryPlan
from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage
from sluice.store.outbox import OutboxEntry
from sluice.wire.callback_bodies import Envelope, data_text, nonce_of

#: Why a user left, as the client SDK numbers it (5.3).
_LEAVE_REASONS = {"left": 0, "dropped": 1, "removed": 3}


class VolcengineForm:
    def __init__(self, retry: RetryPlan) -> None:
        self.retry = retry

    def render(self, entry: OutboxEntry, registration: Registration | None) -> Post:
        if registration is None:
            raise NobodyRegistered("nobody is registered any more")
        envelope = Envelope(
            event_type=EVENT_TYPES[entry.kind],
            data=data_text(_DATA[entry.kind](entry)),
            at=entry.data["at"],
            event_id=entry.event_id,
            app_id=entry.app_id,
            business_id=entry.data.get("business_id", ""),
            nonce=nonce_of(entry.event_id),
            secret=registration.secret,
        )
        return Post(registration.url, {"Content-Type": "application/json"}, envelope.body())


def _push(entry: OutboxEntry) -> Mapping[str, object]:
    """5.2: all four events have the same fields. A push in which one kind of media is stalled says so in the
    fields for failures: its state alone would be the same as before the first picture."""
    data = entry.data
    state = State(data["state"])
    stalled = state.live and state is not State.STOPPING and data.get("stalled", False)
    failed = state is State.FAILED or stalled
    report = _report(data)
    return {
        "AppId": entry.app_id,
        "BusinessId": data["business_id"],
        "RoomId": data["room_id"],
        "TaskId": data["task_id"],
        "Code": int(failed),
        "ErrorMessage": data["text"] if failed else "",
        "Status": report.status,
        "PushStreamState": report.push_stream_state,
        "StopReason": report.stop_reason,
        "Reason": data["reason"] if stalled else report.stop_reason,
        "Timestamp": _ms(data["at"]),
    }


def _report(data: Mapping[str, Any]) -> PushReport:
    if "stage" not in data:  # rows of earlier releases hold the numbers themselves
        return PushReport(data["status"], data["push_stream_state"], data["stop_reason"])
    return push_report(State(data["state"]), PushStage.of(data["stage"]), Reason.of(data["reason"]))


def _room(entry: OutboxEntry) -> dict[str, object]:
    """5.3"""
    data = entry.data
    duration = {"Duration": data["duration_ms"]} if "duration_ms" in data else {}
    return {"RoomId": data["room_id"], "Timestamp": _ms(data["at"]), **duration}


def _user(entry: OutboxEntry) -> Mapping[str, object]:
    """5.3"""
    data = entry.data
    reason = {"Reason": _LEAVE_REASONS[data["why"]]} if entry.kind is EventKind.USER_LEFT else {}
    user = {"UserId": data["user_id"], "DeviceType": data["device"], "UserExtraInfo": ""}
    return _room(entry) | user | reason


def _capture(entry: OutboxEntry) -> Mapping[str, object]:
    """5.4"""
    data = entry.data
    user = {"UserId": data["user_id"], "DeviceType": data["device"], "ExtraInfo": ""}
    return _room(entry) | user | {"StreamIndex": data["stream"], "Reason": 0}


def _ms(at: float) -> int:
    return round(at * 1000)


_DATA: dict[EventKind, Callable[[OutboxEntry], Mapping[str, Any]]] = {
    EventKind.RELAY_STATE: relay_data,
    EventKind.PUSH_STARTED: _push,
    EventKind.PUSH_UPDATED: _push,
    EventKind.PUSH_STATE: _push,
    EventKind.PUSH_STOPPED: _push,
    EventKind.ROOM_CREATED: _room,
    EventKind.ROOM_DESTROYED: _room,
    EventKind.USER_JOINED: _user,
    EventKind.USER_LEFT: _user,
    EventKind.AUDIO_STARTED: _capture,
    EventKind.AUDIO_STOPPED: _capture,
    EventKind.VIDEO_STARTED: _capture,
    EventKind.VIDEO_STOPPED: _capture,
}
