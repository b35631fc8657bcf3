"""Reading by the slowest track: containers may hold seconds of one track before those of the other.

What is asked for up to a time is read until every track that plays has come so far; what of the others came
meanwhile waits here. A track that stays away for much longer than the file ever held it back is not waited
for until it comes again: it has ended, or is sparse. No IO of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import merge
from operator import attrgetter

from sluice.core.errors import SourceError
from sluice.media.packets import Packet, TrackKind

#: What is read ahead of a track that does not come: media, by how far tracks were apart so far, and bytes.
LEAST_AHEAD_US, MOST_AHEAD_US = 2_000_000, 30_000_000
_AHEAD_OF_APART = 5
MOST_AHEAD_BYTES = 24 << 20
_LONG_AGO = -(1 << 62)
_dts_us = attrgetter("dts_us")

#: The next packet, of this kind if kinds are read apart; None at the end, or while there is none of it. May
#: raise SourceError.
Pull = Callable[[TrackKind | None], Packet | None]


class Gather:
    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._queues: dict[TrackKind, deque[Packet]] = {}
        self._newest: dict[TrackKind, int] = {}  #: decoding time of the last packet that was pulled
        self._expected: set[TrackKind] = set()  #: they play, but nothing was pulled yet
        self._first_us: int | None = None
        self._apart_us = 0  #: how far behind the others a packet came, at most
        self._bytes = 0
        self._absent: set[TrackKind] = set()  #: not waited for
        self._dry: set[TrackKind | None] = set()  #: nothing comes of them in this reading
        self._error: SourceError | None = None

    def expect(self, kinds: Iterable[TrackKind]) -> None:
        """These play: they are waited for from the beginning."""
        self._expected.update(kinds)

    def read(self, until_us: int) -> list[Packet]:
        """Packets in the order of decoding: all before `until_us`, or the first one behind it; empty at the
        end. Raises SourceError when what was read before it is given."""
        self._dry.clear()
        while self._error is None and self._wants_more(until_us):
            wanted = self._slowest(until_us)
            try:
                packet = self._pull(wanted)
            except SourceError as raised:
                self._error = raised
            else:
                self._put(packet) if packet is not None else self._dry.add(wanted)
        packets = self._take(until_us)
        if not packets and self._error is not None:
            error, self._error = self._error, None
            raise error
        return packets

    def clear(self) -> None:
        """The source goes on elsewhere."""
        self._expected.update(self._newest)
        self._queues.clear()
        self._newest.clear()
        self._first_us = None
        self._absent.clear()
        self._bytes, self._error = 0, None

    def cut(self, at_us: int) -> None:
        """The source goes on with other packets from this time on."""
        for kind, queue in self._queues.items():
            while queue and queue[-1].dts_us >= at_us:
                self._bytes -= len(queue.pop().data)
            self._newest[kind] = min(self._newest[kind], at_us)

    def _wants_more(self, until_us: int) -> bool:
        if None in self._dry:
            return False
        if self._waited_for(until_us) or not self._newest:
            return True
        # Something has to be given, unless all is over.
        return not any(self._queues.values()) and any(kind not in self._dry for kind in self._newest)

    def _slowest(self, until_us: int) -> TrackKind | None:
        """The kind to pull, None for whatever comes."""
        waited_for = self._waited_for(until_us) or [k for k in self._newest if k not in self._dry]
        return min(waited_for, key=lambda kind: self._newest.get(kind, _LONG_AGO), default=None)

    def _waited_for(self, until_us: int) -> list[TrackKind]:
        behind = [
            kind
            for kind, newest_us in self._newest.items()
            if newest_us < until_us and kind not in self._absent
        ]
        return [kind for kind in (*self._expected, *behind) if kind not in self._dry]

    def _put(self, packet: Packet) -> None:
        kind = packet.kind
        if self._first_us is None:
            self._first_us = packet.dts_us
        self._queues.setdefault(kind, deque()).append(packet)
        self._newest[kind] = max(packet.dts_us, self._newest.get(kind, packet.dts_us))
        self._bytes += len(packet.data)
        self._expected.discard(kind)
        self._absent.discard(kind)
        self._give_up_waiting(kind, packet.dts_us)

    def _give_up_waiting(self, kind: TrackKind, dts_us: int) -> None:
        """For tracks that stay too far behind this one."""
        newest_us = self._newest[kind]
        if len(self._newest) > 1:
            self._apart_us = max(self._apart_us, max(self._newest.values()) - dts_us)
        most_us = min(MOST_AHEAD_US, max(LEAST_AHEAD_US, _AHEAD_OF_APART * self._apart_us))
        too_much = self._bytes > MOST_AHEAD_BYTES
        for other, other_us in self._newest.items():
            if other is not kind and (too_much or newest_us - other_us > most_us):
                self._absent.add(other)
        wait_us = most_us if self._apart_us else MOST_AHEAD_US
        if self._expected and (too_much or newest_us - (self._first_us or 0) > wait_us):
            self._expected.clear()

    def _take(self, until_us: int) -> list[Packet]:
        taken: list[list[Packet]] = []
        for queue in self._queues.values():
            due: list[Packet] = []
            while queue and queue[0].dts_us < until_us:
                due.append(queue.popleft())
            taken.append(due)
        packets = list(merge(*taken, key=_dts_us)) if len(taken) > 1 else [*taken[0]] if taken else []
        if not packets and (waiting := [queue for queue in self._queues.values() if queue]):
            packets = [min(waiting, key=lambda queue: queue[0].dts_us).popleft()]
        self._bytes -= sum(len(packet.data) for packet in packets)
        return packets
