"""A publishing peer without its transport: packets in, access units out to a viewer, feedback back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from sluice.core.ids import PeerId
from sluice.process.documents import Publisher
from sluice.rooms.engine.conduct import Conduct
from sluice.rooms.engine.peer import Connection
from sluice.rooms.engine.publishing import Publishing, PublishTerms
from sluice.rooms.engine.stream import Stream
from sluice.wire.rtcp import Goodbye, Nack, PictureLoss, Reception, SenderReport, parse
from sluice.wire.rtp import MAX_PAYLOAD, audio_header, h264_payloads, headers
from sluice.wire.sdp import AudioFormat, VideoFormat
from tests.unit.test_picture_order import B_FRAMES, units

MS, S, FRAME_US = 1000, 1_000_000, 40_000
VIDEO, RTX, OPUS, TRANSPORT_ID = 102, 103, 111, 3
VIDEO_SSRC, RTX_SSRC, AUDIO_SSRC = 7, 8, 9
SPS, PPS = bytes.fromhex("6742c01f95a01400"), bytes.fromhex("68ce3c80")
IDR, P = b"\x65\x88", b"\x41\x9a"
FULL = ("nack", "nack pli", "ccm fir", "transport-cc")


class Told:
    """What is told of a publisher, as texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def flow(self, kind: str) -> None:
        self.texts.append(kind)

    def cease(self, kind: str) -> None:
        self.texts.append(f"no {kind}")

    def trouble(self, kind: str, text: str) -> None:
        self.texts.append(f"{kind}: {text}")


class Subscriber:
    """Keeps the times of what the stream gives out."""

    def __init__(self) -> None:
        self.video: list[int] = []
        self.audio: list[int] = []

    def tell(self, publisher: Publisher) -> None:
        pass

    def send_video(self, payload: bytes, clock_us: int, *, key: bool) -> None:
        self.video.append(clock_us)

    def send_audio(self, payload: bytes, clock_us: int) -> None:
        self.audio.append(clock_us)

    def send_group(self, frames: Sequence[tuple[bytes, int, int]]) -> None:
        self.video += [clock_us for _, clock_us, _ in frames]


@dataclass
class Sender:
    """A publisher, what the stream gives out of it, and what is sent back to it."""

    feedback: tuple[str, ...] = FULL
    reduced_size: bool = True
    now_us: int = 50 * S
    listener: Told = field(default_factory=Told)
    sent: list[bytes] = field(default_factory=list)  #: video packets
    told: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.got = Subscriber()
        self.stream = Stream("name", lambda: self.role.ask_key_frame())
        self.stream.subscribe(self.got)
        terms = PublishTerms(
            VideoFormat(VIDEO, RTX, "", self.feedback),
            AudioFormat(OPUS, ()),
            TRANSPORT_ID if "transport-cc" in self.feedback else 0,
            self.reduced_size,
        )
        self.peer_id = PeerId("peer")
        self.conduct = Conduct(self.peer_id)
        self.role = Publishing(
            cast(Connection, self), self.stream, terms, listener=self.listener, now_us=self.now_us
        )
        self._transport = 0
        self._sequence = self._sound = 0
        self._frames = 0

    def send_rtcp(self, packet: bytes) -> None:
        self.told.append(packet)

    def frame(self, *, key: bool = False, size: int = 100, lose: tuple[int, ...] = ()) -> None:
        """One picture; the packets at these places are lost."""
        self.picture([SPS, PPS, IDR + bytes(size)] if key else [P + bytes(size)], lose)

    def picture(self, units: list[bytes], lose: tuple[int, ...] = ()) -> None:
        payloads = h264_payloads(units)
        heads = headers(VIDEO, self._sequence, self._frames * 3600, VIDEO_SSRC, len(payloads))
        self._sequence += len(payloads)
        self._frames += 1
        for n, (head, payload) in enumerate(zip(heads, payloads, strict=True)):
            self.sent.append(head + payload)
            packet = self._numbered(head) + payload
            if n not in lose:
                self.role.on_rtp(packet, self.now_us)
        self.now_us += FRAME_US

    def sound(self) -> None:
        self.role.on_rtp(
            audio_header(OPUS, self._sound, self._sound * 960, AUDIO_SSRC) + b"opus", self.now_us
        )
        self._sound += 1
        self.now_us += 20 * MS

    def repeat(self, number: int) -> None:
        """By RTX, whose own numbers do not matter."""
        lost = next(packet for packet in self.sent if packet[2:4] == number.to_bytes(2, "big"))
        head = bytes([0x80, lost[1] & 0x80 | RTX]) + lost[2:8] + RTX_SSRC.to_bytes(4, "big")
        self.role.on_rtp(head + lost[2:4] + lost[12:], self.now_us)

    def tick(self, us: int = 0) -> None:
        self.now_us += us
        self.role.on_timer(self.now_us, 0.0)

    def told_of(self) -> list[str]:
        return self.listener.texts

    def requests(self) -> Iterator[Nack | PictureLoss]:
        """What was asked for since the last look."""
        told, self.told = self.told, []
        yield from (item for packet in told for item in parse(packet) if isinstance(item, Nack | PictureLoss))

    def kinds(self) -> list[tuple[int, int]]:
        """Type and format of the first packet of each message since the last look."""
        told, self.told = self.told, []
        return [(packet[1], packet[0] & 0x1F) for packet in told]

    def _numbered(self, head: bytes) -> bytes:
        number, self._transport = self._transport, self._transport + 1
        extension = (
            bytes([0xBE, 0xDE, 0, 1, TRANSPORT_ID << 4 | 1]) + (number & 0xFFFF).to_bytes(2, "big") + b"\0"
        )
        return bytes([head[0] | 0x10]) + head[1:] + extension


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_media_flows_with_its_first_frame_of_each_kind(sender: Sender) -> None:
    sender.frame(key=True)
    assert sender.told_of() == []
    sender.tick(10 * MS)
    assert sender.told_of() == ["video"], "the first picture leaves though no next one has begun"
    sender.sound()
    sender.frame()
    sender.sound()
    assert sender.told_of() == ["video", "audio"]
    assert (len(sender.got.video), len(sender.got.audio)) == (2, 2)
    assert not list(sender.requests())


def test_a_lost_packet_is_asked_for_and_its_repetition_completes_the_picture(sender: Sender) -> None:
    sender.frame(key=True)
    sender.frame(size=3 * MAX_PAYLOAD, lose=(1,))
    assert list(sender.requests()) == [Nack(VIDEO_SSRC, (2,))]
    sender.frame()
    assert len(sender.got.video) == 1, "everything behind it waits"
    sender.repeat(2)
    assert len(sender.got.video) == 3
    sender.repeat(2)
    assert len(sender.got.video) == 3


def test_what_never_comes_is_given_up_and_a_key_frame_asked_for(sender: Sender) -> None:
    sender.frame(key=True)
    sender.frame(size=3 * MAX_PAYLOAD, lose=(1,))
    asked = 0
    for _ in range(40):
        sender.frame()
        requests = list(sender.requests())
        asked += sum(isinstance(item, Nack) for item in requests)
        if PictureLoss(VIDEO_SSRC) in requests:
            break
    else:
        raise AssertionError("no key frame was asked for")
    assert 5 <= asked <= 10
    assert len(sender.got.video) == 1
    for _ in range(30):
        sender.frame()
    assert list(sender.requests()) == [PictureLoss(VIDEO_SSRC)] * 2, "again, but twice a second at most"
    sender.frame(key=True)
    sender.frame()
    assert len(sender.got.video) == 3


def test_a_viewers_request_becomes_a_pli_twice_a_second_at_most(sender: Sender) -> None:
    sender.stream.ask_key_frame(sender.now_us)
    assert not list(sender.requests()), "nothing is known of its video yet"
    sender.frame(key=True)
    sender.now_us += S
    for _ in range(10):
        sender.stream.ask_key_frame(sender.now_us)
        sender.now_us += 100 * MS
    assert list(sender.requests()) == [PictureLoss(VIDEO_SSRC)] * 2


def test_fir_where_that_is_all_that_was_agreed() -> None:
    sender = Sender(feedback=("ccm fir",))
    sender.frame(key=True)
    sender.stream.ask_key_frame(sender.now_us)
    sender.stream.ask_key_frame(sender.now_us + S)
    first, second = (packet for packet in sender.told if packet[1] == 206)
    assert parse(first) == [PictureLoss(VIDEO_SSRC)]
    assert first != second, "each has a number of its own"


def test_congestion_feedback_ten_times_a_second(sender: Sender) -> None:
    for n in range(26):
        sender.frame(key=n == 0)
    feedback = [packet for packet in sender.told if (packet[1], packet[0] & 0x1F) == (205, 15)]
    assert 9 <= len(feedback) <= 11
    assert sum(int.from_bytes(packet[14:16], "big") for packet in feedback) >= 24, "of all packets"
    assert {packet[8:12] for packet in feedback} == {VIDEO_SSRC.to_bytes(4, "big")}


def test_a_report_each_second_about_both_tracks(sender: Sender) -> None:
    sender.frame(key=True)
    sender.sound()
    sender.frame(lose=(0,))
    sender.frame()
    sender.role.on_rtcp([SenderReport(VIDEO_SSRC, 0x11112222_33334444, 0)], sender.now_us)
    sender.told.clear()
    sender.tick(S)
    (report,) = (packet for packet in sender.told if packet[1] == 201)
    blocks = [item for item in parse(report) if isinstance(item, Reception)]
    assert [(block.ssrc, block.packets_lost) for block in blocks] == [(VIDEO_SSRC, 1), (AUDIO_SSRC, 0)]
    assert report[24:28] == bytes.fromhex("22223333"), "the middle of its NTP time"
    sender.told.clear()
    sender.tick(500 * MS)
    assert 201 not in [kind for kind, _ in sender.kinds()]


def test_remb_where_there_is_no_transport_feedback() -> None:
    sender = Sender(feedback=("nack", "nack pli", "goog-remb"))
    sender.frame(key=True)
    sender.tick(S)
    (report,) = sender.told
    assert b"REMB" in report


def test_feedback_comes_behind_a_report_where_it_may_not_come_alone() -> None:
    sender = Sender(reduced_size=False)
    sender.frame(key=True)
    sender.frame(lose=(0,))
    sender.frame()
    assert set(sender.kinds()) == {(201, 0)}


def test_what_is_no_packet_or_of_no_agreed_type_is_left_out(sender: Sender) -> None:
    for packet in (b"", b"\x80", headers(99, 0, 0, 1, 1)[0] + b"x", audio_header(RTX, 0, 0, 1) + b"\0\0x"):
        sender.role.on_rtp(packet, sender.now_us)
    assert sender.told_of() == []


def test_a_new_source_begins_anew(sender: Sender) -> None:
    """As when a browser changes its SSRC."""
    sender.frame(key=True)
    sender.sent.clear()
    other = headers(VIDEO, 40_000, 5, 77, 1)[0]
    sender.role.on_rtp(other + P, sender.now_us)
    sender.role.on_rtp(headers(VIDEO, 40_001, 6, 77, 1)[0] + P, sender.now_us)
    assert len(sender.got.video) == 1, "no picture refers to another source's"
    assert list(sender.requests()) == [PictureLoss(77)]


def test_pictures_that_stay_away_are_told_and_the_sound_goes_on(sender: Sender) -> None:
    for n in range(5):
        sender.frame(key=n == 0)
        sender.sound()
    began_us = sender.now_us
    while len(sender.told_of()) == 2:
        sender.sound()
        sender.tick(80 * MS)
    assert 2 * S <= sender.now_us - began_us < 2.3 * S
    assert sender.told_of()[2:] == ["video: the publisher sends no pictures any more"]
    sender.frame()
    assert sender.told_of()[3:] == ["video"]
    for _ in range(30):
        sender.frame()
        sender.tick(40 * MS)
    assert sender.told_of()[4:] == ["audio: the publisher sends no sound any more"]


def test_pictures_that_nobody_can_decode_are_told(sender: Sender) -> None:
    for _ in range(30):
        sender.frame()
        sender.sound()
        sender.tick(20 * MS)
    text = "its pictures cannot be decoded: no key frame has come yet"
    assert sender.told_of() == ["audio", f"video: {text}"]
    sender.frame(key=True)
    sender.frame()
    assert sender.told_of()[2:] == ["video"]


@pytest.mark.parametrize("how", ["goodbye", "says"])
def test_what_the_publisher_ends_is_not_missed(sender: Sender, how: str) -> None:
    for n in range(5):
        sender.frame(key=n == 0)
        sender.sound()
    if how == "goodbye":
        sender.role.on_rtcp([Goodbye(VIDEO_SSRC)], sender.now_us)
    else:
        sender.role.says(["audio"], sender.now_us)
    assert sender.told_of()[2:] == ["no video"]
    sender.frame()  # was on its way
    for _ in range(40):
        sender.sound()
        sender.tick(80 * MS)
    assert len(sender.told_of()) == 3
    sender.role.says(["audio", "video"], sender.now_us)
    sender.frame(key=True)
    sender.frame()
    assert sender.told_of()[3:] == ["video"]


def test_pictures_in_decoding_order_are_refused_and_the_sound_goes_on(sender: Sender) -> None:
    """Whether they are stamped by decoding, as here, or by showing."""
    for picture in B_FRAMES[:3]:
        sender.picture(units(picture))
        sender.sound()
    sender.tick(60 * MS)
    seen = len(sender.got.video)
    assert seen <= 2, "those before the first that goes back"
    assert len(sender.told_of()) == 3
    assert "B-frames" in sender.told_of()[-1]
    assert "bframes=0" in sender.told_of()[-1]
    for picture in B_FRAMES * 20:
        sender.picture(units(picture))
        sender.sound()
        sender.tick()
    assert len(sender.got.video) == seen
    assert len(sender.got.audio) > 100
    assert len(sender.told_of()) == 3, "once"


def test_lips_follow_the_voice(sender: Sender) -> None:
    """Sender reports reach the clock: pictures whose way is longer by 80 ms end up where the sound is."""
    for n in range(200):
        if n % 2 == 0:
            sender.frame(key=n == 0)
            sender.now_us -= FRAME_US
        sender.sound()
        if n == 20:
            ntp = (sender.now_us << 32) // S
            at = sender.now_us - 50 * S
            early = SenderReport(VIDEO_SSRC, ntp, (at + 80 * MS) * 9 // 100)
            sender.role.on_rtcp([early, SenderReport(AUDIO_SSRC, ntp, at * 6 // 125)], sender.now_us)
    captured_apart = 20 * MS  # the last picture belongs to the last sound but one
    assert sender.got.audio[-1] - sender.got.video[-1] == captured_apart + 80 * MS


def test_what_comes_of_a_publisher_is_counted(sender: Sender) -> None:
    sender.frame(key=True)
    sender.frame(size=3 * MAX_PAYLOAD, lose=(1,))
    sender.frame()
    sender.repeat(2)
    sender.repeat(2)  # once more than was asked
    sender.sound()
    sender.tick(S)
    figures = {
        (figure.name, label): count
        for (figure, label), count in zip(sender.role.counted, sender.role.counts(), strict=True)
    }
    assert figures["room_received_packets", "video"] == len(sender.sent) - 1
    assert figures["room_received_packets", "audio"] == 1
    assert figures["room_repeated_packets", "received"] == 2
    assert figures["room_nacks", "sent"] == 1
    assert figures["room_publisher_lost_packets", "video"] == 0, "it came in the end"
    assert sender.conduct.drops.counts == {"late": 1}
    traffic = sender.role.traffic(sender.now_us)
    assert traffic.media["video"].lost == 1, "by the network"
    assert traffic.media["audio"].codec == "opus"
    assert traffic.round_trip_ms is not None, "it was measured by the repetition"
    assert traffic.bitrate_kbps > 0


def test_loss_of_a_publisher_is_that_of_ten_seconds(sender: Sender) -> None:
    sender.frame(key=True)
    for n in range(500):
        sender.frame(lose=(0,) if n % 25 == 24 else ())
        sender.tick()
    assert sender.role.traffic(sender.now_us).loss_percent == pytest.approx(4, abs=0.5)


def test_what_is_dropped_of_a_publisher_is_counted_by_rule(sender: Sender) -> None:
    sender.frame()  # without a key frame before it
    sender.role.on_rtp(b"\x80", sender.now_us)
    sender.role.on_rtp(audio_header(77, 1, 0, 5) + b"?", sender.now_us)
    sender.frame(key=True)
    sender.tick(2 * S)
    assert sender.conduct.drops.counts == {"undecodable": 1, "malformed": 1, "not_agreed": 1}
    for picture in B_FRAMES * 20:
        sender.picture(units(picture))
        sender.tick()
    assert sender.conduct.drops.counts["b_frames"] > 20


def test_a_source_that_is_over_has_been_counted(sender: Sender) -> None:
    sender.sound()
    sender.role.on_rtp(audio_header(OPUS, 0, 0, AUDIO_SSRC) + b"opus", sender.now_us)  # late
    sender.role.on_rtp(audio_header(OPUS, 0, 0, AUDIO_SSRC + 1) + b"opus", sender.now_us)
    assert sender.conduct.drops.counts == {"late": 1}
    sender.role.close()
    assert sender.conduct.drops.counts == {"late": 1}
