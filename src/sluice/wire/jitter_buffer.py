"""A jitter buffer: puts the RTP packets of one source in order, and says which of them to request again.

A packet in order leaves at once. Behind a gap, packets wait until the missing ones arrive or are given up.
Where retransmission is agreed on, a missing packet is requested a few times, one round trip apart. The round
trip is measured by the answers, since nothing else tells a receiver. A missing packet is given up when its
last request has had its time, not by the clock: where this process or the sender was held up, answers to the
first requests are still on their way, and the other requests have not been made yet. All is bounded: how many
packets wait, how many are missing, how often one is requested, and how long it is waited for.

Pure: time is an argument, in microseconds. Duplicates and late packets are dropped and counted.
"""

from dataclasses import dataclass

from sluice.wire.rtp import RtpPacket

#: Without retransmission, a missing packet is waited for only as long as reordering takes.
REORDERING_US = 30_000
_MOST_WAITING = 2048
#: A larger gap means that the network was away: to request all of it would only delay the rest further.
_MOST_MISSING = 256
_MOST_TRIES = 10
_FIRST_RTT_US = 100_000
_LEAST_PAUSE_US, _MOST_PAUSE_US = 20_000, 250_000
_MOST_HOLD_US = 1_000_000


@dataclass(slots=True)
class _Missing:
    since_us: int
    tries: int = 0
    ask_at_us: int = 0


class JitterBuffer:
    """`late`, `duplicates` and `lost` count packets: arrived too late, arrived again, given up."""

    def __init__(self, *, retransmission: bool) -> None:
        self.late = self.duplicates = self.lost = 0
        self._retransmission = retransmission
        self._next: int | None = None  #: extended sequence number of the packet that leaves next
        self._highest = -1
        self._waiting: dict[int, RtpPacket] = {}
        self._missing: dict[int, _Missing] = {}
        self._lost_before = 0
        self._ask_at_us = 0  #: no request is due before
        self._rtt_us = float(_FIRST_RTT_US)
        self.rtt_measured = False

    @property
    def rtt_us(self) -> int:
        """The round trip to the sender, measured by retransmissions, with the time that they wait."""
        return int(self._rtt_us)

    def push(self, packet: RtpPacket, now_us: int) -> list[RtpPacket]:
        """Takes a packet. Returns those that leave now, in order."""
        if self._next is None:
            self._next = packet.sequence
            self._highest = packet.sequence - 1
        highest = self._highest
        number = highest + ((packet.sequence - highest + 0x8000) & 0xFFFF) - 0x8000
        if number == self._next == highest + 1:  # nothing is missing
            self._highest, self._next = number, number + 1
            return [packet]
        if number < self._next:
            self.late += 1
            return []
        if number in self._waiting:
            self.duplicates += 1
            return []
        if number > highest:
            self._highest = number
            self._miss(highest + 1, number, now_us)
        else:
            self._found(number, now_us)
        self._waiting[number] = packet
        return self.poll(now_us)

    def poll(self, now_us: int) -> list[RtpPacket]:
        """The packets that leave now, because those before them have arrived or are given up."""
        ready: list[RtpPacket] = []
        waiting, missing = self._waiting, self._missing
        while waiting and self._next is not None:
            packet = waiting.pop(self._next, None)
            if packet is not None:
                packet.lost_before, self._lost_before = self._lost_before, 0
                ready.append(packet)
                self._next += 1
                continue
            entry = missing.get(self._next)
            if entry and self._may_come(entry, now_us) and len(waiting) < _MOST_WAITING:
                break
            missing.pop(self._next, None)
            # A gap that is not waited for is passed in one step: senders may jump by thousands each time.
            gone = 1 if entry else self._gap_ahead(self._next)
            self._lost_before += gone
            self.lost += gone
            self._next += gone
        return ready

    def _gap_ahead(self, at: int) -> int:
        """How many numbers from `at` on have not arrived and are not waited for. (`_missing` is in order.)"""
        return min(min(self._waiting), next(iter(self._missing), self._highest)) - at

    def wanted(self, now_us: int) -> list[int]:
        """The sequence numbers (16 bit) to request now; each is requested `_MOST_TRIES` times at most."""
        if not self._missing or not self._retransmission or now_us < self._ask_at_us:
            return []
        numbers: list[int] = []
        self._ask_at_us = now_us + self._pause_us
        for number, entry in self._missing.items():
            if entry.tries < _MOST_TRIES and now_us >= entry.ask_at_us:
                entry.tries += 1
                entry.ask_at_us = now_us + self._pause_us
                numbers.append(number & 0xFFFF)
            if entry.tries < _MOST_TRIES:
                self._ask_at_us = min(self._ask_at_us, entry.ask_at_us)
        return numbers

    @property
    def _pause_us(self) -> int:
        return int(min(max(self._rtt_us, _LEAST_PAUSE_US), _MOST_PAUSE_US))

    def _may_come(self, entry: _Missing, now_us: int) -> bool:
        waited_us = now_us - entry.since_us
        if not self._retransmission:
            return waited_us < REORDERING_US
        return waited_us < _MOST_HOLD_US and (entry.tries < _MOST_TRIES or now_us < entry.ask_at_us)

    def _miss(self, start: int, end: int, now_us: int) -> None:
        if end - start + len(self._missing) > _MOST_MISSING:
            self._missing.clear()  # `poll` waits for none of them
            return
        for number in range(start, end):
            self._missing[number] = _Missing(now_us)
            self._ask_at_us = now_us

    def _found(self, number: int, now_us: int) -> None:
        entry = self._missing.pop(number, None)
        if entry and entry.tries:
            self.rtt_measured = True
            # Measured from the first request on: an answer to the second passes for a slow one to the first,
            # which errs on the side of patience.
            sample = min(now_us - entry.since_us, _MOST_HOLD_US)
            self._rtt_us += (sample - self._rtt_us) / (4 if sample < self._rtt_us else 8)
