"""The form of a bot's line 2: the event of a relay as an object, unsigned, at the address of the push
(docs/contract/callbacks.md 7)."""

import json
from datetime import datetime, timedelta, timezone

from sluice.callbacks.forms.form import Post
from sluice.callbacks.forms.relay_state import relay_data
from sluice.callbacks.forms.volcengine_events import RELAY_EVENT_TYPE
from sluice.core.callbacks import MINUTE_RETRY, Registration
from sluice.store.outbox import OutboxEntry

#: The offset of the contract's sample.
_ZONE = timezone(timedelta(hours=8))


class VolcForm:
    retry = MINUTE_RETRY

    def render(self, entry: OutboxEntry, registration: Registration | None) -> Post:
        body = {
            "EventId": entry.event_id,
            "EventTime": datetime.fromtimestamp(int(entry.data["at"]), _ZONE).isoformat(),
            "EventType": RELAY_EVENT_TYPE,
            "EventData": relay_data(entry),
        }
        headers = {"Content-Type": "application/json", "SDK-Type": "volc"}
        return Post(entry.data["callback_url"], headers, json.dumps(body).encode())
