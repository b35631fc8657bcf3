"""Callbacks over real sockets and a real database: receivers that hang, fail, die and come back."""

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import Connection, func, select

from sluice.callbacks.courier import MOST_AT_ONCE
from sluice.callbacks.forms.volcengine import VolcengineForm
from sluice.callbacks.service import CallbackService
from sluice.core.addresses import AddressPolicy
from sluice.core.callbacks import CallbackEvent, CallbackNotFound, EventKind, Registration, RetryPlan
from sluice.core.ids import AppId, BusinessId
from sluice.core.tasks import Dialect
from sluice.net.post import Poster
from sluice.store import registrations
from sluice.store.outbox import enqueue
from sluice.store.schema import outbox
from sluice.store.thread import Store, sqlite_url
from tests.integration.receiver import DEADLINE_S, Answer, Got, Receiver, fail, hang, ok, verify
from tests.integration.waiting import until_seen
from tests.testing import register

pytestmark = pytest.mark.anyio

APP = AppId("661e0000000000000000543c")
SECRET = "callback-secret"
#: The first retry at once, then soon, and never given up within a test.
STEADY = RetryPlan((0.0, 0.05), 3600)
#: Given up after three deliveries.
SHORT = RetryPlan((0.0, 0.01), 3600, most=3)
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(sqlite_url(tmp_path)) as store:
        yield store


@asynccontextmanager
async def serving(
    store: Store, retry: RetryPlan = STEADY, *, allowed: Iterable[str] = LOOPBACK, timeout_s: float = 1.0
) -> AsyncIterator[CallbackService]:
    async with AsyncExitStack() as stack:
        poster = await stack.enter_async_context(Poster(AddressPolicy(allowed), timeout_s=timeout_s))
        forms = {Dialect.VOLCENGINE: VolcengineForm(retry)}
        yield await stack.enter_async_context(CallbackService(store, poster, forms, time.time))


def event(task_id: str, number: int, business_id: str = "") -> CallbackEvent:
    """The event `number` of a task."""
    data = {
        "run_id": "run_1",
        "room_id": "Room1",
        "task_id": task_id,
        "user_id": "user1",
        "business_id": business_id,
        "url": "rtmp://example.org/live/ключ",
        "start_at": 0,
        "state": "ended",
        "reason": "idle_timeout",
        "text": str(number),
        "again": False,
        "at": time.time(),
    }
    key = f"relay/{APP}/{business_id}/Room1/{task_id}"
    return CallbackEvent(EventKind.RELAY_STATE, APP, BusinessId(business_id), key, data, time.time())


async def happen(store: Store, *events: CallbackEvent) -> None:
    def write(conn: Connection) -> None:
        for each in events:
            enqueue(conn, each)

    await store.run(write)


async def listen(store: Store, receiver: Receiver, business_id: str = "") -> Registration:
    return await store.run(lambda conn: register(conn, APP, business_id=business_id, url=receiver.url))


def in_order(deliveries: Iterable[Got]) -> dict[str, list[int]]:
    """The numbers of each task's events, in the order of their first arrival."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for got in deliveries:
        number = int(got.data["Msg"])
        if number not in numbers[got.data["TaskId"]]:
            numbers[got.data["TaskId"]].append(number)
    return numbers


def bodies_by_id(receiver: Receiver) -> dict[str, set[bytes]]:
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for got in receiver.got:
        bodies[got.event["EventId"]].add(got.body)
    return bodies


def count(conn: Connection) -> int:
    return conn.scalar(select(func.count()).select_from(outbox)) or 0


async def test_a_signed_event_arrives(store: Store) -> None:
    async with Receiver() as receiver, serving(store) as callbacks:
        await listen(store, receiver)
        await happen(store, event("Task1", 7))
        await receiver.until(lambda: len(receiver.taken) == 1)
        (got,) = receiver.got
        assert verify(got.body, SECRET)
        assert got.headers["Content-Type"] == "application/json"
        assert (got.event["EventType"], got.event["AppId"]) == ("RelayStreamStateChanged", APP)
        assert got.data["StreamUrl"] == "rtmp://example.org/live/ключ"
        assert (got.data["Status"], got.data["Reason"], got.data["Msg"]) == (3, 1005, "7")
        (document,) = await until_seen(
            lambda: callbacks.list_documents(None, limit=10, offset=0),
            lambda documents: documents[0]["state"] == "delivered",
        )
        assert (document["event_id"], document["attempts"]) == (got.event["EventId"], 1)
        assert document["url"] == receiver.url.replace("sesame", "***")
        assert document["task_id"] == "Task1"


async def test_a_flush_ends_with_the_last_delivery_that_is_under_way(store: Store) -> None:
    go_on = asyncio.Event()

    async def slow(got: Got, request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return await ok(got, request)

    async with Receiver(slow) as receiver, serving(store, timeout_s=20) as callbacks:
        await callbacks.flush(20)  # nothing waits
        await listen(store, receiver)
        await happen(store, event("Task1", 1), event("Task1", 2))
        await receiver.until(lambda: receiver.under_way == 1)
        flushing = asyncio.ensure_future(callbacks.flush(20))
        await happen(store, event("Task2", 1))
        go_on.set()
        await flushing
        assert in_order(receiver.taken) == {"Task1": [1, 2], "Task2": [1]}
        await happen(store, event("Task3", 1))  # what is left of the time serves the end
    assert in_order(receiver.taken)["Task3"] == [1]


@pytest.mark.parametrize("answer", [hang, fail])
async def test_a_flush_does_not_wait_for_a_receiver_that_does_not_take_it(
    store: Store, answer: Answer
) -> None:
    retry = RetryPlan((0.0, 3600.0), 7200)
    async with Receiver(answer) as receiver, serving(store, retry, timeout_s=20) as callbacks:
        await listen(store, receiver)
        await happen(store, event("Task1", 1))
        await receiver.until(lambda: bool(receiver.got))
        async with asyncio.timeout(10):
            await callbacks.flush(0.2 if answer is hang else 20)


async def test_nothing_is_lost_or_reordered_by_a_receiver_that_hangs_fails_dies_and_returns(
    store: Store,
) -> None:
    tasks = [f"Task{n}" for n in range(5)]
    async with Receiver(hang) as receiver, serving(store, timeout_s=0.2):
        await listen(store, receiver)
        for number in range(4):
            await happen(store, *(event(task, number) for task in tasks))
        await receiver.until(lambda: len(receiver.got) >= 8)
        assert receiver.taken == []
        receiver.answer = fail
        tries = len(receiver.got)
        await receiver.until(lambda: len(receiver.got) >= tries + 10)
        assert set(map(len, in_order(receiver.got).values())) == {1}, "each waits for the one before it"
        await receiver.die()
        await happen(store, *(event(task, 4) for task in tasks))
        flaky = iter(range(1_000))

        async def sometimes(got: Got, request: web.Request) -> web.StreamResponse:
            return await (fail if next(flaky) % 3 else ok)(got, request)

        receiver.answer = sometimes
        await receiver.live()
        await receiver.until(lambda: len(receiver.taken) >= 25)
    assert in_order(receiver.taken) == {task: [0, 1, 2, 3, 4] for task in tasks}
    assert in_order(receiver.got) == in_order(receiver.taken)
    bodies = bodies_by_id(receiver)
    assert len(bodies) == 25
    assert all(len(each) == 1 for each in bodies.values()), "every try of an event is the same"
    assert all(verify(got.body, SECRET) for got in receiver.got)


async def test_a_receiver_that_hangs_delays_nobody_else(store: Store) -> None:
    async with Receiver(hang) as dead, Receiver() as healthy, serving(store, timeout_s=DEADLINE_S):
        await listen(store, dead, "dead")
        await listen(store, healthy, "healthy")
        await happen(store, *(event(f"Task{n}", 0, "dead") for n in range(3 * MOST_AT_ONCE)))
        await dead.until(lambda: len(dead.got) == MOST_AT_ONCE)
        for number in range(5):
            await happen(store, *(event(f"Task{n}", number, "healthy") for n in range(10)))
        # Long before the first delivery to the other times out.
        await healthy.until(lambda: len(healthy.taken) == 50)
        assert (dead.most_under_way, dead.taken) == (MOST_AT_ONCE, [])
    assert in_order(healthy.taken) == {f"Task{n}": [0, 1, 2, 3, 4] for n in range(10)}


async def test_a_receiver_that_hangs_is_tried_one_at_a_time_until_it_answers(store: Store) -> None:
    async with Receiver(hang) as receiver, serving(store, timeout_s=0.2):
        await listen(store, receiver)
        await happen(store, *(event(f"Task{n}", 0) for n in range(2 * MOST_AT_ONCE)))
        await receiver.until(lambda: len(receiver.got) > MOST_AT_ONCE)
        receiver.most_under_way = 0
        tries = len(receiver.got)
        await receiver.until(lambda: len(receiver.got) >= tries + 3)
        # The receiver may hear of the end of one after the beginning of the next.
        assert receiver.most_under_way <= 3
        receiver.answer = ok
        await receiver.until(lambda: len(receiver.taken) == 2 * MOST_AT_ONCE)


async def test_silent_receivers_leave_their_apps_share_to_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a slot of the silent has none of the app's meanwhile."""
    monkeypatch.setattr("sluice.callbacks.courier.MOST_DELIVERIES_TO_SILENT", 1)
    monkeypatch.setattr("sluice.callbacks.courier.MOST_DELIVERIES_OF_AN_APP", 2)
    async with Receiver(hang) as dead, Receiver() as healthy, serving(store, timeout_s=1.0):
        await listen(store, healthy, "healthy")
        names = [f"dead{n}" for n in range(4)]
        for name in names:
            await listen(store, dead, name)
        await happen(store, *(event("Task", 0, name) for name in names))
        await dead.until(lambda: len(dead.got) >= 2 * len(names))  # each was silent once
        tries = len(dead.got)
        await happen(store, event("Task", 0, "healthy"))
        await healthy.until(lambda: len(healthy.taken) == 1)
        assert len(dead.got) <= tries + 1


async def test_a_poisonous_event_stops_only_its_own_task(store: Store) -> None:
    async def refuse_one(got: Got, request: web.Request) -> web.StreamResponse:
        return await (fail if got.data["TaskId"] == "Bad" else ok)(got, request)

    async with Receiver(refuse_one) as receiver, serving(store):
        await listen(store, receiver)
        await happen(store, event("Bad", 0), event("Bad", 1), event("Good", 0), event("Good", 1))
        await receiver.until(lambda: len(receiver.taken) == 2 and len(receiver.got) >= 6)
        assert in_order(receiver.got) == {"Bad": [0], "Good": [0, 1]}


async def test_what_is_given_up_is_dead_and_sent_again_by_hand(store: Store) -> None:
    async with Receiver(fail) as receiver, serving(store, SHORT) as callbacks:
        await listen(store, receiver)
        await happen(store, event("Task1", 0), event("Task1", 1))
        dead = await until_seen(
            lambda: callbacks.list_documents("dead", limit=10, offset=0), lambda found: len(found) == 2
        )
        assert [document["attempts"] for document in dead] == [3, 3]
        assert dead[0]["last_error"] == "the answer is 500, only 200 counts"
        assert in_order(receiver.got) == {"Task1": [0, 1]}
        receiver.answer = ok
        again = await callbacks.replay(str(dead[0]["event_id"]))
        assert again["state"] == "pending"
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert receiver.taken[0].event["EventId"] == dead[0]["event_id"]
        assert all(len(each) == 1 for each in bodies_by_id(receiver).values())
        await until_seen(
            lambda: callbacks.list_documents("dead", limit=10, offset=0), lambda found: len(found) == 1
        )
        with pytest.raises(CallbackNotFound, match="there is no event nonsense"):
            await callbacks.replay("nonsense")


async def test_one_that_waits_may_be_sent_by_hand_before_its_turn(store: Store) -> None:
    async def refuse_first(got: Got, request: web.Request) -> web.StreamResponse:
        return await (fail if got.data["Msg"] == "0" else ok)(got, request)

    async with Receiver(refuse_first) as receiver, serving(store) as callbacks:
        await listen(store, receiver)
        await happen(store, event("Task1", 0), event("Task1", 1), event("Task1", 2))
        await receiver.until(lambda: len(receiver.got) >= 2)
        newest, *_ = await callbacks.list_documents("pending", limit=10, offset=0)
        await callbacks.replay(str(newest["event_id"]))
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert receiver.taken[0].data["Msg"] == "2"
        receiver.answer = ok
        await receiver.until(lambda: len(receiver.taken) == 3)
        assert [got.data["Msg"] for got in receiver.taken] == ["2", "0", "1"]


async def test_an_event_survives_the_death_of_the_node_that_wrote_it(tmp_path: Path) -> None:
    async with Receiver(hang) as receiver:
        async with Store(sqlite_url(tmp_path)) as store:
            await listen(store, receiver)
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", NODE, str(tmp_path)),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            await receiver.until(lambda: len(receiver.got) == 1)
        finally:
            program.kill()
            await program.wait()
        receiver.answer = ok
        async with Store(sqlite_url(tmp_path)) as store, serving(store):
            await receiver.until(lambda: len(receiver.taken) == 3)
        assert in_order(receiver.taken) == {"Task1": [0, 1, 2]}
        assert len(bodies_by_id(receiver)) == 3


#: A node that is cut down after its commit, with its first delivery under way.
NODE = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_callbacks import Store, event, happen, serving, sqlite_url

async def main():
    async with Store(sqlite_url(Path(sys.argv[1]))) as store, serving(store, timeout_s=60):
        await happen(store, event("Task1", 0), event("Task1", 1), event("Task1", 2))
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_without_a_registration_nothing_is_written(store: Store) -> None:
    await happen(store, event("Task1", 0))
    await store.run(lambda conn: register(conn, APP, business_id="other"))
    await happen(store, event("Task1", 1))
    await store.run(lambda conn: register(conn, APP, events=[EventKind.USER_JOINED]))
    await happen(store, event("Task1", 2))
    assert await store.run(count) == 0


async def test_the_registration_of_the_business_goes_before_that_of_the_app(store: Store) -> None:
    async with Receiver() as general, Receiver() as special, serving(store):
        await listen(store, general)
        await listen(store, special, "b1")
        await happen(store, event("A", 1, "b1"), event("B", 2, "b2"), event("C", 3))
        await general.until(lambda: len(general.taken) == 2)
        await special.until(lambda: len(special.taken) == 1)
        assert special.got[0].event["BusinessId"] == "b1"
        assert {got.event.get("BusinessId") for got in general.got} == {"b2", None}


async def test_a_new_address_takes_what_still_waits(store: Store) -> None:
    async with Receiver(fail) as before, Receiver() as after, serving(store) as callbacks:
        registration = await listen(store, before)
        await happen(store, event("Task1", 0), event("Task1", 1))
        await before.until(lambda: len(before.got) >= 2)
        await callbacks.change(
            Registration(APP, BusinessId(""), after.url, "new-secret", registration.events, 1.0, 1.0)
        )
        await after.until(lambda: len(after.taken) == 2)
        assert in_order(after.taken) == {"Task1": [0, 1]}
        assert all(verify(got.body, "new-secret") for got in after.taken)
        assert after.taken[0].event["EventId"] == before.got[0].event["EventId"]


async def test_what_waits_for_a_deleted_registration_is_dead(store: Store) -> None:
    async with Receiver(fail) as receiver, serving(store) as callbacks:
        await listen(store, receiver)
        await happen(store, event("Task1", 0), event("Task1", 1))
        await receiver.until(lambda: len(receiver.got) >= 2)
        await callbacks.remove(APP, BusinessId(""))
        dead = await until_seen(
            lambda: callbacks.list_documents("dead", limit=10, offset=0), lambda found: len(found) == 2
        )
        assert {document["last_error"] for document in dead} == {"nobody is registered any more"}
        assert {document["url"] for document in dead} == {None}


async def test_the_configuration_wins_over_calls(store: Store) -> None:
    await store.run(lambda conn: register(conn, APP, url="http://of-a-call/"))
    await store.run(lambda conn: register(conn, APP, business_id="b", url="http://of-a-call/"))
    configured = Registration(APP, BusinessId(""), "http://config/", "s", ("relay_state",), 0, 0)

    def urls(conn: Connection) -> list[tuple[str, bool]]:
        return [(each.url, each.from_config) for each in registrations.list_of(conn, APP)]

    await store.run(lambda conn: registrations.take_config(conn, [configured], 5.0))
    assert await store.run(urls) == [("http://config/", True), ("http://of-a-call/", False)]
    await store.run(lambda conn: registrations.take_config(conn, [configured], 9.0))
    (first, _) = await store.run(lambda conn: registrations.list_of(conn, APP))
    assert first.updated_at == 5.0
    await store.run(lambda conn: registrations.take_config(conn, [], 9.0))
    assert await store.run(urls) == [("http://of-a-call/", False)]


# The way to the receiver


async def failure_of(store: Store, receiver: Receiver, **options: Any) -> str:
    """Why the one event is dead."""
    await listen(store, receiver)
    async with serving(store, SHORT, **options) as callbacks:
        await happen(store, event("Task1", 0))
        (dead,) = await until_seen(
            lambda: callbacks.list_documents("dead", limit=10, offset=0), lambda found: len(found) == 1
        )
        return str(dead["last_error"])


async def test_the_address_guard(store: Store) -> None:
    async with Receiver() as receiver:
        error = await failure_of(store, receiver, allowed=())
        assert error.startswith("127.0.0.1 has no public address; the operator can open")
        assert receiver.got == []


async def test_the_address_guard_judges_what_a_name_leads_to() -> None:
    async with Receiver() as receiver, Poster(AddressPolicy(())) as poster:
        with pytest.raises(Exception, match="localhost has no public address"):
            await poster.post(receiver.url.replace("127.0.0.1", "localhost"), {}, b"")
        assert receiver.got == []


async def test_redirects_are_not_followed(store: Store) -> None:
    async def redirect(got: Got, request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with Receiver(redirect) as receiver:
        assert await failure_of(store, receiver) == "the answer is 307, only 200 counts"
        assert len(receiver.got) == 3


async def test_silence(store: Store) -> None:
    async with Receiver(hang) as receiver:
        assert await failure_of(store, receiver, timeout_s=0.1) == "no answer within 0.1 s"


async def test_a_closed_port(store: Store) -> None:
    async with Receiver() as receiver:
        await receiver.die()
        error = await failure_of(store, receiver)
        assert "cannot be reached: Connection refused" in error
        await receiver.live()


async def test_a_reply_without_end_is_cut_off(store: Store) -> None:
    async def flood(got: Got, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with Receiver(flood) as receiver, serving(store) as callbacks:
        await listen(store, receiver)
        await happen(store, event("Task1", 0))
        await until_seen(
            lambda: callbacks.list_documents("delivered", limit=10, offset=0), lambda found: len(found) == 1
        )
        await receiver.until(lambda: receiver.under_way == 0)
        assert len(receiver.got) == 1


async def test_json_of_the_envelope_is_texts_alone(store: Store) -> None:
    async with Receiver() as receiver, serving(store):
        await listen(store, receiver)
        await happen(store, event("Task1", 0))
        await receiver.until(lambda: len(receiver.taken) == 1)
        assert {type(value) for value in json.loads(receiver.got[0].body).values()} == {str}


async def test_names_that_are_not_resolved_delay_nobody_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    ask = socket.getaddrinfo

    def silent_for_some(host: str, *arguments: Any) -> Any:
        if host.startswith("dead"):
            released.wait(DEADLINE_S)
            raise OSError("no such name")
        return ask(host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", silent_for_some)
    async with Receiver() as receiver, serving(store):
        for number in range(30):
            name, url = f"b{number}", f"http://dead{number}.test/"
            await store.run(partial(register, app_id=APP, business_id=name, url=url))
            await happen(store, event("Task1", 0, name))
        url = receiver.url.replace("127.0.0.1", "localhost")
        await store.run(lambda conn: register(conn, APP, business_id="healthy", url=url))
        await happen(store, event("Task1", 0, "healthy"))
        await receiver.until(lambda: len(receiver.taken) == 1)
        released.set()
