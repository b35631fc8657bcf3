"""What the HTTP surface may ask of the room engine; `rooms.client` answers for our own engine.

A second engine (another SFU) is a second implementation of `RoomEngine`.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from sluice.core.ids import AppId, PeerId, RoomId, RunId, UserId


class RoomEventKind(Enum):
    ROSTER = "roster"
    JOINED = "joined"
    LEFT = "left"
    PUBLISHED = "published"
    MEDIA = "media"
    UNPUBLISHED = "unpublished"


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A user in a room; `streams` are the published ones (0 camera, 1 screen)."""

    user_id: UserId
    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StreamMedia:
    """What is in a stream: `kinds` (audio, video) that its publisher sends, and what is `wrong` with one of
    them, by kind and for people. A kind that never could be decoded is in `wrong` alone."""

    kinds: tuple[str, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """`roster` is filled for the kind ROSTER, `user_id` for the others, `stream` for those of a stream, and
    `media` for MEDIA, which follows each published stream, and again when it changes."""

    kind: RoomEventKind
    user_id: UserId | None = None
    stream: int | None = None
    roster: tuple[RosterEntry, ...] = ()
    media: StreamMedia = StreamMedia()


@dataclass(frozen=True, slots=True)
class WatchOffer:
    """A WHEP offer of `viewer`, who wants to watch `user_id`."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: int
    viewer: UserId
    sdp: str
    address: str = ""  #: of the caller


@dataclass(frozen=True, slots=True)
class PublishOffer:
    """A WHIP offer of `user_id`, whose token allows these kinds (video, audio)."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: int
    kinds: tuple[str, ...]
    sdp: str
    address: str = ""  #: of the caller


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """`etag` names the ICE session, which a restart changes."""

    peer_id: PeerId
    etag: str
    sdp: str


@dataclass(frozen=True, slots=True)
class PeerPatch:
    """What `user_id` tells of its peer later: an ICE fragment (RFC 8840 9). `etags` are those of the ICE
    sessions that it may meet, ``*`` any."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    peer_id: PeerId
    etags: Collection[str]
    fragment: str


class PatchOutcome(Enum):
    TAKEN = "taken"
    RESTARTED = "restarted"
    STALE = "stale"
    UNKNOWN = "unknown"
    REPLACED = "replaced"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class PatchAnswer:
    """`etag` and `fragment` are our side of the new ICE session, for RESTARTED; `why` is for ENDED, and for
    people."""

    outcome: PatchOutcome
    etag: str = ""
    fragment: str = ""
    why: str = ""


class RoomEngine(Protocol):
    async def watch(self, offer: WatchOffer) -> PeerAnswer:
        """Answers a WHEP offer. Raises BadInput for an offer that cannot be answered, Overloaded when there
        is no room for another peer, RoomError when the room's process is not there."""
        ...

    async def publish(self, offer: PublishOffer) -> PeerAnswer:
        """Answers a WHIP offer; whoever published the stream before is ended. Raises as `watch`, and
        AccessRefused for a kind that is offered and not allowed."""
        ...

    async def patch_peer(self, patch: PeerPatch) -> PatchAnswer:
        """Takes trickled candidates, or restarts ICE. Raises BadInput and RoomError."""
        ...

    async def peer_sends(
        self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId, kinds: Collection[str]
    ) -> bool:
        """The user's publishing peer sends these kinds from now on, and the others no more. False when there
        is no such peer. Raises RoomError, and Overloaded when it says so too often."""
        ...

    async def close_peer(self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId) -> bool:
        """False when the user has no such peer in the room."""
        ...

    def events(
        self, app_id: AppId, room_id: RoomId, user_id: UserId
    ) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """Presence of `user_id` for as long as the context is open; the first event is the roster.
        The iterator ends when the room's process is gone or the reader is too slow."""
        ...

    async def roster(self, app_id: AppId, room_id: RoomId) -> tuple[RosterEntry, ...]:
        """Who is in a room; nobody where there is no such room. Raises RoomError."""
        ...

    async def expel(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        """Users leave at once: their peers, event streams and publications end. Without `room_id` all rooms
        of the app are meant, without `user_id` everybody. Raises RoomError."""
        ...


class Bans(Protocol):
    """Who may not enter. Whoever lets a user in asks before and, so that no ban slips through between, again
    once he is in."""

    async def ban(
        self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None, until: float | None
    ) -> None:
        """A user may not enter a room (any, without `room_id`), or nobody may (without `user_id`), until
        that Unix time; None lifts the ban. Durable when it returns. Raises TooManyBans."""
        ...

    async def barred(self, app_id: AppId, room_id: RoomId, user_id: UserId) -> bool: ...


class RunRooms(Protocol):
    """What the tasks need of the rooms."""

    def link_of(self, app_id: AppId, room_id: RoomId) -> str:
        """The path of the frame socket of the process that has the room."""
        ...

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        """The run is over: its virtual user leaves."""
        ...
