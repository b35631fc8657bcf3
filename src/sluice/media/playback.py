"""Playing an open source: a file is read ahead and paced by the wall clock, a live source as it arrives.

Both run until the source ends and hand frames to `send`. What is paced stands still while its server does:
what would be late is shifted, so that the room's clock stays true (reading.py makes up what live sources
lose).
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

from sluice.core.live_clock import LiveClock
from sluice.media.pacer import Pacer
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.reading import Reading, Stretch
from sluice.media.source.table import LiveSource
from sluice.media.source.timeline import Timeline
from sluice.media.worker import Worker
from sluice.process.link import FrameType

Send = Callable[[list[OutFrame]], None]

#: More is read while less than this is ready to be sent.
_AHEAD_US = 500_000
#: A frame later than this moves the clock, and viewers with it: its source stood still. What a busy machine
#: holds up for less is sent in haste, so that nobody's timestamps show it.
_LATE_S = 0.5
_PICTURE_US = 1_000


async def play_live(source: LiveSource, tracks: Tracks, worker: Worker, send: Send) -> None:
    """Runs until the source is lost, which it tells by SourceError."""

    def convert(packets: list[Packet]) -> list[OutFrame]:
        return [frame for packet in packets for frame in tracks.push(packet)]

    loop, clock, timeline = asyncio.get_running_loop(), LiveClock(), Timeline()
    while True:
        packets = await source.read()
        now_us = int(loop.time() * 1e6)
        for packet in packets:
            timeline.place(packet)
            if packet.kind is TrackKind.AUDIO:  # its pipe makes a run of what this may tear apart
                packet.pts_us = clock.sound_us(packet.pts_us, now_us)
        frames = await worker.call(convert, packets) if tracks.heavy else convert(packets)
        for frame in frames:
            if frame.type is FrameType.VIDEO:
                frame.media_us = clock.picture_us(frame.media_us, now_us)
        if frames:
            send(frames)


class Playback:
    """Sends what `reading` gives when it is due. `position_us` and `pass_number` follow what was sent."""

    def __init__(
        self,
        reading: Reading,
        *,
        send: Send,
        pacer: Pacer,
        worker: Worker,
        position_us: int = 0,
        pass_number: int = 1,
    ) -> None:
        self.position_us, self.pass_number = position_us, pass_number
        self._reading = reading
        self._send = send
        self._pacer = pacer
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[int, int, OutFrame]] = []
        self._order = count()
        self._until_us = 0  #: session time up to which all was read
        self._passes: deque[int] = deque()  #: session times at which further passes begin
        self._pass_us = 0  #: and that of the pass being sent
        self._zero_s: float | None = None  #: loop time of session time zero
        self._shift_us = 0
        self._newest_picture_us = self._sent_picture_us = -(1 << 62)
        self._paced = False
        self._more = asyncio.Event()

    @property
    def jumps(self) -> int:
        """Of the reading."""
        return self._reading.jumps

    async def run(self) -> None:
        """Returns when the last frame was sent. Raises SourceError. Cancelling stops it at once."""
        try:
            while (stretch := await self._worker.call(self._reading.read, self._ready_us())) is not None:
                self._take(stretch)
                while self._ready_us() > _AHEAD_US:
                    self._more.clear()
                    await self._more.wait()
            while self._queue:
                self._more.clear()
                await self._more.wait()
        finally:
            self._queue.clear()

    def _take(self, stretch: Stretch) -> None:
        self._until_us = stretch.until_us
        if stretch.pass_us is not None:
            self._passes.append(stretch.pass_us)
        for frame in stretch.frames:
            if frame.type is FrameType.VIDEO:
                if frame.key and frame.media_us <= self._newest_picture_us:
                    self._replace_pictures(frame.media_us)
                self._newest_picture_us = frame.media_us
            heapq.heappush(self._queue, (frame.media_us, next(self._order), frame))
        if self._queue and not self._paced:
            self._paced = True
            self._pacer.schedule(self._loop.time(), self._send_due)

    def _replace_pictures(self, from_us: int) -> None:
        """A key frame in the midst of what waits: the source went on elsewhere, and there is the same end for
        the picture as for the sound."""
        self._queue = [
            entry for entry in self._queue if entry[0] < from_us or entry[2].type is not FrameType.VIDEO
        ]
        heapq.heapify(self._queue)

    def _ready_us(self) -> int:
        if not self._queue or self._zero_s is None:
            return 0
        return self._until_us - int((self._loop.time() - self._zero_s) * 1e6)

    def _send_due(self, now: float) -> float | None:
        """Sends what is due; the loop time of the next frame, None when there is none yet."""
        queue = self._queue
        if not queue:
            self._paced = False
            return None
        first_us = queue[0][0]
        if self._zero_s is None:
            self._zero_s = now - first_us / 1e6
        late_s = now - (self._zero_s + first_us / 1e6)
        if late_s > _LATE_S:
            self._zero_s += late_s
            self._shift_us += int(late_s * 1e6)
        # Rounded: cut off, what is due now would be due a microsecond later, and waited for in a busy loop.
        until_us = round((now - self._zero_s) * 1e6)
        due: list[OutFrame] = []
        while queue and queue[0][0] <= until_us:
            due.append(heapq.heappop(queue)[2])
        if due:
            self._note_position(due[-1].media_us)
            for frame in due:
                self._stamp(frame)
            self._send(due)
        if not queue or self._ready_us() <= _AHEAD_US:
            self._more.set()
        if not queue:
            self._paced = False
            return None
        return self._zero_s + queue[0][0] / 1e6

    def _stamp(self, frame: OutFrame) -> None:
        """A picture is later than the last, also where the source went on a little before what was sent."""
        frame.media_us += self._shift_us
        if frame.type is FrameType.VIDEO:
            frame.media_us = max(frame.media_us, self._sent_picture_us + _PICTURE_US)
            self._sent_picture_us = frame.media_us

    def _note_position(self, session_us: int) -> None:
        while self._passes and self._passes[0] <= session_us:
            self._pass_us = self._passes.popleft()
            self.pass_number += 1
        self.position_us = max(0, session_us - self._pass_us)
