"""One push: waits for its publisher, takes the stream to a CDN, and tries again when that is lost.

It reports each stage, `Flowing` when media leaves, and `Lost` when it does not leave any more. It pushes
while each kind of media that is published leaves; if one does not, it says so with the reason that the room
knows. The idle time counts while there is nothing to push, and while a CDN takes nothing. What does not
depend on the CDN is shared with the other pushes of the stream (media/push/tap.py).
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from sluice.core.drops import DropRule
from sluice.core.errors import DestinationError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.core.plan import Plan, TrackAction, TrackPlan
from sluice.core.push import PushStage
from sluice.core.retry import DESTINATION_PAUSES_S, IdleClock, pause_s
from sluice.core.tasks import Kind, MediaType
from sluice.media.closing import until_closed
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.flow import Fault, Flow
from sluice.media.growth import Ends
from sluice.media.packets import TrackKind
from sluice.media.push.tap import Outlet, Taps
from sluice.media.reporter import Reporter
from sluice.media.session import Course, Outcome, Runner
from sluice.media.sink.port import counts_of
from sluice.media.sink.rtmp import RtmpLimits, RtmpSink
from sluice.media.source.room import StreamAddress
from sluice.media.units import Unit
from sluice.media.vitals import PushVitals
from sluice.process.control import PushJob
from sluice.process.documents import Publisher, Subscribe
from sluice.process.owned import part

log = structlog.get_logger()

_WATCH_S = 0.25
_ENDS = Ends("cdn", "cdn")
#: A room says within this who publishes. Only then is it reported that the push waits for a publisher.
_ROOM_ANSWERS_S = 0.3
_NO_KEY_FRAME = "no key frame has come to begin with; the publisher makes none when it is asked"


@dataclass(frozen=True, slots=True)
class PushLimits:
    """Seconds. A publisher that returns within `grace_s` (its page is loaded again) does not count as gone.
    After a connection that lasted `stable_s`, the pauses between attempts begin anew."""

    grace_s: float = 2.0
    stable_s: float = 5.0
    rtmp: RtmpLimits = field(default_factory=RtmpLimits)


def pushes(context: MediaContext) -> Callable[[PushJob], "Push"]:
    """Makes the pushes of a media process, which share its taps."""
    taps = Taps(context)
    return lambda job: Push(job, context, taps)


class Push:
    """A Session, and the Listener of its outlet."""

    kind = Kind.PUSH

    def __init__(
        self, job: PushJob, context: MediaContext, taps: Taps, limits: PushLimits = PushLimits()
    ) -> None:
        self._job, self._context, self._taps, self._limits = job, context, taps, limits
        self._pictures = job.media_type != MediaType.AUDIO
        self._loop = asyncio.get_running_loop()
        self._report = Reporter(job.run_id, context, _ENDS)
        self._runner = Runner(
            Course("push", job.run_id, self._attempts, self._watch, self._report_progress, watch_s=_WATCH_S)
        )
        now = self._loop.time()
        self._unpublished, self._unreached = IdleClock(job.idle_s, now), IdleClock(job.idle_s, now)
        self._outlet: Outlet
        self._publisher = Publisher()
        self._news = asyncio.Event()
        self._stage: PushStage | None = None
        self._tried = self._published = job.connected_before
        self._pushed = False
        self._flow, self._vitals = Flow(), PushVitals()
        self._fault: Fault | None = None
        self._flowing = False
        self._connected_since: float | None = None
        self._sent = (0, 0)  #: video frames and audio packets over this connection
        self._cause: DestinationError | None = None
        self._sink: RtmpSink | None = None

    def stop(self, reason: Reason = Reason.STOPPED) -> None:
        self._runner.stop(reason)

    async def run(self) -> None:
        job = self._job
        log.info("push begins", run_id=job.run_id, target=mask_url(job.url))
        self._report.planned(_plan(job).document())
        stream = Subscribe(app_id=job.app_id, room_id=job.room_id, user_id=job.user_id, stream=job.stream)
        address = StreamAddress(job.link, stream)
        key_frame_s = job.key_frame_s if self._pictures else math.inf
        self._outlet = self._taps.outlet(address, self, key_frame_s=key_frame_s)
        self.on_publisher(self._outlet.publisher)
        try:
            outcome = await self._runner.run()
        finally:
            self._outlet.give_up()
        self._report_progress()
        log.info("push ends", run_id=job.run_id, reason=outcome.reason.code, why=outcome.text)
        self._report.finished(outcome)

    # --- what the tap tells ------------------------------------------------------------------------------

    def on_publisher(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._published = self._published or publisher.publishes
        self._judge_anew()
        self._news.set()

    def on_units(self, units: list[Unit]) -> None:
        sink = self._sink
        if sink is None:
            return
        sink.send(units)
        self._vitals.sent(units, self._now())
        self._note_sent(sink, units)
        # If only kinds are published that are not pushed, silence is sent, and counts as flowing.
        whole = self._publisher.publishes and self._flow.complete and self._flow.fault(self._now()) is None
        if not self._flowing and sink.bytes_out and whole:
            self._flows()

    # --- attempts ----------------------------------------------------------------------------------------

    def _note_sent(self, sink: RtmpSink, units: list[Unit]) -> None:
        now, before = self._now(), self._sent
        self._sent = sink.video_frames, sink.audio_packets
        if self._sent[0] > before[0] and self._expects(TrackKind.VIDEO):
            self._flow.sent(TrackKind.VIDEO, now)
        heard = any(unit.kind is TrackKind.AUDIO and not unit.made for unit in units)
        if heard and self._sent[1] > before[1] and self._expects(TrackKind.AUDIO):
            self._flow.sent(TrackKind.AUDIO, now)

    def _expects(self, kind: TrackKind) -> bool:
        """Whether this kind is to leave: it is published, and there is a connection for it."""
        if self._sink is None:
            return False
        return self._publisher.audio if kind is TrackKind.AUDIO else self._publisher.video and self._pictures

    def _why(self, kind: TrackKind) -> str:
        """Why this kind does not leave; empty where nobody knows."""
        waits = kind is TrackKind.VIDEO and self._sink is not None and self._sink.needs_key_frame
        return self._publisher.trouble.get(kind.value) or (_NO_KEY_FRAME if waits else "")

    def _judge_anew(self) -> None:
        """Called after a change of what is published, or of the connection."""
        for kind in TrackKind:
            if self._expects(kind):
                self._flow.expect(kind, self._now())
                self._flow.blame(kind, self._why(kind))
            else:
                self._flow.forget(kind)

    async def _attempts(self) -> Outcome:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ROOM_ANSWERS_S):
                await self._until(lambda: self._publisher.publishes)
        tries = 0
        while True:
            await self._wait_for_publisher()
            try:
                await self._push_once()
                tries = 0
                continue
            except DestinationError as error:
                if not error.transient:
                    return Outcome(error.reason, str(error))
                self._cause = error
            if self._connected_s >= self._limits.stable_s:
                tries = 0
            self._lost(self._cause.reason, str(self._cause))
            self._at(PushStage.RECONNECTING, str(self._cause))
            await self._until_unpublished(pause_s(DESTINATION_PAUSES_S, tries))
            tries += 1

    async def _wait_for_publisher(self) -> None:
        if self._publisher.publishes and not self._flowing:
            return
        waiting = Reason.WAITING_FOR_PUBLISHER
        text = f"{waiting.text} of {self._job.user_id}"
        if self._cause is not None:
            text += f"; before, {self._cause}"
        self._lost(waiting, text)
        self._at(PushStage.WAITING, text, waiting.code)
        await self._until(lambda: self._publisher.publishes)

    async def _push_once(self) -> None:
        """One connection, until nobody publishes any more. Raises DestinationError."""
        self._at(PushStage.RECONNECTING if self._tried else PushStage.CONNECTING)
        self._tried, self._connected_since = True, None
        if self._cause is not None:
            self._report.add(Counts(reconnects=1))
        sink = RtmpSink(self._job.url, self._context.dialer, self._limits.rtmp)
        try:
            await sink.connect()
            self._at(PushStage.PUBLISHING)
            await sink.publish()
            self._begin(sink)
            gone = part(self._until_unpublished(), f"publisher of {self._job.run_id}")
            try:
                ends: set[asyncio.Future[Any]] = {gone, sink.lost}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if sink.lost.done():
                raise sink.lost.result()
        finally:
            self._outlet.shut()
            await until_closed(self._close(sink), f"the connection of {self._job.run_id}")

    async def _close(self, sink: RtmpSink) -> None:
        try:
            await sink.close()
        finally:
            if self._sink is sink:
                self._report.add(_counts(sink))
                self._sink, self._sent, self._fault = None, (0, 0), None
                self._judge_anew()

    def _begin(self, sink: RtmpSink) -> None:
        publisher = self._publisher
        expected = publisher.video and "video" not in publisher.trouble
        sink.begin(self._outlet.open(), pictures=self._pictures, pictures_expected=expected)
        self._sink, self._connected_since = sink, self._now()
        self._judge_anew()
        if self._pictures:
            self._outlet.want_key_frame()

    async def _until_unpublished(self, most_s: float | None = None) -> None:
        """Returns when nobody has published for `grace_s`, or after `most_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while True:
                    await self._until(lambda: not self._publisher.publishes)
                    try:
                        async with asyncio.timeout(self._limits.grace_s):
                            await self._until(lambda: self._publisher.publishes)
                    except TimeoutError:
                        return

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._news.clear()
            await self._news.wait()

    # --- what is true ------------------------------------------------------------------------------------

    def _at(self, stage: PushStage, text: str = "", reason: str = "") -> None:
        if stage is not self._stage:
            self._stage = stage
            self._report.stage(stage, text, reason)

    def _flows(self) -> None:
        self._flowing = self._pushed = True
        self._cause = self._fault = None
        self._report.flowing()
        self._at(PushStage.PUSHING)

    def _stall(self, fault: Fault) -> None:
        """A kind of media that is published does not leave."""
        if fault != self._fault:
            self._fault = fault
            self._lost(fault.reason, fault.text)
            self._at(PushStage.STALLED, fault.text, fault.reason.code)

    def _lost(self, reason: Reason, text: str) -> None:
        self._flowing = False
        self._report.lost(reason, text)

    def _watch(self, now: float) -> Outcome | None:
        """What is stalled, and the outcome when an idle time is used up."""
        if self._sink is not None:
            self._sink.watch()
            if self._pictures and self._sink.needs_key_frame:
                self._outlet.want_key_frame()
            self._judge_anew()  # gives the room's reasons again, since media that leaves clears them
            if (fault := self._flow.fault(now)) is not None:
                self._stall(fault)
        nothing = self._fault is not None and self._fault.reason is Reason.SOURCE_INTERRUPTED
        if self._publisher.publishes and not nothing:
            self._unpublished.media_at(now)
        if self._sink is not None or not self._publisher.publishes:
            self._unreached.media_at(now)
        if not self._unpublished.left_s(now):
            return self._idle_outcome()
        return None if self._unreached.left_s(now) else self._unreached_outcome()

    def _idle_outcome(self) -> Outcome:
        """docs/contract/volcengine.md 9.3: a publisher that left differs from one that does not publish."""
        limit = f"{self._job.idle_s:g} s"
        if self._publisher.publishes and self._fault is not None:
            return Outcome(Reason.IDLE_TIMEOUT, f"nothing could be pushed for {limit}: {self._fault.text}")
        if self._published and not self._publisher.present:
            return Outcome(
                Reason.PUBLISHER_LEFT, f"the publisher left the room and did not return within {limit}"
            )
        return Outcome(Reason.IDLE_TIMEOUT, f"nobody published the stream for {limit}")

    def _unreached_outcome(self) -> Outcome:
        limit, cause = f"{self._job.idle_s:g} s", self._cause
        if self._pushed or cause is None:
            text = f"the destination took nothing for {limit}" + (f": {cause}" if cause else "")
            return Outcome(Reason.DESTINATION_INTERRUPTED, text)
        return Outcome(cause.reason, f"{cause} (given up after {limit})")

    def _report_progress(self) -> None:
        counts = _counts(self._sink)
        position_us = self._report.totals.media_us + counts.media_us
        heard = self._outlet.heard if self._sink is not None else None
        vitals = self._vitals.read(self._now(), time.time(), heard)
        self._report.progress(
            counts, vitals, position_us=position_us, shared=self._outlet.counts(), flowing=self._flowing
        )

    @property
    def _connected_s(self) -> float:
        """How long the last connection has lasted."""
        return self._now() - self._connected_since if self._connected_since is not None else 0.0

    def _now(self) -> float:
        return self._loop.time()


def _counts(sink: RtmpSink | None) -> Counts:
    return counts_of(
        sink, slow=DropRule.DESTINATION_SLOW, media_us=sink.position_us if sink is not None else 0
    )


def _plan(job: PushJob) -> Plan:
    if job.media_type == MediaType.AUDIO:
        video = TrackPlan(TrackAction.NONE, "only audio was asked for")
    else:
        video = TrackPlan(TrackAction.COPY, "a push never encodes pictures anew")
    return Plan(video, TrackPlan(TrackAction.TRANSCODE, "CDNs take AAC, rooms carry Opus"))
