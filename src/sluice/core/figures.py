"""What is counted and measured: each figure is named once, here. Pure.

Each process tells the node its figures once a second (process.control.Stats). The node adds up totals, over
deaths too, in the `Ledger`; `/metrics` and the documents read them there.

A figure has at most one label, whose values are bounded: rules, kinds, directions. Rooms, users and tasks are
never labels. What the node alone counts is in `core.node_figures`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Values by figure, and within it by the value of its label; a figure without a label has the value ``""``.
Values = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Figure:
    """`name` is what `/metrics` shows behind ``sluice_``, units included. A `total` grows for as long as its
    process lives; any other figure is a present value. Processes that share a name in `/metrics` show the sum
    of theirs, or the `worst`, which is the largest."""

    name: str
    help: str
    total: bool = False
    label: str = ""
    worst: bool = False


CPU_SECONDS = Figure(
    "process_cpu_seconds", "CPU time used, by thread: the event loop's, or the others'", True, "thread"
)
CORES = Figure("process_cores", "Cores in use over the last second, by thread", label="thread")
LOOP_LAG = Figure(
    "loop_lag_seconds",
    "How late the event loop is, over the last 10 s: p50, p90, p99, max",
    label="at",
    worst=True,
)
MEMORY = Figure("process_memory_bytes", "Resident memory")
DESCRIPTORS = Figure("process_descriptors", "Open files and sockets")
THREADS = Figure("process_threads", "Threads")

#: Of every process, the node's too.
PROCESS = (CPU_SECONDS, CORES, LOOP_LAG, MEMORY, DESCRIPTORS, THREADS)

ROOMS = Figure("rooms", "Rooms with somebody in them")
USERS = Figure("users", "Users in rooms: people, and the virtual users of relays", label="who")
STORE_WAITING = Figure("store_waiting", "Changes that wait for the database, or are being made")
DISK_FREE = Figure("data_disk_free_bytes", "What is free on the disk of the data folder")

CAPACITY_CORES = Figure("capacity_cores", "Cores that tasks may use; without a limit there is none")
USED_CORES = Figure("used_cores", "Cores that tasks use or were promised, rooms and viewers included")

#: Of the node, which judges tasks by them.
CAPACITY = (CAPACITY_CORES, USED_CORES)

#: Of the node.
NODE = (ROOMS, USERS, STORE_WAITING, DISK_FREE, *CAPACITY)

DEATHS = Figure("process_deaths", "Processes that ended without being told to, or were killed", total=True)

#: Of the processes that the node has started.
CHILD = (DEATHS,)

#: Of room and media processes; rules are those of `core.drops`.
DROPPED = Figure("dropped", "What was left out, by rule", True, "rule")

PEERS = Figure("peers", "Peers of rooms: viewer, publisher, or still connecting", label="role")
STREAMS = Figure("room_streams", "Streams that are published in rooms, by relays and by peers", label="by")
PUSHED = Figure("room_pushed_streams", "Streams of rooms that are being pushed somewhere")
SENT_PACKETS = Figure("room_sent_packets", "RTP packets sent to viewers, without repeats", True, "kind")
SENT_BYTES = Figure("room_sent_bytes", "Media sent to viewers, in bytes of RTP payload", True, "kind")
RECEIVED_PACKETS = Figure("room_received_packets", "RTP packets that came from publishers", True, "kind")
RECEIVED_BYTES = Figure(
    "room_received_bytes", "Media that came from publishers, in bytes of RTP payload", True, "kind"
)
PUBLISHER_LOST = Figure(
    "room_publisher_lost_packets", "Packets of publishers that never came, repeats included", True, "kind"
)
VIEWER_LOST = Figure(
    "room_viewer_lost_packets", "Packets that viewers report as lost, repaired or not", True, "kind"
)
REPEATED = Figure(
    "room_repeated_packets", "Packets sent again to viewers (sent), or by publishers (received)", True, "way"
)
NACKS = Figure("room_nacks", "Requests for lost packets: of viewers (received), or ours (sent)", True, "way")
KEY_FRAME_REQUESTS = Figure(
    "room_key_frame_requests", "PLI and FIR: of viewers (received), or to publishers (sent)", True, "way"
)
KEY_FRAMES_ASKED = Figure(
    "room_key_frames_asked", "Key frames that publishers were asked for, relays among them", True
)
LATE_VIEWERS = Figure(
    "room_late_viewers", "Viewers that began with a picture of the past, because they came late", True
)
PEER_FAILURES = Figure(
    "room_peer_failures",
    "Peers that did not connect or were lost: ice (no check came), dtls, consent, budget, defect",
    True,
    "why",
)
REFUSALS = Figure(
    "room_refusals", "Requests of peers that were refused: offer, token, full, fragment", True, "why"
)
VIEWERS_BY_LOSS = Figure(
    "room_viewers_by_loss", "Connected viewers by the loss that they report over 10 s", label="loss"
)
VIEWER_LOSS = Figure(
    "room_viewer_loss_ratio", "Loss that viewers report over 10 s: mean, p95 and max of them", label="at"
)
VIEWER_JITTER = Figure(
    "room_viewer_jitter_seconds", "Jitter that viewers report: mean, p95 and max of them", label="at"
)
VIEWER_ROUND_TRIP = Figure(
    "room_viewer_round_trip_seconds", "Round trip to viewers: mean, p95 and max of them", label="at"
)

#: Of room processes.
ROOM = (
    *(PEERS, STREAMS, PUSHED, SENT_PACKETS, SENT_BYTES, RECEIVED_PACKETS, RECEIVED_BYTES, PUBLISHER_LOST),
    *(VIEWER_LOST, REPEATED, NACKS, KEY_FRAME_REQUESTS, KEY_FRAMES_ASKED, LATE_VIEWERS, PEER_FAILURES),
    *(REFUSALS, VIEWERS_BY_LOSS, VIEWER_LOSS, VIEWER_JITTER, VIEWER_ROUND_TRIP, DROPPED),
)

SESSIONS = Figure("sessions", "Relays and pushes that are being played", label="kind")
FRAMES_OUT = Figure("media_frames", "Pictures and packets of sound that left", True, "kind")
BYTES_IN = Figure("media_received_bytes", "Bytes that came from sources and rooms", True, "from")
BYTES_OUT = Figure("media_sent_bytes", "Media that left to rooms and CDNs, in bytes", True, "to")
DECODE_SECONDS = Figure("media_decode_seconds", "CPU time of decoders", True, "kind")
ENCODE_SECONDS = Figure("media_encode_seconds", "CPU time of encoders", True, "kind")
RECONNECTS = Figure("media_reconnects", "Tries to reach a source or a CDN again that was lost", True, "to")
THREADS_BUSY = Figure("media_threads_busy", "Threads at work, by what they are for", label="pool")
CALLS_WAITING = Figure("media_calls_waiting", "Calls that wait for a thread", label="pool")

#: Of media processes.
MEDIA = (
    *(SESSIONS, FRAMES_OUT, BYTES_IN, BYTES_OUT, DECODE_SECONDS, ENCODE_SECONDS, RECONNECTS),
    *(DROPPED, THREADS_BUSY, CALLS_WAITING),
)

#: All, by the kind of process that has them.
TABLES: Mapping[str, tuple[Figure, ...]] = {
    "node": (*PROCESS, *NODE),
    "room": (*PROCESS, *CHILD, *ROOM),
    "media": (*PROCESS, *CHILD, *MEDIA),
}


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


@dataclass(frozen=True, slots=True)
class Account:
    """What the processes that share a name in `/metrics` have told."""

    process: str
    kind: str
    totals: Values
    gauges: Values


def shared_name(process: str) -> str:
    """What a process is called in `/metrics`: new ones come of those apart (``media-apart-3``), so that they
    share a name."""
    name, _, number = process.rpartition("-")
    return name if name.endswith("-apart") and number.isdecimal() else process


class Growth:
    """Adds to a tally what totals, that are kept elsewhere, have grown by."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._known: dict[tuple[str, str], float] = {}

    def note(self, figure: Figure, total: float, label: str = "") -> None:
        """A total that is less than before was read while it was being moved, and counts when it is more."""
        key = figure.name, label
        known = self._known.get(key, 0)
        if total > known:
            self._tally.add(figure, total - known, label)
            self._known[key] = total


class Ledger:
    """What all processes have told, and what the ended ones had counted."""

    def __init__(self) -> None:
        self._living: dict[str, tuple[str, Values, Values]] = {}
        self._ended: dict[tuple[str, str], Tally] = {}  #: by shared name and kind

    def tell(self, process: str, kind: str, totals: Values, gauges: Values) -> None:
        """A process of this kind (``room``, ``media``) tells its figures; those that it told before are
        replaced."""
        self._living[process] = (kind, totals, gauges)

    def end(self, process: str) -> None:
        """A process has ended: its totals are kept, its present values are gone."""
        kind, totals, _ = self._living.pop(process, ("", {}, {}))
        if kind:
            self._of_ended(process, kind).merge(totals)

    def add(self, process: str, kind: str, figure: Figure) -> None:
        """Counts what the process does not tell itself."""
        self._of_ended(process, kind).add(figure)

    def totals(self, kind: str) -> Values:
        """The sums of all processes of a kind, living and ended: they never go back."""
        tally = Tally()
        for (_, ended), had in self._ended.items():
            if ended == kind:
                tally.merge(had.values)
        for living, totals, _ in self._living.values():
            if living == kind:
                tally.merge(totals)
        return tally.values

    def gauges(self) -> Iterator[tuple[str, str, Values]]:
        """Name, kind and present values of each living process."""
        for process, (kind, _, gauges) in self._living.items():
            yield process, kind, gauges

    def accounts(self) -> list[Account]:
        """Totals and present values by shared name; the totals never go back."""
        kinds = dict(self._ended.keys())
        kinds |= {shared_name(process): kind for process, (kind, _, _) in self._living.items()}
        return [self._account(name, kind) for name, kind in sorted(kinds.items())]

    def _account(self, name: str, kind: str) -> Account:
        totals = Tally()
        if (name, kind) in self._ended:
            totals.merge(self._ended[name, kind].values)
        gauges: dict[str, dict[str, float]] = {}
        for process, (_, told, present) in self._living.items():
            if shared_name(process) == name:
                totals.merge(told)
                _join(gauges, present)
        return Account(name, kind, totals.values, gauges)

    def _of_ended(self, process: str, kind: str) -> Tally:
        return self._ended.setdefault((shared_name(process), kind), Tally())


_WORST = frozenset(figure.name for table in TABLES.values() for figure in table if figure.worst)


def _join(gauges: dict[str, dict[str, float]], others: Values) -> None:
    for name, values in others.items():
        joined = gauges.setdefault(name, {})
        for label, value in values.items():
            before = joined.get(label, 0)
            joined[label] = max(before, value) if name in _WORST else before + value
