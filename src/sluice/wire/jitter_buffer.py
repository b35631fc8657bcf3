"""A jitter buffer: the RTP packets of one source in their order, and which of them to ask for again.

Nothing waits unless something is missing: a packet in order goes on at once. Behind a gap packets wait until
what is missing arrives or is given up. Where retransmission is agreed on, it is asked for a few times, one
round trip apart, and the round trip is learned from the answers (a receiver is not told it otherwise).
It is given up when the last request had its time, not by the clock: where this process was held up, or the
sender, the answers to the first requests are still on their way, and the others have not been made.
Everything is bounded: what waits, what is missing, how often it is asked for and for how long it is waited.

Pure: time is an argument, in microseconds. Duplicates and packets too late are left out and counted.
"""

from dataclasses import dataclass

from sluice.wire.rtp import RtpPacket

#: Without retransmission only packets that overtook each other are waited for.
REORDERING_US = 30_000
_MOST_WAITING = 2048
#: A larger gap is a network that was away: asking for all of it would only add to what is late.
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
    def __init__(self, *, retransmission: bool) -> None:
        self.late = self.duplicates = self.lost = 0
        self._retransmission = retransmission
        self._next: int | None = None  #: the extended number of the packet to go on with
        self._highest = -1
        self._waiting: dict[int, RtpPacket] = {}
        self._missing: dict[int, _Missing] = {}
        self._lost_before = 0
        self._ask_at_us = 0  #: nothing is to be asked for before
        self._rtt_us = float(_FIRST_RTT_US)

    @property
    def rtt_us(self) -> int:
        """The round trip to the sender as retransmissions show it, with their waiting."""
        return int(self._rtt_us)

    def push(self, packet: RtpPacket, now_us: int) -> list[RtpPacket]:
        """The packets that may go on now, in order."""
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
        """The packets that may go on because what was before them has come or is given up."""
        ready: list[RtpPacket] = []
        waiting, missing = self._waiting, self._missing
        while waiting and self._next is not None:
            packet = waiting.pop(self._next, None)
            if packet is not None:
                packet.lost_before, self._lost_before = self._lost_before, 0
                ready.append(packet)
                self._next += 1
                continue
            lack = missing.get(self._next)
            if lack and self._may_come(lack, now_us) and len(waiting) < _MOST_WAITING:
                break
            missing.pop(self._next, None)
            # Nobody counts through a gap that is not waited for: a sender may jump by thousands each time.
            gone = 1 if lack else self._gap_ahead(self._next)
            self._lost_before += gone
            self.lost += gone
            self._next += gone
        return ready

    def _gap_ahead(self, at: int) -> int:
        """How many numbers from `at` on neither wait nor are waited for. What is missing stands in order."""
        return min(min(self._waiting), next(iter(self._missing), self._highest)) - at

    def wanted(self, now_us: int) -> list[int]:
        """The numbers (16 bit) to ask the sender for now; each is asked for a few times at most."""
        if not self._missing or not self._retransmission or now_us < self._ask_at_us:
            return []
        numbers: list[int] = []
        self._ask_at_us = now_us + self._pause_us
        for number, lack in self._missing.items():
            if lack.tries < _MOST_TRIES and now_us >= lack.ask_at_us:
                lack.tries += 1
                lack.ask_at_us = now_us + self._pause_us
                numbers.append(number & 0xFFFF)
            if lack.tries < _MOST_TRIES:
                self._ask_at_us = min(self._ask_at_us, lack.ask_at_us)
        return numbers

    @property
    def _pause_us(self) -> int:
        return int(min(max(self._rtt_us, _LEAST_PAUSE_US), _MOST_PAUSE_US))

    def _may_come(self, lack: _Missing, now_us: int) -> bool:
        waited_us = now_us - lack.since_us
        if not self._retransmission:
            return waited_us < REORDERING_US
        return waited_us < _MOST_HOLD_US and (lack.tries < _MOST_TRIES or now_us < lack.ask_at_us)

    def _miss(self, start: int, end: int, now_us: int) -> None:
        if end - start + len(self._missing) > _MOST_MISSING:
            self._missing.clear()  # `poll` waits for none of them
            return
        for number in range(start, end):
            self._missing[number] = _Missing(now_us)
            self._ask_at_us = now_us

    def _found(self, number: int, now_us: int) -> None:
        lack = self._missing.pop(number, None)
        if lack and lack.tries:
            # From the first request: an answer to the second is taken for a slow one to the first, which errs
            # on the side of patience.
            sample = min(now_us - lack.since_us, _MOST_HOLD_US)
            self._rtt_us += (sample - self._rtt_us) / (4 if sample < self._rtt_us else 8)
