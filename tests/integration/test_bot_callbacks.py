"""Callbacks of bots' tasks: from the change of a task to the receiver that came with it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from sluice.callbacks import service as module
from sluice.callbacks.courier import MOST_AT_ONCE
from sluice.callbacks.forms.form import Form
from sluice.callbacks.forms.trtc import TrtcForm
from sluice.callbacks.forms.volc import VolcForm
from sluice.callbacks.forms.volcengine import VolcengineForm
from sluice.callbacks.service import CallbackService
from sluice.core.addresses import AddressPolicy
from sluice.core.callbacks import LONG_RETRY, RetryPlan
from sluice.core.ids import AppId, BusinessId, RoomId, TaskId, UserId, new_run_id
from sluice.core.lifecycle import Event, Reason, State
from sluice.core.tasks import Dialect, Kind, RelaySpec, Task
from sluice.net.post import Poster
from sluice.store.tasks import advance_task, insert_task
from sluice.store.thread import Store, sqlite_url
from tests.integration.receiver import Receiver, fail, hang, ok
from tests.integration.test_callbacks import count
from tests.integration.waiting import until_seen
from tests.testing import register

pytestmark = pytest.mark.anyio

APP = AppId("661e0000000000000000543c")
#: As MINUTE_RETRY, in the time of a test.
SOON = RetryPlan((0.05,), 3600, from_beginning=True)
SHORT = RetryPlan((0.01,), 0.02, from_beginning=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(sqlite_url(tmp_path)) as store:
        yield store


@asynccontextmanager
async def serving(
    store: Store, retry: RetryPlan = SOON, *, allowed: tuple[str, ...] = ("127.0.0.0/8",)
) -> AsyncIterator[CallbackService]:
    trtc, volc = TrtcForm(), VolcForm()
    trtc.retry = volc.retry = retry
    forms: dict[Dialect, Form] = {
        Dialect.VOLCENGINE: VolcengineForm(LONG_RETRY),
        Dialect.BOT_TRTC: trtc,
        Dialect.BOT_VOLC: volc,
    }
    async with AsyncExitStack() as stack:
        poster = await stack.enter_async_context(Poster(AddressPolicy(allowed), timeout_s=0.5))
        yield await stack.enter_async_context(CallbackService(store, poster, forms, time.time))


def a_task(task_id: str, url: str, dialect: Dialect = Dialect.BOT_TRTC) -> Task[Any]:
    return Task(
        id=new_run_id(),
        kind=Kind.RELAY,
        dialect=dialect,
        app_id=APP,
        room_id=RoomId("channel"),
        task_id=TaskId(task_id),
        user_id=UserId("bot-1-00000000"),
        business_id=BusinessId(""),
        spec=RelaySpec("http://host/a.mp3", callback_url=url),
        state=State.STARTING,
        reason=Reason.NONE,
        reason_text="",
        created_at=time.time(),
    )


#: A life: it starts, is lost and regained, and reaches its end.
LIFE = (
    (Event.FLOWING, Reason.NONE),
    (Event.LOST, Reason.SERVER_SHUTDOWN),
    (Event.FLOWING, Reason.NONE),
    (Event.FINISH, Reason.LIFETIME_EXCEEDED),
)


async def live(store: Store, task: Task[Any], *changes: tuple[Event, Reason]) -> None:
    def begin(conn: Connection) -> None:
        insert_task(conn, task)

    def step(event: Event, reason: Reason) -> Callable[[Connection], None]:
        def change(conn: Connection) -> None:
            assert advance_task(conn, task.id, event, reason, reason.text, time.time()) is not None

        return change

    await store.run(begin)
    for event, reason in changes:
        await store.run(step(event, reason))


def numbers(receiver: Receiver, task_id: str) -> list[tuple[int, int]]:
    """What line 1 was told of a task, in the order of arrival."""
    told = [got.event for got in receiver.taken]
    of_task = [event for event in told if event["EventInfo"]["TaskId"] == task_id]
    times = [event["EventInfo"]["EventMsTs"] for event in of_task]
    assert times == sorted(times)
    return [(event["EventType"], event["EventInfo"]["Status"]) for event in of_task]


async def test_the_life_of_a_task_on_line_1(store: Store) -> None:
    async with Receiver() as receiver, serving(store):
        await live(store, a_task("T1", receiver.url), *LIFE)
        await live(store, a_task("T2", receiver.url), (Event.FAIL, Reason.SOURCE_REFUSED))
        await receiver.until(lambda: len(receiver.taken) == 4)
        assert numbers(receiver, "T1") == [(701, 0), (701, 2), (702, 0)]
        assert numbers(receiver, "T2") == [(701, 1)], "and no 702"
        headers = receiver.got[0].headers
        assert (headers["SDK-Type"], headers["Content-Type"]) == ("trtc", "application/json")
        assert "Sign" not in headers


async def test_the_life_of_a_task_on_line_2(store: Store) -> None:
    async with Receiver() as receiver, serving(store):
        await live(store, a_task("T1", receiver.url, Dialect.BOT_VOLC), *LIFE)
        await receiver.until(lambda: len(receiver.taken) == 4)
        data = [got.event["EventData"] for got in receiver.taken]
        assert [(each["Status"], each["Reason"], each["Msg"]) for each in data] == [
            (1, 0, ""),
            (2, 0, ""),
            (2, 0, "source reconnected"),
            (3, 1006, Reason.LIFETIME_EXCEEDED.text),
        ]
        assert receiver.got[0].headers["SDK-Type"] == "volc"
        assert {name for got in receiver.got for name in got.event} == {
            *("EventId", "EventTime", "EventType", "EventData")
        }


async def test_an_apps_registration_hears_nothing_of_bots_tasks(store: Store) -> None:
    async with Receiver() as apps_own, Receiver() as bots_own, serving(store):
        await store.run(lambda conn: register(conn, APP, url=apps_own.url))
        await live(store, a_task("T1", ""), *LIFE)
        await live(store, a_task("T2", "", Dialect.BOT_VOLC), *LIFE)
        assert await store.run(count) == 0
        await live(store, a_task("T3", bots_own.url), *LIFE)
        await bots_own.until(lambda: len(bots_own.taken) == 3)
        assert apps_own.got == []


async def test_a_receiver_that_fails_gets_the_same_again_in_order(store: Store) -> None:
    async with Receiver(fail) as receiver, serving(store):
        await live(store, a_task("T1", receiver.url), *LIFE)
        await receiver.until(lambda: len(receiver.got) == 3)
        assert len({got.body for got in receiver.got}) == 1, "the first alone is tried, unchanged"
        receiver.answer = ok
        await receiver.until(lambda: len(receiver.taken) == 3)
        assert numbers(receiver, "T1") == [(701, 0), (701, 2), (702, 0)]


async def test_what_is_given_up_is_shown_masked_and_sent_again_by_hand(store: Store) -> None:
    async with Receiver(fail) as receiver, serving(store, SHORT) as callbacks:
        await live(store, a_task("T1", receiver.url), (Event.FAIL, Reason.SOURCE_REFUSED))
        (dead,) = await until_seen(
            lambda: callbacks.list_documents("dead", limit=10, offset=0), lambda found: len(found) == 1
        )
        assert dead["url"] == receiver.url.replace("sesame", "***")
        assert "sesame" not in str(dead)
        assert dead["last_error"] == "the answer is 500, only 200 counts"
        receiver.answer = ok
        again = await callbacks.replay(str(dead["event_id"]))
        assert again["url"] == dead["url"]
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert receiver.taken[0].body == receiver.got[0].body


async def test_the_address_guard(store: Store) -> None:
    async with Receiver() as receiver, serving(store, SHORT, allowed=()) as callbacks:
        await live(store, a_task("T1", receiver.url), (Event.FAIL, Reason.SOURCE_REFUSED))
        (dead,) = await until_seen(
            lambda: callbacks.list_documents("dead", limit=10, offset=0), lambda found: len(found) == 1
        )
        assert "has no public address" in str(dead["last_error"])
        assert receiver.got == []


async def test_an_event_survives_the_end_of_the_node(store: Store) -> None:
    async with Receiver(fail) as receiver:
        async with serving(store):
            await live(store, a_task("T1", receiver.url), *LIFE)
            await receiver.until(lambda: len(receiver.got) >= 1)
        receiver.answer = ok
        async with serving(store):
            await receiver.until(lambda: len(receiver.taken) == 3)
        assert numbers(receiver, "T1") == [(701, 0), (701, 2), (702, 0)]


async def test_tasks_with_one_address_share_a_courier(store: Store) -> None:
    async with Receiver(hang) as receiver, serving(store):
        for n in range(2 * MOST_AT_ONCE):
            await live(store, a_task(f"T{n}", receiver.url), (Event.FLOWING, Reason.NONE))
        await receiver.until(lambda: len(receiver.got) > MOST_AT_ONCE)
        receiver.answer = ok
        await receiver.until(lambda: len(receiver.taken) == 2 * MOST_AT_ONCE)
        # Not of each task: the receiver may hear of the end of one after the beginning of the next.
        assert receiver.most_under_way < 2 * MOST_AT_ONCE


async def test_more_addresses_than_couriers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_TASKS", 2)
    async with Receiver(hang) as dead, Receiver() as healthy, serving(store, SHORT):
        await store.run(lambda conn: register(conn, APP, url=healthy.url))
        for n in range(6):
            url = dead.url if n < 3 else healthy.url
            await live(store, a_task(f"T{n}", f"{url}&task={n}"), *LIFE)
        # Those of registrations do not count.
        await live(store, a_task("registered", "", Dialect.VOLCENGINE))
        await healthy.until(lambda: any("Signature" in got.event for got in healthy.taken))
        await healthy.until(lambda: len(healthy.taken) == 3 * 3 + 1)
