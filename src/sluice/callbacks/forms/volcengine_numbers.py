"""The numbers and words by which the Volcengine API and its callbacks name states and reasons.

Each number of the contract stands here once (docs/contract/volcengine.md 8.4 and 9.3,
docs/contract/callbacks.md 5.1); `api.volcengine` shows the same ones.
"""

from dataclasses import dataclass

from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage

#: Status of a relay in ListRelayStream and RelayStreamStateChanged: 1 starting, 2 running, 3 ended.
RELAY_STATUS: dict[State, int] = {
    State.SCHEDULED: 1,
    State.STARTING: 1,
    State.RUNNING: 2,
    State.RECOVERING: 2,
    State.PAUSED: 2,
    State.STOPPING: 2,
    State.ENDED: 3,
    State.FAILED: 3,
}

#: Reason of RelayStreamStateChanged; each Reason has a number, used or not.
REASON_NUMBER: dict[Reason, int] = {
    Reason.NONE: 0,
    Reason.STOPPED: 0,
    Reason.END_OF_STREAM: 0,
    Reason.RESUMED: 0,
    Reason.SOURCE_UNREACHABLE: 1001,
    Reason.SOURCE_REFUSED: 1002,
    Reason.SOURCE_UNSUPPORTED: 1003,
    Reason.SOURCE_INTERRUPTED: 1004,
    Reason.IDLE_TIMEOUT: 1005,
    Reason.LIFETIME_EXCEEDED: 1006,
    Reason.TOKEN_REJECTED: 1007,  # only the contract knows it: a token is verified when the task is accepted
    Reason.PUBLISH_FAILED: 1008,
    Reason.REPLACED: 1009,
    Reason.REMOVED: 1010,
    Reason.INTERNAL_ERROR: 1011,
    Reason.SERVER_SHUTDOWN: 1012,
    Reason.ADDRESS_NOT_ALLOWED: 1013,
    Reason.MEDIA_CRASH: 1014,
    Reason.NO_CAPACITY: 1015,
    Reason.INVALID_POSITION: 1016,
    # Of pushes, whose callbacks carry no number: ours, behind the contract's.
    Reason.WAITING_FOR_PUBLISHER: 1017,
    Reason.PUBLISHER_LEFT: 1018,
    Reason.DESTINATION_UNREACHABLE: 1019,
    Reason.DESTINATION_REFUSED: 1020,
    Reason.DESTINATION_INTERRUPTED: 1021,
    # Of a relay that runs on without one kind of its media.
    Reason.PICTURES_STOPPED: 1022,
    Reason.SOUND_STOPPED: 1023,
    # Told to nobody: of a task that recovers.
    Reason.PROCESS_SILENT: 1024,
}

#: PushStreamState of a push that is neither stopping nor over. A stalled push is connected, and no more.
_PUSH_STREAM_STATE: dict[PushStage, int] = {
    PushStage.NONE: 0,
    PushStage.WAITING: 1,
    PushStage.CONNECTING: 2,
    PushStage.RECONNECTING: 3,
    PushStage.PUBLISHING: 4,
    PushStage.PUSHING: 5,
    PushStage.STALLED: 4,
}
_NOT_STARTED, _RUNNING, _ENDED, _FAILED = 1, 2, 3, 4
_NO_STATE, _STOPPED = 0, 6
_UNKNOWN_STOP = "UnknownStopReason"
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
    """What a push shows. `reason` counts only when the push has ended."""
    if state is State.FAILED:
        return PushReport(_FAILED, _NO_STATE, _STOP_REASONS.get(reason, _UNKNOWN_STOP))
    if state is State.ENDED:
        return PushReport(_ENDED, _STOPPED, _STOP_REASONS.get(reason, _UNKNOWN_STOP))
    if state is State.STOPPING:
        return PushReport(_RUNNING, _STOPPED, "")
    if stage is PushStage.NONE:
        return PushReport(_NOT_STARTED, _NO_STATE, "")
    if state is State.RECOVERING and stage is PushStage.PUSHING:  # its process is gone, or does not answer
        stage = PushStage.RECONNECTING
    return PushReport(_RUNNING, _PUSH_STREAM_STATE[stage], "")
