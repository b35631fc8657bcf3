"""The UDP socket of a room process: one port for all peers, segmented sends (GSO), counters for what fails.

`send_runs` is the innermost part of the per-packet path. A full socket buffer is counted and never waited
for: what is late is worth nothing, and a receiver that misses it asks again.
"""

import errno
import socket
import struct
from collections.abc import Sequence

_UDP_SEGMENT = 103  # linux/udp.h
_BUFFER_BYTES = 4 << 20

#: Most packets of one segmented send: 64 by the kernel, fewer so that the datagram stays below 64 KiB.
MOST_SEGMENTS = 52

Address = tuple[str, int] | tuple[str, int, int, int]


class MediaSocket:
    def __init__(self, host: str, port: int) -> None:
        """Binds UDP `host`:`port` (port 0: any). Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        self.socket.bind((host, port))
        self.port: int = self.socket.getsockname()[1]
        self.dropped = 0
        self._segmented = self._kernel_segments()
        self._ancillary: dict[int, list[tuple[int, int, bytes]]] = {}

    def _kernel_segments(self) -> bool:
        try:
            self.socket.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
        except OSError:
            return False
        return True

    def send(self, data: bytes, address: Address) -> None:
        self._send_gathered([data], (), address)

    def send_runs(
        self, sealed: Sequence[bytes], runs: Sequence[tuple[int, int, int]], overhead: int, address: Address
    ) -> None:
        """Sends packets, two buffers each (header, rest) as GcmSender.seal makes them. A run is ``(start,
        end, payload bytes of its first packet)``; `overhead` is what a packet has beyond its payload."""
        for start, end, size in runs:
            buffers = sealed[2 * start : 2 * end]
            if end - start == 1:
                self._send_gathered(buffers, (), address)
            elif self._segmented:
                segment = size + overhead
                ancillary = self._ancillary.get(segment)
                if ancillary is None:
                    ancillary = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", segment))]
                    self._ancillary[segment] = ancillary
                self._send_gathered(buffers, ancillary, address)
            else:
                self._send_singly(buffers, address)

    def _send_gathered(
        self, buffers: Sequence[bytes], ancillary: Sequence[tuple[int, int, bytes]], address: Address
    ) -> None:
        try:
            self.socket.sendmsg(buffers, ancillary, 0, address)
        except BlockingIOError:
            self.dropped += max(1, len(buffers) // 2)
        except OSError as error:
            if ancillary and error.errno in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
                if error.errno == errno.EIO:
                    # An interface without checksum offload cannot segment: go on without it.
                    self._segmented = False
                self._send_singly(buffers, address)
            else:
                # The peer's address is unreachable at the moment; its consent time-out decides.
                self.dropped += 1

    def _send_singly(self, buffers: Sequence[bytes], address: Address) -> None:
        for at in range(0, len(buffers), 2):
            self._send_gathered(buffers[at : at + 2], (), address)

    def close(self) -> None:
        self.socket.close()
