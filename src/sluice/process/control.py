"""The control messages between the node and its room and media processes: the one schema that they share.

Messages are small JSON documents; frames never travel here (see `process.link`). Requests and their
answers are paired by `process.channel`, so no message carries a correlation id of its own.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sluice.core.tasks import MediaType, StreamMode


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


# --- every process -> node ------------------------------------------------------------------------------


class Ready(_Message):
    """The process serves. `media_port` is the bound UDP port of a room process, 0 elsewhere."""

    type: Literal["ready"] = "ready"
    media_port: int = 0


class NotStarted(_Message):
    """The last word of a process that cannot start: `why`, for the operator."""

    type: Literal["not_started"] = "not_started"
    why: str


# --- node -> room process -------------------------------------------------------------------------------


class Watch(_Message):
    """`viewer` offers to watch stream `stream` of `user_id`; answered by Answer or Refused. `address` is
    where the offer came from, empty where nobody knows."""

    type: Literal["watch"] = "watch"
    app_id: str
    room_id: str
    user_id: str
    stream: int
    viewer: str
    sdp: str
    address: str = ""


class Publish(_Message):
    """`user_id` offers to publish stream `stream`; `kinds` (audio, video) are those that its token allows.
    Answered by Answer or Refused."""

    type: Literal["publish"] = "publish"
    app_id: str
    room_id: str
    user_id: str
    stream: int
    kinds: tuple[str, ...]
    sdp: str
    address: str = ""


class PatchPeer(_Message):
    """Trickled candidates or an ICE restart of a peer of `user_id` (RFC 9725 4.3). `etags` are those of the
    ICE sessions that it may meet, ``*`` any. Answered by Patched or Refused."""

    type: Literal["patch_peer"] = "patch_peer"
    peer_id: str
    user_id: str
    etags: tuple[str, ...]
    fragment: str


class PeerSends(_Message):
    """A publishing peer of `user_id` says which kinds of media (audio, video) it sends from now on; answered
    by Done (whether there is such a peer)."""

    type: Literal["peer_sends"] = "peer_sends"
    peer_id: str
    user_id: str
    kinds: tuple[str, ...]


class ClosePeer(_Message):
    """A peer of `user_id` in this room ends. Answered by Done."""

    type: Literal["close_peer"] = "close_peer"
    app_id: str
    room_id: str
    user_id: str
    peer_id: str


class Enter(_Message):
    """A user's event stream opens; answered by Roster. `presence` names it for Leave."""

    type: Literal["enter"] = "enter"
    app_id: str
    room_id: str
    user_id: str
    presence: str


class Leave(_Message):
    type: Literal["leave"] = "leave"
    app_id: str
    room_id: str
    presence: str


class Retire(_Message):
    """The run is over: its virtual user leaves the room, whatever happened to its link."""

    type: Literal["retire"] = "retire"
    app_id: str
    room_id: str
    run_id: str


class AskRoster(_Message):
    """Who is in a room; answered by Roster, empty where there is no such room."""

    type: Literal["ask_roster"] = "ask_roster"
    app_id: str
    room_id: str


class Expel(_Message):
    """Users of an app leave at once: their peers and publications end. An empty `room_id` stands for all
    rooms, an empty `user_id` for all users; answered by Done (whether anybody was there)."""

    type: Literal["expel"] = "expel"
    app_id: str
    room_id: str
    user_id: str


# --- room process -> node -------------------------------------------------------------------------------


class Answer(_Message):
    """`etag` names the ICE session of the peer."""

    type: Literal["answer"] = "answer"
    peer_id: str
    etag: str
    sdp: str


class Patched(_Message):
    """`taken`: nothing to say; `restarted`: with our side of the new ICE session; `stale`: of an older one;
    `unknown`: no such peer; `replaced`: it ended because another publisher took its stream; `ended`: it
    exceeded its budgets, as `why` says."""

    type: Literal["patched"] = "patched"
    outcome: Literal["taken", "restarted", "stale", "unknown", "replaced", "ended"]
    why: str = ""
    etag: str = ""
    fragment: str = ""


class Refused(_Message):
    """The request cannot be served; `field` and `why` as in core.errors.BadInput. `busy`: not now,
    `forbidden`: not with this token."""

    type: Literal["refusal"] = "refusal"
    field: str
    why: str
    busy: bool = False
    forbidden: bool = False


class Done(_Message):
    type: Literal["done"] = "done"
    found: bool


class PublishedStream(_Message):
    """`media` is what flows in it (also a kind that stands still), `trouble` what is wrong with a kind that
    is being sent, for people."""

    stream: int
    media: tuple[str, ...]
    trouble: dict[str, str]


class RosterUser(_Message):
    user_id: str
    streams: tuple[PublishedStream, ...]


class Roster(_Message):
    """Everyone in a room after its change number `change`."""

    type: Literal["roster"] = "roster"
    change: int
    users: tuple[RosterUser, ...]


class RoomChanged(_Message):
    """Something in a room changed; `kind` is joined, left, published, media or unpublished. `change` counts
    the changes of the room, so that a reader of the roster knows which it has seen.

    `device` belongs to joined (``server`` for a virtual user, else what is known), `why` to left, `media` and
    `trouble` to published, and to media, which tells that they changed (see PublishedStream).
    """

    type: Literal["room_changed"] = "room_changed"
    change: int
    app_id: str
    room_id: str
    kind: str
    user_id: str
    stream: int | None = None
    device: str = ""
    why: Literal["left", "dropped", "removed"] = "left"
    media: tuple[str, ...] = ()
    trouble: dict[str, str] = {}


# --- node -> media process ------------------------------------------------------------------------------


class RelayJob(_Message):
    """Everything that a media process needs to run one relay, also after a crash in mid-play.

    `link` is the path of the room process's frame socket. `position_us` and `pass_number` say where to go
    on; `idle_s` is what is left of the idle time.
    """

    run_id: str
    app_id: str
    room_id: str
    user_id: str
    url: str
    media_type: MediaType
    stream_mode: StreamMode
    loop: bool
    width: int | None = None
    height: int | None = None
    frame_rate: int = 15
    bitrate_kbps: int | None = None
    idle_s: float
    start_at: float = 0.0  #: Unix time before which no packet may leave
    link: str
    position_us: int = 0
    pass_number: int = 1
    plays: int = 1  #: the last pass's number, where it does not loop
    volume: int = 100  #: percent of the amplitude
    normalize: bool = False
    paused: bool = False  #: it begins paused
    start_tries: int | None = None  #: of a source that cannot be opened; None: until `idle_s` is over
    user_agent: str = ""  #: for requests to the source; empty: ours
    headers: dict[str, str] = Field(default_factory=dict, repr=False)  #: further ones


class StartSession(_Message):
    type: Literal["start_session"] = "start_session"
    job: RelayJob


class UpdateSession(_Message):
    """The run goes on with another source; its user stays in the room."""

    type: Literal["update_session"] = "update_session"
    job: RelayJob


class ControlSession(_Message):
    """Changes how a running relay plays; None leaves a thing as it is. A position is one of the current pass.
    Answered by Done (whether the run is here) or by Refused, which changes nothing and names its fields as
    the native API does (pause, seek_s, volume, normalize)."""

    type: Literal["control_session"] = "control_session"
    run_id: str
    paused: bool | None = None
    position_us: int | None = None
    volume: int | None = None
    normalize: bool | None = None


class PushJob(_Message):
    """Everything that a media process needs to push one user's stream to a CDN, also after a crash.

    `idle_s` is what is left of the idle time, `key_frame_s` the longest distance of key frames that is
    borne without asking for one, `connected_before` whether the first attempt lies behind it.
    """

    run_id: str
    app_id: str
    room_id: str
    user_id: str
    stream: int
    url: str
    media_type: MediaType
    idle_s: float
    key_frame_s: float = 4.0
    link: str
    connected_before: bool = False


class StartPush(_Message):
    type: Literal["start_push"] = "start_push"
    job: PushJob


class StopSession(_Message):
    """Answered by a Finished report of the run."""

    type: Literal["stop_session"] = "stop_session"
    run_id: str


# --- media process -> node ------------------------------------------------------------------------------


class Accepted(_Message):
    """The session exists; a crash of the process from now on may be its doing."""

    type: Literal["accepted"] = "accepted"
    run_id: str


class Planned(_Message):
    """What happens to the tracks of a source now (core.plan.Plan.document), with `notes`: what was left out,
    or is played in place of something, in words."""

    type: Literal["planned"] = "planned"
    run_id: str
    plan: dict[str, Any]


class Flowing(_Message):
    """Packets leave (again)."""

    type: Literal["flowing"] = "flowing"
    run_id: str


class Lost(_Message):
    """No packet leaves any more, or the source cannot be opened yet; the session goes on trying."""

    type: Literal["lost"] = "lost"
    run_id: str
    reason: str
    text: str


class StageChanged(_Message):
    """A push is at another step (core.push.PushStage); `text` says why where it is not obvious, and `reason`
    (core.lifecycle.Reason) where callers are told that."""

    type: Literal["stage_changed"] = "stage_changed"
    run_id: str
    stage: str
    text: str = ""
    reason: str = ""


class Finished(_Message):
    """The session is over and holds nothing any more."""

    type: Literal["finished"] = "finished"
    run_id: str
    reason: str
    text: str


class Progress(_Message):
    """Once a second while a session lives. Counters are totals of this session."""

    type: Literal["progress"] = "progress"
    run_id: str
    position_us: int
    pass_number: int
    video_frames: int
    audio_packets: int
    bytes_out: int
    dropped: dict[str, int]


Message = (
    Ready
    | NotStarted
    | Watch
    | Publish
    | PatchPeer
    | PeerSends
    | ClosePeer
    | Enter
    | Leave
    | Retire
    | AskRoster
    | Expel
    | Answer
    | Patched
    | Refused
    | Done
    | Roster
    | RoomChanged
    | StartSession
    | UpdateSession
    | ControlSession
    | StartPush
    | StopSession
    | Accepted
    | Planned
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
