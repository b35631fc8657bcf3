"""Bots and channels: the queries, and what the node asks of them.

Each question goes to the database, so that a disabled bot is refused at once on every node. Only the hash
of a token is stored.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from sluice.core.bots import Bot, Channel, Line, StreamLimits, hash_token, new_token
from sluice.core.errors import BadInput, LimitReached, NotFound, Overloaded
from sluice.core.ids import AppId, BotId, BotRoomId, ChannelId, RoomId
from sluice.core.lifecycle import State
from sluice.core.tasks import Kind
from sluice.store.schema import apps, bots, channels, tasks
from sluice.store.thread import Store

#: Channels of one app; bots can make them.
MOST_CHANNELS = 100_000


@dataclass(frozen=True, slots=True)
class BotRecord:
    bot: Bot
    enabled: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    channel: Channel
    created_at: float


# --- queries ----------------------------------------------------------------------------------------------


def insert_bot(conn: Connection, bot: Bot, token: str | None, now: float) -> tuple[BotRecord, str]:
    """The bot with its number, and its token: `token`, or a new one that carries the number.

    Raises NotFound for an app that does not exist, BadInput for a token that another bot has.
    """
    _require_app(conn, bot.app_id)
    values: dict[str, Any] = {"created_at": now, "enabled": True, "name": bot.name, "app_id": bot.app_id}
    values |= {"line": bot.line.value, "rooms": sorted(bot.rooms)}
    # A token of ours carries the number, which is not known yet: its hash follows.
    values["token_hash"] = hash_token(token or secrets.token_hex())
    try:
        number = conn.execute(insert(bots).values(values).returning(bots.c.bot_id)).scalar_one()
    except IntegrityError as error:
        raise BadInput("token", "another bot has it already") from error
    bot = replace(bot, bot_id=BotId(number))
    if token is None:
        token = new_token(bot.bot_id, now)
        conn.execute(update(bots).where(bots.c.bot_id == number).values(token_hash=hash_token(token)))
    return BotRecord(bot, True, now), token


_FIND_BOT = select(bots).where(bots.c.token_hash == bindparam("token_hash"), bots.c.enabled)


def find_bot(conn: Connection, token: str) -> Bot | None:
    """The bot of this token; None if there is none, or if it is disabled."""
    row = conn.execute(_FIND_BOT, {"token_hash": hash_token(token)}).one_or_none()
    return None if row is None else _bot_of(row).bot


def list_bots(conn: Connection) -> list[BotRecord]:
    """In the order in which they were made, including disabled ones."""
    return [_bot_of(row) for row in conn.execute(select(bots).order_by(bots.c.bot_id))]


def enable_bot(conn: Connection, bot_id: BotId, enabled: bool) -> BotRecord:
    """Raises NotFound."""
    change = update(bots).where(bots.c.bot_id == bot_id).values(enabled=enabled).returning(bots)
    row = conn.execute(change).one_or_none()
    if row is None:
        raise NotFound(f"there is no bot {bot_id}")
    return _bot_of(row)


def delete_bot(conn: Connection, bot_id: BotId) -> None:
    """Deletes the bot for ever. Raises NotFound."""
    if not conn.execute(delete(bots).where(bots.c.bot_id == bot_id)).rowcount:
        raise NotFound(f"there is no bot {bot_id}")


_FIND_CHANNEL = select(channels).where(
    channels.c.app_id == bindparam("of_app"), channels.c.channel_id == bindparam("named")
)


def find_channel(conn: Connection, app_id: AppId, channel_id: ChannelId) -> ChannelRecord | None:
    row = conn.execute(_FIND_CHANNEL, {"of_app": app_id, "named": channel_id}).one_or_none()
    return None if row is None else _channel_of(row)


def save_channel(conn: Connection, channel: Channel, now: float) -> ChannelRecord:
    """Makes the channel. One that exists gets this line, and room and name if they are given.

    Raises NotFound for an app that does not exist, Overloaded when the app has too many channels.
    """
    values: dict[str, Any] = {"line": channel.line.value}
    if channel.room_id is not None:
        values["room_id"] = channel.room_id
    if channel.name:
        values["name"] = channel.name
    here = (channels.c.app_id == channel.app_id, channels.c.channel_id == channel.channel_id)
    row = conn.execute(update(channels).where(*here).values(values).returning(channels)).one_or_none()
    if row is None:
        _require_app(conn, channel.app_id)
        mine = select(func.count()).select_from(channels).where(channels.c.app_id == channel.app_id)
        if conn.execute(mine).scalar_one() >= MOST_CHANNELS:
            raise Overloaded(f"the app has {MOST_CHANNELS} channels; delete some with: sluice channel delete")
        identity = {"app_id": channel.app_id, "channel_id": channel.channel_id, "created_at": now}
        new = insert(channels).values({"name": ""} | values | identity).returning(channels)
        row = conn.execute(new).one()
    return _channel_of(row)


def list_channels(conn: Connection, app_id: AppId | None, *, limit: int, offset: int) -> list[ChannelRecord]:
    """Newest first; `app_id` None means all apps."""
    newest = select(channels).order_by(channels.c.created_at.desc(), channels.c.app_id, channels.c.channel_id)
    if app_id is not None:
        newest = newest.where(channels.c.app_id == app_id)
    return [_channel_of(row) for row in conn.execute(newest.limit(limit).offset(offset))]


def delete_channel(conn: Connection, app_id: AppId, channel_id: ChannelId) -> None:
    """Raises NotFound."""
    here = (channels.c.app_id == app_id, channels.c.channel_id == channel_id)
    if not conn.execute(delete(channels).where(*here)).rowcount:
        raise NotFound(f"there is no channel {channel_id} in the app {app_id}")


_LIVE_OF_BOTS = (
    select(func.count())
    .select_from(tasks)
    .where(tasks.c.ended_at.is_(None), tasks.c.bot_id.is_not(None), tasks.c.state != State.STOPPING.value)
)


def refuse_beyond(
    conn: Connection, limits: StreamLimits, bot_id: BotId, app_id: AppId, room_id: RoomId
) -> None:
    """To be called in the transaction that begins a stream. Raises LimitReached."""
    if limits.per_channel is not None:
        in_channel = _LIVE_OF_BOTS.where(
            tasks.c.kind == Kind.RELAY.value, tasks.c.app_id == app_id, tasks.c.room_id == room_id
        )
        if conn.execute(in_channel).scalar_one() >= limits.per_channel:
            raise LimitReached(f"channel {room_id} has its {limits.per_channel} streams; stop one first")
    if limits.per_bot is not None:
        of_bot = _LIVE_OF_BOTS.where(tasks.c.bot_id == bot_id)
        if conn.execute(of_bot).scalar_one() >= limits.per_bot:
            raise LimitReached(f"bot {bot_id} has its {limits.per_bot} streams; stop one first")


def _require_app(conn: Connection, app_id: AppId) -> None:
    if conn.scalar(select(apps.c.app_id).where(apps.c.app_id == app_id)) is None:
        raise NotFound(f"there is no app {app_id}")


def _bot_of(row: Row[Any]) -> BotRecord:
    rooms = frozenset(BotRoomId(room) for room in row.rooms)
    bot = Bot(BotId(row.bot_id), row.name, AppId(row.app_id), Line(row.line), rooms)
    return BotRecord(bot, row.enabled, row.created_at)


def _channel_of(row: Row[Any]) -> ChannelRecord:
    room_id = None if row.room_id is None else BotRoomId(row.room_id)
    channel = Channel(AppId(row.app_id), ChannelId(row.channel_id), Line(row.line), room_id, row.name)
    return ChannelRecord(channel, row.created_at)


# --- what the node asks -----------------------------------------------------------------------------------


class BotRegistry:
    """The queries above, each as a transaction of its own."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def create_bot(self, bot: Bot, token: str | None = None) -> tuple[BotRecord, str]:
        """`bot` gets its number here. Only the caller gets the token; it is not stored."""
        now = self._clock()
        return await self._store.run(lambda conn: insert_bot(conn, bot, token, now))

    async def find_bot(self, token: str) -> Bot | None:
        return await self._store.run(lambda conn: find_bot(conn, token))

    async def list_bots(self) -> list[BotRecord]:
        return await self._store.run(list_bots)

    async def enable_bot(self, bot_id: BotId, enabled: bool) -> BotRecord:
        return await self._store.run(lambda conn: enable_bot(conn, bot_id, enabled))

    async def delete_bot(self, bot_id: BotId) -> None:
        await self._store.run(lambda conn: delete_bot(conn, bot_id))

    async def find_channel(self, app_id: AppId, channel_id: ChannelId) -> Channel | None:
        found = await self._store.run(lambda conn: find_channel(conn, app_id, channel_id))
        return None if found is None else found.channel

    async def save_channel(self, channel: Channel) -> ChannelRecord:
        now = self._clock()
        return await self._store.run(lambda conn: save_channel(conn, channel, now))

    async def list_channels(self, app_id: AppId | None, *, limit: int, offset: int) -> list[ChannelRecord]:
        return await self._store.run(lambda conn: list_channels(conn, app_id, limit=limit, offset=offset))

    async def delete_channel(self, app_id: AppId, channel_id: ChannelId) -> None:
        await self._store.run(lambda conn: delete_channel(conn, app_id, channel_id))
