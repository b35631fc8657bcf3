"""What a room process tells: figures that never go back, and documents of its rooms."""

import json

import pytest

from sluice.core.figures import ROOM, Values
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.room_documents import PeerRole, StreamOrigin, ViewersReport
from sluice.core.rooms import StreamIndex, WatchOffer
from sluice.process.control import AskRoom, AskRooms, AskViewers, Refused, RoomShown, Watch, decode, encode
from sluice.rooms.engine.watching import Watching
from sluice.wire.rtcp import ReportBlock, picture_loss, receiver_report
from tests.unit.stranger import OPUS, House, Stranger
from tests.unit.test_strangers import S, Stage, Time
from tests.unit.test_strangers import time as time

APP, ROOM_ID = AppId("app"), RoomId("room")


def room_of(house: House, room: str = "room", offset: int = 0, limit: int = 100) -> RoomShown:
    shown = house.engine.census.room(AskRoom(app_id=APP, room_id=RoomId(room), offset=offset, limit=limit))
    read = decode(encode(shown))
    assert isinstance(read, RoomShown)
    return read


def report(stage: Stage, who: Stranger, *, lost: int, sent: int) -> None:
    """A receiver report about anna's pictures: so many were lost of the last 100."""
    block = ReportBlock(stage.source, lost * 256 // 100, lost, 40_000 + sent, 900, 0, 0)
    who.send(who.rtcp(receiver_report(1, [block], "eve")))


def totals(house: House) -> Values:
    return house.engine.census.figures()[0]


def test_figures_are_those_that_are_named(time: Time) -> None:
    stage = Stage(time)
    for _ in stage.seconds(2):
        pass
    report(stage, stage.eve, lost=1, sent=100)
    found, present = stage.house.engine.census.figures()
    names = {figure.name: figure for figure in ROOM}
    assert all(names[name].total for name in found)
    assert not any(names[name].total for name in present)
    assert {*found, *present, "dropped"} == set(names)
    assert set(House().engine.census.figures()[0]) == set(found), "from the start"
    json.dumps([found, present])


def test_what_a_peer_has_counted_is_kept_when_it_is_gone(time: Time) -> None:
    stage = Stage(time)
    for _ in stage.seconds(2):
        pass
    stage.eve.send(stage.eve.rtcp(picture_loss(1, stage.source)))
    before = totals(stage.house)
    assert before["room_sent_packets"]["video"] > 100
    assert before["room_received_packets"]["video"] > 50
    assert before["room_key_frame_requests"]["received"] == 1
    for who in (stage.eve, stage.innocent, stage.anna):
        stage.house.engine.close_peer(who.end)
    assert totals(stage.house) == before
    assert stage.house.engine.census.figures()[1]["peers"] == {"viewer": 0, "publisher": 0, "connecting": 0}


def test_viewers_are_counted_by_the_loss_that_they_report(time: Time) -> None:
    stage = Stage(time)
    for _ in stage.seconds(3):
        pass
    sent = viewer_of(stage, stage.eve).counts()[0]
    assert sent > 80
    report(stage, stage.eve, lost=7, sent=100)
    report(stage, stage.innocent, lost=0, sent=100)
    Stranger(stage.house, 5009, name="silent").connect()
    Stranger(stage.house, 5010, name="late")
    found, present = stage.house.engine.census.figures()
    assert present["peers"] == {"viewer": 3, "publisher": 1, "connecting": 1}
    none = {"0": 0, "<1 %": 0, "<5 %": 0, "<10 %": 0, "more": 0, "unknown": 0}
    assert present["room_viewers_by_loss"] == none | {"0": 1, "<10 %": 1, "unknown": 1}
    assert present["room_viewer_loss_ratio"]["max"] == pytest.approx(7 / sent)
    assert present["room_viewer_jitter_seconds"]["mean"] == pytest.approx(0.01)
    assert found["room_viewer_lost_packets"] == {"video": 7, "audio": 0}


def viewer_of(stage: Stage, who: Stranger) -> Watching:
    (role,) = (
        entry.peer.role
        for entry in stage.house.engine._peers
        if entry.peer.id == who.peer_id and isinstance(entry.peer.role, Watching)
    )
    return role


def test_a_room_shows_who_is_there_and_how_media_reaches_them(time: Time) -> None:
    stage = Stage(time)
    for _ in stage.seconds(3):
        pass
    report(stage, stage.eve, lost=7, sent=100)
    Stranger(stage.house, 5010, name="late")
    room = room_of(stage.house).room
    assert room is not None
    assert (room.counts.users, room.counts.streams) == (4, 1)
    assert (room.counts.viewers, room.counts.publishers, room.counts.connecting) == (2, 1, 1)
    assert {user.user_id: user.connections for user in room.users} == {
        "anna": 1,
        "innocent": 1,
        "eve": 1,
        "late": 1,
    }
    (stream,) = room.streams
    assert (stream.user_id, stream.origin, stream.kinds) == ("anna", StreamOrigin.PEER, ("video",))
    assert stream.publisher == stage.anna.peer_id
    assert (stream.viewers, stream.pushes) == (2, 0)
    assert stream.video is not None
    assert stream.video.frame_rate == pytest.approx(10, abs=1)
    assert stream.video.key_frame_interval_s is not None
    assert stream.video.bitrate_kbps > 100
    assert stream.audio is None
    peers = {str(peer.user_id): peer for peer in room.peers}
    assert peers["anna"].role is PeerRole.PUBLISHER
    assert peers["anna"].traffic.media["video"].packets > 50
    assert peers["late"].state == "connecting"
    eve = peers["eve"]
    assert (eve.role, eve.state, eve.of_user_id) == (PeerRole.VIEWER, "connected", "anna")
    assert eve.traffic.media["video"].lost == 7
    assert eve.traffic.media["video"].jitter_ms == 10.0
    assert eve.traffic.media["video"].bitrate_kbps > 100
    assert set(eve.traffic.media) == {"video", "audio"}
    assert eve.network == "127.0.0.0/24", "never the whole address"


def test_what_is_dropped_of_a_peer_is_shown_with_it_and_counted_for_good(time: Time) -> None:
    stage = Stage(time)
    again = stage.anna.rtp(b"\x80" + bytes((OPUS,)) + bytes(10) + b"opus")
    stage.anna.send(again)
    stage.anna.send(again)
    stage.house.engine.on_datagram(bytes((200,)) * 40, ("192.0.2.9", 7))
    room = room_of(stage.house).room
    assert room is not None
    assert next(peer.dropped for peer in room.peers if peer.user_id == "anna") == {"forged": 1}
    stage.house.engine.close_peer(stage.anna.end)
    counts = stage.house.drops.counts
    assert (counts["forged"], counts["stranger"]) == (1, 1)


def test_pages_of_a_room_have_all_of_it(time: Time) -> None:
    stage = Stage(time)
    seen = []
    for offset in range(0, 4, 2):
        room = room_of(stage.house, offset=offset, limit=2).room
        assert room is not None
        assert room.counts.users == 3
        seen += [peer.user_id for peer in room.peers]
    assert seen == ["anna", "innocent", "eve"]
    assert room_of(stage.house, "elsewhere").room is None


def test_rooms_are_listed_in_order_behind_a_place(time: Time) -> None:
    house = House()
    for n, name in enumerate(("b", "a", "c")):
        Stranger(house, 6000 + n, room=name)
    first = house.engine.census.rooms(AskRooms(after=None, limit=2)).rooms
    assert [(room.room_id, room.counts.connecting) for room in first] == [("a", 1), ("b", 1)]
    rest = house.engine.census.rooms(AskRooms(after=(APP, RoomId("b")), limit=2)).rooms
    assert [room.room_id for room in rest] == ["c"]


def test_what_viewers_of_a_user_report_is_summed_up(time: Time) -> None:
    stage = Stage(time)
    for _ in stage.seconds(3):
        pass
    sent = viewer_of(stage, stage.eve).counts()[0]
    report(stage, stage.eve, lost=sent // 10, sent=sent)
    report(stage, stage.innocent, lost=0, sent=sent)
    keys = ((APP, ROOM_ID, UserId("anna")), (APP, ROOM_ID, UserId("nobody")))
    seen, nobody = stage.house.engine.census.viewers(AskViewers(watched=keys)).reports
    assert nobody == ViewersReport(0)
    assert (seen.count, seen.reporting) == (2, 2)
    assert seen.loss_percent is not None
    assert seen.loss_percent.worst == pytest.approx(10, abs=0.5)
    assert seen.loss_percent.mean == pytest.approx(5, abs=0.3)
    assert seen.bitrate_kbps > 200


def test_failures_and_refusals_are_counted_by_their_cause(time: Time) -> None:
    house = House()
    Stranger(house, 6000, name="never")
    half = Stranger(house, 6001, name="half")
    half.check()
    Stranger(house, 6002, name="whole").connect()
    for _ in range(400):
        time.now_us += S // 10
        house.engine.on_timer()
    expected = {"ice": 1, "dtls": 1, "consent": 1, "budget": 0, "defect": 0}
    assert totals(house)["room_peer_failures"] == expected
    assert room_of(house).room is None
    offer = WatchOffer(APP, ROOM_ID, UserId("anna"), StreamIndex.CAMERA, UserId("eve"), "v=0")
    refused = house.engine.watch(Watch(offer=offer))
    assert isinstance(refused, Refused)
    house.engine.census.refuse(refused)
    house.engine.census.refuse(Refused(field="room", why="it is full", busy=True))
    assert totals(house)["room_refusals"] == {"offer": 1, "token": 0, "full": 1, "fragment": 0}
