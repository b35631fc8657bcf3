"""Who makes way when there is no room for another connection, and what is logged of refusals."""

from dataclasses import dataclass, field

import structlog

from sluice.api.gate import Gate
from sluice.api.refusals import Refusals
from sluice.core.limits import (
    KEPT_DESCRIPTORS,
    MOST_UNFINISHED_BYTES,
    REFUSALS_LOGGED_EVERY_S,
    SMALL_REQUEST_BYTES,
)
from sluice.process.descriptors import Share, share_of_callers


@dataclass(eq=False)
class Guest:
    gate: Gate
    gone: list[str] = field(default_factory=list)
    name: str = ""

    def give_way(self) -> None:
        self.gone.append(self.name)


def entered(gate: Gate, names: str, gone: list[str]) -> list[Guest]:
    guests = [Guest(gate, gone, name) for name in names]
    assert all(gate.enter(guest) for guest in guests)
    return guests


def test_who_waits_longest_makes_way() -> None:
    gate, gone = Gate(3), list[str]()
    a, b, c = entered(gate, "abc", gone)
    gate.work(a)
    entered(gate, "d", gone)
    assert gone == ["b"]
    gate.wait(a)  # answered: from now on he waits again, behind the others
    entered(gate, "ef", gone)
    assert gone == ["b", "c", "d"]
    gate.wait(c)
    gate.leave(b)
    assert len(gate) == 3, "who has made way does not count again"


def test_nobody_who_is_served_makes_way() -> None:
    gate, gone = Gate(2), list[str]()
    for guest in entered(gate, "ab", gone):
        gate.work(guest)
    assert not gate.enter(Guest(gate))
    assert (gone, len(gate)) == ([], 2)


def test_unfinished_requests_are_bounded_in_all() -> None:
    gate = Gate(10)
    assert gate.hold(MOST_UNFINISHED_BYTES, MOST_UNFINISHED_BYTES)
    assert not gate.hold(1, SMALL_REQUEST_BYTES + 1)
    assert gate.hold(SMALL_REQUEST_BYTES, SMALL_REQUEST_BYTES), "small ones are taken nevertheless"
    assert gate.hold(-MOST_UNFINISHED_BYTES, 0)
    assert gate.hold(1, SMALL_REQUEST_BYTES + 1)


def test_refusals_do_not_fill_the_log() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    with structlog.testing.capture_logs() as logs:
        for _ in range(1000):
            refusals.count("too long", "192.0.2.1")
        refusals.count("too slow", "192.0.2.2")
        now = REFUSALS_LOGGED_EVERY_S
        refusals.count("too long", "192.0.2.3")
    assert [(line["why"], line["caller"], line["before"]) for line in logs] == [
        ("too long", "192.0.2.1", 0),
        ("too slow", "192.0.2.2", 0),
        ("too long", "192.0.2.3", 999),
    ]
    assert [refusals.of(why) for why in ("too long", "too slow", "never")] == [1001, 1, 0]


def test_descriptors_are_kept_back() -> None:
    """Also while connections come that nobody has counted yet."""
    for descriptors in (64, 256, 1024, 4096, 65536, 1 << 20):
        share = share_of_callers(descriptors, 10_000)
        assert share.connections + share.backlog <= descriptors - min(KEPT_DESCRIPTORS, descriptors // 2) // 2
    assert share_of_callers(1 << 20, 10_000) == Share(10_000, 1024)
    assert share_of_callers(1024, 10_000) == Share(512, 256)
    assert share_of_callers(1024, 100) == Share(100, 256)
