"""The lifecycle's table: every pair of state and event, and the numbers that callers see."""

import pytest

from sluice.core.lifecycle import (
    RELAY_STATUS,
    Event,
    IllegalTransition,
    Reason,
    State,
    advance,
    mermaid,
    states_before,
)

#: What each event may do, written down once more and by hand: the table must say the same.
LEGAL = {
    Event.DUE: {"scheduled": "starting"},
    Event.FLOWING: {"starting": "running", "recovering": "running"},
    Event.LOST: {"running": "recovering"},
    Event.PAUSE: {"running": "paused", "recovering": "paused"},
    Event.RESUME: {"paused": "recovering"},
    Event.STOP: dict.fromkeys(["scheduled", "starting", "running", "recovering", "paused"], "stopping"),
    Event.FINISH: dict.fromkeys(["starting", "running", "recovering", "paused", "stopping"], "ended"),
    Event.FAIL: {
        **dict.fromkeys(["scheduled", "starting", "running", "recovering", "paused"], "failed"),
        "stopping": "ended",
    },
}

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
    Reason.RESUMED: 0,
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_pair_of_state_and_event(state: State, event: Event) -> None:
    after = LEGAL[event].get(state.value)
    if after is not None:
        assert advance(state, event) is State(after)
        return
    with pytest.raises(IllegalTransition) as caught:
        advance(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)
    assert state.value in str(caught.value)
    assert event.value in str(caught.value)


@pytest.mark.parametrize("event", Event)
def test_states_before_are_those_the_event_may_happen_in(event: Event) -> None:
    assert {state.value for state in states_before(event)} == set(LEGAL[event])


@pytest.mark.parametrize("event", Event)
def test_an_event_leads_only_to_live_states_or_only_to_ends(event: Event) -> None:
    """The store derives the times of a change from its event alone."""
    assert len({State(after).live for after in LEGAL[event].values()}) == 1


def test_only_ended_and_failed_are_not_live_and_nothing_leaves_them() -> None:
    over = [state for state in State if not state.live]
    assert over == [State.ENDED, State.FAILED]
    assert not any(state in states_before(event) for state in over for event in Event)


def test_reason_numbers_are_those_of_the_contract() -> None:
    assert {reason: reason.number for reason in Reason} == REASON_NUMBERS


def test_reasons_are_found_by_code_and_have_a_text() -> None:
    assert all(Reason.of(reason.code) is reason for reason in Reason)
    assert all(reason.text for reason in Reason if reason is not Reason.NONE)
    assert Reason.STOPPED.text == "stopped by api"
    assert Reason.END_OF_STREAM.text == "end of stream"


def test_ends_that_were_asked_for_or_natural_finish_the_others_fail() -> None:
    finishing = {reason.code for reason in Reason if reason.outcome is Event.FINISH}
    natural = {"end_of_stream", "lifetime_exceeded", "idle_timeout", "publisher_left"}
    assert finishing == natural | {"stopped", "removed", "server_shutdown"}


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


def test_the_diagram_shows_every_transition() -> None:
    lines = [line.strip() for line in mermaid().splitlines()]
    shown = {
        (before, event, after)
        for before, arrow, after, events in (
            (*line.split(":")[0].split(" "), line.partition(": ")[2]) for line in lines if ": " in line
        )
        for event in events.split(", ")
        if arrow == "-->"
    }
    assert shown == {
        (before, event.value, after) for event, pairs in LEGAL.items() for before, after in pairs.items()
    }
