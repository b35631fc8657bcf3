"""Bots and channels for the operator (`/api/v1/bots`, `/api/v1/channels`).

A bot's token is shown once, by the call that makes it, and is not kept. An operator who comes from elsewhere
brings the tokens of his bots along.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.core.bots import Bot, Channel, Line
from sluice.core.ids import AppId, BotId, BotRoomId, ChannelId
from sluice.store.bots import BotRecord, BotRegistry, ChannelRecord

_IdText = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_@\-.]{1,128}$")]
_Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")]
_BotNumber = Annotated[int, Path(ge=1, lt=2**31)]
_ChannelName = Annotated[str, Path(pattern=r"^[a-zA-Z0-9_@\-.]{1,128}$")]


class NewBot(Document):
    name: _Name
    """What people call it."""
    app_id: str
    """The app whose rooms it plays into."""
    line: Line = Line.TRTC
    """Of channels that were given none."""
    rooms: Annotated[list[_IdText], Field(min_length=1, max_length=1000)] | None = None
    """The rooms whose channels it may play into; all when left out."""
    token: Annotated[str, Field(pattern=r"^[!-~]{16,512}$")] | None = None
    """The token that it has already; a new one when left out."""


class BotEnabled(Document):
    enabled: bool
    """The token of a bot that is not is unknown to the API."""


class BotDocument(Document):
    bot_id: int
    name: str
    app_id: str
    line: Line
    rooms: list[str]
    """Empty: all."""
    enabled: bool
    created_at: float


class BotWithToken(BotDocument):
    """Shown once."""

    token: str


class BotList(Document):
    bots: list[BotDocument]


class ChannelSetting(Document):
    line: Line
    """From its next stream on."""
    room_id: _IdText | None = None
    """The room that it lies in: naming another one does not find it. As it is when left out."""
    name: _Name | None = None
    """As it is when left out."""


class ChannelDocument(Document):
    app_id: str
    channel_id: str
    line: Line
    room_id: str | None
    """Null: any."""
    name: str
    created_at: float


class ChannelList(Document):
    channels: list[ChannelDocument]


def routes(registry: BotRegistry, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator)
    _add_bots(api, registry)
    _add_channels(api, registry)
    return api


def _add_bots(api: APIRouter, registry: BotRegistry) -> None:
    @api.get("/bots", summary="All bots, in the order in which they were made")
    async def list_bots() -> BotList:
        return BotList(bots=[BotDocument(**_bot(record)) for record in await registry.list_bots()])

    @api.post("/bots", status_code=201, summary="Make a bot")
    async def create_bot(wanted: NewBot) -> BotWithToken:
        rooms = frozenset(BotRoomId(room) for room in wanted.rooms or ())
        # The store gives the number.
        bot = Bot(BotId(0), wanted.name, AppId(wanted.app_id), wanted.line, rooms)
        record, token = await registry.create_bot(bot, wanted.token)
        return BotWithToken(**_bot(record), token=token)

    @api.patch("/bots/{bot_id}", summary="Disable or enable a bot; its streams go on")
    async def enable_bot(bot_id: _BotNumber, wanted: BotEnabled) -> BotDocument:
        return BotDocument(**_bot(await registry.enable_bot(BotId(bot_id), wanted.enabled)))

    @api.delete("/bots/{bot_id}", status_code=204, summary="Delete a bot for ever; its streams go on")
    async def delete_bot(bot_id: _BotNumber) -> None:
        await registry.delete_bot(BotId(bot_id))


def _add_channels(api: APIRouter, registry: BotRegistry) -> None:
    @api.get("/channels", summary="Registered channels, or those of one app, newest first")
    async def list_channels(
        app_id: Annotated[str | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> ChannelList:
        of_app = None if app_id is None else AppId(app_id)
        records = await registry.list_channels(of_app, limit=limit, offset=offset)
        return ChannelList(channels=[ChannelDocument(**_channel(record)) for record in records])

    @api.put("/channels/{app_id}/{channel_id}", summary="Register a channel, or change its line")
    async def set_channel(app_id: str, channel_id: _ChannelName, wanted: ChannelSetting) -> ChannelDocument:
        room_id = None if wanted.room_id is None else BotRoomId(wanted.room_id)
        channel = Channel(AppId(app_id), ChannelId(channel_id), wanted.line, room_id, wanted.name or "")
        return ChannelDocument(**_channel(await registry.save_channel(channel)))

    @api.delete("/channels/{app_id}/{channel_id}", status_code=204, summary="Forget a channel")
    async def delete_channel(app_id: str, channel_id: _ChannelName) -> None:
        await registry.delete_channel(AppId(app_id), ChannelId(channel_id))


def _bot(record: BotRecord) -> dict[str, Any]:
    bot = record.bot
    return {
        "bot_id": bot.bot_id,
        "name": bot.name,
        "app_id": bot.app_id,
        "line": bot.line,
        "rooms": sorted(bot.rooms),
        "enabled": record.enabled,
        "created_at": record.created_at,
    }


def _channel(record: ChannelRecord) -> dict[str, Any]:
    channel = record.channel
    return {
        "app_id": channel.app_id,
        "channel_id": channel.channel_id,
        "line": channel.line,
        "room_id": channel.room_id,
        "name": channel.name,
        "created_at": record.created_at,
    }
