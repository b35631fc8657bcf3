"""Reading by the slowest track: whatever the order in a container, and whatever does not come."""

from collections.abc import Iterable, Iterator

import pytest

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.gather import MOST_AHEAD_US, Gather

VIDEO, AUDIO = TrackKind.VIDEO, TrackKind.AUDIO
SECOND = 1_000_000


def track(kind: TrackKind, begin_s: float, end_s: float, step_us: int) -> Iterator[Packet]:
    for at_us in range(round(begin_s * SECOND), round(end_s * SECOND), step_us):
        yield Packet(kind, b"x", at_us, at_us, True)


def video(begin_s: float, end_s: float) -> Iterator[Packet]:
    return track(VIDEO, begin_s, end_s, 40_000)


def audio(begin_s: float, end_s: float) -> Iterator[Packet]:
    return track(AUDIO, begin_s, end_s, 20_000)


class File:
    """A container of packets in this order; `pulled` counts."""

    def __init__(self, *pieces: Iterable[Packet]) -> None:
        self._packets = (packet for piece in pieces for packet in piece)
        self.pulled = 0

    def pull(self, _kind: TrackKind | None) -> Packet | None:
        self.pulled += 1
        return next(self._packets, None)


def opened(*pieces: Iterable[Packet], kinds: Iterable[TrackKind] = TrackKind) -> tuple[Gather, File]:
    file = File(*pieces)
    gather = Gather(file.pull)
    gather.expect(kinds)
    return gather, file


def test_pieces_of_one_track_behind_those_of_the_other_are_read_in_time() -> None:
    gather, _ = opened(video(0, 6), audio(0, 6), video(6, 12), audio(6, 12))
    played: list[Packet] = []
    until_us = 0
    while until_us < 12 * SECOND:
        until_us += SECOND // 2
        packets = gather.read(until_us)
        newest = {kind: max(p.dts_us for p in packets if p.kind is kind) for kind in TrackKind}
        assert min(newest.values()) > until_us - 50_000
        assert max(newest.values()) < until_us
        played += packets
    assert gather.read(until_us + SECOND) == []
    assert [p.dts_us for p in played] == sorted(p.dts_us for p in played)
    assert len(played) == 300 + 600


def test_well_mixed_tracks_are_read_no_further_than_asked() -> None:
    mixed = sorted([*video(0, 10), *audio(0, 10)], key=lambda packet: packet.dts_us)
    gather, file = opened(mixed)
    gather.read(SECOND)
    assert file.pulled <= 25 + 50 + 3


def test_the_last_packet_of_a_track_that_ended_is_left_out_when_it_comes_at_the_end() -> None:
    mixed = sorted([*video(0, 10), *audio(0, 4)], key=lambda packet: packet.dts_us)
    gather, _ = opened(mixed, audio(4, 4.1))
    played = [packet for n in range(1, 24) for packet in gather.read(n * SECOND // 2)]
    assert [p.dts_us for p in played] == sorted(p.dts_us for p in played)
    assert len(played) == 250 + 200


def test_a_track_that_comes_again_in_time_is_played() -> None:
    mixed = sorted([*video(0, 20), *audio(0, 4), *audio(12, 20)], key=lambda packet: packet.dts_us)
    gather, _ = opened(mixed)
    played = [packet for n in range(1, 44) for packet in gather.read(n * SECOND // 2)]
    assert len(played) == 500 + 600


def test_a_track_that_ends_keeps_the_other_back_only_once() -> None:
    mixed = sorted([*video(0, 60), *audio(0, 5)], key=lambda packet: packet.dts_us)
    gather, file = opened(mixed)
    for n in range(1, 15):
        gather.read(n * SECOND // 2)
    assert file.pulled < 7 * 25 + 250 + 3 * 25
    pulled = file.pulled
    gather.read(8 * SECOND)
    assert file.pulled - pulled <= 30


def test_a_track_that_comes_back_is_waited_for_again() -> None:
    gather, _ = opened(audio(0, 1), video(0, 5), audio(5, 6), video(5, 6))
    read = [packet for n in range(1, 12) for packet in gather.read(n * SECOND // 2)]
    late = gather.read(6 * SECOND)
    assert [p.dts_us for p in read + late if p.kind is AUDIO][-1] == 6 * SECOND - 20_000
    assert len(read + late) == 100 + 150


def test_what_is_expected_and_never_comes_is_waited_for_within_a_bound() -> None:
    gather, file = opened(video(0, 120))
    packets = gather.read(SECOND)
    assert {packet.kind for packet in packets} == {VIDEO}
    assert file.pulled <= MOST_AHEAD_US // 40_000 + 2


def test_a_gap_is_no_end() -> None:
    gather, _ = opened(video(0, 1), video(9, 10), kinds={VIDEO})
    assert len(gather.read(SECOND)) == 25
    (first,) = gather.read(2 * SECOND)
    assert first.dts_us == 9 * SECOND


def test_what_was_read_before_an_error_is_given_before_it() -> None:
    packets = list(video(0, 1))

    def pull(_kind: TrackKind | None) -> Packet | None:
        if packets:
            return packets.pop(0)
        raise SourceError(Reason.SOURCE_INTERRUPTED, "lost", transient=True)

    gather = Gather(pull)
    assert len(gather.read(5 * SECOND)) == 25
    with pytest.raises(SourceError, match="lost"):
        gather.read(5 * SECOND)


def test_what_lies_behind_a_cut_is_not_given() -> None:
    gather, _ = opened(video(0, 4), audio(0, 4))
    gather.read(SECOND)
    gather.cut(2 * SECOND)
    left = gather.read(2 * SECOND)
    assert max(packet.dts_us for packet in left) < 2 * SECOND


def test_a_track_of_its_own_place_is_asked_for_again() -> None:
    pictures, sound = video(0, 60), audio(0, 60)
    there = True

    def pull(kind: TrackKind | None) -> Packet | None:
        if kind is AUDIO:
            return next(sound, None) if there else None
        return next(pictures, None)

    gather = Gather(pull, apart=True)
    gather.expect(TrackKind)
    for n in range(1, 41):
        there = not 4 < n < 30
        packets = gather.read(n * SECOND // 2)
    assert {packet.kind for packet in packets} == set(TrackKind)
