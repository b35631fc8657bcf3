"""Endless HTTP sources (FLV, TS, MP3, AAC radio): media is passed on as it arrives.

A worker thread reads and demuxes; the event loop takes the packets. While nobody takes them, the
back-pressure of TCP holds the server. The end of the connection and a stall are losses. A server that sends a
recording as fast as it can is slowed down to the recording's own speed.
"""

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Executor
from typing import Literal

from sluice.core.errors import interrupted
from sluice.core.plan import Probe
from sluice.core.source_facts import Packaging
from sluice.media.packets import Packet
from sluice.media.source.answer import Endless
from sluice.media.source.notes import Notes

#: Packets that wait to be taken; then the server waits.
_MOST_WAITING = 1000
#: How much faster than ours a live source's clock may run; 72 h of it must not look like a recording.
_CLOCKS_APART = 1.001


class LiveHttpSource:
    """`open`, then `read` until it raises; `close` in any case. One task at a time."""

    live: Literal[True] = True

    def __init__(self, endless: Endless, executor: Executor) -> None:
        self._file, self._demuxer, self._probe = endless.file, endless.demuxer, endless.probe
        self._ahead_us, self._executor = endless.ahead_us, executor
        self.packaging = Packaging(endless.demuxer.container, entries=endless.entries)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Packet] = deque()
        self._arrived = asyncio.Event()
        self._taken = threading.Event()
        self._closing = threading.Event()
        self._first: tuple[float, int] | None = None  #: when the first packet came (s), and its time (us)
        self._pumping: asyncio.Future[None] | None = None

    @property
    def notes(self) -> Notes:
        return self._demuxer.notes

    async def open(self) -> Probe:
        self._pumping = self._loop.run_in_executor(self._executor, self._pump)
        self._pumping.add_done_callback(lambda _: self._arrived.set())
        return self._probe

    async def read(self) -> list[Packet]:
        """At least one packet. Raises SourceError (SOURCE_INTERRUPTED, transient) at the end or a stall."""
        while not self._waiting:
            assert self._pumping is not None  # noqa: S101 - open comes first
            if self._pumping.done():
                self._pumping.result()
            self._arrived.clear()
            await self._arrived.wait()
        packets = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._taken.set()
        return packets

    async def close(self) -> None:
        self._closing.set()
        self._taken.set()
        self._file.abort()
        if self._pumping is not None:
            await asyncio.wait({self._pumping})
            self._pumping.exception()  # seen: nobody waits for it any more
        self._waiting.clear()
        self._demuxer.close()
        self._file.close()

    def _pump(self) -> None:
        """On a worker thread, to the end. Raises SourceError."""
        while not self._closing.is_set():
            packet = self._demuxer.next()
            if packet is None:
                raise interrupted("the server ended the live stream")
            packet.shift(-self._demuxer.first_us)
            self._slow_down(packet.dts_us)
            while self._is_full() and not self._closing.is_set():
                self._taken.clear()
                # Asked again, since both may have changed before the event was cleared.
                if self._is_full() and not self._closing.is_set():
                    self._taken.wait()
            self._waiting.append(packet)
            # Packets that were read for the probe are handed over together: playing begins with the newest.
            if not self._arrived.is_set() and (not self._demuxer.ahead or self._is_full()):
                self._loop.call_soon_threadsafe(self._arrived.set)

    def _is_full(self) -> bool:
        return len(self._waiting) >= _MOST_WAITING

    def _slow_down(self, dts_us: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (now, dts_us)
        begun, first_us = self._first
        ahead_s = (dts_us - first_us - self._ahead_us) / 1e6 - (now - begun) * _CLOCKS_APART
        if ahead_s > 0:
            self._closing.wait(ahead_s)
