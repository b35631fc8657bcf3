"""The relay family: StartRelayStream, UpdateRelayStream, StopRelayStream, ListRelayStream
(docs/contract/volcengine.md 8).

A start is safe to repeat: a live task of the same identity answers with the vendor's sentence and stays
as it is. A source that cannot be reached is no error of the call; it shows in the task.
"""

from dataclasses import replace
from typing import Annotated

import structlog
from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from sluice.api.volcengine.errors import ILLEGAL, MISSING, OpenApiError
from sluice.api.volcengine.fields import (
    Boolean,
    Fields,
    Id,
    Integer,
    OptionalId,
    ReadContext,
    Result,
    RoomRequest,
    TaskRequest,
    Text,
    illegal,
    missing,
    whole,
)
from sluice.callbacks.forms.volcengine_numbers import RELAY_STATUS
from sluice.core.apps import App
from sluice.core.errors import AccessRefused
from sluice.core.ids import BusinessId, RoomId, TaskId, UserId
from sluice.core.lifecycle import State
from sluice.core.masking import mask_url
from sluice.core.tasks import (
    LONGEST_AHEAD_S,
    Dialect,
    Kind,
    MediaType,
    RelaySpec,
    StreamMode,
    Task,
)
from sluice.core.urls import SOURCE_URL
from sluice.tasks.port import StartRequest, Tasks
from sluice.wire.token import Privilege, verify

ALREADY_STARTED = "The task has been started. Please do not call the startup task interface repeatedly"
_SIZE_PX = (16, 1920)
#: The range counts only if video is transcoded.
_Size = Annotated[Integer, WithJsonSchema({"type": "integer", "minimum": 16, "maximum": 1920})]
_PUBLISHED = {
    MediaType.AUDIO_VIDEO: (Privilege.PUBLISH_AUDIO, Privilege.PUBLISH_VIDEO),
    MediaType.AUDIO: (Privilege.PUBLISH_AUDIO,),
    MediaType.VIDEO: (Privilege.PUBLISH_VIDEO,),
}

log = structlog.get_logger(__name__)


def _stream_url(value: str) -> str:
    try:
        return SOURCE_URL.check(value)
    except ValueError as error:
        raise illegal(str(error)) from error


class Control(Fields):
    """What to play and how."""

    # When a field is checked, those before it are in `info.data`.
    stream_url: Annotated[Text, AfterValidator(_stream_url)]
    """Address of the source: HLS, RTMP, MP4, FLV, TS and others."""
    media_type: Annotated[Integer, whole(0, 2)] = 0
    """0 audio and video, 1 audio only, 2 video only."""
    stream_mode: Annotated[Integer, whole(0, 1)] = 0
    """0 transcode, 1 pass H.264 on unchanged."""
    start_time_stamp: Annotated[Integer, Field(ge=0)] = 0
    """Scheduled start in Unix seconds, at most 72 h ahead; 0 or a past time is at once."""
    loop: Boolean = False
    """Repeat the source."""
    video_width: _Size | None = Field(default=None, validate_default=True)
    """Pixels, required when video is transcoded; odd values go down by one."""
    video_height: _Size | None = Field(default=None, validate_default=True)
    """Pixels, required when video is transcoded; odd values go down by one."""
    frame_rate: Annotated[Integer, whole(1, 30)] = 15
    """Frames per second, when transcoding."""
    bitrate: Annotated[Integer, whole(1, 100_000)] | None = None
    """At most so many kbit/s, when transcoding."""

    @field_validator("video_width", "video_height")
    @classmethod
    def _even_size(cls, value: int | None, info: ValidationInfo[ReadContext]) -> int | None:
        """Required when video is transcoded, ignored otherwise; odd goes down to even (8.1)."""
        transcoded = info.data.get("stream_mode") == StreamMode.TRANSCODE
        if not transcoded or info.data.get("media_type") not in (MediaType.AUDIO_VIDEO, MediaType.VIDEO):
            return None
        if value is None:
            raise missing()
        if not _SIZE_PX[0] <= value <= _SIZE_PX[1]:
            raise illegal(f"must be {_SIZE_PX[0]} to {_SIZE_PX[1]}")
        return value - value % 2

    def spec(self, max_idle_s: int) -> RelaySpec:
        return RelaySpec(
            url=self.stream_url,
            media_type=MediaType(self.media_type),
            stream_mode=StreamMode(self.stream_mode),
            start_at=self.start_time_stamp,
            loop=self.loop,
            width=self.video_width,
            height=self.video_height,
            frame_rate=self.frame_rate,
            bitrate_kbps=self.bitrate,
            max_idle_s=max_idle_s,
        )


class UpdatedControl(Fields):
    """What to play from now on, and how; what is absent stays as it is."""

    stream_url: Annotated[Text, AfterValidator(_stream_url)]
    """Address of the source."""
    media_type: Annotated[Integer, whole(0, 2)] | None = None
    """0 audio and video, 1 audio only, 2 video only."""
    stream_mode: Annotated[Integer, whole(0, 1)] | None = None
    """0 transcode, 1 pass H.264 on unchanged."""
    loop: Boolean | None = None
    """Repeat the source."""
    video_width: Annotated[Integer, whole(*_SIZE_PX)] | None = None
    """Pixels; odd values go down by one."""
    video_height: Annotated[Integer, whole(*_SIZE_PX)] | None = None
    """Pixels; odd values go down by one."""
    frame_rate: Annotated[Integer, whole(1, 30)] | None = None
    """Frames per second, when transcoding."""
    bitrate: Annotated[Integer, whole(1, 100_000)] | None = None
    """At most so many kbit/s, when transcoding."""

    def spec(self, before: RelaySpec) -> RelaySpec:
        """Raises OpenApiError when video would be transcoded to no size."""
        width = before.width if self.video_width is None else self.video_width - self.video_width % 2
        height = before.height if self.video_height is None else self.video_height - self.video_height % 2
        media_type = before.media_type if self.media_type is None else MediaType(self.media_type)
        mode = before.stream_mode if self.stream_mode is None else StreamMode(self.stream_mode)
        if mode is StreamMode.TRANSCODE and media_type is not MediaType.AUDIO:
            for name, value in (("Control.VideoWidth", width), ("Control.VideoHeight", height)):
                if value is None:
                    raise OpenApiError(MISSING, name)
        return replace(
            before,
            url=self.stream_url,
            media_type=media_type,
            stream_mode=mode,
            loop=before.loop if self.loop is None else self.loop,
            width=width,
            height=height,
            frame_rate=self.frame_rate or before.frame_rate,
            bitrate_kbps=self.bitrate or before.bitrate_kbps,
        )


class UpdateRelayStream(TaskRequest):
    """Switches a live task to another source or another form."""

    control: UpdatedControl


class StartRelayStream(TaskRequest):
    """Plays an online stream into a room as a virtual user. A task that is live already goes on as it is,
    and the answer says so."""

    user_id: Id
    """The virtual user that publishes the stream."""
    token: Text
    """RTC token of UserId for RoomId with the privilege to publish."""
    control: Control
    business_id: OptionalId = ""
    """Selects the callback registration; echoed in callbacks."""
    max_idle_time: Annotated[Integer, whole(5, 600)] = 300
    """Seconds without media after which the task ends."""

    @model_validator(mode="after")
    def _start_is_near(self, info: ValidationInfo[ReadContext]) -> "StartRelayStream":
        if self.control.start_time_stamp > info.context.now + LONGEST_AHEAD_S:
            raise OpenApiError(ILLEGAL, "Control.StartTimeStamp", "must be at most 72 h ahead")
        return self

    def relay(self, app: App) -> StartRequest[RelaySpec]:
        return StartRequest(
            dialect=Dialect.VOLCENGINE,
            app_id=app.app_id,
            room_id=RoomId(self.room_id),
            task_id=TaskId(self.task_id),
            user_id=UserId(self.user_id),
            business_id=BusinessId(self.business_id),
            spec=self.control.spec(self.max_idle_time),
        )


class StopRelayStream(TaskRequest):
    """Ends a live task, also one that waits for its start time."""


class ListRelayStream(RoomRequest):
    """The latest run of each task of a room, ended ones for 72 h."""

    offset: Annotated[Integer, whole(0, 9999)] = 0
    """Tasks to skip."""
    limit: Annotated[Integer, whole(1, 100)] = 10
    """Tasks on a page."""
    order: Annotated[Integer, whole(0, 1)] = 0
    """0 newest first, 1 oldest first."""


class RelayItem(Result):
    """A task as ListRelayStream shows it."""

    app_id: str
    room_id: str
    user_id: str
    task_id: str
    status: int
    """1 starting, 2 running, 3 ended."""
    create_time: int
    """Unix seconds."""
    stream_url: str
    stream_mode: int
    media_type: int
    video_width: int | None
    video_height: int | None
    frame_rate: int


class RelayPage(Result):
    task: list[RelayItem]
    total: int
    """Tasks on this page."""
    offset: int
    """Where the next page begins."""
    limit: int


class RelayHandlers:
    """Checks 8 and 9 of section 5.3 and the work itself; each answers the envelope's Result."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def start(self, request: StartRelayStream, app: App, now: float) -> str:
        relay = request.relay(app)
        try:
            _check_token(request.token, relay, app, now)
        except OpenApiError:
            # Repeating a start is no error, even with a token that has expired since.
            live = await self._tasks.find_live(Kind.RELAY, relay.app_id, relay.room_id, relay.task_id)
            if live is None or live.state is State.STOPPING:
                raise
            return ALREADY_STARTED
        try:
            task, created = await self._tasks.start(relay)
        except AccessRefused as error:
            raise OpenApiError(ILLEGAL, "UserId", str(error)) from error
        if not created:
            return ALREADY_STARTED
        log.info("relay accepted", run_id=task.id, room_id=relay.room_id, source=mask_url(relay.spec.url))
        return "ok"

    async def update(self, request: UpdateRelayStream, app: App, now: float) -> str:
        await self._tasks.update_relay(
            app.app_id, RoomId(request.room_id), TaskId(request.task_id), request.control.spec
        )
        log.info("relay updated", room_id=request.room_id, source=mask_url(request.control.stream_url))
        return "ok"

    async def stop(self, request: StopRelayStream, app: App, now: float) -> str:
        await self._tasks.stop_task(Kind.RELAY, app.app_id, RoomId(request.room_id), TaskId(request.task_id))
        return "ok"

    async def list(self, request: ListRelayStream, app: App, now: float) -> RelayPage:
        page = await self._tasks.list_relays(
            app.app_id,
            RoomId(request.room_id),
            offset=request.offset,
            limit=request.limit,
            newest_first=request.order == 0,
        )
        return RelayPage(
            task=[_item(task) for task in page],
            total=len(page),
            offset=request.offset + len(page),
            limit=request.limit,
        )


def _check_token(token: str, relay: StartRequest[RelaySpec], app: App, now: float) -> None:
    try:
        claims = verify(token, app, relay.room_id, relay.user_id, now)
    except AccessRefused as error:
        raise OpenApiError(ILLEGAL, "Token", str(error)) from error
    if not claims.may_publish(_PUBLISHED[relay.spec.media_type], now):
        raise OpenApiError(ILLEGAL, "Token", "the token does not allow to publish; make it with privilege 0")


def _item(task: Task[RelaySpec]) -> RelayItem:
    return RelayItem(
        app_id=task.app_id,
        room_id=task.room_id,
        user_id=task.user_id,
        task_id=task.task_id,
        status=RELAY_STATUS[task.state],
        create_time=int(task.created_at),
        stream_url=task.spec.url,
        stream_mode=task.spec.stream_mode,
        media_type=task.spec.media_type,
        video_width=task.spec.width,
        video_height=task.spec.height,
        frame_rate=task.spec.frame_rate,
    )
