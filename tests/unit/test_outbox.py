"""The outbox: one event of an order key at a time, what follows the end of one, fences, old rows."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from sluice.callbacks.rooms import RoomEvents
from sluice.core.callbacks import STALE_S, CallbackEvent, EventKind
from sluice.core.errors import BadInput
from sluice.core.ids import AppId, BusinessId, RoomId, UserId
from sluice.core.rooms import RoomChange, RoomEventKind
from sluice.store import outbox, registrations
from sluice.store.outbox import OutboxEntry
from sluice.store.thread import Store
from tests.testing import MemoryStore, register

pytestmark = pytest.mark.anyio

APP, TO = AppId("app"), "app/"
NOW = 1000.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Outbox:
    """One registration of everything, and the queries in short."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.wakeups: list[str] = []
        self.store.on_wakeup = self.wakeups.append

    async def run(self, work: Callable[[Connection], Any]) -> Any:
        return await self.store.run(work)

    async def happen(self, key: str, text: str, at: float = NOW, business_id: str = "") -> None:
        event = CallbackEvent(
            EventKind.RELAY_STATE, APP, BusinessId(business_id), key, {"text": text, "at": at}, at
        )
        await self.run(lambda conn: outbox.enqueue(conn, event))

    async def heads(self) -> list[OutboxEntry]:
        entries: list[OutboxEntry] = await self.run(lambda conn: outbox.heads(conn, TO, 100))
        return entries

    async def texts(self) -> list[tuple[str, float | None]]:
        return [(entry.data["text"], entry.next_at) for entry in await self.heads()]

    async def states(self) -> dict[str, str]:
        entries = await self.run(lambda conn: outbox.list_entries(conn, None, limit=100, offset=0))
        return {entry.data["text"]: entry.status for entry in entries}


@pytest.fixture
async def box(anyio_backend: str) -> AsyncIterator[Outbox]:
    box = Outbox()
    await box.run(lambda conn: register(conn, APP))
    yield box
    box.store.close()


async def test_the_oldest_of_each_key_may_be_tried(box: Outbox) -> None:
    for key, text in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")):
        await box.happen(key, text)
    assert await box.texts() == [("a1", NOW), ("b1", NOW)]
    assert box.wakeups == [TO] * 4


async def test_the_end_of_one_makes_the_next_due(box: Outbox) -> None:
    for text in ("a1", "a2", "a3"):
        await box.happen("a", text)
    (first,) = await box.heads()
    await box.run(lambda conn: outbox.note_delivered(conn, first, NOW, NOW + 1))
    assert await box.texts() == [("a2", NOW + 1)]
    (second,) = await box.heads()
    await box.run(lambda conn: outbox.give_up(conn, second, NOW, "no answer", NOW + 2))
    assert await box.texts() == [("a3", NOW + 2)]
    assert await box.states() == {"a1": "delivered", "a2": "dead", "a3": "pending"}
    await box.happen("a", "a4")
    (third,) = await box.heads()
    await box.run(lambda conn: outbox.note_delivered(conn, third, NOW, NOW + 3))
    assert await box.texts() == [("a4", NOW + 3)]


async def test_a_failure_keeps_the_place(box: Outbox) -> None:
    await box.happen("a", "a1")
    await box.happen("a", "a2")
    for number in (1, 2):
        (entry,) = await box.heads()
        again_at = NOW + 10 * number
        failed = partial(outbox.note_failed, entry=entry, began_at=again_at - 9, error="500")
        await box.run(partial(failed, again_at=again_at))
    (entry,) = await box.heads()
    assert (entry.attempts, entry.first_at, entry.next_at) == (2, NOW + 1, NOW + 20)
    assert (entry.status, entry.last_error, entry.data["text"]) == ("pending", "500", "a1")


async def test_what_is_stale_is_given_up_with_the_one_before_it(box: Outbox) -> None:
    for text, at in (("a1", NOW), ("a2", NOW + 1), ("a3", NOW + 3)):
        await box.happen("a", text, at)
    await box.happen("b", "b1", NOW)
    first = (await box.heads())[0]
    later = NOW + STALE_S + 2
    assert await box.run(lambda conn: outbox.give_up(conn, first, NOW, "no answer", later)) == 2
    assert await box.states() == {"a1": "dead", "a2": "dead", "a3": "pending", "b1": "pending"}
    assert ("a3", later) in await box.texts()


async def test_a_delivery_under_way_does_not_undo_what_a_person_ordered(box: Outbox) -> None:
    await box.happen("a", "a1")
    await box.happen("a", "a2")
    (stale,) = await box.heads()
    box.wakeups.clear()
    again = await box.run(lambda conn: outbox.replay(conn, stale.event_id, NOW + 5))
    assert (again.event_id, again.status, again.attempts) == (stale.event_id, "pending", 0)
    assert box.wakeups == [TO]
    assert await box.texts() == [("a1", NOW + 5), ("a2", NOW + 5)], "outside the order"
    await box.run(lambda conn: outbox.note_delivered(conn, stale, NOW, NOW + 6))
    assert await box.run(lambda conn: outbox.give_up(conn, stale, NOW, "x", NOW + 6)) == 0
    assert await box.states() == {"a1": "pending", "a2": "pending"}
    assert await box.run(lambda conn: outbox.replay(conn, "unknown", NOW)) is None


async def test_destinations_with_something_to_do(box: Outbox) -> None:
    assert await box.run(outbox.pending_destinations) == []
    for business_id in ("b", "a", "c"):
        await box.run(partial(register, app_id=APP, business_id=business_id))
        await box.happen(f"key-{business_id}", "x", business_id=business_id)
        await box.happen(f"key-{business_id}", "y", business_id=business_id)
    await box.happen("key", "x")
    assert await box.run(outbox.pending_destinations) == ["app/", "app/a", "app/b", "app/c"]


async def test_lists_and_old_rows(box: Outbox) -> None:
    for number in range(5):
        await box.happen(f"key{number}", str(number))
    for entry in await box.heads():
        ended_at = NOW + int(entry.data["text"])
        await box.run(partial(outbox.note_delivered, entry=entry, began_at=NOW, now=ended_at))
    page = await box.run(lambda conn: outbox.list_entries(conn, "delivered", limit=2, offset=1))
    assert [entry.data["text"] for entry in page] == ["3", "2"]
    assert await box.run(lambda conn: outbox.list_entries(conn, "dead", limit=2, offset=0)) == []
    others = await box.run(
        lambda conn: outbox.list_entries(conn, None, limit=9, offset=0, app_id=AppId("other"))
    )
    assert others == []
    for cut in (1, 8, 36):
        begins = page[0].event_id[:cut]
        found = await box.run(partial(outbox.list_entries, status=None, limit=9, offset=0, begins=begins))
        assert page[0] in found
        assert all(entry.event_id.startswith(begins) for entry in found)

    def purge(conn: Connection) -> int:
        return outbox.purge(conn, "delivered", NOW + 3, limit=2)

    assert await box.run(lambda conn: outbox.purge(conn, "dead", NOW + 9)) == 0
    assert [await box.run(purge) for _ in range(3)] == [2, 1, 0]
    assert await box.states() == {"3": "delivered", "4": "delivered"}


async def test_an_app_has_so_many_registrations(box: Outbox) -> None:
    for number in range(registrations.MOST_PER_APP - 1):
        await box.run(partial(register, app_id=APP, business_id=str(number)))
    with pytest.raises(BadInput, match="at most 100 callbacks"):
        await box.run(lambda conn: register(conn, APP, business_id="more"))
    await box.run(lambda conn: register(conn, "other", business_id="more"))


async def test_what_happens_in_rooms_is_written_in_its_order(box: Outbox) -> None:
    now = NOW

    def change(kind: str, user: str) -> RoomChange:
        return RoomChange(AppId(APP), RoomId("room"), RoomEventKind(kind), UserId(user))

    async with RoomEvents(cast(Store, box.store), lambda: now) as rooms:
        for user in ("anna", "bob"):
            rooms.on_change(change("joined", user))
        now = NOW + 1
        rooms.on_change(change("left", "anna"))
        now = NOW + 2
    entries = await box.run(lambda conn: outbox.list_entries(conn, "pending", limit=10, offset=0))
    told = [(entry.kind.value, entry.data.get("user_id"), entry.created_at) for entry in reversed(entries)]
    assert told == [
        ("room_created", None, NOW),
        ("user_joined", "anna", NOW),
        ("user_joined", "bob", NOW),
        ("user_left", "anna", NOW + 1),
        ("user_left", "bob", NOW + 2),  # the node ends, and the room processes with it
        ("room_destroyed", None, NOW + 2),
    ]
    assert {entry.order_key for entry in entries} == {"room/app/room"}
    assert entries[1].data["why"] == "dropped"


async def test_what_waits_is_counted_and_what_died(box: Outbox) -> None:
    async def waiting() -> outbox.Waiting:
        found: outbox.Waiting = await box.run(outbox.count_waiting)
        return found

    assert await waiting() == outbox.Waiting(0, 0, None)
    await box.happen("a", "a1", NOW)
    await box.happen("a", "a2", NOW + 5)
    assert await waiting() == outbox.Waiting(2, 0, NOW)
    entry = (await box.heads())[0]
    await box.run(lambda conn: outbox.give_up(conn, entry, NOW, "refused", NOW + 6))
    assert await waiting() == outbox.Waiting(1, 1, NOW + 5)
