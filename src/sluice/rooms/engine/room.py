"""A room: its users, why each is in it, and its streams. No socket, no clock: time is an argument.

A user is in the room from its first holder to its last. Holders are event streams and peers, after whose
end the user lingers for a few seconds (a browser that reloads does not leave), and relay runs, whose end
is final at once. Who publishes a stream is named by its run or by its peer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sluice.core.ids import AppId, RoomId, UserId
from sluice.process.control import RoomChanged, Roster, RosterUser
from sluice.rooms.engine.stream import PublisherState, Stream

LINGER_US = 5_000_000

StreamKey = tuple[UserId, int]


@dataclass(slots=True)
class _Presence:
    holders: set[str] = field(default_factory=set)
    leaves_at_us: int | None = None


@dataclass(slots=True)
class Publication:
    """What a run or a peer publishes: `kinds` (video, audio) are those that have flowed. The first frame
    makes it visible."""

    publisher: str
    kinds: set[str] = field(default_factory=set)

    @property
    def flowing(self) -> bool:
        return bool(self.kinds)


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

    def enter(self, user_id: UserId, holder: str, device: str = "") -> None:
        presence = self._users.get(user_id)
        if presence is None:
            presence = self._users[user_id] = _Presence()
            self._tell("joined", user_id, device=device)
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
        """Users whose time has come leave."""
        for user_id, presence in list(self._users.items()):
            if presence.leaves_at_us is not None and presence.leaves_at_us <= now_us:
                del self._users[user_id]
                self._tell("left", user_id)

    def expel(self, user_id: UserId | None) -> set[str]:
        """The user leaves at once with what he publishes, or all do; what held them here has no place now."""
        ended: set[str] = set()
        for key, publication in list(self.publications.items()):
            if user_id in (None, key[0]):
                ended.add(publication.publisher)
                self._unpublish(key)
        for name, presence in list(self._users.items()):
            if user_id in (None, name):
                ended |= presence.holders
                del self._users[name]
                self._tell("left", name, why="removed")
        return ended

    def roster(self) -> Roster:
        return Roster(
            change=self._changes,
            users=tuple(
                RosterUser(
                    user_id=user_id,
                    streams=tuple(
                        sorted(
                            stream
                            for (publisher, stream), publication in self.publications.items()
                            if publisher == user_id and publication.flowing
                        )
                    ),
                )
                for user_id in self._users
            ),
        )

    # --- streams ------------------------------------------------------------------------------------------

    def publish(self, key: StreamKey, publisher: str) -> str | None:
        """The publisher takes the stream; returns the one that it replaces, if there is another, who still
        has to leave."""
        before = self.publications.get(key)
        if before is not None and before.publisher == publisher:
            return None
        if before is not None:
            self.unpublish(before.publisher)
        self.publications[key] = Publication(publisher)
        return before.publisher if before is not None else None

    def flow(self, key: StreamKey, kind: str) -> None:
        """The publication's first frame of this kind: from now on it and its user are there."""
        publication = self.publications[key]
        if kind in publication.kinds:
            return
        publication.kinds.add(kind)
        # A peer's user is there already: who joins by his first frame is a virtual user.
        self.enter(key[0], publication.publisher, device="server")
        self._tell("published", key[0], stream=key[1], media=tuple(sorted(publication.kinds)))

    def unpublish(self, publisher: str) -> None:
        """Its streams end; it may still hold its user."""
        for key, publication in list(self.publications.items()):
            if publication.publisher == publisher:
                self._unpublish(key)

    def _unpublish(self, key: StreamKey) -> None:
        publication = self.publications.pop(key)
        if key in self.streams:
            self.streams[key].reset()
        if publication.flowing:
            self._tell("unpublished", key[0], stream=key[1])

    def retire(self, run_id: str, now_us: int) -> None:
        """The run is over: its stream and its user go."""
        self.unpublish(run_id)
        self.leave(run_id, now_us, linger=False)

    def state_of(self, key: StreamKey) -> PublisherState:
        publication = self.publications.get(key)
        kinds = publication.kinds if publication else set()
        return PublisherState(key[0] in self._users, "video" in kinds, "audio" in kinds)

    def forget_idle_streams(self) -> None:
        """A stream that nobody publishes, watches or subscribes to holds nothing worth keeping."""
        for key, stream in list(self.streams.items()):
            if key not in self.publications and not stream.watched:
                del self.streams[key]

    @property
    def empty(self) -> bool:
        return not (self._users or self.streams or self.publications)

    def _tell(self, kind: str, user_id: UserId, **details: Any) -> None:
        """`details` are fields of RoomChanged."""
        self._changes += 1
        self._emit(
            RoomChanged(
                change=self._changes,
                app_id=self.app_id,
                room_id=self.room_id,
                kind=kind,
                user_id=user_id,
                **details,
            )
        )
        self._inform(user_id)

    def _inform(self, user_id: UserId) -> None:
        """Tells the subscribers of the user's streams."""
        for key, stream in self.streams.items():
            if key[0] == user_id:
                for subscriber in stream.subscribers:
                    subscriber.tell(self.state_of(key))
