"""Receivers that note when the kernel got each packet of sound, and how far that is from an even grid.

The kernel's own time of arrival is used, so that a receiver that is late itself makes nobody else late.
"""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.peers import AUDIO_TYPE, Agent, Sink
from benchmarks.report import median, percentile

#: asm-generic/socket.h; Python has no name for it. The message is a timespec.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)
_MOST_DATAGRAMS = 64
_CLOCK = 48_000

#: RTP timestamp and nanoseconds of the wall clock.
Arrival = tuple[int, int]


class TimedSink(Sink):
    """One receiver of plain RTP with the times of its sound."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._arrivals: list[Arrival] = []

    def drain(self) -> None:
        receive = self.socket.recvmsg
        for _ in range(_MOST_DATAGRAMS):
            try:
                data, extras, _, address = receive(2048, _SPACE)
            except BlockingIOError:
                return
            if 128 <= data[0] < 192:
                if not 64 <= data[1] & 0x7F < 96:  # RFC 5761 4: those are RTCP
                    self.take(data)
                    if data[1] & 0x7F == AUDIO_TYPE:
                        seconds, nanoseconds = _TIMESPEC.unpack(extras[0][2])
                        stamp = int.from_bytes(data[4:8], "big")
                        self._arrivals.append((stamp, seconds * 1_000_000_000 + nanoseconds))
            else:
                self.take_other(data, address)

    def take_arrivals(self) -> list[Arrival]:
        """Those since the last call."""
        arrivals, self._arrivals = self._arrivals, []
        return arrivals


class TimedAgent(Agent, TimedSink):
    """The same as a WebRTC receiver."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Distances in ms of packets from where their RTP timestamps put them, over all receivers; `worst_p99`
    is that of the receiver with the largest one."""

    p50: float
    p99: float
    most: float
    worst_p99: float


def timing(receivers: Sequence[Sequence[Arrival]]) -> Timing:
    """Raises ValueError when a receiver got nothing."""
    if not all(receivers):
        raise ValueError("a receiver got no packet of sound")
    each = [distances(arrivals) for arrivals in receivers]
    every = [distance for one in each for distance in one]
    worst = max(percentile(one, 0.99) for one in each)
    return Timing(percentile(every, 0.5), percentile(every, 0.99), max(every), worst)


def distances(arrivals: Sequence[Arrival]) -> list[float]:
    """Milliseconds of each packet from its place. The grid is that of the timestamps, and lies so that as
    many packets come before as after it."""
    first_stamp, first_ns = arrivals[0]
    offsets = []
    for stamp, at_ns in arrivals:
        media = (stamp - first_stamp + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000
        offsets.append((at_ns - first_ns) / 1e6 - media * 1000 / _CLOCK)
    middle = median(offsets)
    return [abs(offset - middle) for offset in offsets]
