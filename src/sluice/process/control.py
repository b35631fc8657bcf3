"""The control messages between the node and its room and media processes: the one schema that they share.

Messages are small JSON documents. Frames travel between media and room processes (`process.link`), and what
those two say to each other is the schema's other half, `process.documents`. Requests and their answers are
paired by `process.channel`, so no message carries a correlation id of its own.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from sluice.core.figures import Values
from sluice.core.ids import AppId, RoomId, RunId, UserId
from sluice.core.room_documents import RoomDocument, RoomSummary, ViewersReport, Watched
from sluice.core.rooms import (
    LinkAddress,
    PatchAnswer,
    PeerAnswer,
    PeerPatch,
    PublishOffer,
    RoomChange,
    RosterEntry,
    StreamIndex,
    WatchOffer,
)
from sluice.core.tasks import MediaType, StreamMode
from sluice.core.vitals import UNKNOWN, Vitals
from sluice.process.documents import Document

# --- every process -> node ------------------------------------------------------------------------------


class Ready(Document):
    """The process serves. `media_port` is the bound UDP port of a room process, 0 elsewhere."""

    type: Literal["ready"] = "ready"
    media_port: int = 0


class NotStarted(Document):
    """The last word of a process that cannot start: `why`, for the operator."""

    type: Literal["not_started"] = "not_started"
    why: str


class Stats(Document):
    """Once a second: the figures of the process (core.figures), by name and label. `totals` are counted since
    it began."""

    type: Literal["stats"] = "stats"
    totals: Values
    gauges: Values


# --- node -> room process -------------------------------------------------------------------------------


class Watch(Document):
    """Answered by Answer or Refused."""

    type: Literal["watch"] = "watch"
    offer: WatchOffer


class Publish(Document):
    """Answered by Answer or Refused."""

    type: Literal["publish"] = "publish"
    offer: PublishOffer


class PatchPeer(Document):
    """Answered by Patched or Refused."""

    type: Literal["patch_peer"] = "patch_peer"
    patch: PeerPatch


class PeerSends(Document):
    """A publishing peer of `user_id` says which kinds of media (audio, video) it sends from now on. Answered
    by Done (whether there is such a peer)."""

    type: Literal["peer_sends"] = "peer_sends"
    peer_id: str
    user_id: str
    kinds: tuple[str, ...]


class ClosePeer(Document):
    """A peer of `user_id` in this room ends. Answered by Done."""

    type: Literal["close_peer"] = "close_peer"
    app_id: str
    room_id: str
    user_id: str
    peer_id: str


class Enter(Document):
    """A user opens an event stream. Answered by Roster or Refused. `presence` names the stream for Leave."""

    type: Literal["enter"] = "enter"
    app_id: str
    room_id: str
    user_id: str
    presence: str


class Leave(Document):
    """An event stream has ended."""

    type: Literal["leave"] = "leave"
    app_id: str
    room_id: str
    presence: str


class HoldUser(Document):
    """The run's virtual user is in the room until Retire, whatever becomes of its link."""

    type: Literal["hold_user"] = "hold_user"
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    run_id: RunId


class Retire(Document):
    """The run is over: its virtual user leaves the room, whatever has become of its link. A notice; asked
    for, it is answered by Done."""

    type: Literal["retire"] = "retire"
    app_id: str
    room_id: str
    run_id: str


class AskRoster(Document):
    """Who is in a room? Answered by Roster, which is empty where there is no such room."""

    type: Literal["ask_roster"] = "ask_roster"
    app_id: str
    room_id: str


class AskRooms(Document):
    """Which rooms are there, the first `limit` behind `after` (an app and a room of it)? Answered by
    RoomList."""

    type: Literal["ask_rooms"] = "ask_rooms"
    after: tuple[AppId, RoomId] | None
    limit: int


class AskRoom(Document):
    """What is in a room? Of users, streams and peers the `limit` from `offset` on. Answered by RoomShown."""

    type: Literal["ask_room"] = "ask_room"
    app_id: AppId
    room_id: RoomId
    offset: int
    limit: int


class AskViewers(Document):
    """What do the viewers of these users report? Answered by Viewers."""

    type: Literal["ask_viewers"] = "ask_viewers"
    watched: tuple[Watched, ...]


class Expel(Document):
    """Users of an app leave at once; their peers and publications end. An empty `room_id` stands for all
    rooms, an empty `user_id` for all users. Answered by Done (whether anybody was there)."""

    type: Literal["expel"] = "expel"
    app_id: str
    room_id: str
    user_id: str


# --- room process -> node -------------------------------------------------------------------------------


class Answer(Document):
    """To Watch and Publish."""

    type: Literal["answer"] = "answer"
    answer: PeerAnswer


class Patched(Document):
    """To PatchPeer."""

    type: Literal["patched"] = "patched"
    answer: PatchAnswer


class Refused(Document):
    """The request cannot be served; `field` and `why` are those of core.errors.BadInput. `busy`: not now.
    `forbidden`: not with this token."""

    type: Literal["refusal"] = "refusal"
    field: str
    why: str
    busy: bool = False
    forbidden: bool = False


class Done(Document):
    type: Literal["done"] = "done"
    found: bool


class Roster(Document):
    """Everyone in a room after its change `number`."""

    type: Literal["roster"] = "roster"
    number: int
    users: tuple[RosterEntry, ...]


class RoomList(Document):
    """To AskRooms."""

    type: Literal["room_list"] = "room_list"
    rooms: tuple[RoomSummary, ...]


class RoomShown(Document):
    """To AskRoom; None where there is no such room."""

    type: Literal["room_shown"] = "room_shown"
    room: RoomDocument | None


class Viewers(Document):
    """To AskViewers, in the order asked for."""

    type: Literal["viewers"] = "viewers"
    reports: tuple[ViewersReport, ...]


class RoomChanged(Document):
    """`number` counts the changes of the room, so that a reader of its roster knows which are in it."""

    type: Literal["room_changed"] = "room_changed"
    number: int
    change: RoomChange


# --- node -> media process ------------------------------------------------------------------------------


class RelayJob(Document):
    """Everything that a media process needs to run one relay, also after a crash in mid-play.

    `link` is where the room is reached. `position_us` and `pass_number` say where it goes on; `idle_s` is
    what is left of the idle time. `source_number` counts the sources of the run, from 1.
    """

    run_id: RunId
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    url: str
    source_number: int = 1
    media_type: MediaType
    stream_mode: StreamMode
    loop: bool
    width: int | None = None
    height: int | None = None
    frame_rate: int = 15
    bitrate_kbps: int | None = None
    idle_s: float
    start_at: float = 0.0  #: Unix time before which no packet may leave
    link: LinkAddress
    position_us: int = 0
    pass_number: int = 1
    plays: int = 1  #: the last pass's number, where it does not loop
    volume: int = 100  #: percent of the amplitude
    normalize: bool = False
    paused: bool = False  #: it begins paused
    start_tries: int | None = None  #: of a source that cannot be opened; None: until `idle_s` is over
    user_agent: str = ""  #: for requests to the source; empty: ours
    headers: dict[str, str] = Field(default_factory=dict, repr=False)  #: further ones


class StartSession(Document):
    type: Literal["start_session"] = "start_session"
    job: RelayJob


class UpdateSession(Document):
    """The run goes on with another source; its user stays in the room."""

    type: Literal["update_session"] = "update_session"
    job: RelayJob


class ControlSession(Document):
    """Changes how a running relay plays; what is None stays as it is. A position is one in the current pass.
    Answered by Done (whether the run is here), or by Refused: then nothing has changed, and `field` is named
    as in the native API (pause, seek_s, volume, normalize)."""

    type: Literal["control_session"] = "control_session"
    run_id: str
    paused: bool | None = None
    position_us: int | None = None
    volume: int | None = None
    normalize: bool | None = None


class PushJob(Document):
    """Everything that a media process needs to push one user's stream to a CDN, also after a crash.

    `idle_s` is what is left of the idle time. When key frames are further apart than `key_frame_s`, one is
    asked for. `connected_before`: it has tried to reach the CDN before.
    """

    run_id: RunId
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: StreamIndex
    url: str
    media_type: MediaType
    idle_s: float
    key_frame_s: float = 4.0
    link: LinkAddress
    connected_before: bool = False


class StartPush(Document):
    type: Literal["start_push"] = "start_push"
    job: PushJob


class ProbeJob(Document):
    """Looks at a source without playing it. Answered by Probed in LONGEST_PROBE_S (core.limits) whatever the
    source does, or at once by Refused. `stream_modes`: those to plan for."""

    type: Literal["probe"] = "probe"
    url: str
    media_type: MediaType
    stream_modes: tuple[StreamMode, ...]
    width: int | None = None
    height: int | None = None
    frame_rate: int = 15
    bitrate_kbps: int | None = None
    user_agent: str = ""  #: for requests to the source; empty: ours
    headers: dict[str, str] = Field(default_factory=dict, repr=False)  #: further ones


class StopSession(Document):
    """Answered by a Finished report of the run."""

    type: Literal["stop_session"] = "stop_session"
    run_id: str


class AskSpeed(Document):
    """How fast is this machine? Answered by Speed, within a second."""

    type: Literal["ask_speed"] = "ask_speed"


class Relieve(Document):
    """Transcodes show one picture of `shown` from now on, so that the machine has less to do; 1 is all."""

    type: Literal["relieve"] = "relieve"
    shown: int


# --- media process -> node ------------------------------------------------------------------------------


class Accepted(Document):
    """The session exists; a crash of the process from now on may be its doing."""

    type: Literal["accepted"] = "accepted"
    run_id: str


class Probed(Document):
    """To ProbeJob: what is known of the source, in the form of the native API."""

    type: Literal["probed"] = "probed"
    document: dict[str, Any]


class Speed(Document):
    """To AskSpeed: the CPU time that the fixed piece of work took (core.cost_table)."""

    type: Literal["speed"] = "speed"
    took_s: float


class Planned(Document):
    """What happens to the tracks of a source now (core.plan.Plan.document). Its `notes` say in words what was
    left out, or is played instead of something else."""

    type: Literal["planned"] = "planned"
    run_id: str
    plan: dict[str, Any]


class Sourced(Document):
    """What the source is, as far as it has shown by now (core.source_facts.SourceFacts.document)."""

    type: Literal["sourced"] = "sourced"
    run_id: str
    facts: dict[str, Any]


class Flowing(Document):
    """Packets leave (again)."""

    type: Literal["flowing"] = "flowing"
    run_id: str


class Lost(Document):
    """No packet leaves any more, or the source cannot be opened yet; the session goes on trying."""

    type: Literal["lost"] = "lost"
    run_id: str
    reason: str
    text: str


class StageChanged(Document):
    """A push is at another step (core.push.PushStage). `text` says why where that is not obvious; `reason`
    (core.lifecycle.Reason) is set where callers are told why."""

    type: Literal["stage_changed"] = "stage_changed"
    run_id: str
    stage: str
    text: str = ""
    reason: str = ""


class Finished(Document):
    """The session is over and has given back all it held. `source_number` is that of the job which it played
    last."""

    type: Literal["finished"] = "finished"
    run_id: str
    reason: str
    text: str
    source_number: int | None = None


class Progress(Document):
    """Once a second while a session lives, and when a signal (core.vitals) changes. Counters are totals of
    this session. `flowing`: it has told Flowing, and not Lost since."""

    type: Literal["progress"] = "progress"
    run_id: str
    position_us: int
    pass_number: int
    video_frames: int
    audio_packets: int
    bytes_out: int
    reconnects: int = 0
    dropped: dict[str, int]
    vitals: Vitals = UNKNOWN
    flowing: bool = False


Message = (
    Ready
    | NotStarted
    | Stats
    | Watch
    | Publish
    | PatchPeer
    | PeerSends
    | ClosePeer
    | Enter
    | Leave
    | HoldUser
    | Retire
    | AskRoster
    | AskRooms
    | AskRoom
    | AskViewers
    | Expel
    | Answer
    | Patched
    | Refused
    | Done
    | Roster
    | RoomList
    | RoomShown
    | Viewers
    | RoomChanged
    | StartSession
    | UpdateSession
    | ControlSession
    | StartPush
    | StopSession
    | ProbeJob
    | Probed
    | AskSpeed
    | Relieve
    | Accepted
    | Speed
    | Planned
    | Sourced
    | Flowing
    | Lost
    | StageChanged
    | Finished
    | Progress
)

_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    return message.model_dump_json().encode()


def decode(data: bytes) -> Message:
    """Raises pydantic.ValidationError for anything outside the schema."""
    return _ADAPTER.validate_json(data)
