"""What the changes of rooms make of events."""

from typing import Any

from sluice.callbacks.presence import Presence
from sluice.core.callbacks import CallbackEvent, EventKind
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import RoomChange, RoomEventKind, StreamIndex, StreamMedia

CAMERA, SCREEN = StreamIndex.CAMERA, StreamIndex.SCREEN


def change(kind: str, user: str = "anna", room: str = "room", **fields: Any) -> RoomChange:
    media = StreamMedia(fields.pop("media", ()), fields.pop("wrong", {}))
    return RoomChange(AppId("app"), RoomId(room), RoomEventKind(kind), UserId(user), media=media, **fields)


def kinds(events: list[CallbackEvent]) -> list[EventKind]:
    return [event.kind for event in events]


def test_a_room_is_there_from_its_first_user_to_its_last() -> None:
    presence = Presence()
    first = presence.handle(change("joined", device="server"), 100.0)
    assert kinds(first) == [EventKind.ROOM_CREATED, EventKind.USER_JOINED]
    assert {event.order_key for event in first} == {"room/app/room"}
    assert first[1].data == {"room_id": "room", "at": 100.0, "user_id": "anna", "device": "server"}
    assert kinds(presence.handle(change("joined", "bob"), 101.0)) == [EventKind.USER_JOINED]
    assert (presence.rooms, presence.users) == (1, (1, 1)), "one of them is no person"
    (left,) = presence.handle(change("left"), 103.5)
    assert left.data == first[1].data | {"at": 103.5, "why": "left", "duration_ms": 3500}
    last = presence.handle(change("left", "bob", why="removed"), 104.0)
    assert kinds(last) == [EventKind.USER_LEFT, EventKind.ROOM_DESTROYED]
    assert (last[0].data["why"], last[1].data["duration_ms"]) == ("removed", 4000)
    assert kinds(presence.handle(change("joined"), 105.0))[0] is EventKind.ROOM_CREATED


def test_what_begins_and_ends_in_a_stream() -> None:
    presence = Presence()
    presence.handle(change("joined"), 0.0)
    began = presence.handle(change("published", stream=SCREEN, media=("audio", "video")), 1.0)
    assert kinds(began) == [EventKind.AUDIO_STARTED, EventKind.VIDEO_STARTED]
    assert began[0].data["stream"] == 1
    muted = presence.handle(change("media", stream=SCREEN, media=("video",)), 2.0)
    assert kinds(muted) == [EventKind.AUDIO_STOPPED]
    still = {"video": "it stands still"}
    assert presence.handle(change("media", stream=SCREEN, media=("video",), wrong=still), 3.0) == []
    assert kinds(presence.handle(change("unpublished", stream=SCREEN), 4.0)) == [EventKind.VIDEO_STOPPED]
    assert presence.handle(change("published", stream=CAMERA), 5.0) == [], "nobody knows what flows"


def test_who_leaves_stops_capturing() -> None:
    presence = Presence()
    presence.handle(change("joined"), 0.0)
    presence.handle(change("published", stream=CAMERA, media=("audio",)), 1.0)
    assert kinds(presence.handle(change("left"), 2.0)) == [
        *(EventKind.AUDIO_STOPPED, EventKind.USER_LEFT, EventKind.ROOM_DESTROYED)
    ]


def test_a_process_that_dies_takes_its_rooms_along() -> None:
    presence = Presence()
    for room, user in (("a", "anna"), ("a", "bob"), ("b", "carl")):
        presence.handle(change("joined", user, room), 0.0)
    events = presence.lose(lambda app_id, room_id: room_id == "a", 9.0)
    assert kinds(events) == [EventKind.USER_LEFT, EventKind.USER_LEFT, EventKind.ROOM_DESTROYED]
    assert {event.data["why"] for event in events[:2]} == {"dropped"}
    assert kinds(presence.handle(change("left", "carl", "b"), 9.0))[-1] is EventKind.ROOM_DESTROYED


def test_changes_of_strangers_make_nothing() -> None:
    presence = Presence()
    assert presence.handle(change("left"), 0.0) == []
    presence.handle(change("joined"), 0.0)
    assert presence.handle(change("published", "bob", stream=CAMERA, media=("audio",)), 0.0) == []
    assert kinds(presence.handle(change("joined"), 1.0)) == [EventKind.USER_JOINED]
