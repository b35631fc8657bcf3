"""A room: presence and its linger, publications that replace each other, and what is told in which order."""

import pytest

from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import PublishedStream, StreamIndex, StreamMedia
from sluice.process.control import RoomChanged
from sluice.process.documents import Publisher
from sluice.rooms.engine.room import LINGER_US, Place, Room
from sluice.rooms.engine.stream import Stream

ANNA, RELAY = UserId("anna"), UserId("relay")
KEY = (RELAY, StreamIndex.CAMERA)


class Told:
    """A room and what it told since the last look, as texts."""

    def __init__(self) -> None:
        self.room = Room(AppId("app"), RoomId("room"), self._take)
        self._told: list[str] = []

    def _take(self, message: RoomChanged) -> None:
        change = message.change
        assert (change.app_id, change.room_id) == ("app", "room")
        stream = "" if change.stream is None else f" {change.stream}"
        self._told.append(f"{change.kind.value} {change.user_id}{stream}")
        self.newest = change

    def take(self) -> list[str]:
        told, self._told = self._told, []
        return told

    def roster(self) -> dict[str, tuple[int, ...]]:
        return {
            user.user_id: tuple(stream.stream for stream in user.streams) for user in self.room.roster().users
        }


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_user_is_there_from_the_first_holder_to_the_last_and_lingers(told: Told) -> None:
    room = told.room
    room.enter(ANNA, "events_1")
    room.enter(ANNA, "peer_1")
    assert told.take() == ["joined anna"]
    room.leave("events_1", 100)
    room.expire(100 + 2 * LINGER_US)
    assert told.take() == []
    room.leave("peer_1", 200)
    room.expire(200 + LINGER_US - 1)
    assert told.take() == []
    assert not room.empty
    room.expire(200 + LINGER_US)
    assert told.take() == ["left anna"]
    assert room.empty


def test_who_comes_back_in_time_never_left(told: Told) -> None:
    room = told.room
    room.enter(ANNA, "events_1")
    room.leave("events_1", 0)
    room.enter(ANNA, "events_2")
    room.expire(10 * LINGER_US)
    assert told.take() == ["joined anna"]
    room.leave("unknown", 10 * LINGER_US)
    assert told.roster() == {"anna": ()}


def test_a_relay_is_there_from_its_first_media_to_its_end(told: Told) -> None:
    room = told.room
    assert room.publish(KEY, "run_1") is None
    assert told.take() == []
    assert told.roster() == {}
    assert not room.empty
    room.flow(KEY, "video")
    room.flow(KEY, "video")
    assert told.take() == ["joined relay", "published relay 0"]
    assert told.roster() == {"relay": (0,)}
    assert room.publish(KEY, "run_1") is None, "its next link goes on"
    assert told.take() == []
    room.retire("run_1", 1000)
    assert told.take() == ["unpublished relay 0", "left relay"]
    assert room.empty


def test_the_end_of_a_run_leaves_a_user_who_is_there_otherwise(told: Told) -> None:
    room = told.room
    room.enter(RELAY, "peer_1")
    room.publish(KEY, "run_1")
    room.flow(KEY, "video")
    room.retire("run_1", 0)
    room.expire(10 * LINGER_US)
    assert told.take() == ["joined relay", "published relay 0", "unpublished relay 0"]
    assert told.roster() == {"relay": ()}


def test_a_run_that_never_flowed_ends_unseen(told: Told) -> None:
    told.room.publish(KEY, "run_1")
    told.room.retire("run_1", 0)
    assert told.take() == []
    assert told.room.empty


def test_a_second_publisher_replaces_the_first(told: Told) -> None:
    room = told.room
    room.publish(KEY, "run_1")
    room.flow(KEY, "video")
    told.take()
    assert room.publish(KEY, "run_2") == "run_1"
    room.leave("run_1", 0, linger=False)
    room.flow(KEY, "video")
    assert told.take() == ["unpublished relay 0", "left relay", "joined relay", "published relay 0"]
    room.retire("run_1", 0)
    assert told.roster() == {"relay": (0,)}, "the end of the replaced one changes nothing any more"


def test_two_streams_of_a_user(told: Told) -> None:
    room = told.room
    for stream in (StreamIndex.SCREEN, StreamIndex.CAMERA):
        room.publish((RELAY, stream), f"run_{stream}")
        room.flow((RELAY, stream), "video")
    assert told.roster() == {"relay": (0, 1)}
    room.retire("run_0", 0)
    assert told.roster() == {"relay": (1,)}
    assert told.take()[-1] == "unpublished relay 0"


def test_what_flows_and_what_is_wrong_is_told_of_each_kind(told: Told) -> None:
    room, place = told.room, Place(told.room, KEY, "peer_1")
    room.streams[KEY] = Stream("name", lambda: None)
    room.publish(KEY, "peer_1")
    room.enter(RELAY, "peer_1")
    told.take()
    place.trouble("video", "no key frame")
    assert told.take() == ["published relay 0"], "who could be seen if all were well is there"
    assert told.newest.media == StreamMedia((), {"video": "no key frame"})
    assert room.publisher_of(KEY) == Publisher(present=True, video=True, trouble={"video": "no key frame"})
    place.flow("audio")
    place.flow("video")
    assert told.take() == ["media relay 0", "media relay 0"]
    assert told.newest.media == StreamMedia(("audio", "video"))
    place.trouble("video", "it stands still")
    assert room.roster().users[0].streams == (
        PublishedStream(StreamIndex.CAMERA, StreamMedia(("audio", "video"), {"video": "it stands still"})),
    )
    place.cease("video")
    assert told.newest.media == StreamMedia(("audio",))
    assert room.publisher_of(KEY) == Publisher(present=True, audio=True)
    place.cease("audio")
    assert told.take() == ["media relay 0", "media relay 0", "unpublished relay 0"]
    place.flow("audio")
    assert told.take() == ["published relay 0"]
    room.publish(KEY, "peer_2")
    told.take()
    place.trouble("audio", "it stands still")
    assert told.take() == [], "another has the stream"


def test_streams_without_publisher_and_viewer_are_forgotten(told: Told) -> None:
    room = told.room
    stream = room.streams[KEY] = Stream("name", lambda: None)
    stream.hold()
    room.forget_idle_streams()
    assert not room.empty
    room.publish(KEY, "run_1")
    stream.release()
    room.forget_idle_streams()
    assert KEY in room.streams
    room.retire("run_1", 0)
    room.forget_idle_streams()
    assert room.empty


def test_who_is_expelled_leaves_at_once_with_what_he_publishes(told: Told) -> None:
    room = told.room
    room.enter(ANNA, "peer_1")
    room.publish(KEY, "run_1")
    room.flow(KEY, "video")
    told.take()
    assert room.expel(RELAY) == {"run_1"}
    assert told.take() == ["unpublished relay 0", "left relay"]
    room.retire("run_1", 0)  # the node says so too
    assert told.take() == []
    assert told.roster() == {"anna": ()}


def test_all_are_expelled(told: Told) -> None:
    room = told.room
    room.enter(ANNA, "peer_1")
    room.enter(ANNA, "events_1")
    room.leave("peer_1", 0)
    room.publish(KEY, "run_1")  # not flowing yet
    told.take()
    assert room.expel(None) == {"events_1", "run_1"}
    assert told.take() == ["left anna"]
    assert room.empty
    assert room.expel(None) == set()
