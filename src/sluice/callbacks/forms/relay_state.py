"""RelayStreamStateChanged and its data, which two forms share (contract/callbacks.md 5.1)."""

from collections.abc import Mapping

from sluice.core.lifecycle import RELAY_STATUS, Reason, State
from sluice.store.outbox import OutboxEntry

EVENT_TYPE = "RelayStreamStateChanged"
#: `Msg` of a relay whose media flows again.
_AGAIN = "source reconnected"


def relay_data(entry: OutboxEntry) -> Mapping[str, object]:
    """The mapping of states is that of section 4."""
    data = entry.data
    state = State(data["state"])
    message = data["text"] if not state.live else _AGAIN if data["again"] else ""
    return {
        "RoomId": data["room_id"],
        "TaskId": data["task_id"],
        "UserId": data["user_id"],
        "StreamUrl": data["url"],
        "Status": RELAY_STATUS[state],
        "StartTimeStamp": data["start_at"],
        "Msg": message,
        "Vid": data["run_id"],
        "Reason": 0 if state.live else Reason.of(data["reason"]).number,
    }
