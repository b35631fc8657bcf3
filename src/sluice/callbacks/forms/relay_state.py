"""RelayStreamStateChanged and its data, which two forms share (docs/contract/callbacks.md 5.1)."""

from collections.abc import Mapping

from sluice.callbacks.forms.volcengine_numbers import REASON_NUMBER, RELAY_STATUS
from sluice.core.lifecycle import Reason, State
from sluice.core.plan import ONLY_H264_IS_COPIED
from sluice.store.outbox import OutboxEntry

#: `Msg` of a relay whose media flows again.
_AGAIN = "source reconnected"


def relay_data(entry: OutboxEntry) -> Mapping[str, object]:
    """The data of the event; section 4 maps the states. A relay in which one kind of media has stopped is
    still running, with a reason."""
    data = entry.data
    state = State(data["state"])
    has_reason = not state.live or state is State.RECOVERING
    message = _in_callers_words(data["text"]) if has_reason else _AGAIN if data["again"] else ""
    return {
        "RoomId": data["room_id"],
        "TaskId": data["task_id"],
        "UserId": data["user_id"],
        "StreamUrl": data["url"],
        "Status": RELAY_STATUS[state],
        "StartTimeStamp": data["start_at"],
        "Msg": message,
        "Vid": data["run_id"],
        "Reason": REASON_NUMBER[Reason.of(data["reason"])] if has_reason else 0,
    }


def _in_callers_words(text: str) -> str:
    """The core's text, with the field by which a caller of this API asks for a copy."""
    return text.replace(ONLY_H264_IS_COPIED, "StreamMode 1 copies and takes only H.264")
