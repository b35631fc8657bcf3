"""What becomes of the tasks of a media process that died: where each goes, and which one is blamed. Pure.

A death shows only that one of the tasks may have caused it. Perhaps none did: the kernel may have been short
of memory, or a person may have killed the process. So these tasks leave the others and are divided: first
the youngest from the rest, then into halves. Those that die again are divided again, until the cause dies
alone. Only a death alone counts against a task. One may be chance; a second within a time is its own fault.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

#: Two deaths alone within this time are a task's own fault. Rarer ones harm nobody but the task itself.
ALONE_WINDOW_S = 120.0
#: Deaths together with others are forgotten after this time; they only decide how tasks are divided.
FORGOTTEN_AFTER_S = 600.0
#: A task that has run alone for so long is less suspect; where there is no room, others may join it.
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

    `since`: when it began to play its present source. `bundle`: tasks with the same one share work and stay
    together as long as possible.
    """

    key: K
    since: float
    record: Record
    bundle: Hashable = None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[K]):
    """Each group of `apart` gets a process of its own. `rest` found no room and joins other suspects."""

    records: dict[K, Record]
    blamed: K | None = None
    apart: tuple[tuple[K, ...], ...] = ()
    rest: tuple[K, ...] = ()


def judge(members: Sequence[Member[K]], now: float, room: int, *, crowd: bool = True) -> Verdict[K]:
    """`room`: how many processes may serve them apart from others, at least one. `crowd`: whether there is a
    process of suspects that others may join."""
    alone = len(members) == 1
    records = {member.key: _after_death(member.record, now, alone=alone) for member in members}
    if alone:
        (member,) = members
        before = member.record.alone_at
        if before is not None and now - before <= ALONE_WINDOW_S:
            return Verdict(records, blamed=member.key)
    groups = _divide(members, now)
    if room == 1 and len(groups) > 1:
        # Halves that take turns in the same few processes would never come to an end, so one goes at a time.
        first, *rest = (key for group in groups for key in group)
        if crowd:
            return Verdict(records, apart=((first,),), rest=tuple(rest))
        return Verdict(records, apart=((first, *rest),))
    return Verdict(records, apart=tuple(groups))


def may_be_joined(records: Iterable[Record], now: float) -> float | None:
    """Since when a process with these tasks has been quiet, so that others may join it; None when they may
    not. A task that has just been put alone stays alone until the outcome is known."""
    seen = list(records)
    quiet_since = max(record.last_at for record in seen)
    return quiet_since if len(seen) > 1 or now - quiet_since > _PROOF_S else None


def _after_death(record: Record, now: float, *, alone: bool) -> Record:
    return Record(_deaths(record, now) + 1, now, now if alone else record.alone_at)


def _deaths(record: Record, now: float) -> int:
    return record.deaths if now - record.last_at <= FORGOTTEN_AFTER_S else 0


def _divide(members: Iterable[Member[K]], now: float) -> list[tuple[K, ...]]:
    """Groups, the likeliest cause first.

    At their first death that is the youngest, and the others stay together: as a rule they do not die again.
    Later it is the half that has lived through more deaths.
    """
    order = _bundled(sorted(members, key=lambda m: (_deaths(m.record, now), m.since), reverse=True))
    cut = 1 if order and _deaths(order[0].record, now) == 0 else _seam(order)
    return [tuple(member.key for member in part) for part in (order[:cut], order[cut:]) if part]


def _bundled(members: Iterable[Member[K]]) -> list[Member[K]]:
    """In the same order, except that the members of a bundle follow its first one."""
    bundles: dict[Hashable, list[Member[K]]] = {}
    for member in members:
        name = ("alone", member.key) if member.bundle is None else ("bundle", member.bundle)
        bundles.setdefault(name, []).append(member)
    return [member for bundle in bundles.values() for member in bundle]


def _seam(members: Sequence[Member[K]]) -> int:
    """Where to cut in two: near the middle, and not through a bundle if that can be avoided."""
    middle = (len(members) + 1) // 2
    for offset in range(middle):
        for cut in (middle + offset, middle - offset):
            if 0 < cut < len(members) and not _together(members[cut - 1], members[cut]):
                return cut
    return middle


def _together(one: Member[K], other: Member[K]) -> bool:
    return one.bundle is not None and one.bundle == other.bundle


def begin_anew(record: Record) -> Record:
    """The record of a task that plays something else from now on: its deaths no longer count."""
    return replace(record, alone_at=None)
