"""Playing an open source: a file is read ahead and paced by the wall clock, a live source as it arrives.

Both run until the source ends and hand frames to `send`. Media time runs on over the passes of a loop, and
stands still while a file's server does: what would be late is shifted, so that the room's clock stays true.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.live_clock import LiveClock
from sluice.media.pacer import Pacer
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.source.table import FileSource, LiveSource
from sluice.media.worker import Worker
from sluice.process.link import FrameType

Send = Callable[[list[OutFrame]], None]

_FIRST_READ_US = 200_000
_READ_US = 500_000
#: More is read while less than this is ready to be sent.
_AHEAD_US = 1_000_000
#: A frame later than this moves the clock instead of being sent in haste.
_LATE_S = 0.1
_SOUND_US = 20_000
#: Distance of the frames that lead from a key frame to the position where a file goes on.
_PREROLL_US = 1_000


async def play_live(source: LiveSource, tracks: Tracks, worker: Worker, send: Send) -> None:
    """Runs until the source is lost, which it tells by SourceError."""

    def convert(packets: list[Packet]) -> list[OutFrame]:
        return [frame for packet in packets for frame in tracks.push(packet)]

    loop, clock = asyncio.get_running_loop(), LiveClock()
    while True:
        packets = await source.read()
        frames = await worker.call(convert, packets) if tracks.heavy else convert(packets)
        now_us = int(loop.time() * 1e6)
        stamped = [frame for frame in frames if _stamp(frame, clock, now_us)]
        if stamped:
            send(stamped)


def _stamp(frame: OutFrame, clock: LiveClock, now_us: int) -> bool:
    """False for sound that a burst makes superfluous."""
    if frame.type is FrameType.VIDEO:
        frame.media_us = clock.video(frame.media_us, now_us)
        return True
    stamp = clock.audio(frame.media_us, _SOUND_US, now_us)
    frame.media_us = stamp or 0
    return stamp is not None


@dataclass(frozen=True, slots=True)
class Begin:
    """Where in a file to begin, in which pass of it, and whether there are further passes."""

    position_us: int
    pass_number: int
    loop: bool


class FilePlayback:
    """One file from `begin` on, to its end or for ever; `loop_length_us` is its picture's length if known."""

    def __init__(
        self,
        source: FileSource,
        tracks: Tracks,
        *,
        send: Send,
        pacer: Pacer,
        worker: Worker,
        begin: Begin,
        loop_length_us: int | None,
    ) -> None:
        self.position_us = begin.position_us
        self.pass_number = begin.pass_number
        self._source = source
        self._tracks = tracks
        self._send = send
        self._pacer = pacer
        self._worker = worker
        self._loop_source = begin.loop
        self._loop = asyncio.get_running_loop()
        # Owned by the worker thread while it reads:
        #: The picture sets the rhythm of a loop; encoders pad the sound beyond it.
        self._pass_length_us = loop_length_us
        self._start_us = begin.position_us
        self._horizon_us = begin.position_us + _FIRST_READ_US
        self._base_us = 0  #: media time at which this pass began
        self._announce_end()
        self._over = False
        self._ends: dict[TrackKind, tuple[int, int]] = {}  #: last decoding time and its distance per track
        # Owned by the event loop:
        self._queue: list[tuple[int, int, OutFrame]] = []
        self._order = count()
        self._passes: deque[tuple[int, int]] = deque()
        self._base_sent_us = 0
        self._zero_s: float | None = None  #: loop time of media time zero
        self._shift_us = 0
        self._paced = False
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Returns when the last frame was sent. Raises SourceError. Cancelling stops it at once."""
        try:
            while (frames := await self._worker.call(self._read)) is not None:
                self._take(frames)
                while self._ready_us() > _AHEAD_US:
                    self._more.clear()
                    await self._more.wait()
            while self._queue:
                self._more.clear()
                await self._more.wait()
        finally:
            self._queue.clear()

    # --- on the worker thread -----------------------------------------------------------------------------

    def _read(self) -> list[OutFrame] | None:
        """The frames of the next stretch of the file, None when it is over."""
        packets = self._preroll() if self._start_us else self._source.read(self._horizon_us)
        self._start_us = 0
        frames: list[OutFrame] = []
        if not packets:
            if self._over:
                return None
            frames += self._tracks.flush()
            if not self._loop_source:
                self._over = True
                return frames
            self._next_pass()
            packets = self._source.read(self._horizon_us)
        self._horizon_us += _READ_US
        for packet in packets:
            before = self._ends.get(packet.kind, (packet.dts_us, 0))[0]
            self._ends[packet.kind] = (packet.dts_us, packet.dts_us - before)
            packet.dts_us += self._base_us
            packet.pts_us += self._base_us
            frames += self._tracks.push(packet)
        return frames

    def _next_pass(self) -> None:
        if not self._ends:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED, "the source has no media that could be repeated", transient=False
            )
        self._base_us += self._pass_length_us or max(
            last + distance for last, distance in self._ends.values()
        )
        self._ends.clear()
        self._horizon_us = _READ_US
        self._source.seek(0)
        self._passes.append((self._base_us, 1))
        self._announce_end()

    def _announce_end(self) -> None:
        if self._loop_source and self._pass_length_us is not None:
            self._tracks.end_pass_at(self._base_us + self._pass_length_us)

    def _preroll(self) -> list[Packet]:
        """Goes on in mid-file: the video from its last key frame on is sent in haste, so that decoders
        stand where the file does; sound begins at the position."""
        position_us = self._start_us
        self._source.seek(position_us)
        lead: list[Packet] = []
        rest: list[Packet] = []
        while not rest and (packets := self._source.read(position_us)):
            for packet in packets:
                if packet.dts_us >= position_us:
                    rest.append(packet)
                elif packet.kind is TrackKind.VIDEO:
                    if packet.key:
                        lead.clear()
                    lead.append(packet)
        for n, packet in enumerate(reversed(lead), 1):
            packet.dts_us = packet.pts_us = position_us - n * _PREROLL_US
        return lead + rest

    # --- on the event loop --------------------------------------------------------------------------------

    def _take(self, frames: list[OutFrame]) -> None:
        for frame in frames:
            heapq.heappush(self._queue, (frame.media_us, next(self._order), frame))
        if self._queue and not self._paced:
            self._paced = True
            self._pacer.schedule(self._loop.time(), self._send_due)

    def _ready_us(self) -> int:
        if not self._queue or self._zero_s is None:
            return 0
        newest_us = self._base_us + self._horizon_us
        return newest_us - int((self._loop.time() - self._zero_s) * 1e6)

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
        until_us = int((now - self._zero_s) * 1e6)
        due: list[OutFrame] = []
        while queue and queue[0][0] <= until_us:
            due.append(heapq.heappop(queue)[2])
        if due:
            self._note_position(due[-1].media_us)
            for frame in due:
                frame.media_us += self._shift_us
            self._send(due)
        if not queue or self._ready_us() <= _AHEAD_US:
            self._more.set()
        if not queue:
            self._paced = False
            return None
        return self._zero_s + queue[0][0] / 1e6

    def _note_position(self, media_us: int) -> None:
        while self._passes and self._passes[0][0] <= media_us:
            self._base_sent_us, passes = self._passes.popleft()
            self.pass_number += passes
        self.position_us = max(0, media_us - self._base_sent_us)
