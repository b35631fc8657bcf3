"""Reads by the slowest track: a container may have seconds of one track before those of the other.

A read up to some time goes on until every track that plays has come that far; packets of the others wait here
meanwhile. A track that stays away for much longer than the file has ever delayed one has ended or is sparse:
it is not waited for until it comes again. No IO of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import merge
from operator import attrgetter
from typing import Literal

from sluice.core.errors import SourceError
from sluice.media.packets import Packet, TrackKind

#: How much is read while a track does not come: media, `_AHEAD_OF_APART` times the distance that tracks have
#: had so far but within these bounds, and bytes.
LEAST_AHEAD_US, MOST_AHEAD_US = 2_000_000, 30_000_000
_AHEAD_OF_APART = 5
MOST_AHEAD_BYTES = 24 << 20
#: When a track that was no longer waited for comes back, its packets may be this much older than the last
#: packet that was returned; older ones are dropped. FFmpeg's demuxer for transport streams holds back the
#: last packet of a track that has ended until the end of the file.
_MOST_LATE_US = 500_000
_dts_us = attrgetter("dts_us")

#: Returns the next packet, of the given kind if kinds are read apart; None at the end, or while there is
#: none. May raise SourceError.
Pull = Callable[[TrackKind | None], Packet | None]


class Gather:
    """Orders the packets that `pull` returns. Kinds: audio and video."""

    def __init__(self, pull: Pull, *, apart: bool = False) -> None:
        """`apart`: see `read_apart`."""
        self._pull, self._apart = pull, apart
        self._queues: dict[TrackKind, deque[Packet]] = {}
        self._newest: dict[TrackKind, int] = {}  #: decoding time of the last packet that was pulled
        self._expected: set[TrackKind] = set()  #: they play, but nothing was pulled yet
        self._first_us: int | None = None
        self._given_us: int | None = None  #: decoding time of the last packet that was returned
        self._apart_us = 0  #: how far behind the others a packet came, at most
        self._bytes = 0
        self._absent: set[TrackKind] = set()  #: not waited for
        self._dry: set[TrackKind | None] = set()  #: nothing more comes of them during this `read`
        self._error: SourceError | None = None

    def read_apart(self) -> None:
        """Each kind has an input of its own from now on, so that one that stays away can be asked for."""
        self._apart = True

    def expect(self, kinds: Iterable[TrackKind]) -> None:
        """These kinds play, and are waited for from the beginning."""
        self._expected.update(kinds)

    def read(self, until_us: int) -> list[Packet]:
        """Packets in decoding order: all before `until_us`, or else the first one behind it; empty at the
        end. Raises a SourceError of `pull` only when the packets before it have been returned."""
        self._dry.clear()
        if self._apart:
            self._absent.clear()
        while self._error is None and (wanted := self._wanted(until_us)) is not False:
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
        """The source continues at another position."""
        self._expected.update(self._newest)
        self._queues.clear()
        self._newest.clear()
        self._first_us = self._given_us = None
        self._absent.clear()
        self._bytes, self._error = 0, None

    def cut(self, at_us: int) -> None:
        """Drops packets from this time on: the source continues there with other ones."""
        for kind, queue in self._queues.items():
            while queue and queue[-1].dts_us >= at_us:
                self._bytes -= len(queue.pop().data)
            self._newest[kind] = min(self._newest[kind], at_us)

    def _wanted(self, until_us: int) -> TrackKind | Literal[False] | None:
        """The kind to pull, None for whatever comes; False when enough was read."""
        if None in self._dry:
            return False
        for kind in self._expected:
            if kind not in self._dry:
                return kind
        if not self._newest:
            return None
        slowest: TrackKind | Literal[False] = False
        for kind, newest_us in self._newest.items():
            if newest_us < until_us and kind not in self._absent and kind not in self._dry:
                slowest, until_us = kind, newest_us
        if slowest is not False or any(self._queues.values()):
            return slowest
        # A packet has to be returned, unless all kinds have ended.
        return next((kind for kind in self._newest if kind not in self._dry), False)

    def _put(self, packet: Packet) -> None:
        kind, dts_us = packet.kind, packet.dts_us
        if kind in self._absent and self._given_us is not None and dts_us < self._given_us - _MOST_LATE_US:
            return
        queue = self._queues.get(kind)
        if queue is None:
            queue = self._queues[kind] = deque()
        queue.append(packet)
        before_us = self._newest.get(kind)
        if before_us is None or dts_us > before_us:
            self._newest[kind] = dts_us
        if self._first_us is None:
            self._first_us = dts_us
        self._bytes += len(packet.data)
        self._expected.discard(kind)
        self._absent.discard(kind)
        if self._expected or len(self._newest) > 1:
            self._give_up_waiting(kind, dts_us)

    def _give_up_waiting(self, kind: TrackKind, dts_us: int) -> None:
        """Stops waiting for tracks that stay too far behind this one."""
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
        if packets:
            self._given_us = packets[-1].dts_us
            self._bytes -= sum(len(packet.data) for packet in packets)
        return packets
