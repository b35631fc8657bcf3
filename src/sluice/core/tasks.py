"""What was asked for (`RelaySpec`, `PushSpec`) and what became of it (`Task`)."""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import ClassVar, Generic, TypeVar

from sluice.core.ids import AppId, BotId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.lifecycle import Reason, State
from sluice.core.push import PushStage
from sluice.core.rooms import StreamIndex

#: A file is opened so long before its scheduled start; `start_at` may lie at most so far ahead.
OPEN_AHEAD_S = 5.0
LONGEST_AHEAD_S = 72 * 3600

#: A relay ends by itself 72 h after its effective start (docs/contract/volcengine.md 8.1); a push does not.
LIFETIME_S = 72 * 3600
#: Ended tasks stay listed for 72 h (docs/contract/volcengine.md 8.4).
LISTED_S = 72 * 3600
#: The volume at which sound is as the source has it.
FULL_VOLUME = 100
#: Schemes of the addresses that a relay can play.
PLAYABLE_SCHEMES = ("http", "https", "rtmp", "rtmps")


class Kind(Enum):
    RELAY = "relay"
    PUSH = "push"


class Dialect(Enum):
    """In whose words a task was asked for, and is told of. A bot's are those of its channel's line."""

    VOLCENGINE = "volcengine"
    BOT_TRTC = "bot_trtc"
    BOT_VOLC = "bot_volc"


class MediaType(IntEnum):
    AUDIO_VIDEO = 0
    AUDIO = 1
    VIDEO = 2


class StreamMode(IntEnum):
    TRANSCODE = 0
    COPY = 1


@dataclass(frozen=True, slots=True)
class RelaySpec:
    """What a relay shall play and how; units as named, None where the caller left it open."""

    kind: ClassVar[Kind] = Kind.RELAY
    url: str
    media_type: MediaType = MediaType.AUDIO_VIDEO
    stream_mode: StreamMode = StreamMode.TRANSCODE
    start_at: int = 0  #: Unix seconds, 0 = at once
    loop: bool = False
    width: int | None = None
    height: int | None = None
    frame_rate: int = 15
    bitrate_kbps: int | None = None
    max_idle_s: int = 300
    plays: int = 1  #: passes of a source that ends; without effect where it loops
    begin_s: int = 0  #: where the first pass of a recording begins
    volume: int = FULL_VOLUME  #: percent of the amplitude
    normalize: bool = False  #: of loudness (EBU R 128)
    lifetime_s: float | None = LIFETIME_S  #: None: as long as media flows
    callback_url: str = field(default="", repr=False)  #: who is told of this task alone
    start_tries: int | None = None  #: of a source that cannot be opened; None: until `max_idle_s`


@dataclass(frozen=True, slots=True)
class PushSpec:
    """Where one of a user's streams is pushed to."""

    kind: ClassVar[Kind] = Kind.PUSH
    start_at: ClassVar[int] = 0  #: always at once
    begin_s: ClassVar[int] = 0
    lifetime_s: ClassVar[None] = None
    url: str
    stream: StreamIndex = StreamIndex.CAMERA
    media_type: MediaType = MediaType.AUDIO_VIDEO
    max_idle_s: int = 180


Spec = RelaySpec | PushSpec
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class PlaybackChange:
    """How a live relay shall play from now on, all of it or nothing; None leaves a thing as it is."""

    paused: bool | None = None
    position_us: int | None = None  #: in the pass that it is in
    volume: int | None = None  #: percent of the amplitude
    normalize: bool | None = None


@dataclass(frozen=True, slots=True)
class Task(Generic[S]):
    """One run of a task. `app_id`, `room_id` and `task_id` identify it for the caller, `id` for us.

    `user_id` is the virtual user of a relay, the publisher of a push. Times are Unix seconds. `epoch` grows
    with every change of state and fences late writers. `flowed_at` is when its media first flowed, `stage` is
    a push's alone, `bot_id` is who began it where a bot did.
    """

    id: RunId
    kind: Kind
    dialect: Dialect
    app_id: AppId
    room_id: RoomId
    task_id: TaskId
    user_id: UserId
    business_id: BusinessId
    spec: S
    state: State
    reason: Reason
    reason_text: str
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    epoch: int = 0
    flowed_at: float | None = None
    stage: PushStage = PushStage.NONE
    bot_id: BotId | None = None
