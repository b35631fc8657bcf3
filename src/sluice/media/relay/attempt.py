"""One attempt at playing a relay's source: it is opened, planned, and played into its room, once.

What a user changes while it plays is done here, too. The session decides what of that lasts, and whether
there is another attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from sluice.core.drops import DropRule
from sluice.core.plan import Plan, Probe
from sluice.core.request_headers import RequestHeaders
from sluice.core.source_facts import SourceFacts
from sluice.media.closing import until_closed
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.packets import KINDS_OF, TrackKind
from sluice.media.pipe.tracks import Tracks
from sluice.media.relay.playback import Playback, Send, play_live
from sluice.media.relay.read_ahead import FileReadAhead, LiveReadAhead, ReadAhead, Resumable
from sluice.media.relay.repeats import Repeats
from sluice.media.source.hls_playlist import Part
from sluice.media.source.seen import Seen
from sluice.media.source.table import FileSource, LiveSource, source_for
from sluice.media.worker import Worker, in_time
from sluice.process.control import ControlSession, Refused, RelayJob
from sluice.process.owned import part

#: A seek is answered by then, whether it is done or not: nothing else is taken meanwhile.
_ANSWER_S = 1.0
_NOTHING_MADE_US = 1 << 62
#: The answer to a seek while no source is open.
NOT_OPEN = Refused(
    field="seek_s", why="the source is not open at present; try again when it plays", busy=True
)


class Position(NamedTuple):
    """Microseconds in a pass of the source, and the number of the pass, from 1."""

    us: int
    pass_number: int


@dataclass(frozen=True, slots=True)
class AttemptHost:
    """What an attempt needs of its session.

    `until_start` waits for a scheduled start. `into_room` opens a link to the room and plays with it: its
    arguments are what plays, and what is called when a viewer needs a key frame. `send` sends frames over
    that link. `resumed` is set while the relay is not paused.
    """

    until_start: Callable[[], Awaitable[None]]
    into_room: Callable[[Callable[[], Coroutine[Any, Any, None]], Callable[[], None]], Awaitable[None]]
    send: Send
    resumed: asyncio.Event
    repeats: Repeats


@dataclass(frozen=True, slots=True)
class Begin:
    """Where an attempt begins. `resumed`: the session sent what is there last. `behind`: the part of a live
    source that the session played last."""

    position: Position
    resumed: bool = False
    behind: Part | None = None


class Attempt:
    """`play` once. `position` follows what was sent."""

    def __init__(self, job: RelayJob, context: MediaContext, host: AttemptHost, begin: Begin) -> None:
        self.live: bool | None = None  #: whether the source is no recording; None: not known yet
        self._job, self._context, self._host = job, context, host
        self._begin = begin
        self._source: FileSource | LiveSource | None = None
        self._tracks: Tracks | None = None
        self._playback: Playback | None = None
        self._seen = Seen()
        self._probe: Probe | None = None  #: of the source that is open, or was
        self._jumps = 0

    @property
    def position(self) -> Position:
        if self._playback is None:
            return self._begin.position
        return Position(self._playback.position_us, self._playback.pass_number)

    @property
    def plan(self) -> Plan | None:
        """What happens to each track at present; None until that is known."""
        return self._tracks.plan if self._tracks is not None else None

    @property
    def played(self) -> Part | None:
        """The part of a live source that was played last."""
        played = self._source.played if isinstance(self._source, Resumable) else None
        return played or self._begin.behind

    def notes(self) -> list[str]:
        """What the source has told since the last call."""
        return self._source.notes.take() if self._source is not None else []

    @property
    def kinds(self) -> list[TrackKind]:
        """The kinds of tracks that are played."""
        tracks = self._tracks
        there = {
            TrackKind.VIDEO: tracks is not None and tracks.has_pictures,
            TrackKind.AUDIO: tracks is not None and tracks.has_sound,
        }
        return [kind for kind, is_there in there.items() if is_there]

    @property
    def arrives(self) -> bool:
        """Whether media leaves as it comes, stamped by the loop's clock."""
        return self._source is not None and self._source.live

    @property
    def behind_s(self) -> float | None:
        """How far what leaves is behind the edge of a live source; None where that is not known."""
        behind_us = self._playback.behind_us if self._playback is not None else None
        return behind_us / 1e6 if behind_us is not None else None

    @property
    def facts(self) -> SourceFacts | None:
        """What the source is, as far as it has shown; None while it is not open."""
        if self._source is None or self._probe is None:
            return None
        return self._seen.facts(self._source.packaging, self._probe)

    def stuck(self, kind: TrackKind) -> bool:
        """Whether nothing that the source gives of this kind can be used."""
        return self._tracks is not None and self._tracks.stuck(kind)

    @property
    def all_stuck(self) -> bool:
        """Whether nothing that the source gave last could be used."""
        return self._tracks is not None and self._tracks.all_stuck

    def counts(self) -> Counts:
        """What was left out, and the time of codecs."""
        counts = self._tracks.counts() if self._tracks is not None else Counts()
        if self._source is None:
            return counts
        notes = self._source.notes
        jumps = self._playback.jumps if self._playback is not None else self._jumps
        left_out = {
            DropRule.SEGMENTS_SKIPPED: notes.skipped,
            DropRule.SOURCE_UNUSABLE: notes.unusable,
            DropRule.JUMPS: jumps,
        }
        return counts + Counts(dropped=left_out)

    async def play(self) -> None:
        """From opening the source to its end; then everything is closed. Raises SourceError, and what
        `into_room` does."""
        job, context = self._job, self._context
        headers = RequestHeaders(job.user_agent, tuple(job.headers.items()))
        kinds = KINDS_OF[job.media_type]
        source = await in_time(
            source_for(job.url, context.dialer, context.executor, kinds, headers, context.opening)
        )
        self._source, self.live = source, source.live
        if isinstance(source, Resumable) and self._begin.behind is not None:
            source.go_on_behind(self._begin.behind)
        if source.live:
            await self._play_live(source)
        else:
            await self._play_file(source)

    # --- what a user changes ------------------------------------------------------------------------------

    def check(self, change: ControlSession) -> Refused | None:
        """Why the change cannot be made."""
        silent = self._tracks is not None and not self._tracks.has_sound
        for field, wanted in (("volume", change.volume), ("normalize", change.normalize)):
            if silent and wanted is not None:
                return Refused(field=field, why="this source is played without sound")
        if change.paused and self.live:
            return Refused(field="pause", why="a live source cannot be paused; stop it and start it again")
        if change.position_us is not None and self.live:
            return Refused(field="seek_s", why="a live source has no positions to go to")
        return None

    async def seek(self, position_us: int) -> Refused | None:
        if self._playback is None:
            return NOT_OPEN
        seeking = part(self._playback.seek(position_us), "a seek")
        await asyncio.wait({seeking}, timeout=_ANSWER_S)
        if not seeking.done():  # the source is slow: it will be there when it is
            seeking.add_done_callback(_retrieve)
            return None
        if seeking.cancelled():
            return NOT_OPEN
        error = seeking.exception()
        return Refused(field="seek_s", why=str(error)) if error is not None else None

    def change_sound(self, job: RelayJob) -> None:
        """Plays with the volume and the loudness of this job from now on."""
        self._job = job
        if self._tracks is None:
            return
        self._tracks.plan_sound(job)
        change = partial(self._tracks.change_sound, job.volume, job.normalize)
        if self._playback is not None:
            self._playback.change_sound(change)
        else:  # nothing was made ahead of a live source
            change(_NOTHING_MADE_US)

    def pause(self) -> None:
        if self._playback is not None:
            self._playback.pause()

    def resume(self) -> None:
        if self._playback is not None:
            self._playback.resume()

    # --- playing --------------------------------------------------------------------------------------------

    async def _play_live(self, source: LiveSource) -> None:
        worker = Worker(self._context.executor)
        try:
            await self._host.until_start()
            await self._host.resumed.wait()
            tracks = self._make_tracks(await source.open())
            await self._host.into_room(
                partial(play_live, source, tracks, self._seen, worker, self._host.send, self._host.repeats),
                tracks.request_key_frame,
            )
        finally:
            await until_closed(self._close_live(source, worker), "the closing of a live source")

    async def _close_live(self, source: LiveSource, worker: Worker) -> None:
        await source.close()
        await worker.settle()
        self._release()

    async def _play_file(self, source: FileSource) -> None:
        worker, opening = Worker(self._context.executor), Worker(self._context.opening)
        try:
            probe = await in_time(opening.call(source.open))
            self.live = probe.live
            if probe.live:  # joined at its edge, whatever was played before
                self._begin = replace(self._begin, position=Position(0, 1))
                await self._host.resumed.wait()
            begin_us, pass_number = self._begin.position
            tracks = self._make_tracks(probe, begin_us or None)
            self._playback = playback = Playback(
                self._read_ahead(source, probe, tracks),
                send=self._host.send,
                pacer=self._context.pacer,
                worker=worker,
                position_us=begin_us,
                pass_number=pass_number,
                steady=not tracks.has_pictures,
                paused=not self._host.resumed.is_set(),
            )
            await self._host.until_start()
            await self._host.into_room(playback.run, tracks.request_key_frame)
        finally:
            self._begin = replace(self._begin, position=self.position)
            if self._playback is not None:
                self._jumps, self._playback = self._playback.jumps, None
            await until_closed(self._close_file(source, opening, worker), "the closing of a file")

    async def _close_file(self, source: FileSource, opening: Worker, worker: Worker) -> None:
        source.abort()
        await opening.settle()
        await worker.settle()
        self._release()
        await worker.call(source.close)

    def _release(self) -> None:
        """Codecs and filters go at once, not when the garbage collector comes: they have threads and memory.
        No thread uses them any more."""
        if self._tracks is not None:
            self._tracks.release()

    def _make_tracks(self, probe: Probe, begin_us: int | None = None) -> Tracks:
        self._probe = _without_contexts(probe)
        self._tracks = Tracks(self._job, probe, begin_us=begin_us, relief=self._context.relief)
        return self._tracks

    def _read_ahead(self, source: FileSource, probe: Probe, tracks: Tracks) -> ReadAhead:
        if probe.live:
            return LiveReadAhead(source, tracks, self._seen)
        begin_us, pass_number = self._begin.position
        passes = None if self._job.loop else max(1, self._job.plays - pass_number + 1)
        return FileReadAhead(
            source,
            tracks,
            self._seen,
            begin_us=begin_us,
            passes=passes,
            probe=probe,
            resumed=self._begin.resumed,
        )


def _retrieve(seeking: "asyncio.Future[None]") -> None:
    """Takes the error of a seek for whose answer nobody waits any more, so that it is not logged."""
    if not seeking.cancelled():
        seeking.exception()


def _without_contexts(probe: Probe) -> Probe:
    """Contexts keep codecs, which go when the attempt is over."""
    return replace(
        probe,
        video=probe.video and replace(probe.video, context=None),
        audio=probe.audio and replace(probe.audio, context=None),
    )
