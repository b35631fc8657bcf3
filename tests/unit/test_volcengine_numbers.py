"""The numbers that callers of the Volcengine API see: docs/contract/volcengine.md 8.4 and 9.3,
docs/contract/callbacks.md 5.1."""

import pytest

from sluice.callbacks.forms.volcengine_numbers import REASON_NUMBER, RELAY_STATUS, PushReport, push_report
from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage

R = PushReport

#: docs/contract/callbacks.md 5.1.
REASON_NUMBERS = {
    Reason.NONE: 0,
    Reason.STOPPED: 0,
    Reason.END_OF_STREAM: 0,
    Reason.SOURCE_UNREACHABLE: 1001,
    Reason.SOURCE_REFUSED: 1002,
    Reason.SOURCE_UNSUPPORTED: 1003,
    Reason.SOURCE_INTERRUPTED: 1004,
    Reason.IDLE_TIMEOUT: 1005,
    Reason.LIFETIME_EXCEEDED: 1006,
    Reason.TOKEN_REJECTED: 1007,
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
    # Of no end: a kind of media that stopped while the other goes on.
    Reason.PICTURES_STOPPED: 1022,
    Reason.SOUND_STOPPED: 1023,
    # Of no end: nobody knows whether it plays.
    Reason.PROCESS_SILENT: 1024,
    Reason.RESUMED: 0,
}


@pytest.mark.parametrize(
    ("state", "stage", "expected"),
    [
        (State.STARTING, PushStage.NONE, R(1, 0, "")),
        (State.STARTING, PushStage.WAITING, R(2, 1, "")),
        (State.STARTING, PushStage.CONNECTING, R(2, 2, "")),
        (State.STARTING, PushStage.RECONNECTING, R(2, 3, "")),
        (State.STARTING, PushStage.PUBLISHING, R(2, 4, "")),
        (State.RUNNING, PushStage.PUSHING, R(2, 5, "")),
        (State.RECOVERING, PushStage.WAITING, R(2, 1, "")),
        (State.RECOVERING, PushStage.RECONNECTING, R(2, 3, "")),
        (State.RECOVERING, PushStage.PUSHING, R(2, 3, "")),
        (State.RECOVERING, PushStage.PUBLISHING, R(2, 4, "")),
        (State.STOPPING, PushStage.PUSHING, R(2, 6, "")),
    ],
)
def test_a_live_push(state: State, stage: PushStage, expected: PushReport) -> None:
    assert push_report(state, stage, Reason.DESTINATION_INTERRUPTED) == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.STOPPED, R(3, 6, "StopByAPI")),
        (Reason.IDLE_TIMEOUT, R(3, 6, "IdleTimeOut")),
        (Reason.PUBLISHER_LEFT, R(3, 6, "UserDisconnect")),
        (Reason.REMOVED, R(3, 6, "UserDisconnect")),
        (Reason.SERVER_SHUTDOWN, R(3, 6, "UnknownStopReason")),
        (Reason.DESTINATION_UNREACHABLE, R(4, 0, "StartTaskFailed")),
        (Reason.DESTINATION_REFUSED, R(4, 0, "StartTaskFailed")),
        (Reason.ADDRESS_NOT_ALLOWED, R(4, 0, "StartTaskFailed")),
        (Reason.DESTINATION_INTERRUPTED, R(4, 0, "UnknownStopReason")),
        (Reason.INTERNAL_ERROR, R(4, 0, "UnknownStopReason")),
    ],
)
def test_an_ended_push(reason: Reason, expected: PushReport) -> None:
    state = State.ENDED if reason.outcome.value == "finish" else State.FAILED
    assert push_report(state, PushStage.PUSHING, reason) == expected


def test_stages_are_found_by_code() -> None:
    assert [PushStage.of(stage.code) for stage in PushStage] == list(PushStage)


def test_reason_numbers_are_those_of_the_contract() -> None:
    assert REASON_NUMBER == REASON_NUMBERS
    assert set(REASON_NUMBER) == set(Reason)


def test_relay_status_of_every_state() -> None:
    assert {state.value: number for state, number in RELAY_STATUS.items()} == {
        "scheduled": 1,
        "starting": 1,
        "running": 2,
        "recovering": 2,
        "paused": 2,
        "stopping": 2,
        "ended": 3,
        "failed": 3,
    }
