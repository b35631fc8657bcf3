"""One relay session: opens its source, makes the plan, plays it into its room, and tries again when lost.

It tells the node what is true and nothing else: `Flowing` when packets leave, `Lost` when those of one kind
stay away (media/flow.py) or the source is gone, `Finished` once, at the end. Time-outs of single steps are
the sources' matter; the session bounds the whole by the idle time.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.core.plan import Plan
from sluice.core.request_headers import RequestHeaders
from sluice.core.retry import ROOM_PAUSES_S, SOURCE_PAUSES_S, IdleClock, pause_s, start_pause_s
from sluice.core.tasks import FULL_VOLUME, MediaType, RelaySpec, StreamMode
from sluice.media.context import MediaContext
from sluice.media.flow import Flow
from sluice.media.packets import TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.relay.attempt import Attempt, AttemptHost, Begin
from sluice.media.relay.repeats import Repeats
from sluice.media.sink.room import RoomLink
from sluice.media.source.hls_playlist import Part
from sluice.process.control import (
    ControlSession,
    Finished,
    Flowing,
    Lost,
    Planned,
    Progress,
    Refused,
    RelayJob,
)
from sluice.process.link import FrameType
from sluice.process.owned import part

log = structlog.get_logger()

_WATCH_S = 0.5
_PROGRESS_S = 1.0
_MOST_NOTES = 20
_KINDS = {FrameType.VIDEO: TrackKind.VIDEO, FrameType.AUDIO: TrackKind.AUDIO}
#: What stays changed in further attempts.
_LASTING = {"paused", "volume", "normalize"}


@dataclass(frozen=True, slots=True)
class Outcome:
    reason: Reason
    text: str


class _RoomGone(Exception):
    """The link to the room broke."""


def _without_frames(error: SourceError) -> SourceError:
    """Where it came from holds what was played, and is asked for by nobody."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class _Replaced(Exception):
    """Another publisher took the user's stream."""


def _spec_of(job: RelayJob) -> RelaySpec:
    return RelaySpec(
        url=job.url,
        media_type=MediaType(job.media_type),
        stream_mode=StreamMode(job.stream_mode),
        loop=job.loop,
        width=job.width,
        height=job.height,
        frame_rate=job.frame_rate,
        bitrate_kbps=job.bitrate_kbps,
        volume=job.volume,
        normalize=job.normalize,
        plays=job.plays,
    )


class Session:
    def __init__(self, job: RelayJob, context: MediaContext) -> None:
        self._job = job
        self._context = context
        self._loop = asyncio.get_running_loop()
        # The idle time of a scheduled task begins with its start.
        self._idle = IdleClock(job.idle_s, self._loop.time() + max(0.0, job.start_at - time.time()))
        self._spec = _spec_of(job)
        self._flowing = False
        self._flow, self._repeats = Flow(), Repeats()
        self._plan: Plan | None = None  #: that was told
        self._notes: deque[str] = deque(maxlen=_MOST_NOTES)
        # Limited tries are those of a start; what it begins with is then no progress.
        self._ever_flowed = job.start_tries is None and (job.position_us > 0 or job.pass_number > 1)
        self._cause: SourceError | None = None
        self._sent_at = 0.0
        self._progress_at = 0.0
        self._link: RoomLink | None = None
        self._position = (job.position_us, job.pass_number)
        self._played: Part | None = None
        self._totals = [0, 0, 0, 0]
        self._main: asyncio.Task[Outcome] | None = None
        self._try: asyncio.Task[Outcome | None] | None = None
        self._tries = 0  #: of the source, since media last flowed
        self._looks = 0  #: for the room, since then
        self._begun_at = self._loop.time()
        self._resumed = asyncio.Event()
        if not job.paused:
            self._resumed.set()
        self._attempt = self._next_attempt()
        self._stopped: Reason | None = None
        self._expired = False

    def stop(self, reason: Reason = Reason.STOPPED) -> None:
        self._stopped = reason
        if self._main is not None:
            self._main.cancel()

    def update(self, job: RelayJob) -> None:
        """Goes on with another source, at once and from its beginning. Viewers keep what they have until
        its first key frame."""
        self._job, self._spec = job, _spec_of(job)
        self._position, self._tries, self._cause = (job.position_us, job.pass_number), 0, None
        self._begun_at, self._played = self._loop.time(), None
        self._attempt = self._next_attempt()
        self._cancel_try()

    async def control(self, change: ControlSession) -> Refused | None:
        """Changes how it plays, from now on and in further attempts; a refusal changes nothing."""
        if change.volume is not None and not 0 <= change.volume <= FULL_VOLUME:
            return Refused(field="volume", why=f"must be 0 to {FULL_VOLUME}")
        refusal = self._attempt.check(change)
        if refusal is None and change.position_us is not None:
            refusal = await self._attempt.seek(change.position_us)
        if refusal is not None:
            return refusal
        self._job = self._job.model_copy(update=change.model_dump(include=_LASTING, exclude_none=True))
        self._spec = _spec_of(self._job)
        if change.volume is not None or change.normalize is not None:
            self._attempt.change_sound(self._spec)
            self._tell_plan()
        if change.paused is not None:
            self._pause() if change.paused else self._resume()
        return None

    def _pause(self) -> None:
        self._resumed.clear()
        self._flowing = False  # `Flowing` is told again when packets leave
        self._attempt.pause()
        self._report_progress()  # where it stands is told before that it does

    def _resume(self) -> None:
        if not self._resumed.is_set():
            self._resumed.set()
            self._idle.media_at(self._loop.time())
            self._attempt.resume()

    async def run(self) -> None:
        """Runs to the end and reports it."""
        log.info("session begins", run=self._job.run_id, url=mask_url(self._job.url))
        self._main = part(self._attempts(), f"relay {self._job.run_id}")
        if self._stopped is not None:
            self._main.cancel()
        self._schedule_look()
        await asyncio.wait({self._main})
        self._looking.cancel()
        outcome = self._outcome(self._main)
        self._report_progress()
        self._release()
        log.info("session ends", run=self._job.run_id, reason=outcome.reason.code, text=outcome.text)
        self._context.report(Finished(run_id=self._job.run_id, reason=outcome.reason.code, text=outcome.text))

    def _release(self) -> None:
        """What this stands in a circle with goes at once, not when the garbage collector comes: codecs have
        threads and memory."""
        self._attempt.release()
        self._main = self._try = self._cause = None

    def _outcome(self, main: "asyncio.Task[Outcome]") -> Outcome:
        if self._stopped is not None:
            return Outcome(self._stopped, self._stopped.text)
        if main.cancelled():
            return self._idle_outcome()
        error = main.exception()
        if isinstance(error, MemoryError):
            raise error  # whose fault that is the process knows
        if error is not None:
            log.error("session failed", run=self._job.run_id, exc_info=error)
            return Outcome(Reason.INTERNAL_ERROR, Reason.INTERNAL_ERROR.text)
        return main.result()

    def _idle_outcome(self) -> Outcome:
        """docs/contract/volcengine.md 8.1: the last cause at a start, 1004 after a loss, 1005 without a
        cause."""
        limit, cause = f"{self._job.idle_s:g} s", self._cause
        if self._ever_flowed:
            text = f"no media for {limit}" + (f": {cause}" if cause else "")
            return Outcome(Reason.SOURCE_INTERRUPTED, text)
        if cause is None:
            return Outcome(Reason.IDLE_TIMEOUT, f"no media for {limit}")
        return Outcome(cause.reason, f"{cause} (given up after {limit})")

    # --- attempts -----------------------------------------------------------------------------------------

    async def _attempts(self) -> Outcome:
        while True:
            self._try = part(self._one_try(), f"attempt of {self._job.run_id}")
            try:
                await asyncio.wait({self._try})
            except asyncio.CancelledError:
                self._cancel_try()
                await asyncio.wait({self._try})
                raise
            outcome = None if self._try.cancelled() else self._try.result()  # cancelled by `update`
            if outcome is not None:
                return outcome

    def _cancel_try(self) -> None:
        """Once: a second time would keep it from closing what it has opened."""
        if self._try is not None and not self._try.cancelling():
            self._try.cancel()

    async def _one_try(self) -> Outcome | None:
        """One attempt and the pause after it; None when there is to be another."""
        before = self._sent_at
        try:
            await self._play()
            return self._ended()
        except _Replaced:
            return Outcome(Reason.REPLACED, Reason.REPLACED.text)
        except _RoomGone:
            self._begin_tries(before)
            self._lost(Reason.PUBLISH_FAILED, "the room's process is gone, waiting for it")
            await self._until_room()
            return None
        except SourceError as error:
            if error.reason is Reason.INVALID_POSITION and self._sent_at:
                return Outcome(Reason.END_OF_STREAM, Reason.END_OF_STREAM.text)  # it had come to its end
            if not error.transient:
                return Outcome(error.reason, str(error))
            self._begin_tries(before)
            self._cause = _without_frames(error)
            self._lost(error.reason, str(error))
        self._tries += 1
        return await self._wait_to_retry()

    def _ended(self) -> Outcome:
        """The end of a stream is told only of a source that gave something."""
        if self._ever_flowed:
            last = "; what came last could not be decoded" if self._attempt.all_stuck else ""
            return Outcome(Reason.END_OF_STREAM, Reason.END_OF_STREAM.text + last)
        lost = ", ".join(f"{count} {rule}" for rule, count in self._attempt.dropped().items() if count)
        text = "the source ended, and nothing of it could be decoded" + (f" ({lost})" if lost else "")
        return Outcome(Reason.SOURCE_UNSUPPORTED, text)

    async def _wait_to_retry(self) -> Outcome | None:
        """The end when there is to be no other try."""
        now = self._loop.time()
        left, pause = self._idle_left_s(now), pause_s(SOURCE_PAUSES_S, self._tries - 1)
        most = self._job.start_tries
        if most is not None and not self._ever_flowed:
            start_pause = start_pause_s(self._tries, most, now - self._begun_at)
            if start_pause is None:
                assert self._cause is not None  # noqa: S101 - it failed
                return Outcome(self._cause.reason, f"{self._cause} (given up after {most} tries)")
            pause = start_pause
        elif most is not None and self._cause is not None and self._cause.denied and self._tries >= most:
            # A signed address that has run out, say: who waits for a stream is told now, not in minutes.
            return Outcome(self._cause.reason, f"{self._cause} (given up after {most} tries)")
        await asyncio.sleep(min(pause, left))
        if left <= pause:
            return self._idle_outcome()
        await self._resumed.wait()
        return None

    def _begin_tries(self, sent_before: float) -> None:
        """Counts anew when something was sent meanwhile."""
        if self._sent_at > sent_before:
            self._tries = self._looks = 0

    async def _until_room(self) -> None:
        """Until a room process listens again: before that the source is left alone."""
        while True:
            await asyncio.sleep(pause_s(ROOM_PAUSES_S, self._looks))
            self._looks += 1
            with contextlib.suppress(OSError):
                transport, _ = await self._loop.create_unix_connection(asyncio.Protocol, self._job.link)
                transport.close()
                return

    async def _until_start(self) -> None:
        """A scheduled start: no packet leaves before it, and the idle time begins with it."""
        left = self._job.start_at - time.time()
        if left > 0:
            await asyncio.sleep(left)
            self._idle.media_at(self._loop.time())

    async def _play(self) -> None:
        """One attempt. Raises SourceError, _RoomGone, _Replaced."""
        attempt = self._attempt = self._next_attempt()
        try:
            await attempt.play()
        finally:
            self._tell_plan()
            if self._attempt is attempt:  # no other source was asked for meanwhile
                self._position, self._played = attempt.position, attempt.played

    def _next_attempt(self) -> Attempt:
        self._flow = Flow()
        headers = RequestHeaders(self._job.user_agent, tuple(self._job.headers.items()))
        host = AttemptHost(
            self._until_start, self._into_room, self._send, self._resumed, self._repeats, headers
        )
        begin = Begin(self._position, resumed=self._sent_at > self._begun_at, behind=self._played)
        return Attempt(self._spec, self._context, host, begin)

    def _tell_plan(self) -> None:
        """When it is another one: tracks begin and change as they like."""
        plan = self._attempt.plan  # another attempt gives the same notes again
        notes = [note for note in self._attempt.notes() if note not in self._notes]
        self._notes += notes
        if plan is not None and (plan != self._plan or notes):
            self._plan = plan
            document: dict[str, Any] = dict(plan.document())
            if self._notes:
                document["notes"] = list(self._notes)
            self._context.report(Planned(run_id=self._job.run_id, plan=document))

    async def _into_room(self, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Plays through a new link, until the source or the link ends."""
        job = self._job
        link_end: asyncio.Future[bool] = self._loop.create_future()
        hello: dict[str, object] = {
            "app_id": job.app_id,
            "room_id": job.room_id,
            "user_id": job.user_id,
            "stream": 0,
            "run_id": job.run_id,
        }
        try:
            # Before the first frame is due: one that finds no link would be lost, and with it a whole GOP.
            self._link = await self._context.links.open(
                job.link, hello, on_end=link_end.set_result, on_key_frame=self._request_key_frame
            )
        except OSError as error:
            raise _RoomGone from error
        playing = part(play(), f"playing of {self._job.run_id}")
        try:
            ends: set[asyncio.Future[Any]] = {playing, link_end}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                raise _Replaced if link_end.result() else _RoomGone
            playing.result()
        finally:
            playing.cancel()
            await asyncio.wait({playing})
            self._drop_link()

    def _request_key_frame(self) -> None:
        self._attempt.request_key_frame()

    def _drop_link(self) -> None:
        if self._link is not None:
            link, self._link = self._link, None
            self._totals = [a + b for a, b in zip(self._totals, link.counts(), strict=True)]
            link.close()

    # --- what is true ---------------------------------------------------------------------------------------

    def _send(self, frames: list[OutFrame]) -> None:
        if self._link is None or not self._link.send(frames):
            return
        now = self._loop.time()
        for frame in frames:
            if not frame.again:
                self._sent_at = now
                self._flow.sent(_KINDS[frame.type], now)
        if not self._flowing and self._sent_at == now and self._flow.fault(now) is None:
            self._flowing = self._ever_flowed = True
            self._cause = None
            self._tell_plan()
            self._context.report(Flowing(run_id=self._job.run_id))

    def _lost(self, reason: Reason, text: str) -> None:
        self._flowing = False
        if not self._resumed.is_set():
            return  # nothing flows that could be lost
        self._context.report(Lost(run_id=self._job.run_id, reason=reason.code, text=text))

    def _schedule_look(self) -> None:
        """All sessions of a process look at the same times, which wakes it once for all."""
        at = (self._loop.time() // _WATCH_S + 1) * _WATCH_S
        self._looking = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """Twice a second: what flows, and whether the idle time is used up."""
        self._schedule_look()
        try:
            goes_on = self._watch(self._loop.time())
        except Exception:  # root of a timer: nobody looks after this session any more
            log.exception("the watch of a session failed", run=self._job.run_id)
            self._looking.cancel()
            self.stop(Reason.INTERNAL_ERROR)
            return
        if not goes_on and not self._expired:
            self._expired = True
            assert self._main is not None  # noqa: S101 - what is looked at
            self._main.cancel()

    def _watch(self, now: float) -> bool:
        """False when the idle time is used up."""
        if not self._resumed.is_set():
            self._idle.media_at(now)
        self._tell_plan()
        self._watch_flow(now)
        if now >= self._progress_at:
            self._progress_at = now + _PROGRESS_S - _WATCH_S / 2  # looks come a little early or late
            self._report_progress()
        return self._idle_left_s(now) > 0

    def _watch_flow(self, now: float) -> None:
        attempt = self._attempt
        for kind in attempt.kinds:
            self._flow.expect(kind, now)
        for kind in self._flow.silent(now):
            if attempt.stuck(kind):
                self._flow.blame(kind, "what comes cannot be decoded")
            elif attempt.live is False and not self._flow.all_silent(now):
                self._flow.forget(kind)  # there is none at this place of the recording
        if self._flowing and (fault := self._flow.fault(now)) is not None:
            self._lost(fault.reason, fault.text)

    def _idle_left_s(self, now: float) -> float:
        self._idle.media_at(max(self._idle.since, self._sent_at))
        return self._idle.left_s(now)

    def _report_progress(self) -> None:
        self._position = self._attempt.position
        link = self._link
        now = link.counts() if link else (0, 0, 0, 0)
        video, audio, octets, late = (a + b for a, b in zip(self._totals, now, strict=True))
        dropped = {"room_slow": late, **self._attempt.dropped()}
        self._context.report(
            Progress(
                run_id=self._job.run_id,
                position_us=self._position[0],
                pass_number=self._position[1],
                video_frames=video,
                audio_packets=audio,
                bytes_out=octets,
                dropped=dropped,
            )
        )
