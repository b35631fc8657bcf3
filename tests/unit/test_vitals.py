"""What is said of media by what was seen of it: black, frozen, silent, how loud, how late."""

from itertools import count

import pytest

from sluice.core.vitals import Lags, Level, Look, PictureWatch, Signal, SoundWatch, dbfs

MOVES, STANDS = Look(changed=True, black=False), Look(changed=False, black=False)
BLACK, UNKNOWN = Look(changed=False, black=True), Look(changed=False)
LOUD, QUIET = Level(0.01), Level(1e-7)


def seen(*looks: Look, every_s: float = 0.5) -> tuple[PictureWatch, float, list[tuple[float, str]]]:
    """After these looks: the watch, the time of the last one, and when each state began to be said."""
    watch, now = PictureWatch(), 0.0
    news: list[tuple[float, str]] = []
    for n, look in zip(count(), looks, strict=False):
        now = n * every_s
        if watch.see(look, now) and (signal := watch.signal(now)) is not None:
            news.append((now, signal.state))
    return watch, now, news


def test_a_picture_that_moves_is_ok_since_it_came() -> None:
    watch, now, news = seen(*[MOVES] * 30)
    assert news == [(0, "ok")]
    assert watch.signal(now) == Signal("ok", 0)


def test_a_picture_that_stands_still_is_frozen_after_five_seconds_since_it_changed_last() -> None:
    watch, now, news = seen(*[MOVES] * 5, *[STANDS] * 12)
    assert news == [(0, "ok"), (7, "frozen")]
    assert watch.signal(now) == Signal("frozen", 2)
    assert seen(*[MOVES] * 5, *[STANDS] * 9)[2] == [(0, "ok")]
    assert seen(*[MOVES, *[STANDS] * 9] * 3)[2] == [(0, "ok")]


def test_one_that_moves_again_is_ok_since_then() -> None:
    watch, now, news = seen(MOVES, *[STANDS] * 11, MOVES, MOVES)
    assert news == [(0, "ok"), (5, "frozen"), (6, "ok")]
    assert watch.signal(now) == Signal("ok", 6)


@pytest.mark.parametrize("look", [BLACK, Look(changed=True, black=True)])
def test_a_black_picture_is_black_even_if_it_rustles(look: Look) -> None:
    watch, now, news = seen(Look(changed=True), *[look] * 12)
    assert news == [(0, "ok"), (5, "black")]
    assert watch.signal(now) == Signal("black", 0)


def test_what_is_not_known_to_be_black_is_not_called_so() -> None:
    assert seen(MOVES, *[UNKNOWN] * 12)[2] == [(0, "ok"), (5, "frozen")]
    assert seen(MOVES, *[UNKNOWN] * 12, *[BLACK] * 12)[2][-1] == (11, "black")


def test_of_pictures_that_do_not_come_nothing_is_known() -> None:
    watch, now, _ = seen(MOVES, *[STANDS] * 12)
    assert watch.signal(now + 2) == Signal("frozen", 0)
    assert watch.signal(now + 3) is None
    assert watch.see(STANDS, now + 9), "it begins anew"
    assert watch.signal(now + 9) == Signal("ok", now + 9)
    assert seen(MOVES, *[STANDS] * 5, every_s=5)[2] == [(at, "ok") for at in range(0, 26, 5)]


def test_sound_is_silent_after_five_seconds_below_the_threshold() -> None:
    watch, news = SoundWatch(), []
    for n in range(60):
        level = LOUD if n <= 10 or n == 50 else QUIET
        if watch.hear(level, n / 5) and (signal := watch.signal(n / 5)) is not None:
            news.append((n / 5, signal.state))
    assert news == [(0, "ok"), (7.2, "silent"), (10, "ok")]
    assert watch.signal(60) is None


def test_the_level_is_the_mean_of_what_was_heard_since_it_was_asked_for() -> None:
    watch = SoundWatch()
    assert watch.take_level(0) is None
    for mean_square in (0.4, 0.0, 0.0, 0.0):
        watch.hear(Level(mean_square), 0.5)
    assert watch.take_level(1) == pytest.approx(-10)
    assert watch.take_level(2) == pytest.approx(-10), "nothing was heard since"
    assert watch.take_level(9) is None
    watch.hear(Level(0.0), 9)
    assert watch.take_level(9) == -96


def test_levels_are_of_a_square_wave() -> None:
    assert dbfs(1.0) == 0
    assert dbfs(0.5) == pytest.approx(-3.01, abs=0.01), "a sine"
    assert dbfs(0) == dbfs(1e-12) == -96


def test_the_offset_is_how_much_later_pictures_leave_than_sound() -> None:
    lags = Lags()
    assert (lags.offset_ms(), lags.mean_s()) == (None, None)
    for lag_ms in (500_050, 500_070):
        lags.picture(lag_ms * 1000)
    assert (lags.offset_ms(), lags.mean_s()) == (None, 500.06)
    lags.sound(500_000_000)
    assert lags.offset_ms() == 60
