"""What the node itself counts and measures, with several labels or as histograms. Pure.

Parts of the node count in one `Counts`, which they are given, and tell present values when they are asked
(`Readings`). `api.metrics` shows all of it. Values of labels are bounded, as in `core.figures`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from sluice.core.lifecycle import Reason, State, advance
from sluice.core.tasks import Kind


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """`name` is what `/metrics` shows behind ``sluice_``. A `total` grows as long as the node lives, one with
    `buckets` (upper bounds) is a histogram, any other is a present value. `seeds` are values of the labels
    that are shown from the start, so that the first increase is seen as one."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    total: bool = False
    buckets: tuple[float, ...] = ()
    seeds: tuple[tuple[str, ...], ...] = ()


#: Values by those of the labels.
Readings = Mapping[Family, Mapping[tuple[str, ...], float]]

_KINDS = tuple(kind.value for kind in Kind)
_BY_KIND = tuple((kind,) for kind in _KINDS)
_REASONS = tuple(reason.code for reason in Reason if reason is not Reason.NONE)
_LIVE = tuple(state.value for state in State if state.live)

TASKS = Family(
    "tasks",
    "Live tasks, by what they are, what they do, and why",
    ("kind", "state", "reason"),
    seeds=tuple(product(_KINDS, _LIVE, (Reason.NONE.code,))),
)
STARTED = Family("tasks_started", "Tasks that were accepted", ("kind",), total=True, seeds=_BY_KIND)
ENDED = Family(
    "tasks_ended",
    "Tasks that are over, as they were meant to (ended) or not (failed)",
    ("kind", "state", "reason"),
    total=True,
    seeds=tuple(
        (kind, advance(State.RUNNING, reason.outcome).value, reason.code)
        for kind, reason in product(_KINDS, Reason)
        if reason is not Reason.NONE
    ),
)
INTERRUPTED = Family(
    "tasks_interrupted",
    "Times that the media of a running task stopped leaving",
    ("kind", "reason"),
    total=True,
    seeds=tuple(product(_KINDS, _REASONS)),
)
RECOVERED = Family(
    "tasks_recovered",
    "Times that the media of an interrupted task left again, by what had stopped it",
    ("kind", "reason"),
    total=True,
    seeds=tuple(product(_KINDS, _REASONS)),
)
RESTARTED = Family(
    "task_restarts",
    "Tasks that lost their media process, and went on in another",
    ("kind",),
    total=True,
    seeds=_BY_KIND,
)
FIRST_PACKET = Family(
    "first_packet_seconds",
    "From the start of a task to its first media",
    ("kind",),
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120),
    seeds=_BY_KIND,
)
ATTEMPT = Family(
    "callback_attempt_seconds",
    "How long one attempt to deliver a callback took, and what came of it",
    ("result",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    seeds=(("delivered",), ("failed",), ("given_up",)),
)
DELAY = Family(
    "callback_delay_seconds",
    "From what happened to the delivery of the callback that tells it",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
CALLBACKS = Family("callbacks", "Callbacks that wait (pending), or were given up (dead)", ("state",))
OLDEST_CALLBACK = Family(
    "callback_oldest_seconds", "Age of the oldest callback that waits; 0 where none does"
)
COMMIT = Family(
    "store_commit_seconds",
    "How long a commit of the database took, with all changes in it",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 10),
)
COMMITS_FAILED = Family("store_commits_failed", "Commits that the database did not take", total=True)
REQUESTS = Family(
    "http_requests",
    "HTTP requests by API and class of answer",
    ("api", "class"),
    total=True,
    seeds=tuple(product(("volcengine", "heybox", "rooms", "native"), ("2xx", "4xx", "5xx"))),
)
PART_OK = Family(
    "part_ok",
    "Whether a part of the node is well (1), and which probe is about it; that says why not",
    ("part", "probe"),
)

#: All of them.
FAMILIES = (
    *(TASKS, STARTED, ENDED, INTERRUPTED, RECOVERED, RESTARTED, FIRST_PACKET),
    *(ATTEMPT, DELAY, CALLBACKS, OLDEST_CALLBACK, COMMIT, COMMITS_FAILED, REQUESTS, PART_OK),
)


@dataclass(slots=True)
class Histogram:
    """`counts` are those of the buckets, the last one of what is beyond all bounds."""

    bounds: tuple[float, ...]
    sum: float = 0.0
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counts:
    """What the parts of a node have counted since it began."""

    def __init__(self) -> None:
        self._totals: defaultdict[Family, dict[tuple[str, ...], float]] = defaultdict(dict)
        self._histograms: defaultdict[Family, dict[tuple[str, ...], Histogram]] = defaultdict(dict)

    def add(self, family: Family, *labels: str, by: float = 1) -> None:
        values = self._totals[family]
        values[labels] = values.get(labels, 0) + by

    def observe(self, family: Family, value: float, *labels: str) -> None:
        """A clock may have jumped: what took less than no time took none."""
        histograms = self._histograms[family]
        if labels not in histograms:
            histograms[labels] = Histogram(family.buckets)
        histograms[labels].observe(max(0.0, value))

    def totals(self, family: Family) -> Mapping[tuple[str, ...], float]:
        return dict.fromkeys(_first(family), 0.0) | self._totals.get(family, {})

    def histograms(self, family: Family) -> Mapping[tuple[str, ...], Histogram]:
        empty = {labels: Histogram(family.buckets) for labels in _first(family)}
        return empty | self._histograms.get(family, {})


def _first(family: Family) -> tuple[tuple[str, ...], ...]:
    return family.seeds if family.labels else ((),)
