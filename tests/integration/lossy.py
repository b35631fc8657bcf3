"""A bad network: a UDP relay between one media port and its browsers that loses packets on the way.

A browser reaches the node only through it, because `rewrite` puts its port into the node's answer. Which
packets are lost is decided by a seeded generator: a run can be repeated.
"""

import asyncio
import random
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_HOST = "127.0.0.1"
_BUFFER_BYTES = 4 << 20
_MEDIA = 128  # RTP and RTCP begin with this bit (RFC 7983)
_RTCP = range(192, 224)  # RFC 5761 4
_CANDIDATE = re.compile(r"(a=candidate:\S+ 1 udp \d+ \S+ )(\d+)( typ host)")

Address = tuple[str, int]


class LossyRelay:
    """`loss` in [0, 1] is the share lost on the way to the browsers, `loss_to_node` that of the media on the
    way from them (not of connection checks: tests shorten the patience with those). `dark` loses all. With
    `every`, each browser loses every so-manieth RTP packet: what is lost is known to the packet."""

    def __init__(self, seed: int) -> None:
        self.loss = self.loss_to_node = 0.0
        self.dark = False
        self.every = 0
        self.rtp: Counter[Address] = Counter()  #: packets for each browser, lost or not
        self.passed = self.lost = 0
        self._random = random.Random(seed)
        self._node: Address | None = None
        self._front: asyncio.DatagramTransport | None = None
        self._paths: dict[Address, asyncio.DatagramTransport] = {}

    def rewrite(self, answer: str) -> str:
        """The node's answer, with our port in its candidates; what was theirs is where we send to."""
        found = _CANDIDATE.search(answer)
        assert found is not None
        assert self._front is not None
        self._node = (_HOST, int(found[2]))
        port = self._front.get_extra_info("sockname")[1]
        return _CANDIDATE.sub(rf"\g<1>{port}\g<3>", answer)

    async def open(self) -> None:
        self._front = await _endpoint(_Front(self))

    def close(self) -> None:
        for transport in (self._front, *self._paths.values()):
            if transport is not None:
                transport.close()

    async def to_node(self, data: bytes, browser: Address) -> None:
        """What one browser sends; it has a path, and so an address at the node, of its own."""
        if self.dark or self._node is None:
            return
        if data[0] >= _MEDIA and self._random.random() < self.loss_to_node:
            self.lost += 1
            return
        path = self._paths.get(browser)
        if path is None:
            path = await _endpoint(_Path(self, browser))
            self._paths[browser] = path
        path.sendto(data, self._node)

    def to_browser(self, data: bytes, browser: Address) -> None:
        if self.dark or self._random.random() < self.loss or self._is_next(data, browser):
            self.lost += 1
        elif self._front is not None:
            self.passed += 1
            self._front.sendto(data, browser)

    def _is_next(self, data: bytes, browser: Address) -> bool:
        if not self.every or data[0] < _MEDIA or data[1] in _RTCP:
            return False
        self.rtp[browser] += 1
        return self.rtp[browser] % self.every == 0


class _Front(asyncio.DatagramProtocol):
    def __init__(self, relay: LossyRelay) -> None:
        self._relay = relay
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        task = asyncio.ensure_future(self._relay.to_node(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Path(asyncio.DatagramProtocol):
    def __init__(self, relay: LossyRelay, browser: Address) -> None:
        self._relay, self._browser = relay, browser

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._relay.to_browser(data, self._browser)


async def _endpoint(protocol: asyncio.DatagramProtocol) -> asyncio.DatagramTransport:
    """A UDP socket on a free loopback port, whose buffers lose nothing by themselves."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    sock.setblocking(False)
    sock.bind((_HOST, 0))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=sock)
    return transport


@asynccontextmanager
async def lossy_relay(*, loss: float = 0.0, seed: int = 1) -> AsyncIterator[LossyRelay]:
    relay = LossyRelay(seed)
    relay.loss = loss
    await relay.open()
    try:
        yield relay
    finally:
        relay.close()
