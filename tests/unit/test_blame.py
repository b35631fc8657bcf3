"""Who goes where after the death of a media process, and who is blamed: only whom it struck twice alone."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from sluice.core.blame import (
    ALONE_WINDOW_S,
    FORGOTTEN_AFTER_S,
    Member,
    Record,
    Verdict,
    begin_anew,
    judge,
    may_be_joined,
)

NOW = 1_800_000_000.0


def members(names: Iterable[str], **records: Record) -> list[Member[str]]:
    """The later in the alphabet, the younger."""
    return [Member(name, since=ord(name), record=records.get(name, Record())) for name in names]


def test_one_death_alone_is_no_fault() -> None:
    verdict = judge(members("a"), NOW, room=8)
    assert (verdict.blamed, verdict.apart) == (None, (("a",),))


@pytest.mark.parametrize(
    ("after_s", "blamed"), [(0.5, "a"), (ALONE_WINDOW_S, "a"), (ALONE_WINDOW_S + 1, None)]
)
def test_two_deaths_alone_are_within_a_time(after_s: float, blamed: str | None) -> None:
    first = judge(members("a"), NOW, room=8)
    assert judge(members("a", **first.records), NOW + after_s, room=8).blamed == blamed


def test_what_plays_something_else_begins_anew() -> None:
    first = judge(members("a"), NOW, room=8)
    assert judge(members("a", a=begin_anew(first.records["a"])), NOW + 1, room=8).blamed is None


def test_deaths_with_others_are_no_fault_however_many() -> None:
    records: dict[str, Record] = {}
    for n in range(50):
        verdict = judge(members("ab", **records), NOW + n, room=8)
        records = verdict.records
        assert verdict.blamed is None
    assert judge(members("a", **records), NOW + 60, room=8).blamed is None, "the first alone"


def test_the_youngest_is_alone_at_first_and_then_halves_are_tried() -> None:
    first = judge(members("abcdefg"), NOW, room=8)
    assert first.apart == (("g",), ("f", "e", "d", "c", "b", "a"))
    second = judge(members("abcdef", **first.records), NOW + 1, room=8)
    assert second.apart == (("f", "e", "d"), ("c", "b", "a"))


def test_who_has_lived_through_more_is_divided_from_the_others() -> None:
    seen = {name: Record(deaths=2, last_at=NOW - 1) for name in "ac"}
    assert judge(members("abcd", **seen), NOW, room=8).apart == (("c", "a"), ("d", "b"))
    late = NOW + FORGOTTEN_AFTER_S
    assert judge(members("abcd", **seen), late, room=8).apart == (("d",), ("c", "b", "a"))


@pytest.mark.parametrize(
    ("room", "apart", "rest"),
    [
        (2, (("e",), ("d", "c", "b", "a")), ()),
        (1, (("e",),), ("d", "c", "b", "a")),
    ],
)
def test_the_room_bounds_the_groups(room: int, apart: object, rest: object) -> None:
    verdict = judge(members("abcde"), NOW, room)
    assert (verdict.apart, verdict.rest) == (apart, rest)


def test_pushes_of_one_stream_stay_together_until_they_are_all_that_is_left() -> None:
    bundled = [Member(n, -n, Record(), bundle="x" if n in (1, 3, 4) else None) for n in range(6)]
    seen = [replace(member, record=Record(1, NOW)) for member in bundled]
    assert judge(bundled, NOW, room=8).apart == ((0,), (1, 3, 4, 2, 5))
    assert judge(seen, NOW, room=8).apart == ((0, 1, 3, 4), (2, 5))
    siblings = [Member(n, -n, Record(1, NOW), bundle="x") for n in range(4)]
    assert judge(siblings, NOW, room=8).apart == ((0, 1), (2, 3))


def test_nobody_is_nobody() -> None:
    assert judge(list[Member[str]](), NOW, room=1) == Verdict({})


class World:
    """Two pool processes with twenty tasks each, and who of them kills the process he is in, each time."""

    def __init__(self, hostile: set[int], most: int, life_s: float = 1.0) -> None:
        self.now, self.hostile, self.most, self.life_s = NOW, hostile, most, life_s
        self.kills_at = {n: NOW + self.life_s * (1 + n / 80) for n in hostile}
        self.pool, self.side = [list(range(20)), list(range(20, 40))], list[list[int]]()
        self.records = dict.fromkeys(range(40), Record())
        self.blamed: list[int] = []
        self.deaths = dict.fromkeys(self.records, 0)

    def run(self) -> None:
        for _ in range(5000):
            if not self.hostile:
                return
            killer = min(self.hostile, key=lambda n: self.kills_at[n])
            self.now = max(self.now, self.kills_at[killer])
            dying = next(group for group in self.pool + self.side if killer in group)
            for n in dying:
                self.deaths[n] += 1
                self.kills_at[n] = self.now + self.life_s * (1 + n / 80)
            gone, dying[:] = list(dying), []
            self.side = [group for group in self.side if group]
            here = [Member(n, n % 7, self.records[n]) for n in gone]
            verdict = judge(here, self.now, self.room, crowd=self.crowd() is not None)
            self.records |= verdict.records
            if verdict.blamed is not None:
                self.blamed.append(verdict.blamed)
                self.hostile.discard(verdict.blamed)
            self.seat(verdict, dying)
        raise AssertionError("it does not come to an end")

    @property
    def room(self) -> int:
        return max(1, self.most - len(self.side))

    def crowd(self) -> list[int] | None:
        quiet = [(may_be_joined([self.records[n] for n in g], self.now), g) for g in self.side]
        return min(((since, g) for since, g in quiet if since is not None), default=(0.0, None))[1]

    def seat(self, verdict: Verdict[int], again: list[int]) -> None:
        """`again` is the process that died, in its next life."""
        if verdict.rest:
            crowd = self.crowd()
            assert crowd is not None
            crowd += verdict.rest
        for group in verdict.apart:
            if len(self.side) < self.most:
                self.side.append(list(group))
            else:
                again += group


@pytest.mark.parametrize("life_s", [0.5, 20.0])
@pytest.mark.parametrize("most", [2, 3, 8])
@pytest.mark.parametrize("count", [1, 5, 20])
def test_whoever_kills_is_found_and_nobody_else_is_blamed(count: int, most: int, life_s: float) -> None:
    chance = random.Random(7)
    for _ in range(8):
        hostile = set(chance.sample(range(40), count))
        world = World(set(hostile), most, life_s)
        world.run()
        assert set(world.blamed) == hostile


def test_one_among_twenty_is_found_within_eight_deaths() -> None:
    for hostile in range(20):
        world = World({hostile}, 8)
        world.run()
        assert sum(world.deaths.values()) <= 20 + 19 + 10 + 5 + 3 + 2 + 1 + 1
        assert max(world.deaths.values()) <= 8
        assert len(world.side) <= 8
