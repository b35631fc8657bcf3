"""The lifecycle's table: every pair of state and event."""

import pytest

from sluice.core.lifecycle import (
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


def test_reasons_are_found_by_code_and_have_a_text() -> None:
    assert all(Reason.of(reason.code) is reason for reason in Reason)
    assert all(reason.text for reason in Reason if reason is not Reason.NONE)
    assert Reason.STOPPED.text == "stopped by api"
    assert Reason.END_OF_STREAM.text == "end of stream"


def test_ends_that_were_asked_for_or_natural_finish_the_others_fail() -> None:
    finishing = {reason.code for reason in Reason if reason.outcome is Event.FINISH}
    natural = {"end_of_stream", "lifetime_exceeded", "idle_timeout", "publisher_left"}
    assert finishing == natural | {"stopped", "removed", "server_shutdown"}


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
