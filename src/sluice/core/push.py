"""What a push to a CDN tells of itself: its stage while it lives, and the numbers that dialects show for it.

One table, as in `core.lifecycle`: the numbers are those of docs/contract/volcengine.md 9.3.
"""

from dataclasses import dataclass
from enum import Enum

from sluice.core.lifecycle import Reason, State


class PushStage(Enum):
    """The step a push is at, and its PushStreamState."""

    def __init__(self, code: str, number: int) -> None:
        self.code = code
        self.number = number

    NONE = ("none", 0)  #: no media process has it yet
    WAITING = ("waiting", 1)  #: nobody publishes the stream
    CONNECTING = ("connecting", 2)  #: the very first attempt to reach the CDN
    RECONNECTING = ("reconnecting", 3)  #: every later attempt, and the pauses between them
    PUBLISHING = ("publishing", 4)  #: connected, asking to publish
    PUSHING = ("pushing", 5)
    STALLED = ("stalled", 4)  #: connected, and a kind of media that is published does not leave

    @classmethod
    def of(cls, code: str) -> "PushStage":
        return _STAGE_BY_CODE[code]


_STAGE_BY_CODE = {stage.code: stage for stage in PushStage}
_NOT_STARTED, _RUNNING, _ENDED, _FAILED = 1, 2, 3, 4
_NO_STATE, _STOPPED = 0, 6
_STOP_REASONS = {
    Reason.STOPPED: "StopByAPI",
    Reason.IDLE_TIMEOUT: "IdleTimeOut",
    Reason.PUBLISHER_LEFT: "UserDisconnect",
    Reason.REMOVED: "UserDisconnect",
    Reason.DESTINATION_UNREACHABLE: "StartTaskFailed",
    Reason.DESTINATION_REFUSED: "StartTaskFailed",
    Reason.ADDRESS_NOT_ALLOWED: "StartTaskFailed",
}


@dataclass(frozen=True, slots=True)
class PushReport:
    """Status, PushStreamState and StopReason of GetPushSingleStreamToCDNTask and of the callbacks."""

    status: int
    push_stream_state: int
    stop_reason: str


def push_report(state: State, stage: PushStage, reason: Reason) -> PushReport:
    """`reason` counts only for what has ended."""
    if state is State.FAILED:
        return PushReport(_FAILED, _NO_STATE, _STOP_REASONS.get(reason, "UnknownStopReason"))
    if state is State.ENDED:
        return PushReport(_ENDED, _STOPPED, _STOP_REASONS.get(reason, "UnknownStopReason"))
    if state is State.STOPPING:
        return PushReport(_RUNNING, _STOPPED, "")
    if stage is PushStage.NONE:
        return PushReport(_NOT_STARTED, _NO_STATE, "")
    return PushReport(_RUNNING, stage.number, "")
