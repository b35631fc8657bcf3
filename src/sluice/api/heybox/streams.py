"""Push and stop (docs/contract/heybox.md 2, 3 and 5).

Every push is a stream of its own, with its own virtual user. A source that cannot be reached is no error of
the call; the callback tells of it.
"""

import base64
import secrets
from typing import Annotated

import structlog
from pydantic import AfterValidator, ValidationInfo, field_validator

from sluice.api.heybox.errors import (
    CHANNEL_NOT_FOUND,
    INVALID,
    PERMISSION_DENIED,
    TASK_NOT_FOUND,
    BotApiError,
)
from sluice.api.heybox.fields import Body, Id, Text, whole
from sluice.core.addresses import AddressPolicy, is_address
from sluice.core.apps import Apps, Feature
from sluice.core.bots import Bot, Line, StreamLimits
from sluice.core.errors import TaskNotFound
from sluice.core.ids import BotRoomId, BusinessId, ChannelId, RoomId, TaskId, UserId
from sluice.core.masking import mask_url
from sluice.core.tasks import FULL_VOLUME, LIFETIME_S, MediaType, RelaySpec, StreamMode
from sluice.core.urls import CALLBACK_URL, SOURCE_URL, host_of
from sluice.store.bots import BotRegistry
from sluice.tasks.port import StartRequest, Tasks

#: `repeat_num` of a stream that repeats for ever.
ENDLESS = -1
_MOST_PLAYS = 1000
#: A source that cannot be opened is tried at second 0, 1 and 3; one that is lost, for so long (section 5).
_START_TRIES = 3
_MAX_IDLE_S = 300
_TASK_ID_BYTES = 96

log = structlog.get_logger(__name__)


def _callback_url(value: str) -> str:
    return CALLBACK_URL.check(value) if value else value


def _plays(value: int) -> int:
    if value != ENDLESS and not 1 <= value <= _MOST_PLAYS:
        raise ValueError(f"must be 1 to {_MOST_PLAYS}, or {ENDLESS} for ever")
    return value


class Push(Body):
    """Plays the sound of a URL into a voice channel. Each push is a stream of its own."""

    room_id: Id
    """The room that the channel lies in."""
    channel_id: Id
    """The channel: the RTC room of the same id."""
    stream_url: Annotated[Text, AfterValidator(SOURCE_URL.check)]
    """Address of the source: MP3, AAC, FLAC, WAV, Ogg, MP4, HLS, RTMP, a radio station and others."""
    operator: Annotated[int, whole(1, 2**63 - 1, "a positive integer of 64 bits")]
    """Number of the user for whom the bot plays; it is only noted."""
    volume: Annotated[int, whole(0, FULL_VOLUME, f"0 to {FULL_VOLUME}")] = FULL_VOLUME
    """Percent of the amplitude; 100 is as the source has it."""
    callback_url: Annotated[str, AfterValidator(_callback_url)] = ""
    """Is told when the stream begins, begins again and ends; nobody is when it is empty."""
    seek_second: Annotated[int, whole(0, 2**31 - 1, "0 or more seconds")] = 0
    """Position to begin at."""
    repeat_num: Annotated[int, AfterValidator(_plays)] = 1
    """How often it is played: 1 to 1000, or -1 for ever. On the line volc 1 or -1."""
    max_duration: Annotated[int, whole(1, 10_080, "1 to 10080 minutes")] | None = None
    """Minutes after which a stream that repeats for ever ends; ignored for others."""

    @field_validator("max_duration", mode="before")
    @classmethod
    def _only_of_endless(cls, value: object, info: ValidationInfo) -> object:
        """Counts only for an endless stream; else it is ignored, even out of range (section 5)."""
        return value if info.data.get("repeat_num") == ENDLESS else None

    def spec(self, line: Line) -> RelaySpec:
        """Raises BotApiError for a number of plays that the line does not allow."""
        if line is Line.VOLC and self.repeat_num not in (ENDLESS, 1):
            raise BotApiError(INVALID, "repeat_num", why="on line 2 it must be 1, or -1 for ever")
        return RelaySpec(
            url=self.stream_url,
            media_type=MediaType.AUDIO,
            stream_mode=StreamMode.COPY,  # sound is copied if possible, else converted; it is never refused
            loop=self.repeat_num == ENDLESS,
            plays=max(1, self.repeat_num),
            begin_s=self.seek_second,
            volume=self.volume,
            max_idle_s=_MAX_IDLE_S,
            lifetime_s=self._lifetime_s(line),
            callback_url=self.callback_url,
            start_tries=_START_TRIES,
        )

    def _lifetime_s(self, line: Line) -> float | None:
        if self.max_duration is not None:
            return self.max_duration * 60
        return None if line is Line.TRTC else LIFETIME_S


class Stop(Body):
    """Stops a stream of this bot. One that has ended stays ended, and that is no failure."""

    task_id: Text
    """From the answer to the push."""


class StreamHandlers:
    """Each answers the envelope's result. Raises SluiceError."""

    def __init__(
        self,
        tasks: Tasks,
        bots: BotRegistry,
        apps: Apps,
        addresses: AddressPolicy,
        limits: StreamLimits,
        *,
        registered_only: bool,
    ) -> None:
        """`registered_only`: channels that are not registered are not found."""
        self._tasks = tasks
        self._bots = bots
        self._apps = apps
        self._addresses = addresses
        self._limits = limits
        self._registered_only = registered_only

    async def push(self, body: Push, bot: Bot) -> dict[str, object]:
        self._check_address(body.stream_url)
        line = await self._enter(bot, BotRoomId(body.room_id), ChannelId(body.channel_id))
        secret = secrets.token_bytes(_TASK_ID_BYTES)
        task_id = TaskId(base64.b64encode(secret).decode())
        stream = StartRequest(
            dialect=line.dialect,
            app_id=bot.app_id,
            room_id=RoomId(body.channel_id),
            task_id=task_id,
            user_id=UserId(f"bot-{bot.bot_id}-{secret[:4].hex()}"),
            business_id=BusinessId(""),
            spec=body.spec(line),
            bot_id=bot.bot_id,
            limits=self._limits,
        )
        task, _ = await self._tasks.start(stream)
        log.info(
            "stream accepted",
            run_id=task.id,
            bot_id=bot.bot_id,
            room_id=task.room_id,
            operator=body.operator,
            source=mask_url(body.stream_url),
        )
        return {"task_id": task_id}

    async def stop(self, body: Stop, bot: Bot) -> dict[str, object]:
        """Stops one of the bot's own streams; one that has ended stays ended."""
        task = await self._tasks.find_of_bot(bot.bot_id, TaskId(body.task_id))
        if task is None:
            raise BotApiError(TASK_NOT_FOUND)
        try:
            await self._tasks.stop(task.id)
        except TaskNotFound:  # it has ended, or is about to
            return {}
        log.info("stream stopped", run_id=task.id, bot_id=bot.bot_id)
        return {}

    def _check_address(self, url: str) -> None:
        """Judges an address. A name is judged when it is resolved, too late for a bot without a callback."""
        host = host_of(url)
        if is_address(host) and not self._addresses.permits(host):
            raise BotApiError(INVALID, "stream_url", why=f"{host} has no public address")

    async def _enter(self, bot: Bot, room_id: BotRoomId, channel_id: ChannelId) -> Line:
        """The line of a channel that the bot may play into. Raises BotApiError."""
        app = self._apps.app(bot.app_id)
        if app is None or Feature.RELAY not in app.features:
            raise BotApiError(PERMISSION_DENIED, why="the bot's app may not relay")
        if not bot.may_enter(room_id):
            raise BotApiError(PERMISSION_DENIED, why="the bot may not enter this room")
        channel = await self._bots.find_channel(bot.app_id, channel_id)
        if channel is None and self._registered_only:
            raise BotApiError(CHANNEL_NOT_FOUND, why="the channel is not registered")
        if channel is not None and not channel.lies_in(room_id):
            raise BotApiError(CHANNEL_NOT_FOUND, why="the channel lies in another room")
        return bot.line_in(channel)
