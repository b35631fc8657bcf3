"""The UDP port of a room process: one for all peers, with segmented sends (GSO) and a count of what fails.

A peer that media flows to has a path: a socket of its own on the same port, connected to the peer's address.
The kernel then looks up its route once instead of for each send, and Python parses no address. Everything
also works without a path, through the shared socket.

`send_runs` is the innermost part of the per-packet path. When a socket buffer is full, the packet is dropped
and counted, never waited for: what is late is worth nothing, and a receiver that misses it asks again.
"""

import errno
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from sluice.core.drops import DropCounter, DropRule

_UDP_SEGMENT = 103  # linux/udp.h
_BUFFER_BYTES = 4 << 20

#: Most packets of one segmented send: 64 by the kernel, fewer so that the datagram stays below 64 KiB.
MOST_SEGMENTS = 52

Address = tuple[str, int] | tuple[str, int, int, int]


class MediaSocket:
    """`watch` and `unwatch` are called with each path's socket; whoever reads the shared one reads it,
    too."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        watch: Callable[[socket.socket], object] = lambda path: None,
        unwatch: Callable[[socket.socket], object] = lambda path: None,
        most_paths: int = 1000,
        drops: DropCounter | None = None,
    ) -> None:
        """Binds UDP `host`:`port` (port 0: any). Peers beyond `most_paths` share one socket. Raises
        OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as alone:
            # A port that another process shares with its paths would be ours as well: ask unshared first.
            alone.bind((host, port))
        self.socket = _bound(family, (host, port))
        self.port: int = self.socket.getsockname()[1]
        self._drops = drops if drops is not None else DropCounter()
        self._segmented = self._kernel_segments()
        self._ancillary: dict[int, list[tuple[int, int, bytes]]] = {}
        self._paths: dict[Address, socket.socket] = {}
        self._watch = watch
        self._unwatch = unwatch
        self._most_paths = most_paths

    def open_path(self, address: Address) -> None:
        """From now on what goes to this address goes through a socket of its own."""
        if address in self._paths or len(self._paths) >= self._most_paths:
            return
        try:
            path = _bound(self.socket.family, self.socket.getsockname())
            path.connect(address)
        except OSError:
            return  # the shared socket serves this peer too
        self._paths[address] = path
        self._watch(path)

    def close_path(self, address: Address) -> None:
        path = self._paths.pop(address, None)
        if path is not None:
            self._unwatch(path)
            path.close()

    def _kernel_segments(self) -> bool:
        try:
            self.socket.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
        except OSError:
            return False
        return True

    def send(self, data: bytes, address: Address) -> None:
        path = self._paths.get(address)
        try:
            if path is not None:
                path.send(data)
            else:
                self.socket.sendto(data, address)
        except BlockingIOError:
            self._drops.add(DropRule.SOCKET_FULL)
        except OSError:
            # The peer's address is unreachable at the moment; its consent time-out decides.
            self._drops.add(DropRule.UNREACHABLE)

    def send_runs(
        self, sealed: Sequence[bytes], runs: Sequence[tuple[int, int, int]], overhead: int, address: Address
    ) -> None:
        """Sends packets, two buffers each (header, rest) as GcmSender.seal makes them. A run is ``(start,
        end, payload bytes of its first packet)``; `overhead` is what a packet has beyond its payload."""
        for start, end, size in runs:
            buffers = sealed if len(runs) == 1 else sealed[2 * start : 2 * end]
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
        path = self._paths.get(address)
        try:
            if path is not None:
                path.sendmsg(buffers, ancillary)
            else:
                self.socket.sendmsg(buffers, ancillary, 0, address)
        except BlockingIOError:
            self._drops.add(DropRule.SOCKET_FULL, max(1, len(buffers) // 2))
        except OSError as error:
            if ancillary and error.errno in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
                if error.errno == errno.EIO:
                    # An interface without checksum offload cannot segment: go on without it.
                    self._segmented = False
                self._send_singly(buffers, address)
            else:
                # As in `send`.
                self._drops.add(DropRule.UNREACHABLE, max(1, len(buffers) // 2))

    def _send_singly(self, buffers: Sequence[bytes], address: Address) -> None:
        for at in range(0, len(buffers), 2):
            self._send_gathered(buffers[at : at + 2], (), address)

    def close(self) -> None:
        for address in list(self._paths):
            self.close_path(address)
        self.socket.close()


def _bound(family: int, address: Any) -> socket.socket:
    """A socket that shares its port with the others of this process."""
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            bound.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
