"""Pushes in a test: a room with a broadcaster, the taps of one process, and what each push reports."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from sluice.core.addresses import AddressPolicy
from sluice.core.figures import Tally
from sluice.media.context import MediaContext
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import Pacer
from sluice.media.push.session import Push, PushLimits
from sluice.media.push.tap import Taps
from sluice.media.sink.rtmp import RtmpLimits
from sluice.net.dial import Dialer
from sluice.process.control import Finished, Lost, Message, Progress, PushJob, StageChanged
from tests.integration.broadcast import Room

M = TypeVar("M")

#: So that what takes seconds in earnest takes tenths of them.
QUICK = PushLimits(grace_s=0.3, stable_s=0.5, rtmp=RtmpLimits(step_s=0.5, wedge_s=0.8, end_s=0.5))


class Reporter:
    """What one push told the node."""

    def __init__(self, push: Callable[[Callable[[Message], None]], Push]) -> None:
        self.reports: list[Message] = []
        self.push = push(self.reports.append)
        self.task = asyncio.create_task(self.push.run())

    def of(self, kind: type[M]) -> list[M]:
        return [report for report in self.reports if isinstance(report, kind)]

    @property
    def stages(self) -> list[str]:
        return [report.stage for report in self.of(StageChanged)]

    @property
    def lost(self) -> list[str]:
        return [report.reason for report in self.of(Lost)]

    @property
    def progress(self) -> Progress:
        return self.of(Progress)[-1]

    async def end(self, deadline_s: float = 20) -> tuple[str, str]:
        """Reason and text of its end, which it tells once and last."""
        async with asyncio.timeout(deadline_s):
            await self.task
        *others, last = self.reports
        assert isinstance(last, Finished)
        assert not any(isinstance(report, Finished) for report in others)
        return last.reason, last.text

    async def stop(self) -> tuple[str, str]:
        self.push.stop()
        return await self.end()


class Pushing:
    """The pushes of one media process, all of one user's stream."""

    def __init__(self, room: Room, tls: ssl.SSLContext | None = None) -> None:
        self.room = room
        self.pushes: list[Reporter] = []
        self._dialer = Dialer(AddressPolicy(["127.0.0.0/8", "::1/128"]), tls)
        self._pacer = Pacer()
        self._links = FrameLinks()
        threads = ThreadPoolExecutor(1)  # no push uses them: FFmpeg only encodes its sound
        self._shop = MediaContext(
            self._dialer, self._links, self._pacer, threads, threads, lambda message: None
        )
        self._taps = Taps(self._shop)

    @property
    def tally(self) -> Tally:
        """What the process has counted."""
        return self._shop.tally

    @property
    def received(self) -> int:
        """Bytes that came from the room."""
        return self._shop.links.received

    def begin(self, url: str, limits: PushLimits = QUICK, **changes: object) -> Reporter:
        settings: dict[str, object] = {
            "run_id": f"run_{len(self.pushes)}",
            "app_id": "app",
            "room_id": "room",
            "user_id": "user",
            "stream": 0,
            "url": url,
            "media_type": 0,
            "idle_s": 10,
            "link": self.room.path,
        }
        job = PushJob.model_validate(settings | changes)

        def make(report: Callable[[Message], None]) -> Push:
            return Push(job, replace(self._shop, report=report), self._taps, limits)

        self.pushes.append(Reporter(make))
        return self.pushes[-1]

    async def close(self) -> None:
        for push in self.pushes:
            push.push.stop()
        await asyncio.gather(*(push.task for push in self.pushes))


@asynccontextmanager
async def pushing(tls: ssl.SSLContext | None = None) -> AsyncIterator[Pushing]:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:  # short: names of sockets are
        room = Room(f"{folder}/room.sock")
        await room.open()
        stage = Pushing(room, tls)
        try:
            yield stage
        finally:
            await stage.close()
            await room.close()
