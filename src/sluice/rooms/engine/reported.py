"""How media arrives, as receivers report it (RFC 3550 6.4.1), kept for people. Pure: time is told, in us.

Browsers send a report with every NACK, about a few packets only. So the share of the last report jumps, and
that of the last ten seconds says how the network is. Reports are claims of strangers: what they lead to is
bounded by what was sent.
"""

from collections import deque

from sluice.wire.rtcp import Reception

WINDOW_US = 10_000_000
#: Two notes of a window are at least this far apart.
_STEP_US = 500_000
#: Sender reports that are remembered for round trips: one is sent each second.
_MOST_REMEMBERED = 16
#: Delays are told in units of 15 us, and clocks differ a little.
_TOLERANCE_US = 2_000
_MOST_ROUND_TRIP_US = 60_000_000


class LossWindow:
    """How many packets were expected and lost over the last ten seconds."""

    __slots__ = ("_newest", "_notes")

    def __init__(self) -> None:
        self._notes: deque[tuple[int, int, int]] = deque()  #: when, packets sent and lost until then
        self._newest: tuple[int, int, int] | None = None

    def add(self, sent: int, lost: int, now_us: int, *, first: int | None = None) -> None:
        """So many packets of the source were sent until now (the extended number will do), and so many of
        them lost. `first`: what `sent` was when the receiver began."""
        notes = self._notes
        if self._newest is None and first is not None:
            notes.append((now_us, first, 0))
        elif self._newest is not None and sent < self._newest[1]:
            notes.clear()  # the receiver began anew
        self._newest = now_us, sent, lost
        if not notes or now_us - notes[-1][0] >= _STEP_US:
            notes.append(self._newest)
        while len(notes) > 1 and now_us - notes[1][0] >= WINDOW_US:
            notes.popleft()

    def counts(self) -> tuple[int, int]:
        """Packets lost, and packets expected."""
        if self._newest is None:
            return 0, 0
        _, sent, lost = self._newest
        _, sent_before, lost_before = self._notes[0]
        expected = sent - sent_before
        return min(max(lost - lost_before, 0), expected), expected


def share_of(*counts: tuple[int, int]) -> float | None:
    """The share that was lost, in [0, 1], of packets lost and expected; None where none were expected."""
    expected = sum(expected for _, expected in counts)
    return sum(lost for lost, _ in counts) / expected if expected > 0 else None


class Reported:
    """What a viewer reports about one kind of media, whose RTP clock runs at `rate` Hz."""

    __slots__ = ("_heard_us", "_last", "_rate", "_window", "lost")

    def __init__(self, rate: int) -> None:
        self.lost = 0  #: packets, since the viewer began; it never falls
        self._rate = rate
        self._window = LossWindow()
        self._last: Reception | None = None
        self._heard_us = 0

    def take(self, report: Reception, sent: int, now_us: int) -> None:
        """`sent`: packets of this kind that were sent to the viewer."""
        self.lost = max(self.lost, min(report.packets_lost, sent))
        self._window.add(report.highest, report.packets_lost, now_us, first=report.highest - sent)
        self._last, self._heard_us = report, now_us

    def newest(self, now_us: int) -> Reception | None:
        """The newest report, unless it is old."""
        return self._last if now_us - self._heard_us <= WINDOW_US else None

    def window(self, now_us: int) -> tuple[int, int]:
        """Packets lost and expected over the last ten seconds, or as far as reports go back."""
        return self._window.counts() if self.newest(now_us) is not None else (0, 0)

    def last_loss(self, now_us: int) -> float | None:
        """Of the newest report, in [0, 1]."""
        report = self.newest(now_us)
        return report.fraction_lost if report is not None else None

    def jitter_s(self, now_us: int) -> float | None:
        report = self.newest(now_us)
        return report.jitter / self._rate if report is not None else None


class RoundTrip:
    """Measured by the sender report that a receiver names in its own, and by how long it had it (LSR and
    DLSR). Only reports that were really sent count, so that no clock but ours matters."""

    __slots__ = ("_sent", "us")

    def __init__(self) -> None:
        self.us: int | None = None  #: the newest measurement
        self._sent: deque[tuple[int, int]] = deque(maxlen=_MOST_REMEMBERED)

    def on_sent(self, report: int, now_us: int) -> None:
        """A sender report has left; `report` are the middle 32 bits of its NTP time."""
        self._sent.append((report, now_us))

    def on_heard(self, report: Reception, now_us: int) -> None:
        for sent, at_us in self._sent:
            if sent == report.last_report:
                us = now_us - at_us - report.delay * 1_000_000 // 65_536
                if -_TOLERANCE_US <= us <= _MOST_ROUND_TRIP_US:
                    self.us = max(us, 0)
                return
