"""Bodies of callbacks and their signature, as pure functions (docs/contract/callbacks.md 1 and 2).

`data` travels as a JSON text inside the JSON body, and that very text is signed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

VERSION = "2020-12-01"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event. `data` is its JSON text, `at` its time in Unix seconds, `nonce` four digits."""

    event_type: str
    data: str
    at: float
    event_id: str
    app_id: str
    business_id: str
    nonce: str
    secret: str = field(repr=False)

    def body(self) -> bytes:
        time = rfc3339(self.at)
        signed = (self.event_type, self.data, time, self.event_id, VERSION, self.app_id, self.nonce)
        document = {
            "EventType": self.event_type,
            "EventData": self.data,
            "EventTime": time,
            "EventId": self.event_id,
            "AppId": self.app_id,
            "Version": VERSION,
            "Nonce": self.nonce,
            "Noce": self.nonce,  # the spelling of older pages and of the official demo server
            "Signature": signature(*signed, secret=self.secret),
        }
        if self.business_id:
            document["BusinessId"] = self.business_id
        return json.dumps(document).encode()


def signature(*values: str, secret: str) -> str:
    """SHA-256 over the values and the secret, sorted by their bytes and joined with nothing between."""
    parts = sorted(value.encode() for value in (*values, secret))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def data_text(data: Mapping[str, object]) -> str:
    """Compact JSON in ASCII: its hash does not depend on an encoding."""
    return json.dumps(data, separators=(",", ":"))


def rfc3339(at: float) -> str:
    """UTC with nine digits of fraction, of which we know six."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def nonce_of(event_id: str) -> str:
    """Four digits, as random as the id is, and the same on each delivery."""
    return f"{int(hashlib.sha256(event_id.encode()).hexdigest(), 16) % 10_000:04d}"
