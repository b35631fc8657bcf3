"""Bots, channels and their streams over a real SQLite file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import delete, text

from sluice.core.bots import Bot, Channel, Line, StreamLimits
from sluice.core.errors import AccessRefused, LimitReached, NotFound
from sluice.core.ids import AppId, BotId, BotRoomId, BusinessId, ChannelId, RoomId, TaskId, UserId
from sluice.core.tasks import Dialect, RelaySpec, Task
from sluice.store.apps import insert_app, new_app
from sluice.store.bans import BanList
from sluice.store.bots import BotRegistry
from sluice.store.schema import apps
from sluice.store.tasks import list_all
from sluice.store.thread import Store, sqlite_url
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import StartRequest
from sluice.tasks.service import TaskService
from tests.testing import FakeMedia, FakeRunRooms

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
APP = AppId("661e0000000000000000543c")
BOT = Bot(BotId(0), "dj", APP)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(sqlite_url(tmp_path)) as store:
        await store.run(lambda conn: insert_app(conn, new_app(APP), NOW))
        yield store


@pytest.fixture
def bots(store: Store) -> BotRegistry:
    return BotRegistry(store, lambda: NOW)


@pytest.fixture
def tasks(store: Store) -> TaskService:
    media = FakeMedia(1)
    media.processes[0].ready = False  # streams wait, and end as soon as they are stopped
    return TaskService(store, cast(MediaPool, media), FakeRunRooms(), lambda: NOW)


async def start(
    tasks: TaskService,
    task_id: str,
    *,
    bot: int | None = 1,
    channel: str = "channel",
    limits: StreamLimits = StreamLimits(2, 3),  # noqa: B008 - frozen
) -> Task[RelaySpec]:
    task, created = await tasks.start(
        StartRequest(
            dialect=Dialect.BOT_TRTC if bot else Dialect.VOLCENGINE,
            app_id=APP,
            room_id=RoomId(channel),
            task_id=TaskId(task_id),
            user_id=UserId(f"user-of-{task_id}"),
            business_id=BusinessId(""),
            spec=RelaySpec("http://h/a.mp3", lifetime_s=None, callback_url="https://h/"),
            bot_id=None if bot is None else BotId(bot),
            limits=limits,
        )
    )
    assert created
    return task


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_token_finds_its_bot_over_restarts(tmp_path: Path) -> None:
    async with Store(sqlite_url(tmp_path)) as store:
        await store.run(lambda conn: insert_app(conn, new_app(APP), NOW))
        rooms = frozenset({BotRoomId("5")})
        made, token = await BotRegistry(store, lambda: NOW).create_bot(
            Bot(BotId(0), "dj", APP, Line.VOLC, rooms)
        )
    async with Store(sqlite_url(tmp_path)) as store:
        assert await BotRegistry(store, lambda: NOW).find_bot(token) == made.bot
    assert token.encode() not in contents(tmp_path)


async def test_a_number_is_never_given_twice(bots: BotRegistry) -> None:
    first, _ = await bots.create_bot(BOT)
    second, _ = await bots.create_bot(BOT)
    await bots.delete_bot(second.bot.bot_id)
    third, _ = await bots.create_bot(BOT)
    assert [record.bot.bot_id for record in (first, second, third)] == [1, 2, 3]


async def test_a_failed_bot_leaves_nothing(bots: BotRegistry) -> None:
    with pytest.raises(NotFound, match="there is no app"):
        await bots.create_bot(Bot(BotId(0), "dj", AppId("unknown")))
    assert await bots.list_bots() == []


async def test_they_go_with_their_app(store: Store, bots: BotRegistry) -> None:
    await bots.create_bot(BOT)
    await bots.save_channel(Channel(APP, ChannelId("5"), Line.VOLC))
    await store.run(lambda conn: conn.execute(delete(apps)))
    assert await bots.list_bots() == []
    assert await bots.list_channels(None, limit=10, offset=0) == []


async def test_streams_of_one_channel(tasks: TaskService) -> None:
    await start(tasks, "a", bot=1)
    second = await start(tasks, "b", bot=2)
    with pytest.raises(LimitReached, match="channel channel has its 2 streams"):
        await start(tasks, "c", bot=3)
    await start(tasks, "d", bot=3, channel="other")
    await start(tasks, "e", bot=None)
    await tasks.stop(second.id)
    await start(tasks, "f", bot=3)


async def test_streams_of_one_bot(tasks: TaskService) -> None:
    for name in ("a", "b", "c"):
        await start(tasks, name, channel=name)
    with pytest.raises(LimitReached, match="bot 1 has its 3 streams"):
        await start(tasks, "d", channel="d")
    await start(tasks, "e", bot=2, channel="d")


async def test_a_stream_that_is_stopping_leaves_its_place(store: Store, tasks: TaskService) -> None:
    one = StreamLimits(1, 1)
    task = await start(tasks, "a", limits=one)
    stopping = text("UPDATE tasks SET state = 'stopping' WHERE id = :id")
    await store.run(lambda conn: conn.execute(stopping, {"id": task.id}))
    await start(tasks, "b", limits=one)


async def test_who_is_faster_gets_the_last_place(store: Store, tasks: TaskService) -> None:
    results = await asyncio.gather(*(start(tasks, str(n)) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(result, LimitReached) for result in results) == 18
    assert len(await store.run(lambda conn: list_all(conn, offset=0, limit=100))) == 2


async def test_whose_a_stream_is(tasks: TaskService) -> None:
    task = await start(tasks, "a")
    assert await tasks.find_of_bot(BotId(1), TaskId("a")) == task
    assert await tasks.find_of_bot(BotId(2), TaskId("a")) is None
    await start(tasks, "b", bot=None)
    assert await tasks.find_of_bot(BotId(1), TaskId("b")) is None
    await tasks.stop(task.id)
    ended = await tasks.find_of_bot(BotId(1), TaskId("a"))
    assert ended is not None
    assert not ended.state.live
    assert ended.spec == task.spec


async def test_a_room_that_is_closed(store: Store, tasks: TaskService) -> None:
    await BanList(store, lambda: NOW).ban(APP, RoomId("channel"), None, NOW + 60)
    with pytest.raises(AccessRefused, match="barred"):
        await start(tasks, "a")


async def test_indexes_answer_each_question(store: Store) -> None:
    questions = {
        "tasks_by_bot": "bot_id = 1 AND task_id = 'a'",
        "tasks_live_by_bot": "bot_id = 1 AND ended_at IS NULL AND bot_id IS NOT NULL AND state != 'stopping'",
        "tasks_one_live_run": "kind = 'relay' AND app_id = 'a' AND room_id = 'r' AND ended_at IS NULL "
        "AND bot_id IS NOT NULL",
    }
    for index, where in questions.items():
        explain = text(f"EXPLAIN QUERY PLAN SELECT * FROM tasks WHERE {where}")
        rows = await store.run(lambda conn, explain=explain: conn.execute(explain).all())  # type: ignore[misc]
        assert f"USING INDEX {index} " in rows[0].detail
