"""Sound without a codec: runs without gaps and overlaps, joins that do not click, lengths of Opus packets."""

import math
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.opus_copy import OpusCopy, samples_of
from sluice.media.pipe.pcm import FRAME_BYTES, best_match, cross_fade
from sluice.media.pipe.sound_run import LONGEST_FILL_US, RATE, TOLERANCE_US, SoundRun

MS = 48  #: samples
TWENTY_MS = bytes((0xFC, 1, 2, 3))  #: CELT, full band, one frame


def tone(samples: int, first: int = 0, frequency: int = 440) -> bytes:
    """The same on both channels."""
    waves = (
        round(10_000 * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(first, first + samples)
    )
    return array("h", (value for wave in waves for value in (wave, wave))).tobytes()


class TestSoundRun:
    def test_what_fits_goes_on(self) -> None:
        run = SoundRun()
        for n in range(100):
            jitter_us = (-1) ** n * (TOLERANCE_US - 1)
            assert run.gap(5_000_000 + n * 20_000 + jitter_us * (n > 0)) == 0
            assert run.add(960) == 5_000_000 + n * 20_000

    @pytest.mark.parametrize("off_us", [TOLERANCE_US + 1_000, -TOLERANCE_US - 1_000, LONGEST_FILL_US])
    def test_what_does_not_is_told(self, off_us: int) -> None:
        run = SoundRun()
        run.gap(0)
        run.add(960)
        assert run.gap(20_000 + off_us) == off_us * MS // 1_000

    def test_a_long_gap_is_left(self) -> None:
        run = SoundRun()
        run.gap(0)
        run.add(960)
        assert run.gap(3_000_000) == 0
        assert run.add(960) == 3_000_000


class TestJoins:
    def test_a_fade_begins_with_the_old_and_ends_with_the_new(self) -> None:
        old, new = array("h", [1000, -1000] * 960), array("h", [-3000, 500] * 960)
        mixed = array("h", cross_fade(old.tobytes(), new.tobytes()))
        assert mixed[:2] == old[:2]
        assert abs(mixed[-2] + 3000) < 10
        assert abs(mixed[-1] - 500) < 10
        assert all(abs(b - a) <= 6 for a, b in pairwise(mixed[::2]))

    def test_nothing_to_fade_from_is_no_fade(self) -> None:
        assert cross_fade(b"", b"") == b""
        assert best_match(b"", tone(480)) == 0

    @pytest.mark.parametrize("frequency", [110, 440, 1_000])
    def test_waves_are_joined_where_they_match(self, frequency: int) -> None:
        old, new = tone(960, 0, frequency), tone(960 + 480, 12_345, frequency)
        at = best_match(old, new) * FRAME_BYTES
        mixed = array("h", cross_fade(old, new[at : at + len(old)]))
        # Waves against each other would cancel out in the middle.
        assert max(mixed[400:1520]) > 9_000

    def test_silence_matches_anything(self) -> None:
        assert best_match(bytes(960 * FRAME_BYTES), tone(1440)) == 0


@pytest.mark.parametrize(
    ("packet", "milliseconds"),
    [
        (b"\x00", 10),  # SILK
        (b"\x18", 60),
        (b"\x60", 10),  # hybrid
        (b"\x68", 20),
        (b"\xe0", 2.5),  # CELT
        (TWENTY_MS, 20),
        (b"\xfd", 40),
        (b"\xfe", 40),
        (b"\xff\x03", 60),
        (b"\xff\x06", 120),
        (b"\xff\x07", None),
        (b"\xff\x00", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_an_opus_packet_tells_its_length(packet: bytes, milliseconds: float | None) -> None:
    assert samples_of(packet) == (milliseconds if milliseconds is None else milliseconds * MS)


class TestOpusCopy:
    @staticmethod
    def _stamps(times: list[int]) -> list[int]:
        pipe = OpusCopy()
        packets = (Packet(TrackKind.AUDIO, TWENTY_MS, at_us, at_us, True) for at_us in times)
        return [frame.media_us for packet in packets for frame in pipe.push(packet)]

    def test_times_that_were_rounded_become_even(self) -> None:
        assert self._stamps([0, 20_300, 39_600, 60_900]) == [0, 20_000, 40_000, 60_000]

    def test_a_gap_stays(self) -> None:
        assert self._stamps([0, 20_000, 500_000, 520_000]) == [0, 20_000, 500_000, 520_000]

    def test_three_per_cent_faster_leaves_out_one_packet_in_some_thirty(self) -> None:
        times = [n * 20_000 * 100 // 103 for n in range(1_000)]
        stamps = self._stamps(times)
        assert {b - a for a, b in pairwise(stamps)} == {20_000}
        assert len(stamps) == pytest.approx(1_000 / 1.03, abs=2)

    @given(st.lists(st.integers(-3_000_000, 3_000_000)))
    def test_packets_never_overlap(self, steps: list[int]) -> None:
        times = [sum(steps[:n]) for n in range(len(steps))]
        assert all(b - a >= 20_000 for a, b in pairwise(self._stamps(times)))

    def test_what_is_no_packet_is_dropped(self) -> None:
        pipe = OpusCopy()
        assert pipe.push(Packet(TrackKind.AUDIO, b"", 0, 0, True)) == []
        assert pipe.dropped == 1


class TestCopiesOfFiles:
    """What their encoder put before and behind the sound."""

    def packet(self, begin_ms: float, skipped_ms: float = 0, left_ms: float = 20) -> Packet:
        pts_us = round((begin_ms + skipped_ms) * 1000)
        return Packet(
            TrackKind.AUDIO,
            TWENTY_MS,
            round(begin_ms * 1000),
            pts_us,
            True,
            skipped_us=round(skipped_ms * 1000),
            duration_us=round(left_ms * 1000),
        )

    def test_a_packet_that_begins_with_delay_is_copied_at_its_own_time(self) -> None:
        copy = OpusCopy()
        (first,) = copy.push(self.packet(-6.5, 6.5, 13.5))
        (second,) = copy.push(self.packet(13.5))
        assert (first.media_us, second.media_us) == (-6_500, 13_500)

    def test_packets_of_nothing_but_delay_are_left_out(self) -> None:
        copy = OpusCopy()
        assert copy.push(self.packet(-20, 20, 0)) == []
        assert copy.push(self.packet(0))[0].media_us == 0
        assert (copy.dropped, copy.left_out) == (0, 0)

    def test_the_last_packet_is_held_until_the_sound_ends(self) -> None:
        copy = OpusCopy()
        copy.push(self.packet(0))
        last = self.packet(20, 0, 7)
        assert copy.push(last) == []
        assert copy.held is last
        (closed,) = copy.close()
        assert (closed.media_us, closed.payload) == (20_000, TWENTY_MS)
        assert copy.close() == []

    def test_it_begins_with_the_packet_that_holds_the_position(self) -> None:
        copy = OpusCopy()
        copy.begin_at(50_000)
        made = [copy.push(self.packet(n * 20)) for n in range(5)]
        assert [frame.media_us for frames in made for frame in frames] == [40_000, 60_000, 80_000]
