"""What stays the same over reloads of a live playlist, and what bytes of segments are."""

import pytest

from sluice.media.source.hls_forms import HEAD_BYTES, Ending, Form, form_of
from sluice.media.source.hls_numbering import Change, Numbering, run_shift_to
from sluice.media.source.hls_playlist import MediaPlaylist, parse_media
from sluice.media.source.notes import Notes

S = 1_000_000


def listed(
    first: int,
    entries: str,
    *,
    tag: int | None = None,
    date_s: int | None = None,
    seconds: float = 2,
    names: str = "s",
    more: str = "",
) -> MediaPlaylist:
    """`entries`: a letter for each segment, `|` for a discontinuity; `date_s`: when the first was made."""
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{more}"
    text += f"#EXT-X-DISCONTINUITY-SEQUENCE:{tag}\n" if tag is not None else ""
    if date_s is not None:
        minutes, rest = divmod(date_s, 60)
        text += f"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T{minutes // 60:02}:{minutes % 60:02}:{rest:02}Z\n"
    number = first
    for entry in entries:
        if entry == "|":
            text += "#EXT-X-DISCONTINUITY\n"
        else:
            text += f"#EXTINF:{seconds},\n{names}{number}.ts\n"
            number += 1
    return parse_media(text, "http://host.example/")


def runs(numbering: Numbering) -> dict[int, int]:
    return {segment.sequence: segment.run for segment in numbering.playlist.segments}


@pytest.mark.parametrize("tags", [(None, None, None), (0, 0, 0), (0, 1, 2), (7, 7, 3)], ids=str)
def test_segments_that_are_listed_again_keep_their_runs(tags: tuple[int | None, ...]) -> None:
    """Whether the tag is missing, wrong or right."""
    numbering = Numbering(listed(1, "aa|bb", tag=tags[0]))
    begin = tags[0] or 0
    assert runs(numbering) == {1: begin, 2: begin, 3: begin + 1, 4: begin + 1}
    assert numbering.take(listed(3, "bb|c", tag=tags[1])) is Change.NEWS
    assert runs(numbering) == {3: begin + 1, 4: begin + 1, 5: begin + 2}
    assert numbering.take(listed(4, "b|cc|d", tag=tags[2])) is Change.NEWS
    assert runs(numbering) == {4: begin + 1, 5: begin + 2, 6: begin + 2, 7: begin + 3}


def test_a_discontinuity_that_is_told_late_changes_only_what_is_new() -> None:
    numbering = Numbering(listed(1, "aaa"))
    numbering.take(listed(2, "a|aa"))
    assert runs(numbering) == {2: 0, 3: 0, 4: 0}


def test_time_runs_on_over_reloads() -> None:
    numbering = Numbering(listed(1, "aaaa"))
    numbering.take(listed(3, "aaaa"))
    assert [numbering.begin_us(s) // S for s in numbering.playlist.segments] == [4, 6, 8, 10]
    assert numbering.end_us == 12 * S


@pytest.mark.parametrize(("date_s", "begin_s"), [(None, 12), (40, 40)])
def test_what_was_missed_lies_between(date_s: int | None, begin_s: int) -> None:
    numbering = Numbering(listed(1, "aa", date_s=0))
    assert numbering.take(listed(7, "aa", date_s=date_s)) is Change.NEWS
    assert numbering.begin_us(numbering.playlist.segments[0]) == begin_s * S
    assert runs(numbering) == {7: 1, 8: 1}, "nobody knows whether it is the same clock"


def test_the_servers_word_tells_what_was_missed() -> None:
    numbering = Numbering(listed(1, "aa", tag=4))
    numbering.take(listed(2, "aa", tag=4))
    numbering.take(listed(9, "aa", tag=4))
    assert set(runs(numbering).values()) == {4}
    numbering.take(listed(19, "aa", tag=6))
    assert set(runs(numbering).values()) == {6}


@pytest.mark.parametrize(
    "older",
    [listed(3, "aaaa"), listed(1, "a"), listed(3, "aaaa", tag=9), listed(1, "")],
    ids=["a little", "long ago", "tag", "empty"],
)
def test_an_older_list_changes_nothing(older: MediaPlaylist) -> None:
    numbering = Numbering(listed(5, "aaaa"))
    before = numbering.playlist
    assert numbering.take(older) is Change.STALE
    assert numbering.take(older) is Change.STALE, "it does not grow"
    assert numbering.playlist == before
    assert numbering.take(listed(6, "aaaa")) is Change.NEWS
    assert runs(numbering) == {6: 0, 7: 0, 8: 0, 9: 0}


def test_the_same_list_is_no_news() -> None:
    numbering = Numbering(listed(5, "aaaa"))
    assert numbering.take(listed(5, "aaaa")) is Change.NONE
    assert numbering.take(listed(5, "aaaa", more="#EXT-X-ENDLIST\n")) is Change.NEWS
    assert numbering.playlist.ended


class TestAnew:
    """An encoder that was started again counts from the beginning."""

    def _check(self, numbering: Numbering) -> None:
        assert [s.sequence for s in numbering.playlist.segments] == [105, 106]
        assert {s.run for s in numbering.playlist.segments} == {2}
        assert numbering.begin_us(numbering.playlist.segments[0]) == 10 * S
        assert [s.part.url.rpartition("/")[2] for s in numbering.playlist.segments] == ["s0.ts", "s1.ts"]
        assert numbering.take(listed(0, "aa|a")) is Change.NEWS
        assert runs(numbering) == {105: 2, 106: 2, 107: 3}

    def test_it_is_known_by_its_growing(self) -> None:
        numbering = Numbering(listed(100, "aa|aaa"))
        assert numbering.take(listed(0, "a")) is Change.STALE
        assert numbering.take(listed(0, "aa")) is Change.ANEW
        self._check(numbering)

    def test_it_is_known_by_the_time_of_day(self) -> None:
        numbering = Numbering(listed(100, "aaaaa", date_s=100), run_shift=1)
        assert numbering.take(listed(0, "aa", date_s=90)) is Change.STALE
        assert numbering.take(listed(0, "aa", date_s=130)) is Change.ANEW
        self._check(numbering)

    def test_under_the_same_numbers_it_is_known_by_its_lengths(self) -> None:
        numbering = Numbering(listed(0, "aaaaa"))
        assert numbering.take(listed(0, "aa", seconds=1.5)) is Change.ANEW
        assert [s.sequence for s in numbering.playlist.segments] == [5, 6]

    def test_or_by_going_on_being_older(self) -> None:
        numbering = Numbering(listed(0, "aaaaa"))
        assert numbering.take(listed(0, "aa")) is Change.STALE
        assert numbering.take(listed(0, "aaa")) is Change.STALE, "a server that lags"
        assert numbering.take(listed(0, "aaaa"), believe=True) is Change.ANEW

    def test_a_server_that_lags_is_not_believed_for_a_standstill(self) -> None:
        numbering = Numbering(listed(0, "aaaaa"))
        for _ in range(3):
            assert numbering.take(listed(0, "aaa"), believe=True) is Change.STALE


class TestRenditions:
    def test_told_numbers_are_taken_at_their_word(self) -> None:
        assert run_shift_to(listed(1, "aa|b", tag=4), listed(1, "b", tag=5)) == 0

    def test_the_same_time_of_day_is_the_same_run(self) -> None:
        picture = parse_media(
            "#EXTM3U\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:01:00Z\n#EXTINF:2,\na\n#EXTINF:2,\nb\n"
            "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:01:04Z\n#EXTINF:2,\nc\n#EXTINF:2,\nd\n",
            "http://host.example/",
        )
        assert run_shift_to(picture, listed(70, "cc", date_s=64)) == 1
        assert run_shift_to(picture, listed(70, "cc", date_s=60)) == 0

    def test_else_the_same_place_from_the_end(self) -> None:
        assert run_shift_to(listed(1, "aaa|bb"), listed(9, "bb")) == 1
        assert run_shift_to(listed(1, "aaa|bb"), listed(9, "aa|bb")) == 0
        assert run_shift_to(listed(1, "b"), listed(9, "aaa|b")) == -1

    def test_or_from_the_beginning_of_a_recording(self) -> None:
        end = "#EXT-X-ENDLIST\n"
        assert run_shift_to(listed(1, "aa|bbbb", more=end), listed(1, "aa|b", more=end)) == 0
        assert run_shift_to(listed(1, "aa|bbbb", more=end), listed(1, "a", more=end)) == 0


class TestOtherVariants:
    def test_the_same_number_is_the_same_segment(self) -> None:
        numbering = Numbering(listed(5, "aa|aa"))
        other = numbering.replaced_by(listed(4, "aa|aaa", names="low"), 8, 8 * S)
        assert runs(other) == {4: 0, 5: 0, 6: 1, 7: 1, 8: 1}
        assert other.begin_us(other.playlist.segments[-1]) == 6 * S
        assert {s.origin for s in other.playlist.segments} == {1}

    def test_the_time_of_day_is_better(self) -> None:
        numbering = Numbering(listed(5, "aaaa", date_s=60))
        other = numbering.replaced_by(listed(905, "aaaa", date_s=62, names="low"), 7, 8 * S)
        segment = next(s for s in other.playlist.segments if s.sequence == 7)
        assert segment.part.url.endswith("/low906.ts")
        assert other.begin_us(segment) == 4 * S

    def test_of_a_recording_it_is_the_place(self) -> None:
        end = "#EXT-X-ENDLIST\n"
        numbering = Numbering(listed(0, "aaaa", more=end))
        other = numbering.replaced_by(listed(0, "aaaaaaaa", seconds=1, more=end, names="low"), 2, 0)
        segment = next(s for s in other.playlist.segments if s.sequence == 2)
        assert segment.part.url.endswith("/low4.ts")

    def test_else_as_far_from_the_end(self) -> None:
        numbering = Numbering(listed(5, "aaaa"))
        other = numbering.replaced_by(listed(905, "aaaa", names="low"), 7, 8 * S)
        segment = next(s for s in other.playlist.segments if s.sequence == 7)
        assert segment.part.url.endswith("/low907.ts")


TS = (b"\x47" + bytes(187)) * 5


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"", Form.EMPTY),
        (TS, Form.TS),
        (b"junk" + TS, Form.TS),
        ((bytes(4) + TS[:188]) * 5, Form.TS),  # with timestamps before its packets
        (TS[:188], Form.TS),
        (b"G" + bytes(range(1, 256)) * 4, Form.OTHER),
        (b"\0\0\0\x18styp" + bytes(99), Form.MP4),
        (b"\0\0\0\x18abcd" + bytes(99), Form.OTHER),
        (b"ID3\x04", Form.AUDIO),
        (b"\xff\xf1\x50\x80", Form.AUDIO),
        (b"\xff\xfb\x90\x44", Form.AUDIO),
        (b"\x0b\x77", Form.AUDIO),
        (b"<!DOCTYPE html>", Form.TEXT),
        (b'\xef\xbb\xbf \n{"error": 1}', Form.TEXT),
        (b"#EXTM3U\n", Form.TEXT),
        (b"\xff", Form.OTHER),
    ],
)
def test_what_the_bytes_of_a_segment_are(head: bytes, form: Form) -> None:
    assert form_of(head[:HEAD_BYTES]) is form


BOXES = b"\0\0\0\x08styp" + b"\0\0\0\x01mdat" + (20).to_bytes(8, "big") + b"data" + b"\0\0\0\x0cfreeabcd"


@pytest.mark.parametrize("step", [1, 3, 7, 8, 64])
def test_a_segment_that_breaks_off_is_told_by_its_boxes(step: int) -> None:
    for length in range(len(BOXES) + 1):
        ending = Ending(Form.MP4)
        for at in range(0, length, step):
            ending.feed(BOXES[at : min(at + step, length)])
        assert ending.is_whole() is (length in (0, 8, 28, 40)), length


def test_boxes_without_a_size_and_other_forms() -> None:
    for form, data, right in (
        (Form.MP4, b"\0\0\0\0mdat" + bytes(9), True),  # up to the end
        (Form.MP4, b"\0\0\0\x03mdat" + bytes(9), False),
        (Form.MP4, b"\0\0\0\x01mdat" + (5).to_bytes(8, "big"), False),
        (Form.TS, TS[:200], True),
    ):
        ending = Ending(form)
        ending.feed(data)
        assert ending.is_whole() is right


def test_notes_are_told_once_and_not_without_end() -> None:
    notes = Notes()
    notes.add("a")
    notes.add("a")
    assert notes.take() == ["a"]
    notes.add("a")
    assert notes.take() == []
    for n in range(1000):
        notes.add(f"{n} {'x' * 1000}")
    assert len(told := notes.take()) < 50
    assert all(len(text) <= 300 for text in told)
