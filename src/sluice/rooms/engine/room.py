"""A room: its users, why each is in it, and its streams. No socket, no clock: time is an argument.

A user is in the room from its first holder to its last. Holders are event streams and peers, after whose
end the user lingers for a few seconds (a browser that reloads does not leave), and relay runs, whose end
is final at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from sluice.core.ids import AppId, RoomId, UserId
from sluice.process.control import RoomChanged, Roster, RosterUser
from sluice.rooms.engine.stream import Stream

LINGER_US = 5_000_000

StreamKey = tuple[UserId, int]


@dataclass(slots=True)
class _Presence:
    holders: set[str] = field(default_factory=set)
    leaves_at_us: int | None = None


@dataclass(slots=True)
class Publication:
    """What a run publishes; `flowing` from its first frame on, which is what makes it visible."""

    run_id: str
    flowing: bool = False


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

    def enter(self, user_id: UserId, holder: str) -> None:
        presence = self._users.get(user_id)
        if presence is None:
            presence = self._users[user_id] = _Presence()
            self._tell("joined", user_id)
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
                ended.add(publication.run_id)
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

    def publish(self, key: StreamKey, run_id: str) -> str | None:
        """The run takes the stream; returns the run that it replaces, if there is another."""
        before = self.publications.get(key)
        if before is not None and before.run_id == run_id:
            return None
        if before is not None:
            self.retire(before.run_id, 0)
        self.publications[key] = Publication(run_id)
        return before.run_id if before is not None else None

    def flow(self, key: StreamKey) -> None:
        """The publication's first frame: from now on it and its user are there."""
        publication = self.publications[key]
        if not publication.flowing:
            publication.flowing = True
            self.enter(key[0], publication.run_id)
            self._tell("published", key[0], key[1])

    def retire(self, run_id: str, now_us: int) -> None:
        """The run is over: its stream and its user go."""
        for key, publication in list(self.publications.items()):
            if publication.run_id == run_id:
                self._unpublish(key)
        self.leave(run_id, now_us, linger=False)

    def _unpublish(self, key: StreamKey) -> None:
        publication = self.publications.pop(key)
        if key in self.streams:
            self.streams[key].reset()
        if publication.flowing:
            self._tell("unpublished", key[0], key[1])

    def forget_idle_streams(self) -> None:
        """A stream without publisher and without viewer holds nothing worth keeping."""
        for key, stream in list(self.streams.items()):
            if key not in self.publications and not stream.watched:
                del self.streams[key]

    @property
    def empty(self) -> bool:
        return not (self._users or self.streams or self.publications)

    def _tell(
        self,
        kind: str,
        user_id: UserId,
        stream: int | None = None,
        why: Literal["left", "removed"] = "left",
    ) -> None:
        self._changes += 1
        self._emit(
            RoomChanged(
                change=self._changes,
                app_id=self.app_id,
                room_id=self.room_id,
                kind=kind,
                user_id=user_id,
                stream=stream,
                why=why,
            )
        )
