"""Following the edge of a live source in virtual time: what is played faster, what is left out."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.live_edge import JUMP_US, Edge, Follower, Pace, SessionTime

SECOND = 1_000_000


def edge(newest_us: int) -> Edge:
    return Edge(newest_us, target_us=6 * SECOND, segment_us=2 * SECOND)


def test_the_bound_is_the_target_a_segment_and_two_seconds() -> None:
    assert edge(0).bound_us == 10 * SECOND


def test_within_the_bound_nothing_is_made_up() -> None:
    follower = Follower()
    assert follower.step(edge(6 * SECOND), 0) is Pace.STEADY
    assert follower.step(edge(10 * SECOND), 0) is Pace.STEADY


def test_a_small_excess_is_made_up_until_there_is_room() -> None:
    follower = Follower()
    assert follower.step(edge(10 * SECOND + 1), 0) is Pace.FASTER
    assert follower.step(edge(9 * SECOND + 600_000), 0) is Pace.FASTER
    assert follower.step(edge(9 * SECOND + 400_000), 0) is Pace.STEADY
    assert follower.step(edge(10 * SECOND), 0) is Pace.STEADY


def test_a_large_excess_is_left_out() -> None:
    follower = Follower()
    assert follower.step(edge(11 * SECOND), 0) is Pace.FASTER
    assert follower.step(edge(11 * SECOND + 1), 0) is Pace.JUMP
    assert follower.step(edge(6 * SECOND), 0) is Pace.STEADY


def test_without_an_edge_it_goes_on_as_recorded() -> None:
    follower = Follower()
    follower.step(edge(10 * SECOND + 1), 0)
    assert follower.step(None, 0) is Pace.STEADY
    assert follower.step(edge(9 * SECOND + 600_000), 0) is Pace.STEADY


@given(
    st.lists(st.tuples(st.integers(1, SECOND), st.sampled_from([Pace.STEADY, Pace.FASTER]))),
    st.integers(0, SECOND),
)
def test_session_time_grows_with_media_time(turns: list[tuple[int, Pace]], skew_us: int) -> None:
    """Also for a track that was read less far than the other when the pace changed."""
    time, media_us, ahead = SessionTime(), 0, [(0, 0)]
    for step_us, pace in turns:
        time.turn(media_us, pace)
        behind_us = max(0, media_us - min(skew_us, step_us))
        media_us += step_us
        ahead.append((media_us, time.at(media_us)))
        assert ahead[-2][1] <= time.at(ahead[-2][0]) < time.at(media_us) + 1
        assert time.at(behind_us) <= time.at(media_us)
    for (media_a, a_us), (media_b, b_us) in pairwise(ahead):
        assert (media_b - media_a) / 1.03 - 1 <= b_us - a_us <= media_b - media_a + 1


class Play:
    """A player that takes a step at a time from an origin that lists segments when they are whole."""

    def __init__(self, segment_us: int, step_us: int) -> None:
        self.edge = Edge(0, 3 * segment_us, segment_us)
        self.now_us = 3 * segment_us
        self.jumps = 0
        self.delays: list[int] = []  #: behind what is listed
        self._step_us = step_us
        self._played_us = 0.0
        self._follower = Follower()

    def step(self, made_us: float, stalled_us: int = 0) -> None:
        """`stalled_us`: since when nothing is made; the playlist is then looked at each half segment, and in
        between taken to grow."""
        segment_us = self.edge.segment_us
        listed_us = int(made_us) // segment_us * segment_us
        newest_us = listed_us + min(stalled_us, segment_us // 2) if stalled_us else int(made_us)
        pace = self._follower.step(replace(self.edge, newest_us=newest_us), int(self._played_us))
        if pace is Pace.JUMP:
            self.jumps += 1
            self._played_us, pace = listed_us - self.edge.target_us, Pace.STEADY
        self.delays.append(listed_us - int(self._played_us))
        self._played_us = min(self._played_us + self._step_us * pace.value, listed_us)
        self.now_us += self._step_us


@given(st.integers(1, 10), st.integers(0, 60))
def test_after_an_origin_stalled_the_delay_returns_below_its_bound(segment_s: int, stall_s: int) -> None:
    play = Play(segment_s * SECOND, SECOND // 2)
    begin_us = 30 * SECOND
    end_us = begin_us + stall_s * SECOND
    while play.now_us < end_us + 90 * SECOND:
        stalled = begin_us <= play.now_us < end_us
        play.step(begin_us if stalled else play.now_us, play.now_us - begin_us if stalled else 0)
    assert play.jumps <= 1
    bound_us = play.edge.bound_us
    assert max(play.delays[:10]) <= bound_us, "to join is no excess"
    assert max(play.delays[-20:]) <= bound_us
    if play.jumps == 0:
        assert max(play.delays) <= bound_us + JUMP_US


@pytest.mark.parametrize("ppm", [-300, 50, 5_000])
def test_clocks_that_differ_for_72_hours_never_make_it_jump(ppm: int) -> None:
    play = Play(10 * SECOND, 5 * SECOND)
    while play.now_us < 72 * 3600 * SECOND:
        play.step(play.now_us * (1 + ppm / 1e6))
    assert play.jumps == 0
    assert max(play.delays) <= play.edge.bound_us + JUMP_US
