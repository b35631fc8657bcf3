"""Bans in the store: whom each kind bars, for how long, and how many there may be."""

from collections.abc import AsyncIterator
from typing import cast

import pytest
from sqlalchemy import Connection, func, select

from sluice.core.errors import AccessRefused, TooManyBans
from sluice.core.ids import AppId, BusinessId, RoomId, TaskId, UserId
from sluice.core.lifecycle import Reason
from sluice.core.tasks import Dialect, PushSpec, RelaySpec, Spec
from sluice.store import bans as module
from sluice.store.apps import insert_app, new_app
from sluice.store.bans import BanList
from sluice.store.schema import bans
from sluice.store.thread import Store
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import StartRequest
from sluice.tasks.service import TaskService
from tests.testing import FakeMedia, FakeRunRooms, MemoryStore

pytestmark = pytest.mark.anyio

APP, OTHER = AppId("a" * 24), AppId("b" * 24)
ROOM, USER = RoomId("room"), UserId("user")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Node:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.store = MemoryStore()
        store = cast(Store, self.store)
        self.bans = BanList(store, lambda: self.now)
        media = cast(MediaPool, FakeMedia(1))
        self.tasks = TaskService(store, media, FakeRunRooms(), lambda: self.now)

    async def ban(self, room: str | None, user: str | None, seconds: float | None = 60) -> None:
        until = None if seconds is None else self.now + seconds
        await self.bans.ban(APP, RoomId(room) if room else None, UserId(user) if user else None, until)

    async def barred(self, room: str = "room", user: str = "user") -> bool:
        return await self.bans.barred(APP, RoomId(room), UserId(user))

    async def start(self, task_id: str, spec: Spec, room: RoomId = ROOM, user: UserId = USER) -> str:
        identity = (APP, room, TaskId(task_id), user, BusinessId(""))
        task, _ = await self.tasks.start(StartRequest(Dialect.VOLCENGINE, *identity, spec))
        return task.id

    async def reason(self, run_id: str) -> object:
        documents = await self.tasks.list_documents(limit=10, offset=0)
        return next(document["reason"] for document in documents if document["id"] == run_id)


@pytest.fixture
async def node(anyio_backend: str) -> AsyncIterator[Node]:
    node = Node()
    for app_id in (APP, OTHER):
        await node.store.run(lambda conn, app_id=app_id: insert_app(conn, new_app(app_id), 0.0))  # type: ignore[misc]
    yield node
    node.store.close()


async def test_whom_each_kind_bars(node: Node) -> None:
    await node.ban("room", "user")
    assert await node.barred()
    assert not await node.barred("other")
    assert not await node.barred(user="other")
    await node.ban("closed", None)
    assert await node.barred("closed", "anybody")
    await node.ban(None, "unwanted")
    assert await node.barred("anywhere", "unwanted")
    assert not await node.bans.barred(OTHER, ROOM, USER), "another app"


async def test_a_ban_ends(node: Node) -> None:
    await node.ban("room", "user", 60)
    node.now += 59.9
    assert await node.barred()
    node.now += 0.1
    assert not await node.barred()


async def test_the_last_word_counts(node: Node) -> None:
    await node.ban("room", "user", 600)
    await node.ban("room", "user", 60)
    node.now += 61
    assert not await node.barred()
    await node.ban("room", "user", 60)
    await node.ban("room", "user", None)
    assert not await node.barred()


async def test_what_is_over_takes_no_place(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BANS", 2)
    await node.ban("room", "one")
    await node.ban("room", "two")
    with pytest.raises(TooManyBans, match="2 bans of this app are in force"):
        await node.ban("room", "three")
    assert not await node.barred(user="three")
    await node.ban("room", "two", 90)
    node.now += 61
    await node.ban("room", "three")

    def count(conn: Connection) -> int:
        return conn.execute(select(func.count()).select_from(bans)).scalar_one()

    assert await node.store.run(count) == 2


async def test_a_barred_user_relays_nothing(node: Node) -> None:
    await node.ban("room", "user")
    with pytest.raises(AccessRefused, match="the user is barred from this room"):
        await node.start("relay", RelaySpec("http://h/a.mp4"))
    await node.start("elsewhere", RelaySpec("http://h/a.mp4"), RoomId("other"))
    await node.start("push", PushSpec("rtmp://h/a/b"))  # he pushes once he may come back


async def test_tasks_of_the_removed_end(node: Node) -> None:
    relay = await node.start("relay", RelaySpec("http://h/a.mp4", start_at=int(node.now) + 600))
    push = await node.start("push", PushSpec("rtmp://h/a/b"))
    other_room = await node.start("relay", RelaySpec("http://h/a.mp4"), RoomId("other"))
    other_user = await node.start("relay2", RelaySpec("http://h/a.mp4"), user=UserId("anna"))
    await node.tasks.remove(APP, ROOM, USER)
    assert await node.reason(relay) == await node.reason(push) == Reason.REMOVED.code
    assert await node.reason(other_room) == await node.reason(other_user) == Reason.NONE.code
    await node.tasks.remove(APP, None, USER)
    assert await node.reason(other_room) == Reason.REMOVED.code
    await node.tasks.remove(OTHER, ROOM, None)
    assert await node.reason(other_user) == Reason.NONE.code
    await node.tasks.remove(APP, ROOM, None)
    assert await node.reason(other_user) == Reason.REMOVED.code
