"""Peers of a room that mean no good: each is held within its budgets and ended, and nobody else feels it."""

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, pairwise

import pytest
from aioice import stun
from structlog.testing import capture_logs

from sluice.core import limits
from sluice.core.fairness import PEER_SEATS
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import PatchOutcome, PeerPatch, StreamIndex, WatchOffer
from sluice.process.control import (
    Answer,
    ClosePeer,
    Done,
    Enter,
    Patched,
    PatchPeer,
    PeerSends,
    Refused,
    Roster,
    Watch,
)
from sluice.rooms.engine import engine as engine_module
from sluice.rooms.engine import peers as peers_module
from sluice.rooms.engine import room as room_module
from sluice.rooms.engine.conduct import Conduct, TokenBucket
from sluice.rooms.engine.publishing import Publishing
from sluice.rooms.engine.room import Room
from sluice.rooms.engine.viewer import Viewer
from sluice.rooms.engine.watching import Watching
from sluice.wire import rtcp
from sluice.wire.rtp import audio_header, h264_payloads, headers
from tests.unit.stranger import OPUS, TRANSPORT_ID, VIDEO, Air, House, Stranger, offer

S = 1_000_000
SPS, PPS = bytes.fromhex("6742c01f95a01400"), bytes.fromhex("68ce3c80")
IDR, P = b"\x65\x88", b"\x41\x9a"


class Time:
    def __init__(self) -> None:
        self.now_us = 100 * S


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    for module in (peers_module, engine_module):
        monkeypatch.setattr(module, "clock_us", lambda: made.now_us)
    return made


class Stage:
    """A house in which anna publishes, an innocent watches her, and a stranger does as he likes."""

    def __init__(self, time: Time, *, publishes: bool = False) -> None:
        self.time, self.house = time, House()
        self.air: Air = self.house.air
        self.anna = Stranger(self.house, 5001, publishes=True).connect()
        self.innocent = Stranger(self.house, 5002, name="innocent").connect()
        room = "dark" if publishes else "room"
        self.eve = Stranger(
            self.house, 5003, publishes=publishes, user="eve" if publishes else "anna", room=room
        )
        self.eve.connect()
        self.pictures, self._sequence = 0, 0
        self.picture()

    @property
    def source(self) -> int:
        """The SSRC of anna's pictures for her viewers."""
        lines = self.innocent.answer.splitlines()
        return int(next(line for line in lines if line.startswith("a=ssrc:")).split(":")[1].split()[0])

    def picture(self) -> None:
        """Anna's next; one in 25 is a key frame."""
        units = [P + bytes(2500)] if self.pictures % 25 else [SPS, PPS, IDR + bytes(9000)]
        payloads = h264_payloads(units)
        heads = headers(VIDEO, self._sequence, self.pictures * 3600, 7, len(payloads))
        for head, payload in zip(heads, payloads, strict=True):
            self.anna.send(self.anna.rtp(head + payload))
        self.pictures += 1
        self._sequence += len(payloads)

    def seconds(self, seconds: float) -> Iterator[int]:
        """Goes on by tenths, with pictures, checks and the timer."""
        for n in range(int(seconds * 10)):
            yield n
            self.time.now_us += S // 10
            for one in (self.anna, self.innocent, self.eve):
                one.check(use=False)
            self.picture()
            self.house.engine.on_timer()
            self.house.engine.drain(0.1)

    def there(self, who: Stranger) -> bool:
        """Whether it had a entry until now."""
        return self.house.engine.close_peer(who.end) == Done(found=True)

    def why_gone(self, who: Stranger) -> str:
        """What its resource says; empty while it is there."""
        reply = self.house.engine.patch_peer(_patch(who, "m=audio 9 RTP/AVP 0\r\n"))
        assert isinstance(reply, Patched)
        return reply.answer.why if reply.answer.outcome is PatchOutcome.ENDED else ""

    def others_are_well(self) -> bool:
        return self.there(self.anna) and self.there(self.innocent)


def rtp(sequence: int, payload: bytes = P, *, ssrc: int = 7, transport: int | None = None) -> bytes:
    head = struct.pack("!BBHII", 0x80 if transport is None else 0x90, VIDEO, sequence & 0xFFFF, 0, ssrc)
    if transport is not None:
        head += struct.pack("!HHBHx", 0xBEDE, 1, TRANSPORT_ID << 4 | 1, transport & 0xFFFF)
    return head + payload


# --- what a stranger sends too much of --------------------------------------------------------------------


def flood(stage: Stage, packet: bytes | Callable[[], bytes], each_s: int) -> None:
    """The same again and again, or what is made each time, for 20 s or until it is ended."""
    for _ in stage.seconds(20):
        for _ in range(each_s // 10):
            stage.eve.send(packet if isinstance(packet, bytes) else packet())


def test_a_flood_of_rtp_is_dropped_before_it_is_decrypted_and_ends(time: Time) -> None:
    stage = Stage(time, publishes=True)
    numbers = count()
    flood(stage, lambda: stage.eve.rtp(rtp(next(numbers))), 10_000)
    assert "67 Mbit/s, or 7000 RTP packets a second, and this has gone on for 10 s" in stage.why_gone(
        stage.eve
    )
    assert stage.others_are_well()


def test_a_burst_that_honest_publishers_make_is_taken(time: Time) -> None:
    """A key frame of 4 MB, and 2,000 packets a second after that."""
    stage = Stage(time, publishes=True)
    numbers = count()
    for n in stage.seconds(20):
        for _ in range(4000 if n == 0 else 200):
            stage.eve.send(stage.eve.rtp(rtp(next(numbers), P + bytes(1100))))
    assert stage.why_gone(stage.eve) == ""
    assert stage.there(stage.eve)


@pytest.mark.parametrize(
    ("packet", "each_s", "why"),
    [
        (rtcp.picture_loss(1, 2), 2000, "800 RTCP packets"),
        (struct.pack("!BBHI", 0x9F, 201, 1 + 6 * 31, 1) + bytes(24 * 31), 2000, "800 RTCP packets"),
        (b"\x80\xcc\0\1\0\0\0\1" * 100, 2000, "800 RTCP packets"),
    ],
    ids=["picture loss", "reports", "tiny packets"],
)
def test_a_flood_of_rtcp_is_dropped_and_ends(time: Time, packet: bytes, each_s: int, why: str) -> None:
    stage = Stage(time)
    flood(stage, lambda: stage.eve.rtcp(packet), each_s)
    assert why in stage.why_gone(stage.eve)
    assert stage.others_are_well()


def test_a_viewer_of_50_mbit_that_loses_a_tenth_stays(time: Time) -> None:
    """Chromium asks for each gap in a packet of its own, and once more for some."""
    stage = Stage(time)
    asked = struct.pack("!BBHIIHH", 0x81, 205, 3, 1, stage.source, 0, 0)
    flood(stage, lambda: stage.eve.rtcp(asked), 500)
    assert stage.why_gone(stage.eve) == ""
    assert stage.there(stage.eve)


def test_a_flood_of_dtls_ends_half_a_handshake(time: Time) -> None:
    stage = Stage(time)
    half = Stranger(stage.house, 5004)
    half.check()
    for _ in stage.seconds(12):
        for _ in range(10):
            half.send(b"\x16\xfe\xff" + bytes(200))
    assert not stage.there(half)
    assert stage.others_are_well()


@pytest.mark.parametrize(
    "forged", [b"\x17\xfe\xfd" + bytes(1000), b"\x80\xc9\0\x01" + bytes(40), bytes((128, 96))]
)
def test_what_anybody_can_forge_ends_nobody(time: Time, forged: bytes) -> None:
    stage = Stage(time)
    flood(stage, forged.ljust(200, b"\0"), 2000)
    assert stage.why_gone(stage.eve) == ""
    assert stage.there(stage.eve)
    assert stage.others_are_well()


@pytest.mark.parametrize(("seconds", "there"), [(29, True), (31, False)])
def test_half_a_handshake_is_a_seat_for_30_s_and_no_longer(time: Time, seconds: int, there: bool) -> None:
    stage = Stage(time)
    half = Stranger(stage.house, 5004)
    half.check()
    half.send(b"\x16\xfe\xff" + bytes(200))
    for _ in stage.seconds(seconds):
        pass
    assert stage.there(half) is there
    assert stage.others_are_well()


def test_a_flood_of_genuine_checks_ends_its_peer(time: Time) -> None:
    stage = Stage(time)
    check = stage.eve.checked(stage.eve.password)
    flood(stage, check, 1000)
    assert "200 ICE checks" in stage.why_gone(stage.eve)
    assert stage.others_are_well()


def test_a_flood_of_false_checks_ends_nobody_and_costs_no_signatures(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, parsed = Stage(time), list[bytes]()
    parse = stun.parse_message

    def parse_and_note(data: bytes) -> stun.Message:
        parsed.append(data)
        return parse(data)

    monkeypatch.setattr(stun, "parse_message", parse_and_note)
    false = stage.innocent.checked("a password that is not his")
    for _ in stage.seconds(5):
        for port in range(1000):
            stage.house.engine.on_datagram(false, ("127.0.0.2", 6000 + port))
            stage.house.engine.on_datagram(b"\0\1\0\0" + bytes(600), ("127.0.0.2", 6000))
            stage.house.engine.on_datagram(b"\0\1" + false[2:], ("127.0.0.2", 6000))
    assert len(parsed) < 5 * (limits.FALSE_CHECKS_PER_S + 3 * 10) + limits.FALSE_CHECKS_AT_ONCE + 30
    stage.house.air.take(stage.innocent.address)
    stage.innocent.check()
    assert stage.house.air.take(stage.innocent.address), "he is answered where he is"
    assert stage.others_are_well()


def test_what_a_publisher_says_of_itself_is_told_to_the_room_within_bounds(time: Time) -> None:
    stage = Stage(time, publishes=True)
    stage.eve.send(stage.eve.rtp(audio_header(OPUS, 0, 0, 9) + b"opus"))
    told, replies = len(stage.house.changes), list[str]()
    for n in range(100):
        request = PeerSends(peer_id=stage.eve.peer_id, user_id="eve", kinds=("audio",) * (n % 2))
        replies.append(stage.house.engine.peer_sends(request).type)
        stage.eve.send(stage.eve.rtp(audio_header(OPUS, n + 1, n * 960, 9) + b"opus"))
    assert replies == ["done"] * limits.ANNOUNCEMENTS_AT_ONCE + ["refusal"] * (
        100 - limits.ANNOUNCEMENTS_AT_ONCE
    )
    assert len(stage.house.changes) - told <= 2 * limits.ANNOUNCEMENTS_AT_ONCE
    for _ in stage.seconds(3):
        pass
    restarts = [
        stage.house.engine.patch_peer(_patch(stage.eve, f"a=ice-ufrag:{n}\r\na=ice-pwd:y\r\n")).type
        for n in range(9)
    ]
    assert restarts.count("patched") in (2, 3, 4)


# --- what costs more than its bytes -----------------------------------------------------------------------


def test_addresses_are_bounded_before_paths_are_opened_and_closed_with_the_peer(time: Time) -> None:
    stage = Stage(time)
    before = len(stage.air.paths)
    for port in range(10_000, 13_000):
        stage.eve.check(("127.0.0.1", port))
        assert len(stage.air.paths) <= before + limits.MOST_PEER_ADDRESSES
    assert stage.air.opened <= before + limits.NEW_ADDRESSES_AT_ONCE
    stage.eve.check()
    assert stage.air.take(stage.eve.address), "it is served where it was"
    for n in stage.seconds(12):
        stage.eve.check(("127.0.0.1", 20_000 + n))
    assert "1 new address a second" in stage.why_gone(stage.eve)
    assert stage.air.paths == {stage.anna.address, stage.innocent.address}
    assert stage.others_are_well()


def test_a_peer_that_moves_all_day_stays(time: Time) -> None:
    stage = Stage(time)
    for n in stage.seconds(60):
        if n % 50 == 0:
            stage.eve.address = ("127.0.0.1", 20_000 + n)
        if n % 10 == 0:
            stage.eve.check()
    assert stage.eve.address in stage.air.paths
    assert len(stage.air.paths) <= 2 + limits.MOST_PEER_ADDRESSES
    assert stage.there(stage.eve)
    assert stage.air.paths == {stage.anna.address, stage.innocent.address}


def test_nobody_takes_the_address_of_a_peer_that_is_there(time: Time) -> None:
    """Who can forge his source address could have what comes from there, and send what he watches there."""
    stage = Stage(time, publishes=True)
    for _ in stage.seconds(3):
        stage.eve.check(stage.anna.address)
    assert stage.anna.address in stage.air.paths
    before = stage.air.packets
    for _ in range(3):
        stage.picture()
    assert stage.air.packets > before, "her pictures still come in"
    time.now_us += 7 * S
    stage.eve.check(stage.anna.address)  # nobody is there any more: networks give addresses to others
    before = stage.air.packets
    for _ in range(3):
        stage.picture()
    assert stage.air.packets == before


def test_an_ssrc_for_each_packet_ends_and_leaves_nothing(time: Time) -> None:
    stage = Stage(time, publishes=True)
    numbers = iter(range(1000, 100_000))
    for _ in stage.seconds(12):
        for _ in range(20):
            stage.eve.send(stage.eve.rtp(rtp(0, ssrc=next(numbers))))
            stage.eve.send(stage.eve.rtcp(struct.pack("!BBHI", 0x80, 201, 1, next(numbers))))
    assert "64 SSRCs" in stage.why_gone(stage.eve)
    assert stage.others_are_well()


def test_a_publisher_that_changes_its_encoder_every_hour_stays(time: Time) -> None:
    """And what others send in its name counts nothing."""
    stage, sequence = Stage(time, publishes=True), 0
    for hour in range(100):
        time.now_us += 3600 * S
        for _ in stage.seconds(1):
            sequence += 1
            stage.eve.send(stage.eve.rtp(rtp(sequence, ssrc=1000 + hour)))
            stage.eve.send(rtp(sequence, ssrc=10_000 + sequence))
    assert stage.why_gone(stage.eve) == ""
    video = stage.house.engine._publishing[stage.eve.peer_id]._video
    assert video is not None
    assert video.ssrc == 1099


def test_numbers_that_are_asked_for_again_are_a_bounded_share(time: Time) -> None:
    stage = Stage(time)
    for _ in stage.seconds(3):
        pass
    sent, asked = stage.air.packets, struct.pack("!BBHII", 0x81, 205, 332, 1, stage.source)
    first = stage.house.engine.watch(
        _watch("witness")
    )  # the stream's numbers do not matter: all are asked for
    assert not isinstance(first, Refused)
    for n in stage.seconds(15):
        for k in range(20):
            numbers = ((n * 6000 + k * 330 * 17 + 17 * m) & 0xFFFF for m in range(330))
            stage.eve.send(
                stage.eve.rtcp(asked + b"".join(struct.pack("!HH", number, 0xFFFF) for number in numbers))
            )
    # Which of both budgets is over last depends on where the stream's numbers began.
    assert "it asks for more" in stage.why_gone(stage.eve)
    assert stage.air.packets - sent < 3 * 3 * 15 * 10 * 8 + 600
    assert stage.others_are_well()


def test_picture_loss_without_end_makes_few_key_frames_and_few_repairs(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, asked = Stage(time), 0

    def ask(publishing: Publishing) -> None:
        nonlocal asked
        asked += 1

    monkeypatch.setattr(Publishing, "ask_key_frame", ask)
    repairs: list[Viewer] = []
    monkeypatch.setattr(Viewer, "repair", lambda viewer, *_: repairs.append(viewer))
    lost = rtcp.picture_loss(1, stage.source)
    for _ in stage.seconds(60):
        stage.eve.send(stage.eve.rtcp(lost))
    assert asked <= limits.KEY_FRAMES_AT_ONCE + 60 * limits.KEY_FRAMES_PER_S + 1
    assert len(repairs) <= 12
    assert stage.there(stage.eve)


def test_pictures_sounds_and_units_are_bounded_by_the_second(time: Time) -> None:
    head = b"\x18" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (SPS, PPS, IDR))
    for payload, step, why in (
        (head, 3600, "250 pictures"),
        (b"\x18" + b"\0\2\x41\x9a" * 60, 0, "10000 NAL units"),
    ):
        stage = Stage(time, publishes=True)
        viewers = [Stranger(stage.house, 7000 + n, user="eve", room="dark", name=f"v{n}") for n in range(3)]
        for viewer in viewers:
            viewer.connect()
        before, number = stage.air.packets, 0
        for _ in stage.seconds(12):
            for viewer in viewers:
                viewer.check(use=False)
            for _ in range(100):
                packet = struct.pack("!BBHII", 0x80, VIDEO, number & 0xFFFF, number * step, 7) + payload
                stage.eve.send(stage.eve.rtp(packet))
                number += 1
        assert why in stage.why_gone(stage.eve)
        assert (
            stage.air.packets - before < 3 * (12 * limits.PICTURES_PER_S + limits.PICTURES_AT_ONCE) + 12 * 300
        )
        assert stage.others_are_well()


def test_sounds_are_bounded_by_the_second(time: Time) -> None:
    stage = Stage(time, publishes=True)
    number = 0
    for _ in stage.seconds(12):
        for _ in range(100):
            stage.eve.send(stage.eve.rtp(audio_header(OPUS, number, number * 960, 9) + b"opus"))
            number += 1
    assert "400 packets of sound" in stage.why_gone(stage.eve)
    assert stage.others_are_well()


def test_transport_wide_numbers_that_jump_stop_no_timer(time: Time) -> None:
    stage = Stage(time, publishes=True)
    for n in stage.seconds(2):
        for k in range(8):
            stage.eve.send(stage.eve.rtp(rtp(n * 8 + k, transport=(n * 8 + k) * 0x4000)))
    assert stage.there(stage.eve)
    assert stage.others_are_well()


def test_sender_reports_without_a_clock_move_nothing_for_good(time: Time) -> None:
    stage = Stage(time, publishes=True)
    for n in stage.seconds(3):
        stage.eve.send(stage.eve.rtp(audio_header(OPUS, n, n * 4800, 9) + b"opus"))
        stage.eve.send(stage.eve.rtp(rtp(n)))
        for ssrc in (7, 9):
            ntp = 0xFFFFFFFFFFFFFFFF if (n + ssrc) % 4 else 0
            report = struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, ntp, n * 4800, 0, 0)
            stage.eve.send(stage.eve.rtcp(report))
    assert stage.there(stage.eve)
    assert stage.others_are_well()


@pytest.mark.parametrize("seed", range(3))
def test_noise_ends_nobody_else(time: Time, seed: int) -> None:
    """Random bytes of each kind, clear and under the stranger's keys."""
    stage, dice, numbers = Stage(time, publishes=seed % 2 == 0), random.Random(seed), count()
    for _ in stage.seconds(3):
        for _ in range(20):
            noise = dice.randbytes(dice.randrange(1, 600))
            stage.eve.send(noise)
            stage.eve.send(bytes([dice.choice((0, 20, 22, 128, 144))]) + noise)
            stage.eve.send(stage.eve.rtp(struct.pack("!BBHII", 0x80, VIDEO, next(numbers), 0, 7) + noise))
            stage.eve.send(stage.eve.rtcp(struct.pack("!BBHI", 0x80, 200, 1, 7) + noise))
    assert stage.others_are_well()


# --- our own defects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["on_timer", "on_rtcp", "close"])
def test_a_defect_ends_the_peer_that_meets_it_alone(
    time: Time, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    stage = Stage(time)
    original = getattr(Watching, method)

    def fail(role: Watching, *arguments: object) -> object:
        if role._connection.peer_id == stage.eve.peer_id:
            raise LookupError("a defect")
        return original(role, *arguments)

    monkeypatch.setattr(Watching, method, fail)
    stage.eve.send(stage.eve.rtcp(struct.pack("!BBHI", 0x80, 201, 1, 1)))
    if method == "close":
        assert stage.there(stage.eve)
    for _ in stage.seconds(1):
        pass
    monkeypatch.undo()
    assert not stage.there(stage.eve)
    assert stage.others_are_well()


def test_a_defect_in_a_backlog_ends_its_viewer_alone(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, drained = Stage(time), list[Viewer]()
    drain = Viewer.drain

    def fail(viewer: Viewer, elapsed_s: float, ssrc: int) -> bool:
        drained.append(viewer)
        if viewer is drained[0]:
            raise LookupError("a defect")
        return drain(viewer, elapsed_s, ssrc)

    monkeypatch.setattr(Viewer, "drain", fail)
    for _ in range(3):
        stage.picture()  # the next ends the one before
    late = [Stranger(stage.house, 8000 + n, name=f"late {n}").connect() for n in range(2)]
    while stage.house.engine.drain(0.01):
        pass
    assert [stage.there(one) for one in late] == [False, True]
    assert stage.others_are_well()


def test_a_defect_in_a_room_ends_that_room_alone(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(time, publishes=True)
    on_timer = Room.on_timer

    def fail(room: Room, now_us: int) -> None:
        if room.room_id == "dark":
            raise LookupError("a defect")
        on_timer(room, now_us)

    monkeypatch.setattr(Room, "on_timer", fail)
    for _ in stage.seconds(1):
        pass
    assert not stage.there(stage.eve)
    assert stage.others_are_well()


# --- seats ------------------------------------------------------------------------------------------------


def _patch(who: Stranger, fragment: str) -> PatchPeer:
    return PatchPeer(
        patch=PeerPatch(AppId("app"), RoomId("room"), UserId("eve"), who.peer_id, ("*",), fragment)
    )


def _watch(viewer: str, room: str = "room") -> Watch:
    sdp = offer(publishes=False)
    stream = AppId("app"), RoomId(room), UserId("anna"), StreamIndex.CAMERA
    return Watch(offer=WatchOffer(*stream, UserId(viewer), sdp))


def test_seats_of_a_process_and_of_a_room_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "MOST_PEERS", 5)
    engine = House(replace(PEER_SEATS, room=3)).engine
    answers = [engine.watch(_watch(f"v{n}")) for n in range(4)]
    last = answers.pop()
    assert isinstance(last, Refused)
    assert last.busy
    assert "this room has 3" in last.why
    for n in range(2):
        engine.watch(_watch(f"v{n}", "other"))
    last = engine.watch(_watch("v", "third"))
    assert isinstance(last, Refused)
    assert "serves 5 peers" in last.why
    first = answers[0]
    assert isinstance(first, Answer)
    engine.close_peer(ClosePeer(app_id="app", room_id="room", user_id="v0", peer_id=first.answer.peer_id))
    assert not isinstance(engine.watch(_watch("v")), Refused)


def test_users_of_a_room_and_holders_of_a_user_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "MOST_ROOM_USERS", 2)
    monkeypatch.setattr(room_module, "MOST_HOLDERS", 2)
    engine = House().engine

    def enter(user: str, presence: str) -> str:
        reply = engine.enter(Enter(app_id="app", room_id="room", user_id=user, presence=presence))
        return reply.why if isinstance(reply, Refused) else ""

    assert [enter("anna", "1"), enter("bert", "2")] == ["", ""]
    assert "this room has 2 users" in enter("carl", "3")
    assert enter("anna", "4") == ""
    assert "this user has 2 connections" in enter("anna", "5")
    refused = engine.watch(_watch("carl"))
    assert isinstance(refused, Refused)
    assert "this room has 2 users" in refused.why


def test_a_crowd_that_leaves_at_once_is_seen_to_in_parts(time: Time) -> None:
    house = House()
    for n in range(120):
        house.engine.watch(_watch(f"v{n}"))
    time.now_us += 31 * S
    left = []
    for _ in range(5):
        house.engine.on_timer()
        roster = house.engine.enter(Enter(app_id="app", room_id="room", user_id="w", presence="w"))
        assert isinstance(roster, Roster)
        time.now_us += 6 * S
        left.append(len(roster.users))
    assert left[0] == 121
    assert left[-1] == 1
    assert max(before - after for before, after in pairwise(left)) <= limits.MOST_ENDED_AT_ONCE


def test_who_waits_for_the_turn_to_be_removed_ends_once(time: Time) -> None:
    """Else each of a crowd whose network is gone had a line in the log with every turn of the timer."""
    house, count = House(), limits.MOST_ENDED_AT_ONCE + 10
    for n in range(count):
        Stranger(house, 6000 + n, name=f"v{n}").connect()
    time.now_us += 31 * S
    with capture_logs() as lines:
        for _ in range(3):
            house.engine.on_timer()
    assert [line.get("why") for line in lines].count("consent expired") == count


# --- the pure part ----------------------------------------------------------------------------------------


def test_a_budget_fills_by_time_and_has_an_end() -> None:
    budget = TokenBucket(10, 5)
    assert [budget.take(1, S) for _ in range(6)] == [True] * 5 + [False]
    assert budget.take(1, S + 99_000)
    assert not budget.take(1, S + 99_000)
    assert [budget.take(1, 60 * S) for _ in range(6)] == [True] * 5 + [False]
    budget = TokenBucket(10, 5)
    assert budget.take(20, S), "a large thing passes, and is paid for later"
    assert not budget.take(1, 2 * S)
    assert budget.take(1, S + 1_600_000)


def test_patience_ends_with_what_goes_on_and_begins_anew_after_a_pause() -> None:
    conduct, now_us = Conduct("peer"), 0  # type: ignore[arg-type]
    for now_us in range(0, 9 * S, S):
        conduct.exceed("it shouts", now_us)
    for now_us in range(20 * S, 30 * S, S):
        conduct.exceed("it shouts", now_us)
    assert conduct.why == ""
    conduct.exceed("it shouts", now_us + S + 1)
    assert conduct.why == f"it shouts, and this has gone on for {limits.PATIENCE_S} s"
    assert conduct.drops.counts == {"over_budget": 20}
