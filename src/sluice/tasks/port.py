"""What the HTTP dialects may ask of the tasks; `tasks.service` answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from sluice.core.bots import NO_LIMITS, StreamLimits
from sluice.core.ids import AppId, BotId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.tasks import (
    Dialect,
    Kind,
    MediaType,
    PlaybackChange,
    PushSpec,
    RelaySpec,
    S,
    StreamMode,
    Task,
)


@dataclass(frozen=True, slots=True)
class StartRequest(Generic[S]):
    """`user_id` is the virtual user of a relay, the publisher of a push; `bot_id` and `limits` are for the
    streams of bots."""

    dialect: Dialect
    app_id: AppId
    room_id: RoomId
    task_id: TaskId
    user_id: UserId
    business_id: BusinessId
    spec: S
    bot_id: BotId | None = None
    limits: StreamLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """A source to look at, as a relay's spec would name it. `app_id`: whose user agent and headers it is
    asked with."""

    url: str
    media_type: MediaType
    stream_modes: tuple[StreamMode, ...]
    width: int | None = None
    height: int | None = None
    frame_rate: int = 15
    bitrate_kbps: int | None = None
    app_id: str | None = None

    def spec(self, mode: StreamMode) -> RelaySpec:
        """What a relay would be that plays the source in this mode."""
        return RelaySpec(
            self.url,
            self.media_type,
            mode,
            width=self.width,
            height=self.height,
            frame_rate=self.frame_rate,
            bitrate_kbps=self.bitrate_kbps,
        )


class Probing(Protocol):
    async def probe(self, request: ProbeRequest) -> dict[str, Any]:
        """What the source is and what would be played of it, in the form of the native API; within 5 s.
        Raises BadInput for an app that there is not, Overloaded while too many others are looked at."""
        ...


class Tasks(Protocol):
    async def find_live(
        self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId
    ) -> Task[Any] | None: ...

    async def start(self, request: StartRequest[S]) -> tuple[Task[S], bool]:
        """The live task of this identity, and whether this call made it. Durable when it returns. Raises
        AccessRefused for a relay whose user may not enter the room, LimitReached for a stream of a bot beyond
        the request's limits, Draining while the node is being stopped."""
        ...

    async def find_of_bot(self, bot_id: BotId, task_id: TaskId) -> Task[RelaySpec] | None:
        """A bot's stream, an ended one as long as it is kept."""
        ...

    async def update_relay(
        self, app_id: AppId, room_id: RoomId, task_id: TaskId, change: Callable[[RelaySpec], RelaySpec]
    ) -> None:
        """Switches the live task to what `change` makes of its spec. Raises TaskNotFound, and what `change`
        raises."""
        ...

    async def stop_task(self, kind: Kind, app_id: AppId, room_id: RoomId, task_id: TaskId) -> None:
        """Raises TaskNotFound when no live task has this identity."""
        ...

    async def remove(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        """Ends the live tasks of a user, with Reason REMOVED. Without `room_id` those in all rooms of the
        app, without `user_id` those of everybody."""
        ...

    async def latest_push(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> Task[PushSpec] | None:
        """The latest run of this identity, an ended one for 72 h."""
        ...

    async def list_relays(
        self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int, newest_first: bool
    ) -> list[Task[RelaySpec]]:
        """The latest run of each TaskId in the room, ended ones for 72 h."""
        ...

    async def list_documents(
        self, *, limit: int, offset: int, begins: str = "", app_id: AppId | None = None
    ) -> list[dict[str, object]]:
        """Native task documents, newest first, of one app or of all; with `begins` those whose ids begin
        so."""
        ...

    async def document(self, run_id: RunId) -> dict[str, object]:
        """Raises TaskNotFound."""
        ...

    async def stop(self, run_id: RunId) -> None:
        """Raises TaskNotFound when the run is unknown or no longer live."""
        ...

    async def control(self, run_id: RunId, control: PlaybackChange) -> None:
        """In effect and durable when it returns. Raises TaskNotFound as `stop` does, BadInput for what the
        source cannot do, NotNow for what the state does not allow, and Overloaded when no answer came; then
        nothing has changed. Fields of errors are those of the native API."""
        ...
