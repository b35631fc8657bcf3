"""Viewers that note the longest stall of what they get: real WebRTC peers in a process of their own.

The kernel's time of arrival is used, so that an attack that keeps the test's process busy makes nobody late.
"""

import socket
import struct
import time
from dataclasses import dataclass

from benchmarks.peers import AUDIO_TYPE, VIDEO_TYPE, Agent, Receivers
from sluice.rooms.engine.dtls import DtlsIdentity

#: asm-generic/socket.h; Python has no name for it. The message is a timespec.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)
_MOST_DATAGRAMS = 64
_KINDS = {VIDEO_TYPE: "pictures", AUDIO_TYPE: "sound"}


@dataclass(slots=True)
class _Stall:
    last_s: float
    longest_s: float = 0.0

    def take(self, now_s: float) -> None:
        self.longest_s = max(self.longest_s, now_s - self.last_s)
        self.last_s = max(self.last_s, now_s)


class Witness(Agent):
    """One viewer. A stall is time without a packet of its kind."""

    def __init__(self, host: str, identity: DtlsIdentity) -> None:
        super().__init__(host, identity)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._stalls: dict[str, _Stall] = {}

    def drain(self) -> None:
        for _ in range(_MOST_DATAGRAMS):
            try:
                data, extras, _, address = self.socket.recvmsg(2048, _SPACE)
            except BlockingIOError:
                return
            if not 128 <= data[0] < 192:
                self.take_other(data, address)
            elif (kind := _KINDS.get(data[1] & 0x7F)) is not None:
                self.take(data)
                seconds, nanoseconds = _TIMESPEC.unpack(extras[0][2])
                at = seconds + nanoseconds / 1e9
                self._stalls.setdefault(kind, _Stall(at)).take(at)

    def take_stalls(self) -> dict[str, float]:
        """The longest since the last call in seconds, also what goes on. Empty before the first packet."""
        self.drain()
        found = {}
        for kind, stall in self._stalls.items():
            found[kind] = max(stall.longest_s, time.time() - stall.last_s)
            stall.longest_s = 0.0
        return found


class Witnesses(Receivers):
    """Witnesses in a process of their own."""

    def __init__(self, host: str, count: int) -> None:
        super().__init__(host, count, Witness)

    def take_stalls(self) -> list[dict[str, float]]:
        """Of each one since the last call."""
        return self.ask_each("take_stalls")
