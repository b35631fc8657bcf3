"""Plays an open source: a recording is read ahead and paced, a live source is sent as it arrives.

Both run until the source ends, and hand frames to `send`. Paced playing stands still while its server does:
what would be late is shifted in time, so that the room's clock stays true. How live sources catch up is
decided in read_ahead.py.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from operator import attrgetter

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.live_clock import AHEAD_US, LiveClock
from sluice.media.pacer import Pacer
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.relay.read_ahead import Chunk, ReadAhead, Seekable
from sluice.media.relay.repeats import Repeats
from sluice.media.source.seen import Seen
from sluice.media.source.table import LiveSource
from sluice.media.source.timeline import Timeline
from sluice.media.worker import Worker
from sluice.process.link import FrameType

Send = Callable[[list[OutFrame]], None]
#: Takes a session time, and returns the sound that replaces what was made already from then on.
Change = Callable[[int], list[OutFrame]]

#: A frame that is later than this moves the clock: its source stood still, and so do viewers. A shorter
#: delay, of a busy machine, is made up by sending at once, and no timestamp shows it.
_LATE_S = 0.5
_PICTURE_US = 1_000
#: A change of the sound begins so far ahead of what is being sent: it takes time to make.
_CHANGE_US = 100_000
#: Half a beat, so that sound which is due near a beat leaves with that one, however its time is rounded.
_BEAT_SLACK_US = 10_000
#: The usual length of a packet of sound.
_SOUND_US = 20_000


async def play_live(
    source: LiveSource, tracks: Tracks, seen: Seen, worker: Worker, send: Send, repeats: Repeats
) -> None:
    """Runs until the source is lost. Raises SourceError then. `seen` notes what comes."""

    def convert(packets: list[Packet]) -> list[OutFrame]:
        return [frame for packet in packets for frame in tracks.push(packet)]

    loop, clock, timeline = asyncio.get_running_loop(), LiveClock(), Timeline()
    repeats.begin()
    stored = True
    while True:
        packets = await source.read()
        if stored:  # what the server keeps for new players
            packets, stored = _newest_sound(packets), False
        now_us = int(loop.time() * 1e6)
        repeats.note(packets, now_us / 1e6)
        for packet in packets:
            timeline.place(packet)
            seen.note(packet)
            if packet.kind is TrackKind.AUDIO:  # this may leave gaps, which its pipe closes
                packet.pts_us = clock.sound_us(packet.pts_us, now_us)
        heavy = tracks.heavy or any(packet.track is not None for packet in packets)
        frames = await worker.call(convert, packets) if heavy else convert(packets)
        for frame in frames:
            if frame.type is FrameType.VIDEO:
                frame.media_us = clock.picture_us(frame.media_us, now_us)
        frames = repeats.release(frames, now_us / 1e6)
        if frames:
            send(frames)
        tracks.check(live=True)


def _newest_sound(packets: list[Packet]) -> list[Packet]:
    """All pictures, which are shown in haste, and only the sound that they do not leave behind."""
    newest_us = max(packet.pts_us for packet in packets)
    return [p for p in packets if p.kind is TrackKind.VIDEO or p.pts_us >= newest_us - AHEAD_US]


class Playback:
    """Sends what `read_ahead` gives, when it is due. `position_us` and `pass_number` follow what was sent."""

    def __init__(
        self,
        read_ahead: ReadAhead,
        *,
        send: Send,
        pacer: Pacer,
        worker: Worker,
        position_us: int = 0,
        pass_number: int = 1,
        steady: bool = False,
        paused: bool = False,
    ) -> None:
        """`steady`: there is only sound, which is sent at the common beat."""
        self.position_us, self.pass_number = position_us, pass_number
        self.paused = paused
        self._read_ahead, self._ahead_us = read_ahead, read_ahead.ahead_us
        self._send = send
        self._pacer = pacer
        self._worker = worker
        self._steady = steady
        self._loop = asyncio.get_running_loop()
        self._sound: deque[OutFrame] = deque()
        self._pictures: deque[OutFrame] = deque()
        self._until_us = 0  #: session time up to which everything was read
        self._passes: deque[int] = deque()  #: session times at which further passes begin
        self._pass_us = 0  #: session time at which the pass that is being sent began
        self._least_us = position_us  #: least position of this pass: frames before it only prepare decoders
        self._sent_us: int | None = None  #: session time of the frame that was sent last
        self._zero_s: float | None = None  #: loop time of session time zero
        self._moved = True  #: `_zero_s` is to be set anew by what is sent next
        self._shift_us = 0
        self._stamped_us = -(1 << 62)  #: the latest time that a frame was sent with
        self._newest_picture_us = self._sent_picture_us = -(1 << 62)
        self._paced = False
        self._news = asyncio.Event()
        self._repeats: list[OutFrame] = []  #: frames that were sent before; they wait for new ones
        self._jump: tuple[int, asyncio.Future[None]] | None = None
        self._change: Change | None = None
        self._broken: Exception | None = None

    @property
    def jumps(self) -> int:
        """How often something of a live source was left out."""
        return self._read_ahead.jumps

    @property
    def behind_us(self) -> int | None:
        """How far it is behind the edge of a live source; None where that is not known."""
        return self._read_ahead.behind_us

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        if self.paused:
            self.paused, self._moved = False, True
            self._news.set()
            self._pace()

    async def seek(self, position_us: int) -> None:
        """Goes on at a position of this pass. Until that is read, playing goes on as before. Raises
        SourceError: INVALID_POSITION, which changes nothing."""
        if self._jump is not None:
            self._jump[1].cancel()
        done: asyncio.Future[None] = self._loop.create_future()
        self._jump = (position_us, done)
        self._news.set()
        await done

    def change_sound(self, change: Change) -> None:
        """`change` is called on a worker thread, and makes the sound anew from the given session time on."""
        self._change = change
        self._news.set()

    async def run(self) -> None:
        """Returns when the last frame was sent. Raises SourceError, after everything that was read before it
        was sent. Cancelling stops it at once."""
        over, failure = False, None
        try:
            while True:
                self._news.clear()
                if self._broken is not None:
                    raise self._broken
                if self._jump is not None:
                    if await self._do_jump(*self._jump):
                        over, failure = False, None
                elif self._change is not None:
                    await self._do_change()
                elif not over and self._ready_us() <= self._ahead_us:
                    try:
                        over = not await self._read()
                    except SourceError as error:
                        over, failure = True, error
                elif over and not self._sound and not self._pictures:
                    if failure is not None:
                        raise failure
                    return
                else:
                    await self._news.wait()
        finally:
            self._sound.clear()
            self._pictures.clear()
            if self._jump is not None:
                self._jump[1].cancel()

    async def _read(self) -> bool:
        """False at the end."""
        chunk = await self._worker.call(self._read_ahead.read, self._ready_us())
        if chunk is None:
            return False
        self._take(chunk)
        if chunk.pass_us is not None:
            self._passes.append(chunk.pass_us)
        return True

    async def _do_jump(self, position_us: int, done: "asyncio.Future[None]") -> bool:
        """True when it goes on elsewhere."""
        assert isinstance(self._read_ahead, Seekable)  # noqa: S101 - checked before it was asked for
        try:
            chunk = await self._worker.call(
                self._read_ahead.jump, position_us, self._until_us, len(self._passes)
            )
        except SourceError as error:
            if error.reason is not Reason.INVALID_POSITION:
                raise
            if not done.done():
                done.set_exception(error)
            return False
        finally:
            if self._jump is not None and self._jump[1] is done:
                self._jump = None
        self._sound.clear()
        self._pictures.clear()
        self._passes.clear()
        self._pass_us = self._until_us - position_us
        self.position_us = self._least_us = position_us
        self._moved = True
        self._take(chunk)
        if not done.done():
            done.set_result(None)
        return True

    async def _do_change(self) -> None:
        change, self._change = self._change, None
        assert change is not None  # noqa: S101 - asked for
        made = await self._worker.call(change, self._session_us() + _CHANGE_US)
        if made:
            first_us = made[0].media_us
            while self._sound and self._sound[-1].media_us >= first_us:
                self._sound.pop()
            sent_us = self._sent_us if self._sent_us is not None else -(1 << 62)
            self._sound.extend(frame for frame in made if frame.media_us > sent_us)
            self._pace()

    def _take(self, chunk: Chunk) -> None:
        self._until_us = chunk.until_us
        self._repeats += chunk.frames
        if all(frame.again for frame in self._repeats):
            return  # an attempt at which nothing new comes repeats nothing
        frames, self._repeats = self._repeats, []
        for frame in frames:
            if frame.type is FrameType.VIDEO:
                if frame.key and frame.media_us <= self._newest_picture_us:
                    self._replace_pictures(frame.media_us)
                self._newest_picture_us = frame.media_us
                self._pictures.append(frame)
            else:
                self._sound.append(frame)
        self._pace()

    def _pace(self) -> None:
        if self._paced or self.paused or not (self._sound or self._pictures):
            return
        self._paced = True
        if self._steady:
            self._pacer.keep_calling(self._send_beat, self._fail)
        else:
            self._pacer.schedule(self._loop.time(), self._send_due, self._fail)

    def _fail(self, error: Exception) -> None:
        """Nothing is sent any more: `run` raises the error."""
        self._broken = error
        self._news.set()

    def _replace_pictures(self, from_us: int) -> None:
        """A live source went on with a key frame a little before the end of what it had given. What follows
        replaces the pictures that it had given from there on."""
        while self._pictures and self._pictures[-1].media_us >= from_us:
            self._pictures.pop()

    def _first_us(self) -> int:
        """Session time of the frame that is sent next."""
        return min(queue[0].media_us for queue in (self._sound, self._pictures) if queue)

    def _session_us(self) -> int:
        """The session time at present."""
        if self._moved or self.paused or self._zero_s is None:
            return self._first_us() if self._sound or self._pictures else self._until_us
        return int((self._loop.time() - self._zero_s) * 1e6)

    def _ready_us(self) -> int:
        if not self._sound and not self._pictures:
            return 0
        return self._until_us - self._session_us()

    def _send_beat(self, now: float) -> bool:
        """Sends the sound that is due, usually one packet. Returns False when there is no more yet. It does
        what `_send_due` does, for sound alone: with a hundred channels it is called 5,000 times a second."""
        sound, zero_s = self._sound, self._zero_s
        if self._pictures:  # they began later
            self._steady = self._paced = False
            self._pace()
            return False
        if self.paused or not sound:
            self._paced = False
            return False
        if zero_s is None or self._moved or now - zero_s - sound[0].media_us / 1e6 > _LATE_S:
            zero_s = self._keep_time(now)
        until_us = int((now - zero_s) * 1e6) + _BEAT_SLACK_US
        if sound[0].media_us > until_us:
            return True
        due = [sound.popleft()]
        while sound and sound[0].media_us <= until_us:
            due.append(sound.popleft())
        self._note_sent(due[-1].media_us)
        shift_us = self._shift_us
        for frame in due:
            frame.media_us += shift_us
        self._stamped_us = due[-1].media_us
        self._send(due)
        if self._until_us - until_us <= self._ahead_us or not sound:
            self._news.set()
        self._paced = bool(sound)
        return self._paced

    def _send_due(self, now: float) -> float | None:
        """Sends what is due. Returns the loop time of the next frame, None when there is none yet."""
        if self.paused or not (self._sound or self._pictures):
            self._paced = False
            return None
        zero_s = self._keep_time(now)
        # Rounded, not cut off: what is due now would come out as due in a microsecond, again and again.
        until_us = round((now - zero_s) * 1e6)
        due = self._due(until_us)
        if due:
            self._note_sent(due[-1].media_us)
            for frame in due:
                self._stamp(frame)
            self._send(due)
        if not self._sound and not self._pictures:
            self._news.set()
            self._paced = False
            return None
        if self._until_us - until_us <= self._ahead_us:
            self._news.set()
        return zero_s + self._first_us() / 1e6

    def _keep_time(self, now: float) -> float:
        """The loop time of session time zero. It moves after a seek or a pause, and when a frame is late."""
        first_us = self._first_us()
        if self._zero_s is None:
            self._zero_s, self._moved = now - first_us / 1e6, False
            return self._zero_s
        late_s = now - (self._zero_s + first_us / 1e6)
        if self._moved or late_s > _LATE_S:
            # Receivers drop sound that begins before the end of what they have.
            early_us = self._stamped_us + _SOUND_US - (first_us + self._shift_us + int(late_s * 1e6))
            late_s += max(0, early_us) / 1e6
            self._zero_s += late_s
            self._shift_us += int(late_s * 1e6)
            self._moved = False
        return self._zero_s

    def _due(self, until_us: int) -> list[OutFrame]:
        due: list[OutFrame] = []
        for queue in (self._pictures, self._sound):
            while queue and queue[0].media_us <= until_us:
                due.append(queue.popleft())
        due.sort(key=_media_us)
        return due

    def _stamp(self, frame: OutFrame) -> None:
        """Gives the frame the time that it is sent with. Each picture is later than the last, also where the
        source went on a little before what was sent."""
        frame.media_us += self._shift_us
        if frame.type is FrameType.VIDEO:
            frame.media_us = max(frame.media_us, self._sent_picture_us + _PICTURE_US)
            self._sent_picture_us = frame.media_us
        self._stamped_us = max(self._stamped_us, frame.media_us)

    def _note_sent(self, session_us: int) -> None:
        self._sent_us = session_us
        while self._passes and self._passes[0] <= session_us:
            self._pass_us, self._least_us = self._passes.popleft(), 0
            self.pass_number += 1
        self.position_us = max(self._least_us, session_us - self._pass_us)


_media_us = attrgetter("media_us")
