"""The nouns of rooms: streams, what callers ask for, and what is told of rooms.

`rooms.port` says what a room engine does with them. Between our processes they travel as they are in messages
of `process.control`, so each field is written once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Literal, NewType

from sluice.core.ids import AppId, PeerId, RoomId, UserId

#: Where media sessions reach the engine of a room. The room engine makes it and `media.frame_link` opens it;
#: all between them pass it on as it is.
LinkAddress = NewType("LinkAddress", str)

# --- streams ----------------------------------------------------------------------------------------------


class StreamIndex(IntEnum):
    """Which of a user's two streams; callers know them by these numbers."""

    CAMERA = 0
    SCREEN = 1


@dataclass(frozen=True, slots=True)
class StreamMedia:
    """What is in a stream. `kinds` (audio, video) are those that its publisher sends; `wrong` says what is
    wrong with a kind, by its name and for people. A kind that never could be decoded is in `wrong` alone."""

    kinds: tuple[str, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedStream:
    stream: StreamIndex
    media: StreamMedia = StreamMedia()


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A user in a room, and what he publishes there."""

    user_id: UserId
    streams: tuple[PublishedStream, ...] = ()


# --- what is told -----------------------------------------------------------------------------------------


class RoomEventKind(Enum):
    ROSTER = "roster"  #: the first event of an event stream; everything else is a change
    JOINED = "joined"
    LEFT = "left"
    PUBLISHED = "published"
    MEDIA = "media"
    UNPUBLISHED = "unpublished"


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """What one reader of a room's events is told. ROSTER fills `roster`, all others `user_id`, and those of a
    stream `stream`. MEDIA fills `media`: it follows each published stream, and comes again when that
    changes."""

    kind: RoomEventKind
    user_id: UserId | None = None
    stream: StreamIndex | None = None
    roster: tuple[RosterEntry, ...] = ()
    media: StreamMedia = StreamMedia()


@dataclass(frozen=True, slots=True)
class RoomChange:
    """Something changed in a room; told to who listens to all rooms. PUBLISHED fills `media`, and MEDIA tells
    that it changed."""

    app_id: AppId
    room_id: RoomId
    kind: RoomEventKind
    user_id: UserId
    stream: StreamIndex | None = None
    device: str = ""  #: for JOINED: ``server`` for a virtual user, otherwise what is known
    why: Literal["left", "dropped", "removed"] = "left"  #: for LEFT
    media: StreamMedia = StreamMedia()


# --- what is asked for ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WatchOffer:
    """A WHEP offer of `viewer`, who wants to watch `user_id`."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: StreamIndex
    viewer: UserId
    sdp: str
    address: str = ""  #: where the offer came from; empty where nobody knows


@dataclass(frozen=True, slots=True)
class PublishOffer:
    """A WHIP offer of `user_id`, whose token allows these kinds (video, audio)."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: StreamIndex
    kinds: tuple[str, ...]
    sdp: str
    address: str = ""  #: where the offer came from; empty where nobody knows


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """`etag` names the ICE session, which a restart changes."""

    peer_id: PeerId
    etag: str
    sdp: str


@dataclass(frozen=True, slots=True)
class PeerPatch:
    """What `user_id` says later about his peer: an ICE fragment (RFC 8840 9) with trickled candidates or an
    ICE restart (RFC 9725 4.3). `etags` name the ICE sessions that it may meet; ``*`` stands for any."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    peer_id: PeerId
    etags: tuple[str, ...]
    fragment: str


class PatchOutcome(Enum):
    TAKEN = "taken"  #: there is nothing to say
    RESTARTED = "restarted"
    STALE = "stale"  #: it is about an older ICE session
    UNKNOWN = "unknown"  #: the user has no such peer
    REPLACED = "replaced"  #: the peer ended because another publisher has its stream
    ENDED = "ended"  #: the peer exceeded its budgets


@dataclass(frozen=True, slots=True)
class PatchAnswer:
    """RESTARTED fills `etag` and `fragment`, our side of the new ICE session; ENDED fills `why`, for
    people."""

    outcome: PatchOutcome
    etag: str = ""
    fragment: str = ""
    why: str = ""
