"""A room: its users, what holds each of them in it, and its streams. No socket, no clock: time is an
argument.

A user is in the room from its first holder to its last. Holders are event streams, peers and relay runs.
After an event stream or a peer has ended, the user lingers for a few seconds, so that a browser that reloads
does not leave; the end of a run is final at once. A publisher is named by its run or by its peer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.limits import MOST_ENDED_AT_ONCE, MOST_HOLDERS, MOST_ROOM_USERS
from sluice.core.room_documents import RoomUser
from sluice.core.rooms import (
    PublishedStream,
    RoomChange,
    RoomEventKind,
    RosterEntry,
    StreamIndex,
    StreamMedia,
)
from sluice.process.control import RoomChanged, Roster
from sluice.process.documents import Publisher
from sluice.rooms.engine.stream import Stream

LINGER_US = 5_000_000

StreamKey = tuple[UserId, StreamIndex]


@dataclass(slots=True)
class _Presence:
    holders: set[str] = field(default_factory=set)
    leaves_at_us: int | None = None


@dataclass(slots=True)
class Publication:
    """What a run or a peer publishes. `kinds` (video, audio) have flowed and were not ended; `trouble` says
    what is wrong with a kind that is being sent. The first of either makes the publication visible."""

    publisher: str
    kinds: set[str] = field(default_factory=set)
    trouble: dict[str, str] = field(default_factory=dict)

    @property
    def visible(self) -> bool:
        return bool(self.kinds or self.trouble)

    @property
    def media(self) -> StreamMedia:
        return StreamMedia(tuple(sorted(self.kinds)), dict(self.trouble))


class Room:
    """`emit` gets every change, in order."""

    def __init__(self, app_id: AppId, room_id: RoomId, emit: Callable[[RoomChanged], None]) -> None:
        self.app_id = app_id
        self.room_id = room_id
        self.streams: dict[StreamKey, Stream] = {}
        self.publications: dict[StreamKey, Publication] = {}
        self._users: dict[UserId, _Presence] = {}
        self._changes = 0
        self._emit = emit

    # --- users --------------------------------------------------------------------------------------------

    def why_full(self, user_id: UserId) -> str:
        """Why the user cannot enter, or cannot enter once more; empty when he can."""
        presence = self._users.get(user_id)
        if presence is None and len(self._users) >= MOST_ROOM_USERS:
            return f"this room has {MOST_ROOM_USERS} users, as many as it may; try again later"
        if presence is not None and len(presence.holders) >= MOST_HOLDERS:
            return f"this user has {MOST_HOLDERS} connections to this room, as many as he may; close some"
        return ""

    def enter(self, user_id: UserId, holder: str, device: str = "") -> None:
        presence = self._users.get(user_id)
        if presence is None:
            presence = self._users[user_id] = _Presence()
            self._tell(RoomEventKind.JOINED, user_id, device=device)
        presence.holders.add(holder)
        presence.leaves_at_us = None

    def leave(self, holder: str, now_us: int, *, linger: bool = True) -> None:
        for presence in self._users.values():
            if holder in presence.holders:
                presence.holders.discard(holder)
                if not presence.holders:
                    presence.leaves_at_us = now_us + (LINGER_US if linger else 0)
        self.expire(now_us)

    def expire(self, now_us: int) -> None:
        """Users whose time is up leave; of a crowd only so many at once."""
        late = (
            user_id
            for user_id, presence in self._users.items()
            if presence.leaves_at_us is not None and presence.leaves_at_us <= now_us
        )
        for user_id in list(islice(late, MOST_ENDED_AT_ONCE)):
            del self._users[user_id]
            self._tell(RoomEventKind.LEFT, user_id)

    def expel(self, user_id: UserId | None) -> set[str]:
        """The user leaves at once with what he publishes; without `user_id` all users do. Returns what held
        them here, and has to end."""
        ended: set[str] = set()
        for key, publication in list(self.publications.items()):
            if user_id in (None, key[0]):
                ended.add(publication.publisher)
                self._unpublish(key)
        for name, presence in list(self._users.items()):
            if user_id in (None, name):
                ended |= presence.holders
                del self._users[name]
                self._tell(RoomEventKind.LEFT, name, why="removed")
        return ended

    def roster(self) -> Roster:
        streams: dict[UserId, list[PublishedStream]] = {}
        for (publisher, stream), publication in sorted(self.publications.items(), key=_number):
            if publication.visible:
                streams.setdefault(publisher, []).append(PublishedStream(stream, publication.media))
        users = (RosterEntry(user_id, tuple(streams.get(user_id, ()))) for user_id in self._users)
        return Roster(number=self._changes, users=tuple(users))

    @property
    def population(self) -> int:
        """How many users there are."""
        return len(self._users)

    def users(self) -> Iterator[RoomUser]:
        return (RoomUser(user_id, len(presence.holders)) for user_id, presence in self._users.items())

    # --- streams ------------------------------------------------------------------------------------------

    def publish(self, key: StreamKey, publisher: str) -> str | None:
        """The publisher takes the stream. Returns the other publisher that it replaces, if there is one, who
        still has to leave."""
        before = self.publications.get(key)
        if before is not None and before.publisher == publisher:
            return None
        if before is not None:
            self.unpublish(before.publisher)
        self.publications[key] = Publication(publisher)
        return before.publisher if before is not None else None

    def flow(self, key: StreamKey, kind: str) -> None:
        """A frame of this kind flows, the first of the publication or the first after trouble. From now on
        the publication and its user are there."""
        publication = self.publications[key]
        if kind in publication.kinds and kind not in publication.trouble:
            return
        seen = publication.visible
        publication.kinds.add(kind)
        publication.trouble.pop(kind, None)
        # A peer's user is there already: who joins by his first frame is a virtual user.
        self.enter(key[0], publication.publisher, device="server")
        self._tell_media(key, RoomEventKind.MEDIA if seen else RoomEventKind.PUBLISHED)

    def trouble(self, key: StreamKey, kind: str, text: str) -> None:
        """This kind is sent, but nobody can see or hear it; `text` says why."""
        publication = self.publications[key]
        seen = publication.visible
        publication.trouble[kind] = text
        self._tell_media(key, RoomEventKind.MEDIA if seen else RoomEventKind.PUBLISHED)

    def cease(self, key: StreamKey, kind: str) -> None:
        """The publisher has ended this kind; it may begin it again."""
        publication = self.publications[key]
        publication.kinds.discard(kind)
        publication.trouble.pop(kind, None)
        if kind == "video" and key in self.streams:
            self.streams[key].end_pictures()
        if publication.visible:
            self._tell_media(key, RoomEventKind.MEDIA)
        else:
            self._tell(RoomEventKind.UNPUBLISHED, key[0], stream=key[1])

    def unpublish(self, publisher: str) -> None:
        """The publisher's streams end; it may still hold its user."""
        for key, publication in list(self.publications.items()):
            if publication.publisher == publisher:
                self._unpublish(key)

    def _unpublish(self, key: StreamKey) -> None:
        publication = self.publications.pop(key)
        if key in self.streams:
            self.streams[key].reset()
        if publication.visible:
            self._tell(RoomEventKind.UNPUBLISHED, key[0], stream=key[1])

    def retire(self, run_id: str, now_us: int) -> None:
        """The run is over: its stream and its user go."""
        self.unpublish(run_id)
        self.leave(run_id, now_us, linger=False)

    def publisher_of(self, key: StreamKey) -> Publisher:
        publication = self.publications.get(key) or Publication("")
        kinds = publication.kinds | set(publication.trouble)
        present = key[0] in self._users
        return Publisher(
            present=present, video="video" in kinds, audio="audio" in kinds, trouble=publication.trouble
        )

    def on_timer(self, now_us: int) -> None:
        """To be called a few times a second."""
        self.expire(now_us)
        self.forget_idle_streams()
        for stream in self.streams.values():
            stream.on_timer(now_us)

    def clear(self) -> None:
        """Nobody and nothing is here any more."""
        self.expel(None)
        self.streams.clear()

    def forget_idle_streams(self) -> None:
        """A stream that nobody publishes, watches or subscribes to holds nothing worth keeping."""
        for key, stream in list(self.streams.items()):
            if key not in self.publications and not stream.held:
                del self.streams[key]

    @property
    def empty(self) -> bool:
        return not (self._users or self.streams or self.publications)

    def _tell_media(self, key: StreamKey, kind: RoomEventKind) -> None:
        self._tell(kind, key[0], stream=key[1], media=self.publications[key].media)

    def _tell(self, kind: RoomEventKind, user_id: UserId, **details: Any) -> None:
        """`details` are fields of RoomChange."""
        self._changes += 1
        change = RoomChange(self.app_id, self.room_id, kind, user_id, **details)
        self._emit(RoomChanged(number=self._changes, change=change))
        self._inform(user_id)

    def _inform(self, user_id: UserId) -> None:
        """Tells the subscribers of the user's streams."""
        for key, stream in self.streams.items():
            if key[0] == user_id:
                for subscriber in stream.subscribers:
                    subscriber.tell(self.publisher_of(key))


class Place:
    """Takes what a publisher tells of its media (`supply.Listener`) into its room, until another publisher
    has taken the stream."""

    def __init__(self, room: Room, key: StreamKey, publisher: str) -> None:
        self._room, self._key, self._publisher = room, key, publisher

    def flow(self, kind: str) -> None:
        if self._holds:
            self._room.flow(self._key, kind)

    def cease(self, kind: str) -> None:
        if self._holds:
            self._room.cease(self._key, kind)

    def trouble(self, kind: str, text: str) -> None:
        if self._holds:
            self._room.trouble(self._key, kind, text)

    @property
    def _holds(self) -> bool:
        publication = self._room.publications.get(self._key)
        return publication is not None and publication.publisher == self._publisher


def _number(item: tuple[StreamKey, Publication]) -> int:
    return item[0][1]
