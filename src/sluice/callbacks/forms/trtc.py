"""The form of a bot's line 1: numbered events, at the address of the push (docs/contract/callbacks.md 6).

The contract's sample has no field for a reason; `sluice task show` says why a task could not start.
"""

import json

from sluice.callbacks.forms.form import Post
from sluice.core.callbacks import MINUTE_RETRY, Registration
from sluice.core.lifecycle import State
from sluice.store.outbox import OutboxEntry

_GROUP = 7
_START, _STOP = 701, 702
#: `Status` of a start; that of a stop is 0.
_BEGAN, _FAILED, _AGAIN = 0, 1, 2


class TrtcForm:
    retry = MINUTE_RETRY

    def render(self, entry: OutboxEntry, registration: Registration | None) -> Post:
        """Nothing changes between tries, not even CallbackMsTs (docs/contract/callbacks.md 3)."""
        kind, status = _event_of(entry)
        body = {
            "EventGroupId": _GROUP,
            "EventType": kind,
            "CallbackMsTs": _ms(entry.created_at),
            "EventInfo": {
                "EventMsTs": _ms(entry.data["at"]),
                "TaskId": entry.data["task_id"],
                "Status": status,
            },
        }
        headers = {"Content-Type": "application/json", "SDK-Type": "trtc"}
        return Post(entry.data["callback_url"], headers, json.dumps(body).encode())


def _event_of(entry: OutboxEntry) -> tuple[int, int]:
    """EventType and Status. A task that could not start has one event; no stop follows (section 4)."""
    data = entry.data
    if State(data["state"]).live:
        return _START, _AGAIN if data["again"] else _BEGAN
    return (_START, _FAILED) if data["never_began"] else (_STOP, 0)


def _ms(at: float) -> int:
    return round(at * 1000)
