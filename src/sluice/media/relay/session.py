"""One relay: opens its source, makes the plan, plays it into its room, and tries again when it is lost.

It reports `Flowing` when packets leave, and `Lost` when those of one kind stay away (media/flow.py) or the
source is gone. Sources have time-outs for their single steps; the session bounds the whole by the idle time.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from sluice.core.drops import DropRule
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.core.plan import Plan
from sluice.core.retry import ROOM_PAUSES_S, SOURCE_PAUSES_S, IdleClock, pause_s, start_pause_s
from sluice.core.rooms import StreamIndex
from sluice.core.tasks import FULL_VOLUME, Kind
from sluice.media.closing import until_closed
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.flow import SILENT_S, Flow
from sluice.media.growth import Ends
from sluice.media.packets import TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.relay.attempt import NOT_OPEN, Attempt, AttemptHost, Begin, Position
from sluice.media.relay.repeats import Repeats
from sluice.media.reporter import Reporter
from sluice.media.session import Course, Outcome, Runner
from sluice.media.sink.port import counts_of
from sluice.media.sink.room import RoomSink
from sluice.media.source.hls_playlist import Part
from sluice.media.vitals import VitalsMeter
from sluice.process.control import ControlSession, Refused, RelayJob
from sluice.process.documents import Hello
from sluice.process.link import FrameType
from sluice.process.owned import part

log = structlog.get_logger()

_WATCH_S = 0.5
_MOST_NOTES = 20
#: Facts that a probe tells: a list of all tasks would become long by them.
_PROBED = ("variants", "further_variants")
_ENDS = Ends("room", "source")
_KINDS = {FrameType.VIDEO: TrackKind.VIDEO, FrameType.AUDIO: TrackKind.AUDIO}
#: What a user changes that holds for further attempts, too.
_LASTING = {"paused", "volume", "normalize"}


class _RoomGone(Exception):
    """The link to the room broke."""


class _Replaced(Exception):
    """Another publisher took the user's stream."""


def relays(context: MediaContext) -> Callable[[RelayJob], "Relay"]:
    """Makes the relays of a media process."""
    return lambda job: Relay(job, context)


class Relay:
    """A Session that is Controllable."""

    kind = Kind.RELAY

    def __init__(self, job: RelayJob, context: MediaContext) -> None:
        self._job = job
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._report = Reporter(job.run_id, context, _ENDS)
        self._runner = Runner(
            Course("relay", job.run_id, self._attempts, self._watch, self._report_progress, watch_s=_WATCH_S)
        )
        self._idle = self._idle_clock()
        self._flowing = False
        self._flow, self._repeats = Flow(), Repeats()
        self._vitals = VitalsMeter()
        self._measures_lags = False  #: it has pictures and sound, or is live
        self._plan: Plan | None = None  #: the plan that was told last
        self._facts: dict[str, Any] = {}  #: of the source, as they were told last
        self._facts_at, self._facts_every_s = 0.0, 1.0
        self._notes: deque[str] = deque(maxlen=_MOST_NOTES)
        # Limited tries are those of a start; where such a job begins in mid-play, nothing has flowed yet.
        self._ever_flowed = job.start_tries is None and (job.position_us > 0 or job.pass_number > 1)
        self._cause: SourceError | None = None  #: why the source was lost last
        self._sent_at = 0.0
        self._link: RoomSink | None = None
        self._position = Position(job.position_us, job.pass_number)
        self._played: Part | None = None
        self._source_number = job.source_number  #: of the last attempt
        self._attempt: Attempt | None = None  #: the last one at the present source
        self._counted: Attempt | None = None  #: the last one whose counts are among the totals
        self._try: asyncio.Task[Outcome | None] | None = None
        self._tries = 0  #: of the source, since media last flowed
        self._looks = 0  #: for the room, since then
        self._begun_at = self._loop.time()
        self._resumed = asyncio.Event()
        if not job.paused:
            self._resumed.set()

    def stop(self, reason: Reason = Reason.STOPPED) -> None:
        self._runner.stop(reason)

    async def run(self) -> None:
        log.info("session begins", run_id=self._job.run_id, source=mask_url(self._job.url))
        outcome = await self._runner.run()
        self._report_progress()
        # They refer to this session in their turn.
        self._attempt = self._counted = self._try = self._cause = None
        log.info("session ends", run_id=self._job.run_id, reason=outcome.reason.code, why=outcome.text)
        self._report.finished(outcome, self._source_number)

    # --- what a user changes ------------------------------------------------------------------------------

    def update(self, job: RelayJob) -> None:
        """Goes on with another source, at once and where the job says, paused or not. Viewers keep what they
        have until its first key frame."""
        self._job = job
        self._position, self._tries, self._cause = Position(job.position_us, job.pass_number), 0, None
        self._begun_at, self._played = self._loop.time(), None
        self._attempt, self._flow, self._vitals, self._facts = None, Flow(), VitalsMeter(), {}
        self._idle = self._idle_clock()
        self._pause() if job.paused else self._resume()
        if self._try is not None:
            self._try.cancel()

    def _idle_clock(self) -> IdleClock:
        """The idle time of a scheduled task begins with its start."""
        job = self._job
        return IdleClock(job.idle_s, self._loop.time() + max(0.0, job.start_at - time.time()))

    async def control(self, change: ControlSession) -> Refused | None:
        """Changes how it plays, from now on and in further attempts; a refusal changes nothing."""
        refused = await self._refuse(change)
        if refused is not None:
            return refused
        self._job = self._job.model_copy(update=change.model_dump(include=_LASTING, exclude_none=True))
        if self._attempt is not None and (change.volume is not None or change.normalize is not None):
            self._attempt.change_sound(self._job)
            self._tell_plan()
        if change.paused is not None:
            self._pause() if change.paused else self._resume()
        return None

    async def _refuse(self, change: ControlSession) -> Refused | None:
        """Why the change cannot be made. A seek is tried, and is done if there is no reason."""
        if change.volume is not None and not 0 <= change.volume <= FULL_VOLUME:
            return Refused(field="volume", why=f"must be 0 to {FULL_VOLUME}")
        attempt = self._attempt
        if attempt is None:
            return NOT_OPEN if change.position_us is not None else None
        refused = attempt.check(change)
        if refused is None and change.position_us is not None:
            refused = await attempt.seek(change.position_us)
        return refused

    def _pause(self) -> None:
        self._resumed.clear()
        self._vitals = VitalsMeter()  # what stands still since it is paused is not frozen
        self._flowing = False  # `Flowing` is told again when packets leave
        if self._attempt is not None:
            self._attempt.pause()
        self._report_progress()  # so that the node knows the position before it says `paused`

    def _resume(self) -> None:
        if not self._resumed.is_set():
            self._resumed.set()
            self._idle.media_at(self._loop.time())
            if self._attempt is not None:
                self._attempt.resume()

    # --- attempts -----------------------------------------------------------------------------------------

    async def _attempts(self) -> Outcome:
        while True:
            self._try = part(self._one_try(), f"attempt of {self._job.run_id}")
            try:
                await asyncio.wait({self._try})
            except asyncio.CancelledError:
                self._try.cancel()
                await asyncio.wait({self._try})
                raise
            outcome = None if self._try.cancelled() else self._try.result()  # cancelled by `update`
            if outcome is not None:
                return outcome

    async def _one_try(self) -> Outcome | None:
        """One attempt and the pause after it; None when there is to be another."""
        before = self._sent_at
        waiting: Callable[[], Coroutine[Any, Any, Outcome | None]]
        attempt = self._attempt = self._next_attempt()
        try:
            await self._play(attempt)
            return self._ended(attempt)
        except _Replaced:
            return Outcome.of(Reason.REPLACED)
        except _RoomGone:
            self._begin_tries(before)
            self._lost(Reason.PUBLISH_FAILED, "the room's process is gone, waiting for it")
            waiting = self._until_room
        except SourceError as error:
            # Where it was raised holds what was played, and nobody asks for that.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            if error.reason is Reason.INVALID_POSITION and self._sent_at:
                return Outcome.of(Reason.END_OF_STREAM)  # it had come to its end
            if not error.transient:
                return Outcome(error.reason, str(error))
            self._begin_tries(before)
            self._cause = error
            self._lost(error.reason, str(error))
            waiting = self._wait_to_retry
        # Outside of the handlers, where the error is gone: it would keep all that was played.
        return await waiting()

    def _next_attempt(self) -> Attempt:
        self._flow, self._source_number = Flow(), self._job.source_number
        self._facts_at, self._facts_every_s = 0.0, 1.0
        host = AttemptHost(self._until_start, self._into_room, self._send, self._resumed, self._repeats)
        begin = Begin(self._position, resumed=self._sent_at > self._begun_at, behind=self._played)
        return Attempt(self._job, self._context, host, begin)

    async def _play(self, attempt: Attempt) -> None:
        """Raises SourceError, _RoomGone, _Replaced."""
        try:
            await attempt.play()
        finally:
            self._tell_plan()
            self._report.add(attempt.counts())
            self._counted = attempt
            if self._attempt is attempt:  # no other source was asked for meanwhile
                self._position, self._played = attempt.position, attempt.played

    def _ended(self, attempt: Attempt) -> Outcome:
        """A source that gave nothing did not come to an end: it could not be played."""
        if self._ever_flowed:
            last = "; what came last could not be decoded" if attempt.all_stuck else ""
            return Outcome(Reason.END_OF_STREAM, Reason.END_OF_STREAM.text + last)
        lost = ", ".join(f"{count} {rule.code}" for rule, count in attempt.counts().dropped.items() if count)
        text = "the source ended, and nothing of it could be decoded" + (f" ({lost})" if lost else "")
        return Outcome(Reason.SOURCE_UNSUPPORTED, text)

    async def _wait_to_retry(self) -> Outcome | None:
        """The outcome when there is to be no other try."""
        self._tries += 1
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
            # Perhaps a signed address has expired. Whoever waits is told now, not in minutes.
            return Outcome(self._cause.reason, f"{self._cause} (given up after {most} tries)")
        await asyncio.sleep(min(pause, left))
        if left <= pause:
            return self._idle_outcome()
        await self._resumed.wait()
        self._report.add(Counts(reconnects=1))
        return None

    def _begin_tries(self, sent_before: float) -> None:
        """Counts anew when something was sent meanwhile."""
        if self._sent_at > sent_before:
            self._tries = self._looks = 0

    async def _until_room(self) -> None:
        """Until a room process listens again; before, the source is not asked."""
        while True:
            await asyncio.sleep(pause_s(ROOM_PAUSES_S, self._looks))
            self._looks += 1
            with contextlib.suppress(OSError):
                await self._context.links.check(self._job.link)
                return

    # --- what an attempt asks for ---------------------------------------------------------------------------

    async def _until_start(self) -> None:
        """No packet leaves before a scheduled start, and the idle time begins with it."""
        left = self._job.start_at - time.time()
        if left > 0:
            await asyncio.sleep(left)
            self._idle.media_at(self._loop.time())

    async def _into_room(
        self, play: Callable[[], Coroutine[Any, Any, None]], on_key_frame: Callable[[], None]
    ) -> None:
        """Plays through a new link, until the source or the link ends."""
        job = self._job
        link_end: asyncio.Future[bool] = self._loop.create_future()
        hello = Hello(
            app_id=job.app_id,
            room_id=job.room_id,
            user_id=job.user_id,
            stream=StreamIndex.CAMERA,
            run_id=job.run_id,
        )
        try:
            # Before the first frame is due: one that finds no link would be lost, and with it a whole GOP.
            link = self._link = await RoomSink.open(
                self._context.links,
                job.link,
                hello,
                on_end=link_end.set_result,
                on_key_frame=on_key_frame,
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
            await until_closed(self._leave(link, playing), f"the link of {job.run_id}")

    async def _leave(self, link: RoomSink, playing: "asyncio.Task[None]") -> None:
        playing.cancel()
        await asyncio.wait({playing})
        if self._link is link:
            self._link = None
        self._report.add(_counts(link))
        link.close()

    def _send(self, frames: list[OutFrame]) -> None:
        if self._link is None or not self._link.send(frames):
            return
        now, news = self._loop.time(), False
        for frame in frames:
            if not frame.again:
                self._sent_at = now
                self._flow.sent(_KINDS[frame.type], now)
                if frame.seen is not None:
                    news |= self._vitals.see(frame.seen, now)
        if self._measures_lags:
            self._vitals.sent(frames, now)
        if news:
            self._report_progress()
        if not self._flowing and self._sent_at == now and self._flow.fault(now) is None:
            self._flowing = self._ever_flowed = True
            self._cause = None
            self._tell_plan()
            self._report.flowing()

    # --- what is true ---------------------------------------------------------------------------------------

    def _tell_plan(self) -> None:
        """Tells the plan when it has changed: tracks begin and change as they like."""
        if self._attempt is None:
            return
        plan = self._attempt.plan
        notes = [note for note in self._attempt.notes() if note not in self._notes]  # attempts repeat them
        self._notes += notes
        if plan is not None and (plan != self._plan or notes):
            self._plan = plan
            document: dict[str, Any] = dict(plan.document())
            if self._notes:
                document["notes"] = list(self._notes)
            self._report.planned(document)

    def _tell_facts(self, attempt: Attempt, now: float) -> None:
        """Tells what the source is: often at its beginning, and then rarely."""
        if now < self._facts_at or (facts := attempt.facts) is None:
            return
        self._facts_at, self._facts_every_s = now + self._facts_every_s, min(60.0, 2 * self._facts_every_s)
        document = facts.document()
        for name in _PROBED:
            document.pop(name)
        if document != self._facts:
            self._facts = document
            self._report.sourced(document)

    def _lost(self, reason: Reason, text: str) -> None:
        self._flowing = False
        if self._resumed.is_set():  # while it is paused nothing flows that could be lost
            self._report.lost(reason, text)

    def _watch(self, now: float) -> Outcome | None:
        """What flows, and the outcome when the idle time is used up."""
        if not self._resumed.is_set():
            self._idle.media_at(now)
        self._tell_plan()
        if self._attempt is not None:
            self._tell_facts(self._attempt, now)
            self._watch_flow(self._attempt, now)
        if self._flowing and not self._flow.begun and now - self._sent_at > SILENT_S:
            self._lost(Reason.SOURCE_INTERRUPTED, "no packet of the new source has left yet")
        return self._idle_outcome() if self._idle_left_s(now) <= 0 else None

    def _watch_flow(self, attempt: Attempt, now: float) -> None:
        kinds = attempt.kinds
        self._measures_lags = len(kinds) > 1 or attempt.arrives
        for kind in kinds:
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

    def _report_progress(self) -> None:
        counts = _counts(self._link) + Counts(dropped={DropRule.REPEATED: self._repeats.withheld})
        if self._attempt is not None:
            self._position = self._attempt.position
            if self._attempt is not self._counted:
                counts += self._attempt.counts()
        position, attempt = self._position, self._attempt
        vitals = self._vitals.read(
            self._loop.time(),
            time.time(),
            arrives=attempt is not None and attempt.arrives,
            behind_s=attempt.behind_s if attempt is not None else None,
        )
        self._report.progress(
            counts, vitals, position_us=position.us, pass_number=position.pass_number, flowing=self._flowing
        )


def _counts(link: RoomSink | None) -> Counts:
    return counts_of(link, slow=DropRule.ROOM_SLOW)
