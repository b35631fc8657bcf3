"""The family of single pushes: one user's stream to a CDN (docs/contract/volcengine.md 9.1 to 9.3).

A CDN that cannot be reached is no error of the call; it shows in the task. The caller gets the address back
as he gave it, since he signs with keys of the same app; logs and lists mask the stream key.
"""

from typing import Annotated

import structlog
from pydantic import Field, model_validator

from sluice.api.volcengine.errors import INVALID_RTMP_ADDRESS, MISSING, TASK_NOT_FOUND, OpenApiError
from sluice.api.volcengine.fields import (
    Fields,
    Id,
    Integer,
    OptionalId,
    Result,
    RoomRequest,
    TaskRequest,
    Text,
    whole,
)
from sluice.api.volcengine.relay import ALREADY_STARTED
from sluice.callbacks.forms.volcengine_numbers import push_report
from sluice.core.apps import App
from sluice.core.ids import BusinessId, RoomId, TaskId, UserId
from sluice.core.masking import mask_url
from sluice.core.rooms import StreamIndex
from sluice.core.tasks import Dialect, Kind, MediaType, PushSpec, Task
from sluice.core.urls import UrlRule
from sluice.tasks.port import StartRequest, Tasks
from sluice.wire.rtmp_url import RtmpUrl

#: A CDN's address has a host and an app; a stream's name may follow.
_PUSH_URL = UrlRule("rtmp:// or rtmps://", RtmpUrl.parse)

log = structlog.get_logger(__name__)


class PushedStream(Fields):
    """The stream to push."""

    user_id: Id
    """Who publishes it."""
    stream_type: Annotated[Integer, whole(0, 1)] = 0
    """0 camera and microphone, 1 screen."""


class PushControl(Fields):
    """How to push; may be {}."""

    media_type: Annotated[Integer, whole(0, 1)] = 0
    """0 audio and video, 1 audio only."""
    max_idle_time: Annotated[Integer, whole(10, 86_400)] = 180
    """Seconds without anything to push after which the task ends."""


class StartPushSingleStreamToCDN(TaskRequest):
    """Pushes one user's stream to an RTMP server: video unchanged, sound as AAC. A task that is live already
    goes on as it is, and the answer says so."""

    stream: PushedStream
    push_url: Annotated[Text, Field(alias="PushURL")]
    """Address of the RTMP server, with the stream's name."""
    control: PushControl
    business_id: OptionalId = ""
    """Selects the callback registration; echoed in callbacks."""

    @model_validator(mode="after")
    def _url_is_rtmp(self) -> "StartPushSingleStreamToCDN":
        try:
            _PUSH_URL.check(self.push_url)
        except ValueError as error:
            raise OpenApiError(INVALID_RTMP_ADDRESS) from error
        return self

    def push(self, app: App) -> StartRequest[PushSpec]:
        return StartRequest(
            dialect=Dialect.VOLCENGINE,
            app_id=app.app_id,
            room_id=RoomId(self.room_id),
            task_id=TaskId(self.task_id),
            user_id=UserId(self.stream.user_id),
            business_id=BusinessId(self.business_id),
            spec=PushSpec(
                url=self.push_url,
                stream=StreamIndex(self.stream.stream_type),
                media_type=MediaType(self.control.media_type),
                max_idle_s=self.control.max_idle_time,
            ),
        )


class StopPushStreamToCDN(TaskRequest):
    """Ends a live push."""


class GetPushSingleStreamToCDNTask(RoomRequest):
    """How a push is, or how it ended in the last 72 h."""

    task_id: OptionalId = ""
    """The TaskId of the start; required without UserId."""
    user_id: OptionalId = ""
    """The user whose client began the task; required without TaskId."""

    @model_validator(mode="after")
    def _one_is_given(self) -> "GetPushSingleStreamToCDNTask":
        if not self.task_id and not self.user_id:
            raise OpenApiError(MISSING, "TaskId")
        return self

    def task_ids(self) -> tuple[str, ...]:
        """The task ids to try, in this order (9.3): tasks of client SDKs are named after their user."""
        if not self.task_id:
            return (self.user_id,)
        return (self.task_id, f"{self.user_id}@@{self.task_id}") if self.user_id else (self.task_id,)


class PushStream(Result):
    user_id: str
    stream_type: int


class PushSettings(Result):
    media_type: int
    max_idle_time: int


class PushTask(Result):
    """A push as GetPushSingleStreamToCDNTask shows it."""

    stream: PushStream
    push_url: Annotated[str, Field(alias="PushURL")]
    control: PushSettings
    start_time: int
    """Unix milliseconds."""
    end_time: int
    """Unix milliseconds, 0 while it has not ended."""
    status: int
    """0 unknown, 1 not started, 2 running, 3 ended, 4 failed."""
    push_stream_state: int
    """With Status 2: 1 not pushing yet, 2 connecting, 3 reconnecting, 4 connected, 5 pushing, 6 stopped."""
    stop_reason: str
    """Empty, StopByAPI, StartTaskFailed, IdleTimeOut, UserDisconnect or UnknownStopReason."""


class PushTaskResult(Result):
    task: Annotated[PushTask, Field(alias="PushSingleStreamToCDNTask")]


class PushHandlers:
    """Checks 8 of section 5.3 and the work itself; each answers the envelope's Result."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    async def start(self, request: StartPushSingleStreamToCDN, app: App, now: float) -> str:
        push = request.push(app)
        task, created = await self._tasks.start(push)
        if not created:
            return ALREADY_STARTED
        log.info("push accepted", run_id=task.id, room_id=push.room_id, target=mask_url(push.spec.url))
        return "ok"

    async def stop(self, request: StopPushStreamToCDN, app: App, now: float) -> str:
        await self._tasks.stop_task(Kind.PUSH, app.app_id, RoomId(request.room_id), TaskId(request.task_id))
        return "ok"

    async def get(self, request: GetPushSingleStreamToCDNTask, app: App, now: float) -> PushTaskResult:
        for task_id in request.task_ids():
            task = await self._tasks.latest_push(app.app_id, RoomId(request.room_id), TaskId(task_id))
            if task is not None:
                return PushTaskResult(task=_shown(task))
        raise OpenApiError(TASK_NOT_FOUND)


def _shown(task: Task[PushSpec]) -> PushTask:
    report = push_report(task.state, task.stage, task.reason)
    return PushTask(
        stream=PushStream(user_id=task.user_id, stream_type=task.spec.stream),
        push_url=task.spec.url,
        control=PushSettings(media_type=task.spec.media_type, max_idle_time=task.spec.max_idle_s),
        start_time=int(task.created_at * 1000),
        end_time=int(task.ended_at * 1000) if task.ended_at is not None else 0,
        status=report.status,
        push_stream_state=report.push_stream_state,
        stop_reason=report.stop_reason,
    )
