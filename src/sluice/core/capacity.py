"""What a node can carry, what it has promised, and what is really used. Pure: time is an argument.

A task is booked with its estimate (core.cost) when it is accepted, and as long as it lives. Its booking is
corrected by what its media process really uses, shared out over the sessions in it by their estimates: up
quickly, down slowly, since easy pictures may become difficult ones. What room processes and the node use is
measured as a whole, viewers included, and so is memory; they count where they are more than what was
estimated for the tasks.

Only our own use counts. What other programs take of the machine is not ours to judge; it shows in the event
loops when it hurts (core.overload).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sluice.core.cost import Cost
from sluice.core.errors import NoCapacity
from sluice.core.ids import RunId

#: The share of the first cores, and of further ones, that is kept: for bursts, for the node, and for the
#: machine itself. Packets are late when all cores are busy on the average.
_KEPT, _KEPT_OF_MORE, _FIRST_CORES = 0.25, 0.1, 4
#: The share of the machine's memory that tasks may have.
_MEMORY_SHARE = 0.6
#: Cores that the node and its room processes take without tasks and viewers; they are of what is kept.
_IDLE_CORES = 0.1
#: Megabytes that a media process has without tasks, and with the libraries that the first of them loads.
_IDLE_MB = 110
#: How far a booking may be corrected, and how fast within a second: this power of the ratio.
_LEAST, _MOST, _UP, _DOWN = 0.25, 4.0, 0.3, 0.03
#: Seconds after its beginning in which a session tells nothing of what it costs: it opens and reads ahead.
SETTLING_S = 5.0
#: The weight of the last second in what is measured of rooms and node.
_NEWEST = 0.1


def cores_for_tasks(usable: float) -> float:
    """Of the cores that this process may use, those that are for tasks."""
    first = min(usable, _FIRST_CORES)
    return first * (1 - _KEPT) + (usable - first) * (1 - _KEPT_OF_MORE)


def mb_for_tasks(machine_mb: float, process_mb: float, processes: int) -> float:
    """Of the memory of the machine, and of what each media process may have, what is for tasks."""
    return min(machine_mb * _MEMORY_SHARE, process_mb * processes)


@dataclass(slots=True)
class _Booking:
    cost: Cost
    factor: float = 1.0  #: by which the media process's part is corrected


@dataclass(frozen=True, slots=True)
class Measured:
    """One media process over the last second: the cores that it used, and the runs whose media flows there,
    if all of them have done so for SETTLING_S."""

    cores: float
    settled: Collection[RunId]


@dataclass(frozen=True, slots=True)
class Load:
    """In cores and megabytes. `capacity_cores` is None where nothing is refused for it; `refused_for` says
    why no new task is taken at all, whatever it costs."""

    capacity_cores: float | None
    used_cores: float
    capacity_mb: float | None
    used_mb: float
    refused_for: str = ""

    @property
    def free_cores(self) -> float | None:
        return None if self.capacity_cores is None else max(0.0, self.capacity_cores - self.used_cores)


class Capacity:
    """The bookings of a node. `cores` and `mb` are for tasks; None: any number of them."""

    def __init__(self, cores: float | None = None, mb: float | None = None) -> None:
        self._cores, self._mb = cores, mb
        self._bookings: dict[RunId, _Booking] = {}
        self._waiting: dict[RunId, Cost] = {}  #: for room, since their time has come
        self._media = self._shared = self._used_mb = 0.0  #: of all bookings
        self._measured_shared = self._measured_mb = 0.0
        #: Why no new task is taken; empty: they are.
        self.refused_for = ""

    @property
    def limited(self) -> bool:
        """Whether anything is refused."""
        return self._cores is not None

    @property
    def load(self) -> Load:
        used = self._media + max(self._shared, self._measured_shared - _IDLE_CORES)
        used_mb = max(self._used_mb, self._measured_mb)
        return Load(self._cores, used, self._mb, used_mb, self.refused_for)

    def cores_of(self, run_id: RunId) -> float:
        """Of its media process; 0 when it is not booked."""
        booking = self._bookings.get(run_id)
        return 0.0 if booking is None else booking.cost.media * booking.factor

    def holds(self, run_id: RunId) -> bool:
        return run_id in self._bookings

    def book(self, run_id: RunId, cost: Cost, *, waits: bool = False) -> None:
        """Raises NoCapacity when it does not fit beside what is booked. A run that is booked already needs
        only what is more than before, so that less is never refused. One that `waits` after a refusal goes
        before those that are asked for later."""
        ahead = Cost() if waits else self._wanted()
        try:
            self._check(self._growth(run_id, cost), ahead)
        except NoCapacity:
            if waits:
                self._waiting[run_id] = cost
            raise
        self.keep(run_id, cost)

    def keep(self, run_id: RunId, cost: Cost) -> None:
        """Books what runs already, or will whatever it costs."""
        before = self._bookings.get(run_id)
        if before is not None and before.cost == cost:
            return
        self.release(run_id)
        self._bookings[run_id] = booking = _Booking(cost)
        self._add(booking, 1)

    def release(self, run_id: RunId) -> None:
        self._waiting.pop(run_id, None)
        booking = self._bookings.pop(run_id, None)
        if booking is not None:
            self._add(booking, -1)

    def measure(
        self, shared_cores: float, processes: Iterable[Measured], media_mb: Iterable[float] = ()
    ) -> None:
        """To be told once a second. `shared_cores` is what room processes and the node used in it, `media_mb`
        the memory of each media process."""
        self._measured_mb = sum(max(0.0, mb - _IDLE_MB) for mb in media_mb)
        self._measured_shared += _NEWEST * (shared_cores - self._measured_shared)
        for process in processes:
            self._correct(process)
        # Made anew, so that errors of rounding do not add up.
        self._media = self._shared = self._used_mb = 0.0
        for booking in self._bookings.values():
            self._add(booking, 1)

    # --- inside -------------------------------------------------------------------------------------------

    def _growth(self, run_id: RunId, cost: Cost) -> Cost:
        booking = self._bookings.get(run_id)
        if booking is None:
            return cost
        before = booking.cost
        return Cost(cost.media - before.media, cost.shared - before.shared, cost.mb - before.mb)

    def _wanted(self) -> Cost:
        """By those that wait."""
        costs = self._waiting.values()
        return Cost(
            sum(cost.media for cost in costs), sum(cost.shared for cost in costs), sum(c.mb for c in costs)
        )

    def _check(self, more: Cost, ahead: Cost) -> None:
        """`ahead`: what goes before it."""
        if more.cores <= 0:
            return
        load = self.load
        cores, mb = load.used_cores + ahead.cores, load.used_mb + ahead.mb
        if self.limited and load.refused_for:
            raise NoCapacity(f"no new task is taken for a moment: {load.refused_for}; try again in a minute")
        if self._cores is not None and cores + more.cores > self._cores:
            raise NoCapacity(_refusal(more.cores, self._cores - cores, self._cores, "cores"))
        if self._mb is not None and mb + more.mb > self._mb:
            raise NoCapacity(_refusal(more.mb, self._mb - mb, self._mb, "MB of memory"))

    def _add(self, booking: _Booking, sign: int) -> None:
        self._media += sign * booking.cost.media * booking.factor
        self._shared += sign * booking.cost.shared
        self._used_mb += sign * booking.cost.mb

    def _correct(self, process: Measured) -> None:
        bookings = [self._bookings[run_id] for run_id in process.settled if run_id in self._bookings]
        expected = sum(booking.cost.media * booking.factor for booking in bookings)
        if not expected:
            return
        ratio = min(_MOST, max(_LEAST, process.cores / expected))
        change = ratio ** (_UP if ratio > 1 else _DOWN)
        for booking in bookings:
            booking.factor = min(_MOST, max(_LEAST, booking.factor * change))


def _refusal(needed: float, free: float, of: float, what: str) -> str:
    digits = 3 if what == "cores" else 0
    # Where it would not fit alone, no other task is in its way.
    fits_alone = needed <= of
    advice = (
        "stop another task, or ask for less" if fits_alone else "ask for less, or allow more (--capacity)"
    )
    return (
        f"the task needs {needed:.{digits}f} {what}, and {max(0.0, free):.{digits}f} of {of:.{digits}f} are "
        f"free; {advice}"
    )
