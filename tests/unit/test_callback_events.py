"""What is told of the changes of tasks, and when a delivery is tried again (docs/contract/callbacks.md 3 to
5)."""

from dataclasses import replace
from typing import Any

import pytest

from sluice.core.callbacks import (
    LONG_RETRY,
    MINUTE_RETRY,
    VENDOR_RETRY,
    CallbackEvent,
    EventKind,
    RetryPlan,
    url_destination,
)
from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.kinds import row_of
from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage
from sluice.core.tasks import Dialect, Kind, PushSpec, RelaySpec, Task

NOW = 1000.0
LATER = NOW + 60


def task(state: State, *, push: bool = False, **changes: Any) -> Task[Any]:
    made = Task(
        id=RunId("run_1"),
        kind=Kind.PUSH if push else Kind.RELAY,
        dialect=Dialect.VOLCENGINE,
        app_id=AppId("app"),
        room_id=RoomId("room"),
        task_id=TaskId("task"),
        user_id=UserId("user"),
        business_id=BusinessId("b1"),
        spec=PushSpec("rtmp://cdn/live/key") if push else RelaySpec("http://source/", start_at=7),
        state=state,
        reason=Reason.NONE,
        reason_text="",
        created_at=NOW,
        epoch=1,
    )
    return replace(made, **changes)


def task_events(
    task: Task[Any], now: float, *, staged: bool = False, resumed: bool = False
) -> tuple[CallbackEvent, ...]:
    return row_of(task).events(task, now, staged=staged, resumed=resumed)


def kinds(events: tuple[CallbackEvent, ...]) -> list[EventKind]:
    return [event.kind for event in events]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (task(State.STARTING, epoch=0), True),
        (task(State.SCHEDULED, epoch=0), True),
        (task(State.STARTING), False),  # a scheduled one came due
        (task(State.RUNNING, flowed_at=NOW), True),
        (task(State.RECOVERING, flowed_at=NOW, reason=Reason.PICTURES_STOPPED), True),
        (task(State.RECOVERING, flowed_at=NOW, reason=Reason.RESUMED), False),
        (task(State.RECOVERING, flowed_at=NOW, reason=Reason.SERVER_SHUTDOWN), False),
        (task(State.PAUSED, flowed_at=NOW), False),
        (task(State.STOPPING), False),
        (task(State.ENDED), True),
        (task(State.FAILED), True),
    ],
)
def test_a_relay_tells_that_it_is_accepted_runs_stops_and_is_over(change: Task[Any], told: bool) -> None:
    events = task_events(change, NOW)
    assert kinds(events) == [EventKind.RELAY_STATE] * told


def test_an_event_of_a_relay_says_all_there_is() -> None:
    over = task(State.FAILED, reason=Reason.SOURCE_REFUSED, reason_text="404", flowed_at=NOW)
    (event,) = task_events(over, LATER)
    assert event == CallbackEvent(
        EventKind.RELAY_STATE,
        AppId("app"),
        BusinessId("b1"),
        "relay/app/b1/room/task",
        {
            "run_id": "run_1",
            "room_id": "room",
            "task_id": "task",
            "business_id": "b1",
            "state": "failed",
            "reason": "source_refused",
            "text": "404",
            "at": LATER,
            "user_id": "user",
            "url": "http://source/",
            "start_at": 7,
            "again": False,
            "never_began": False,
        },
        LATER,
    )


def test_media_that_flows_again_is_told_apart() -> None:
    running = task(State.RUNNING, flowed_at=NOW)
    assert [task_events(running, now)[0].data["again"] for now in (NOW, LATER)] == [False, True]


def test_nobody_is_told_of_a_pause() -> None:
    assert task_events(task(State.RUNNING, flowed_at=NOW), LATER, resumed=True) == ()


URL = "https://bot.example/events?token=sesame"


def bots(state: State, dialect: Dialect = Dialect.BOT_VOLC, url: str = URL, **changes: Any) -> Task[Any]:
    return task(state, dialect=dialect, spec=RelaySpec("http://source/", callback_url=url), **changes)


def test_a_bots_task_is_told_at_its_own_address() -> None:
    running = bots(State.RUNNING, flowed_at=NOW)
    (event,) = task_events(running, NOW)
    assert (event.kind, event.dialect) == (EventKind.RELAY_STATE, Dialect.BOT_VOLC)
    assert event.destination == url_destination(URL)
    assert event.data["callback_url"] == URL
    assert "sesame" not in event.destination
    assert url_destination(URL + "2") != event.destination, "another address is another destination"
    assert len(url_destination("http://" + "h" * 4000)) == len(event.destination), "however long it is"


@pytest.mark.parametrize("dialect", [Dialect.BOT_TRTC, Dialect.BOT_VOLC])
def test_a_bots_task_without_an_address_tells_nobody(dialect: Dialect) -> None:
    for state in State:
        for epoch in (0, 3):
            assert task_events(bots(state, dialect, "", epoch=epoch), NOW) == ()


@pytest.mark.parametrize(
    ("state", "epoch", "reason"),
    [(State.STARTING, 0, Reason.NONE), (State.RECOVERING, 3, Reason.SOUND_STOPPED)],
)
def test_line_1_is_not_told_what_it_has_no_number_for(state: State, epoch: int, reason: Reason) -> None:
    assert task_events(bots(state, Dialect.BOT_TRTC, epoch=epoch, reason=reason), NOW) == ()
    assert len(task_events(bots(state, Dialect.BOT_VOLC, epoch=epoch, reason=reason), NOW)) == 1


@pytest.mark.parametrize(
    ("change", "never_began"),
    [
        (bots(State.STARTING, epoch=0), False),
        (bots(State.RUNNING, flowed_at=NOW), False),
        (bots(State.FAILED, reason=Reason.SOURCE_REFUSED), True),
        (bots(State.ENDED, reason=Reason.IDLE_TIMEOUT), True),
        (bots(State.ENDED, reason=Reason.END_OF_STREAM), True),
        (bots(State.ENDED, reason=Reason.STOPPED), False),
        (bots(State.FAILED, reason=Reason.MEDIA_CRASH, flowed_at=NOW), False),
        (bots(State.ENDED, reason=Reason.LIFETIME_EXCEEDED, flowed_at=NOW), False),
    ],
)
def test_what_could_not_start_is_told_apart(change: Task[Any], never_began: bool) -> None:
    (event,) = task_events(change, LATER)
    assert event.data["never_began"] is never_began


@pytest.mark.parametrize(
    ("change", "staged", "told"),
    [
        (task(State.STARTING, push=True, epoch=0), False, []),
        (task(State.STARTING, push=True, stage=PushStage.CONNECTING), True, [EventKind.PUSH_STATE]),
        (task(State.RUNNING, push=True, flowed_at=LATER), False, [EventKind.PUSH_STARTED]),
        (task(State.RUNNING, push=True, flowed_at=LATER), True, [EventKind.PUSH_STATE]),
        (task(State.RUNNING, push=True, flowed_at=NOW), False, []),
        (task(State.RECOVERING, push=True, flowed_at=NOW), False, []),
        (task(State.STOPPING, push=True, flowed_at=NOW), False, [EventKind.PUSH_STATE]),
        (task(State.ENDED, push=True), False, [EventKind.PUSH_STOPPED]),
        (task(State.FAILED, push=True), False, [EventKind.PUSH_STARTED, EventKind.PUSH_STOPPED]),
        (task(State.FAILED, push=True, flowed_at=NOW), False, [EventKind.PUSH_STOPPED]),
    ],
)
def test_a_push_tells_its_start_its_stages_and_its_end(
    change: Task[Any], staged: bool, told: list[EventKind]
) -> None:
    assert kinds(task_events(change, LATER, staged=staged)) == told


def test_an_event_of_a_push_has_its_state_stage_and_reason() -> None:
    ended = task(State.ENDED, push=True, reason=Reason.IDLE_TIMEOUT, stage=PushStage.WAITING)
    (event,) = task_events(ended, LATER)
    assert event.order_key == "push/app/b1/room/task"
    assert (event.data["state"], event.data["stage"], event.data["reason"]) == (
        "ended",
        "waiting",
        "idle_timeout",
    )


def deliveries(plan: RetryPlan, takes_s: float = 0.0) -> list[float]:
    """When an event is tried that never arrives, each try taking so long."""
    at: float | None = NOW
    begun: list[float] = []
    while at is not None:
        begun.append(at - NOW)
        at = plan.next_at(len(begun), NOW, at, at + takes_s)
    return begun


def test_the_long_plan() -> None:
    tries = deliveries(LONG_RETRY)
    assert tries[:8] == [0, 0, 3, 13, 43, 103, 403, 703]
    assert tries[-1] <= 24 * 3600 < tries[-1] + 300
    hanging = deliveries(LONG_RETRY, 5.0)
    assert hanging[:5] == [0, 5, 13, 28, 63], "pauses follow the end of a try"


def test_the_vendors_plan() -> None:
    assert deliveries(VENDOR_RETRY) == [0, 0, 3]


def test_the_plan_of_a_minute() -> None:
    assert deliveries(MINUTE_RETRY) == [0, 10, 20, 30, 40, 50, 60]
    assert deliveries(MINUTE_RETRY, 5.0) == [0, 10, 20, 30, 40, 50, 60], "from the beginning of a try"
