"""The words between a run (`core.run`) and its shell (`tasks.service`): events and effects.

Events are what happens to a run; effects are what is to be done about it. All are plain values.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from sluice.core.blame import Record
from sluice.core.lifecycle import Event, Reason
from sluice.core.push import PushStage
from sluice.core.tasks import PlaybackChange, RelaySpec, Spec, Task
from sluice.core.vitals import UNKNOWN, Vitals

#: Names a media process; all that is known of it here is that it is hashable.
Process = Any
#: Names a caller who waits for an answer; None: nobody does.
Ticket = Hashable | None


# --- events: asked for --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stop:
    """The run shall end for this reason. A stop, a removal of its user, the end of its lifetime."""

    ticket: Ticket
    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Update:
    """The run shall play what `change` makes of its spec, from the beginning. `change` may raise
    SluiceError, which is the answer then."""

    ticket: Ticket
    change: Callable[[RelaySpec], RelaySpec]


@dataclass(frozen=True, slots=True)
class Control:
    """The run shall go on, but play differently."""

    ticket: Ticket
    change: PlaybackChange


# --- events: told by the process ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of a session."""

    video_frames: int = 0
    audio_packets: int = 0
    bytes_out: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The session exists; a crash from now on may be its doing."""


@dataclass(frozen=True, slots=True)
class Planned:
    plan: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sourced:
    """What is known of the source by now."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flowing:
    """Media leaves (again)."""


@dataclass(frozen=True, slots=True)
class Lost:
    """No media leaves; the session goes on trying."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Staged:
    """The session is at another step. Without a `reason` the task keeps the one that it has."""

    ticket: ClassVar[Ticket] = None
    stage: PushStage
    reason: Reason | None
    text: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """`at` is in seconds of a clock that never jumps. `flowing`: what the session told last of its media."""

    position_us: int
    pass_number: int
    counts: Counts
    at: float
    vitals: Vitals = UNKNOWN
    flowing: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The session is over and holds nothing any more. `source_number` of what it played last, if it says."""

    reason: Reason
    text: str
    source_number: int | None = None


# --- events: of processes and of time -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """This process was told to begin."""

    process: Process


@dataclass(frozen=True, slots=True)
class Unheard:
    """What was sent to the process did not reach it: it is gone, which is told later."""


@dataclass(frozen=True, slots=True)
class ProcessGone:
    """`record` is what the run has lived through by now. `blamed`: the death is its fault."""

    record: Record
    blamed: bool


class Part(Enum):
    """The processes that a run depends on."""

    MEDIA = "media"
    ROOM = "room"


@dataclass(frozen=True, slots=True)
class Silence:
    """A process of the run has said nothing for a few seconds, or is heard again. Whether its media flows
    meanwhile is not known."""

    part: Part
    silent: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """The node has started, and found the run live in the store."""


@dataclass(frozen=True, slots=True)
class Time:
    """Some time has passed, or a process has come: what is due is done."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The machine cannot carry the run beside the others; `text` says what it needs and what is free."""

    text: str


# --- events: outcomes of effects ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Persisted:
    """The change is durable, and this is the task now."""

    task: Task[Any]


@dataclass(frozen=True, slots=True)
class CameTooLate:
    """Another writer has changed the row since the epoch of the change, and made this of it; None: there is
    no row any more."""

    task: Task[Any] | None


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """Nothing of the change was kept."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Answered:
    """The session plays as it was asked to, or does not: the `error` says why, and nothing has changed."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """Whether the session plays as it was asked to is not known."""

    why: str


RunEvent = (
    Stop
    | Update
    | Control
    | Accepted
    | Planned
    | Sourced
    | Flowing
    | Lost
    | Staged
    | Progressed
    | Finished
    | Placed
    | Unheard
    | ProcessGone
    | Silence
    | Opened
    | Time
    | NoRoom
    | Persisted
    | CameTooLate
    | StoreFailed
    | Answered
    | NotAnswered
)


# --- effects ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advance:
    """An event of the lifecycle."""

    event: Event
    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class SetStage:
    stage: PushStage
    reason: Reason | None
    text: str


@dataclass(frozen=True, slots=True)
class ChangeSpec:
    """`anew`: what is played begins with the new spec."""

    spec: Spec
    anew: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the run came."""

    position_us: int
    pass_number: int
    plan: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Persist:
    """All `steps` in this order, or none; and none if the row has changed since `epoch`. Its outcome is
    Persisted, CameTooLate or StoreFailed; until then there is no other Persist of the run."""

    epoch: int
    at: float  #: Unix seconds
    steps: tuple[Advance | SetStage | ChangeSpec, ...]
    progress: Progress | None = None
    control: PlaybackChange | None = None  #: which this notes


@dataclass(frozen=True, slots=True)
class Place:
    """Gives the run to a process, if there is one; its outcome is Placed, or nothing."""


class Order(Enum):
    STOP = "stop"
    UPDATE = "update"  #: plays what the task says now


@dataclass(frozen=True, slots=True)
class Send:
    """Tells the process; its outcome is Unheard, or nothing."""

    process: Process
    order: Order


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks the session to play differently; its outcome is Answered or NotAnswered."""

    process: Process
    change: PlaybackChange


@dataclass(frozen=True, slots=True)
class Answer:
    """To who asked for a change: it is made, or the `error` says why not. Without a ticket the change was
    nobody's, and the log has the error."""

    ticket: Ticket
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Hold:
    """The run's user is in its room from now on, whatever becomes of its media or of the room's process."""


@dataclass(frozen=True, slots=True)
class Retire:
    """The run is over: its user leaves the room."""


@dataclass(frozen=True, slots=True)
class Forget:
    """The run is over: nothing happens to it any more."""


Effect = Persist | Place | Send | Ask | Answer | Hold | Retire | Forget
