"""Making channels (docs/contract/heybox.md 3a), which fixes their line. Only voice channels can be made:
others play nothing."""

from typing import Annotated, Literal

import structlog
from pydantic import AfterValidator

from sluice.api.heybox.errors import PERMISSION_DENIED, BotApiError
from sluice.api.heybox.fields import Body, Id, Text, whole
from sluice.core.bots import Bot, Channel, Line, new_channel_id
from sluice.core.ids import BotRoomId
from sluice.store.bots import BotRegistry

#: `channel_type` of a voice channel.
_VOICE = 0
_LONGEST_NAME = 128

log = structlog.get_logger(__name__)


def _name(value: str) -> str:
    if len(value) > _LONGEST_NAME:
        raise ValueError(f"must have at most {_LONGEST_NAME} characters")
    return value


class CreateChannel(Body):
    """Makes a voice channel in a room, and fixes its line."""

    room_id: Id
    """The room that the channel will lie in."""
    channel_name: Annotated[Text, AfterValidator(_name)]
    """What people call it, at most 128 characters."""
    channel_type: Annotated[int, whole(_VOICE, _VOICE, f"{_VOICE}: voice channels alone are made")]
    """0: a voice channel; others are not made."""
    api_type: Literal["trtc", "volc"] = "trtc"
    """The line of its streams, which decides the form of callbacks."""


class ChannelHandlers:
    def __init__(self, bots: BotRegistry) -> None:
        self._bots = bots

    async def create(self, body: CreateChannel, bot: Bot) -> dict[str, object]:
        """The envelope's result. Raises BotApiError."""
        room_id = BotRoomId(body.room_id)
        if not bot.may_enter(room_id):
            raise BotApiError(PERMISSION_DENIED, why="the bot may not enter this room")
        channel = Channel(bot.app_id, new_channel_id(), Line(body.api_type), room_id, body.channel_name)
        await self._bots.save_channel(channel)
        log.info("channel made", channel_id=channel.channel_id, bot_id=bot.bot_id, line=body.api_type)
        return {"channel_id": channel.channel_id}
