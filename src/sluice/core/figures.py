"""What is counted and measured: each figure is named once, here. Pure.

Each process tells the node its figures once a second (process.control.Stats). The node adds up totals, over
deaths too, in the `Ledger`; `/metrics` and the documents read them there.

A figure has at most one label, whose values are bounded: rules, kinds, directions. Rooms, users and tasks are
never labels.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Values by figure, and within it by the value of its label; a figure without a label has the value ``""``.
Values = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Figure:
    """`name` is what `/metrics` shows behind ``sluice_``, units included. A `total` grows for as long as its
    process lives; any other figure is a present value."""

    name: str
    help: str
    total: bool = False
    label: str = ""


CPU_SECONDS = Figure(
    "process_cpu_seconds", "CPU time used, by thread: the event loop's, or the others'", True, "thread"
)
LOOP_LAG = Figure(
    "loop_lag_seconds", "How late the event loop is, over the last 10 s: p50, p90, p99, max", label="at"
)
MEMORY = Figure("process_memory_bytes", "Resident memory")
DESCRIPTORS = Figure("process_descriptors", "Open files and sockets")
THREADS = Figure("process_threads", "Threads")

#: Of every process, the node's too.
PROCESS = (CPU_SECONDS, LOOP_LAG, MEMORY, DESCRIPTORS, THREADS)

CAPACITY_CORES = Figure("capacity_cores", "Cores that tasks may use; without a limit there is none")
USED_CORES = Figure("used_cores", "Cores that tasks use or were promised, rooms and viewers included")

#: Of the node, which judges tasks by them.
CAPACITY = (CAPACITY_CORES, USED_CORES)

PEERS = Figure("peers", "Peers of rooms")

#: Of room processes.
ROOM = (PEERS,)

SESSIONS = Figure("sessions", "Relays and pushes that are being played")

#: Of media processes.
MEDIA = (SESSIONS,)


class Tally:
    """What one process has counted since it began, by figure and label."""

    def __init__(self) -> None:
        self._totals: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def add(self, figure: Figure, value: float = 1, label: str = "") -> None:
        values = self._totals[figure.name]
        values[label] = values.get(label, 0) + value

    def merge(self, totals: Values) -> None:
        """Adds what another process had counted."""
        for name, others in totals.items():
            values = self._totals[name]
            for label, value in others.items():
                values[label] = values.get(label, 0) + value

    @property
    def values(self) -> Values:
        return self._totals


class Ledger:
    """What all processes have told, and what the ended ones had counted."""

    def __init__(self) -> None:
        self._living: dict[str, tuple[str, Values, Values]] = {}
        self._ended: dict[str, Tally] = {}

    def tell(self, process: str, kind: str, totals: Values, gauges: Values) -> None:
        """A process of this kind (``room``, ``media``) tells its figures; those that it told before are
        replaced."""
        self._living[process] = (kind, totals, gauges)

    def end(self, process: str) -> None:
        """A process has ended: its totals are kept, its present values are gone."""
        kind, totals, _ = self._living.pop(process, ("", {}, {}))
        if kind:
            self._ended.setdefault(kind, Tally()).merge(totals)

    def totals(self, kind: str) -> Values:
        """The sums of all processes of a kind, living and ended: they never go back."""
        tally = Tally()
        if kind in self._ended:
            tally.merge(self._ended[kind].values)
        for living, totals, _ in self._living.values():
            if living == kind:
                tally.merge(totals)
        return tally.values

    def gauges(self) -> Iterator[tuple[str, str, Values]]:
        """Name, kind and present values of each living process."""
        for process, (kind, _, gauges) in self._living.items():
            yield process, kind, gauges
