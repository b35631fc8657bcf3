"""HLS whose variants, or whose sound, are dead or die: what is played instead, and that it is told."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sluice.core.lifecycle import Reason
from sluice.media.packets import TrackKind
from tests.integration.hls.origin import COUNT, PAGE, Origin, Reply, master_of, play
from tests.integration.numbered import RATE, SECOND


@pytest.mark.parametrize("reply", [404, 503, PAGE, b"#EXTM3U\n#EXT-X-ENDLIST\n"], ids=lambda r: str(r)[:9])
def test_the_next_best_variant_is_played(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, reply: Reply
) -> None:
    origin = Origin(clip, {"master.m3u8": [master_of("best.m3u8", "t.m3u8")], "best.m3u8": [reply]})
    with origin.serve() as server:
        played = play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    assert len(played.notes) == 1
    assert "another variant of the source is played" in played.notes[0]


def test_without_any_variant_the_best_one_is_told(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    origin = Origin(clip, {"master.m3u8": [master_of("best.m3u8", "low.m3u8")], "best.m3u8": [403]})
    with origin.serve() as server:
        error = play(server.url("/master.m3u8"), executor, numbers).error
    assert error is not None
    assert "403 Fault" in str(error)
    assert "best.m3u8" in str(error)


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
@pytest.mark.parametrize("dead", [0, 4])
def test_a_variant_that_dies_is_left_for_another(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str, dead: int
) -> None:
    best = (clip / f"{name}.m3u8").read_text().replace(f"{name}{dead}.", f"x{dead}.")
    for n in range(dead, COUNT):
        best = best.replace(f"\n{name}{n}.", f"\nx{n}.")
    origin = Origin(
        clip, {"master.m3u8": [master_of("best.m3u8", f"{name}.m3u8")], "best.m3u8": [best.encode()]}
    )
    with origin.serve() as server:
        played = play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    played.check_places()
    assert any("another variant" in note for note in played.notes)


def test_what_is_lost_in_all_variants_is_left_out(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    master = master_of("t.m3u8", "copy.m3u8", "third.m3u8")
    text = (clip / "t.m3u8").read_bytes()
    replies: dict[str, list[Any]] = {"master.m3u8": [master], "copy.m3u8": [text], "third.m3u8": [text]}
    with Origin(clip, replies | {f"t{n}.ts": [404] for n in (3, 4, 5, 7)}).serve() as server:
        played = play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert sorted({n // RATE for n in played.pictures()}) == [0, 1, 2, 6, 8, 9]
    played.check_places()


_SOUND = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="x",DEFAULT=YES,URI="{}"\n'


@pytest.mark.parametrize("reply", [404, PAGE])
def test_pictures_are_played_without_sound_whose_playlist_is_dead(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, reply: Reply
) -> None:
    master = master_of("v.m3u8", more=_SOUND.format("dead.m3u8"))
    with Origin(clip, {"master.m3u8": [master], "dead.m3u8": [reply]}).serve() as server:
        played = play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    assert played.of(TrackKind.AUDIO) == []
    assert any("the sound is left out" in note for note in played.notes)


def test_sound_that_dies_leaves_the_pictures(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    master = master_of("v.m3u8", more=_SOUND.format("a.m3u8"))
    gone: dict[str, list[Any]] = {f"a{n}.ts": [403] for n in range(4, 30)}
    with Origin(clip, {"master.m3u8": [master]} | gone).serve() as server:
        played = play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    assert 3 * SECOND < played.of(TrackKind.AUDIO)[-1] < 5 * SECOND
    assert any("the sound is left out for now" in note for note in played.notes)


def test_the_sound_of_a_group_named_later_is_played(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    """https://github.com/grafov/m3u8/issues/221"""
    with Origin(clip, {"master.m3u8": [master_of("v.m3u8", more=_SOUND.format("a.m3u8"))]}).serve() as server:
        played = play(server.url("/master.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
    played.check_places()


def test_a_master_playlist_of_master_playlists_is_refused(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, {"master.m3u8": [master_of("master.m3u8")]}).serve() as server:
        error = play(server.url("/master.m3u8"), executor, numbers).error
    assert error is not None
    assert (error.reason, error.transient) == (Reason.SOURCE_UNSUPPORTED, False)
    assert "another master playlist" in str(error)
