"""The numbers that a push shows: docs/contract/volcengine.md 9.3."""

import pytest

from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushReport, PushStage, push_report

R = PushReport


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
    assert [stage.number for stage in PushStage] == [0, 1, 2, 3, 4, 5, 4]
