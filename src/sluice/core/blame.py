"""What becomes of the tasks of a media process that died: who goes where, and who is blamed. Pure.

A death says no more than that one of them may have caused it, or none: the kernel short of memory, a person.
So they leave the others and are divided: the youngest and the rest, then into halves. What dies again is
divided again, until whoever causes it dies alone. Only deaths alone count against a task, and one may be
chance: the second within a time is its own.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

#: Two deaths alone within this time are a task's own fault. More rarely, they cost nobody but the task.
ALONE_WINDOW_S = 120.0
#: Deaths with others are forgotten after this time; they only say who is divided from whom.
FORGOTTEN_AFTER_S = 600.0
#: Whoever is alone for so long has shown something, and may get company where there is no room.
_PROOF_S = 5.0

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Record:
    """What a task has lived through. Times are Unix seconds."""

    deaths: int = 0
    last_at: float = 0.0
    alone_at: float | None = None


NOTHING = Record()


@dataclass(frozen=True, slots=True)
class Member(Generic[K]):
    """A task of the process that died.

    `since`: when it began to play what it plays. `bundle`: those with the same share work, and stay together
    while nothing speaks against it.
    """

    key: K
    since: float
    record: Record
    bundle: Hashable = None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[K]):
    """`apart` get a process of their own each; `rest`, for whom there was no room, join other suspects."""

    records: dict[K, Record]
    blamed: K | None = None
    apart: tuple[tuple[K, ...], ...] = ()
    rest: tuple[K, ...] = ()


def judge(members: Sequence[Member[K]], now: float, room: int, *, crowd: bool = True) -> Verdict[K]:
    """`room`: processes that may serve them apart from others, at least one. `crowd`: there is a process of
    suspects that others may join."""
    alone = len(members) == 1
    records = {member.key: _after_death(member.record, now, alone=alone) for member in members}
    if alone:
        (member,) = members
        before = member.record.alone_at
        if before is not None and now - before <= ALONE_WINDOW_S:
            return Verdict(records, blamed=member.key)
    groups = _divide(members, now)
    if room == 1 and len(groups) > 1:
        # Halves that take turns in the same few processes would never come to an end: one after another.
        first, *rest = (key for group in groups for key in group)
        if crowd:
            return Verdict(records, apart=((first,),), rest=tuple(rest))
        return Verdict(records, apart=((first, *rest),))
    return Verdict(records, apart=tuple(groups))


def may_be_joined(records: Iterable[Record], now: float) -> float | None:
    """Whether a process with these tasks is one of a crowd: since when it is quiet, None when it is not. One
    that has just been put alone stays so until it is known what comes of that."""
    seen = list(records)
    quiet_since = max(record.last_at for record in seen)
    return quiet_since if len(seen) > 1 or now - quiet_since > _PROOF_S else None


def _after_death(record: Record, now: float, *, alone: bool) -> Record:
    return Record(_deaths(record, now) + 1, now, now if alone else record.alone_at)


def _deaths(record: Record, now: float) -> int:
    return record.deaths if now - record.last_at <= FORGOTTEN_AFTER_S else 0


def _divide(members: Iterable[Member[K]], now: float) -> list[tuple[K, ...]]:
    """The likeliest first. At their first death that is the youngest, and the others stay together: as a rule
    they have no second one. Then it is the half that has lived through more."""
    order = _bundled(sorted(members, key=lambda m: (_deaths(m.record, now), m.since), reverse=True))
    cut = 1 if order and _deaths(order[0].record, now) == 0 else _seam(order)
    return [tuple(member.key for member in part) for part in (order[:cut], order[cut:]) if part]


def _bundled(members: Iterable[Member[K]]) -> list[Member[K]]:
    """In the same order, but those of a bundle behind its first."""
    bundles: dict[Hashable, list[Member[K]]] = {}
    for member in members:
        name = ("alone", member.key) if member.bundle is None else ("bundle", member.bundle)
        bundles.setdefault(name, []).append(member)
    return [member for bundle in bundles.values() for member in bundle]


def _seam(members: Sequence[Member[K]]) -> int:
    """Where to cut in two: near the middle, and not through a bundle where that can be helped."""
    middle = (len(members) + 1) // 2
    for offset in range(middle):
        for cut in (middle + offset, middle - offset):
            if 0 < cut < len(members) and not _together(members[cut - 1], members[cut]):
                return cut
    return middle


def _together(one: Member[K], other: Member[K]) -> bool:
    return one.bundle is not None and one.bundle == other.bundle


def begin_anew(record: Record) -> Record:
    """It plays something else from now on: what that did is no longer held against it."""
    return replace(record, alone_at=None)
