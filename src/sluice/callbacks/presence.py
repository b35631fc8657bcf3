"""Makes events of the changes of rooms: who came and went, what is captured, which rooms there are.

A room is created by the first user in it and destroyed by the last. The changes of a room come in their
order. Pure: time is an argument. It knows the users of all rooms, as the room engine does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sluice.core.callbacks import CallbackEvent, EventKind, room_order_key
from sluice.core.ids import AppId, BusinessId, RoomId
from sluice.core.rooms import RoomChange, RoomEventKind, StreamIndex

#: The device of users who are no people (core.rooms.RoomChange).
_VIRTUAL = "server"
_RoomKey = tuple[AppId, RoomId]
_STARTED = {"audio": EventKind.AUDIO_STARTED, "video": EventKind.VIDEO_STARTED}
_STOPPED = {"audio": EventKind.AUDIO_STOPPED, "video": EventKind.VIDEO_STOPPED}


@dataclass(slots=True)
class _User:
    device: str
    joined_at: float
    #: The kinds that flow in each of his streams.
    media: dict[StreamIndex, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class _Room:
    created_at: float
    users: dict[str, _User] = field(default_factory=dict)


class Presence:
    def __init__(self) -> None:
        self._rooms: dict[_RoomKey, _Room] = {}

    @property
    def rooms(self) -> int:
        """Those with somebody in them."""
        return len(self._rooms)

    @property
    def users(self) -> tuple[int, int]:
        """People, and virtual users, in all rooms; one in two of them counts twice."""
        devices = [user.device for room in self._rooms.values() for user in room.users.values()]
        virtual = devices.count(_VIRTUAL)
        return len(devices) - virtual, virtual

    def handle(self, change: RoomChange, now: float) -> list[CallbackEvent]:
        key = change.app_id, change.room_id
        if change.kind is RoomEventKind.JOINED:
            return list(self._join(key, change, now))
        room = self._rooms.get(key)
        user = room.users.get(change.user_id) if room is not None else None
        if room is None or user is None:
            return []
        if change.kind is RoomEventKind.LEFT:
            return list(self._leave(key, room, change.user_id, change.why, now))
        stream = change.stream or StreamIndex.CAMERA
        return list(_capture(key, change.user_id, user, stream, change.media.kinds, now))

    def lose(self, lost: Callable[[AppId, RoomId], bool], now: float) -> list[CallbackEvent]:
        """The rooms for which `lost` is true are gone, with everybody in them."""
        return [
            event
            for key, room in list(self._rooms.items())
            if lost(*key)
            for user_id in list(room.users)
            for event in self._leave(key, room, user_id, "dropped", now)
        ]

    def _join(self, key: _RoomKey, change: RoomChange, now: float) -> Iterator[CallbackEvent]:
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = _Room(now)
            yield _event(EventKind.ROOM_CREATED, key, now)
        user = room.users[change.user_id] = _User(change.device, now)
        yield _event(EventKind.USER_JOINED, key, now, user_id=change.user_id, device=user.device)

    def _leave(
        self, key: _RoomKey, room: _Room, user_id: str, why: str, now: float
    ) -> Iterator[CallbackEvent]:
        user = room.users.pop(user_id)
        for stream in list(user.media):
            yield from _capture(key, user_id, user, stream, (), now)
        yield _event(
            EventKind.USER_LEFT,
            key,
            now,
            user_id=user_id,
            device=user.device,
            why=why,
            duration_ms=_ms_between(user.joined_at, now),
        )
        if not room.users:
            del self._rooms[key]
            yield _event(EventKind.ROOM_DESTROYED, key, now, duration_ms=_ms_between(room.created_at, now))


def _capture(
    key: _RoomKey, user_id: str, user: _User, stream: StreamIndex, media: tuple[str, ...], now: float
) -> Iterator[CallbackEvent]:
    """The kinds of media that began or ended in a stream, found from those that flow now."""
    before = user.media.pop(stream, ())
    if media:
        user.media[stream] = media
    kinds = [_STOPPED[kind] for kind in before if kind not in media]
    kinds += [_STARTED[kind] for kind in media if kind not in before]
    for kind in kinds:
        yield _event(kind, key, now, user_id=user_id, device=user.device, stream=stream)


def _event(kind: EventKind, key: _RoomKey, now: float, **data: Any) -> CallbackEvent:
    app_id, room_id = key
    # Rooms belong to no business, so the registration of the whole app is told.
    return CallbackEvent(
        kind, app_id, BusinessId(""), room_order_key(*key), {"room_id": room_id, "at": now, **data}, now
    )


def _ms_between(before: float, now: float) -> int:
    return max(0, round((now - before) * 1000))
