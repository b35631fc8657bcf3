"""The segments of a media playlist in order: reloads it, leaves out lost segments, waits for late ones,
switches.

One bad resource does not end a source: a segment that cannot be fetched is left out with a note, and reading
continues behind it. A source ends only when nothing comes any more: its server no longer answers, or its live
playlist no longer grows. Everything blocks on a worker thread; `Fetcher.abort` breaks every wait.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice.core.errors import SourceError, interrupted, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.media.source import hls_reload
from sluice.media.source.hls_fetch import Body, Fetcher, is_media
from sluice.media.source.hls_forms import Form
from sluice.media.source.hls_playlist import MediaPlaylist, Part, Segment
from sluice.media.source.hls_reload import Load, ReloadedPlaylist
from sluice.media.source.notes import Notes
from sluice.net.http import ErrorAnswer

#: Pauses before a segment of a recording is requested again, if another try can help.
_PAUSES_S = (0.5, 1.0)
_GONE = frozenset({404, 410})
#: How many segments in a row may be lost: of those that the server does not have, and of others, where rather
#: the server has a problem.
_MOST_GONE, _MOST_LOST = 300, 3
#: A request that takes so long to fail is tried only once more, and at once.
_SLOW_S = 3.0
#: How long the server of a segment may be silent before the segment is requested once more. Two such waits
#: cost the segment's own duration and five seconds, a part of which was read ahead. Servers that make
#: segments on request take about as long as the segments last.
_LEAST_WAIT_S, _MOST_WAIT_S = 3.0, 8.0
_OF_BOTH_WAITS_S = 5.0
#: How many times its own duration a segment may take to come: slower, nobody wants to watch it.
_MOST_DURATIONS = 3
#: In a row, where there is another variant to switch to: lost segments, and bad answers to reloads.
_MOST_BEFORE_SWITCH, _MOST_BAD_ANSWERS = 2, 3
_MOST_OTHERS = 4
#: How long video waits for audio that is late; then audio joins when it comes.
_PATIENCE_S = 1.0
_REVIVAL_S = 10.0


class SegmentsGone(SourceError):
    """We were too slow: the next segment of a live playlist is no longer listed."""

    def __init__(self) -> None:
        super().__init__(
            Reason.SOURCE_INTERRUPTED, "the live source is faster than it can be read", transient=True
        )


@dataclass(slots=True)
class _Lost:
    """Segments in a row that could not be fetched."""

    first: Segment
    error: SourceError
    since: float
    count: int = 0
    tries: int = 0  #: for the current one


class Rendition:
    """One media playlist: returns its segments in order, and waits for the next one of a live playlist."""

    def __init__(
        self,
        playlist: MediaPlaylist,
        fetcher: Fetcher,
        reload: Load,
        *,
        notes: Notes | None = None,
        others: Sequence[Load] = (),
        run_shift: int = 0,
        leader: "Rendition | None" = None,
    ) -> None:
        """`reload` returns the playlist as it is now. Each of `others` returns another playlist with the same
        content, to switch to when this one fails. `leader`: a rendition that continues while this one is late
        or has failed; `peek` then returns None for a while instead of raising."""
        self.fetcher = fetcher
        self.notes = notes or Notes()
        self._list = ReloadedPlaylist(playlist, reload, fetcher, self.notes, run_shift=run_shift)
        self._others = list(others[:_MOST_OTHERS])
        self._leader = leader
        self._what = "sound"
        self._accompanied = leader is not None  #: others continue while this one has nothing
        self.brief = False  #: `peek` also returns None while a live playlist has nothing, if it is not `torn`
        self.torn: bool | None = None  #: segments continue packets that the one before began; None: unknown
        self._barren_since: float | None = None  #: since when no segment could be fetched
        self._next = (self.playlist.segments[0] if playlist.ended else self.playlist.join()).sequence
        self._opened: tuple[Segment, Body] | None = None
        self._form: Form | None = None  #: of the last segment
        self._lost: _Lost | None = None
        self._spoiled = (0, -2)  #: how many in a row a demuxer could not read, and the last one's number
        self._any_good = False
        self._switches = 0  #: since the last segment that could be fetched
        self._dry_since: float | None = None
        self._dead_until: float | None = None
        self.failure: SourceError | None = None  #: why it is left out for now
        self._held: SourceError | None = None
        self._places: dict[Part, Part] = {}
        self.taken_us = 0  #: where the last segment that was taken begins, on the clock of `begin_us`
        self.taken: Part | None = None

    @property
    def playlist(self) -> MediaPlaylist:
        """The newest playlist. Segments and runs keep their numbers over reloads."""
        return self._list.newest

    def seek(self, position_us: int) -> None:
        self._drop()
        self._lost = self._held = None
        self._next = self.playlist.at(position_us).sequence

    def newest_us(self) -> int:
        """Where the source is by now; it moves on between reloads."""
        return self._list.newest_us()

    def begin_us(self, segment: Segment) -> int:
        """Where a segment of the playlist begins, on the clock of `newest_us`."""
        return self._list.begin_us(segment)

    def lags(self) -> bool:
        """Whether a viewer who joins now begins at least one segment further on. Raises SourceError."""
        if time.monotonic() - self._list.loaded_at > self._list.target_s():
            self._load_again()
        return not self.playlist.ended and self.playlist.join().sequence > self._next

    def rejoin(self, behind_us: int | None = None) -> Segment:
        """Continues with the segment at which a viewer who joins now begins, and returns it.

        `behind_us`: continues at this distance from the end of the playlist instead, where the main rendition
        is, and one segment further back, since one of the two playlists may be newer than the other.
        """
        segment = self.playlist.join()
        if behind_us is not None:
            segments = self.playlist.segments
            place = self.playlist.at(self.playlist.duration_us - behind_us).sequence - segments[0].sequence
            segment = segments[max(0, place - 1)]
        self._drop()
        self._held = None
        self._next = segment.sequence
        return segment

    def peek(self) -> Segment | None:
        """The next segment. None at the end of a playlist that ended, and while one that has a leader or is
        `brief` has none. Segments that cannot be fetched are left out. Raises SourceError, SegmentsGone."""
        if self._held is not None:
            held, self._held = self._held, None
            raise held
        if self._dead_until is not None and not self._revive():
            return None
        while True:
            begun = time.monotonic()
            try:
                return self._peek()
            except SegmentsGone:
                raise
            except SourceError as error:
                self.fetcher.raise_if_aborted()
                if self._switch(error):
                    continue
                if not self._accompanied or error.reason is Reason.ADDRESS_NOT_ALLOWED:
                    raise
                self.notes.add(f"the {self._what} is left out for now: {error}")
                pause_s = max(_REVIVAL_S, 20 * (time.monotonic() - begun))
                self._dead_until, self.failure = time.monotonic() + pause_s, error
                return None

    def accompany(self, what: str) -> None:
        """Others play beside this one, and without it while it is late or fails. `what`: its name in
        notes."""
        self._what, self._accompanied = what, True

    def hold(self, error: SourceError) -> None:
        """Makes `peek` raise an error that came where it could not be raised."""
        self._held = error

    def advance(self, segment: Segment) -> None:
        """Moves behind a segment that somebody else opens."""
        self._next = segment.sequence + 1
        self.taken_us = self.begin_us(segment)
        self.taken = segment.part

    def go_on_behind(self, part: Part) -> int | None:
        """Continues behind `part`, which was played already. Returns the distance from the end of the
        playlist; None in a recording, or if `part` is no longer listed, and then nothing changes."""
        wanted = _name(part)
        found = [segment for segment in self.playlist.segments if _name(segment.part) == wanted]
        if self.playlist.ended or not found:
            return None
        self._drop()
        self._next = found[-1].sequence + 1
        return self.playlist.duration_us - found[-1].end_us

    def take(self, segment: Segment) -> Body:
        """The body of the segment that `peek` returned, to be read and closed."""
        assert self._opened is not None  # noqa: S101 - peek opened it
        opened, self._opened = self._opened, None
        self.advance(segment)
        self._form = opened[1].form
        return opened[1]

    def form(self) -> Form | None:
        """The form of the segment that `peek` returned."""
        return self._opened[1].form if self._opened is not None else None

    def spoil(self, segment: Segment, why: str) -> None:
        """A demuxer could not read a segment. Raises SourceError after too many in a row."""
        count, last = self._spoiled
        count = count + 1 if segment.sequence - last <= 1 else 1
        self._spoiled = (count, segment.sequence)
        if count > _MOST_LOST:
            raise SourceError(Reason.SOURCE_UNSUPPORTED, why, transient=True)
        self.leave_out(f"a segment is left out: {why}")

    def leave_out(self, text: str) -> None:
        self.notes.skipped += 1
        self.notes.add(text)

    # --- the next segment -----------------------------------------------------------------------------------

    def _peek(self) -> Segment | None:
        while True:
            segment = self._listed()
            if segment is None:
                self._check_end()
                return None
            if segment.whole:
                if (whole := self._found(segment)) is not None:
                    return whole
                continue
            opened = self._opened
            if opened is not None and (opened[0].sequence, opened[0].origin) == (
                segment.sequence,
                segment.origin,
            ):
                return segment
            self._drop()
            self._load_in_time(segment)
            if self._next != segment.sequence:
                continue  # the source began anew
            if (found := self._open(segment)) is not None:
                return found

    def _found(self, segment: Segment) -> Segment | None:
        """A segment that somebody else opens, with the address that answers; None where none does."""
        if segment.part not in self._places:
            try:
                self._places = {segment.part: self.fetcher.that_answers(segment.part)}
            except SourceError as error:
                self.fetcher.raise_if_aborted()
                self._fail(segment, error, slow=False)
                return None
        self._any_good, self._switches, self._lost = True, 0, None
        return replace(segment, part=self._places[segment.part])

    def _listed(self) -> Segment | None:
        while True:
            segments = self.playlist.segments
            index = self._next - segments[0].sequence if segments else -1
            if segments and index < 0 and not self.playlist.ended:
                if self._leader is None:
                    raise SegmentsGone
                self._go_to(self._leader)
                continue
            if 0 <= index < len(segments):
                self._dry_since = None
                return segments[index]
            if self.playlist.ended or self._is_left_alone():
                return None
            self._reload()

    def _is_left_alone(self) -> bool:
        """Whether the others continue without this one for now."""
        now = time.monotonic()
        if self._dry_since is None:
            self._dry_since = now
        dry = self._waits_little and now - self._dry_since > _PATIENCE_S
        return dry and now < self._list.due_at()

    @property
    def _waits_little(self) -> bool:
        return self._accompanied or (self.brief and self.torn is False)

    def _open(self, segment: Segment) -> Segment | None:
        """The segment, opened; None where it is left out, or to be tried again."""
        if segment.gap:
            self.leave_out("the source announces gaps (EXT-X-GAP): what was never made is left out")
            self._next = segment.sequence + 1
            if not self.playlist.ended:
                self._check_stall(segment, interrupted("the live source has nothing but gaps (EXT-X-GAP)"))
            return None
        begun = time.monotonic()
        try:
            return self._try(segment)
        except SourceError as error:
            self.fetcher.raise_if_aborted()
            if self.playlist.ended:
                self._fail(segment, error, slow=time.monotonic() - begun > _SLOW_S)
                return None
            return self._await(segment, error, begun)

    def _try(self, segment: Segment) -> Segment:
        wait_s, most_s = None, math.inf
        if self._any_good:  # before that nobody watches, and a server may have to start up
            wait_s = _wait_s(segment)
            most_s = 2 * wait_s + _MOST_DURATIONS * segment.duration_us / 1e6
        if segment.header is not None:
            self.fetcher.header(segment.header, wait_s)
        body = Body(self.fetcher, segment.part, segment.key, wait_s, most_s)
        if not is_media(body.form, self._form):
            body.close()
            what = "is empty" if body.form is Form.EMPTY else "is no media"
            if segment.key is not None:
                what += ", or its key is wrong"
            raise unsupported(f"{mask_url(segment.part.url)} {what}")
        self._opened = (segment, body)
        self._next = segment.sequence
        self._lost = None
        self._any_good, self._switches = True, 0
        self._barren_since = None
        return segment

    def _note_failure(self, segment: Segment, error: SourceError, begun: float | None = None) -> _Lost:
        if self._lost is None:
            self._lost = _Lost(segment, error, begun or time.monotonic())
        self._lost.tries += 1
        return self._lost

    def _fail(self, segment: Segment, error: SourceError, *, slow: bool) -> None:
        """In a recording: tries the segment again, or leaves it out."""
        gone = isinstance(error, ErrorAnswer) and error.status in _GONE
        if gone and segment.optional:
            self._next = segment.sequence + 1  # it was computed, and the period ends earlier
            return
        lost = self._note_failure(segment, error)
        pauses = _PAUSES_S if not slow else (0.0,) if self._any_good and not lost.count else ()
        if error.transient and not gone and lost.tries <= len(pauses):
            self.fetcher.wait(pauses[lost.tries - 1])
            return
        self._lose(segment, lost, error, _MOST_GONE if gone else _MOST_LOST)

    def _await(self, segment: Segment, error: SourceError, begun: float) -> Segment | None:
        """In a live source: the segment may be late. It is lost when the one behind it is there."""
        lost = self._note_failure(segment, error, begun)
        if not error.transient:
            self._lose(segment, lost, error, _MOST_LOST)
            return None
        self._check_stall(segment, error)
        if time.monotonic() - lost.since >= self._list.target_s():
            index = segment.sequence + 1 - self.playlist.segments[0].sequence
            behind = self.playlist.segments[index : index + 1]
            try:
                found = self._try(behind[0]) if behind and not behind[0].gap else None
            except SourceError:
                self.fetcher.raise_if_aborted()
            else:
                if found is not None:
                    self.leave_out(f"a segment is left out: {error}")
                    return found
        self.fetcher.wait(self._list.target_s() / 2)
        if time.monotonic() >= self._list.due_at():
            self._load_again()  # the playlist also tells the end, before segments are missed
        return None

    def _check_stall(self, segment: Segment, error: SourceError) -> None:
        limit_s, now = self._list.limit_s(), time.monotonic()
        if self._can_switch():
            limit_s = 2 * self._list.target_s()
        self._barren_since = self._barren_since or now
        if now - self._barren_since <= limit_s:
            return
        if isinstance(error, ErrorAnswer) and error.status in _GONE:
            first = self._lost.first if self._lost is not None else segment
            raise interrupted(f"{mask_url(first.part.url)} was not there for {limit_s:g} s") from error
        raise error

    def _lose(self, segment: Segment, lost: _Lost, error: SourceError, most: int) -> None:
        """Leaves the segment out. Raises the first error when too many are lost: the source has rather
        failed."""
        lost.count, lost.tries = lost.count + 1, 0
        hangs = lost.count > 1 and most == _MOST_LOST and time.monotonic() - lost.since > hls_reload.STALL_S
        if hangs or lost.count >= (min(most, _MOST_BEFORE_SWITCH) if self._can_switch() else most):
            self._next = lost.first.sequence
            raise lost.error
        what = "a file of the source" if segment.whole else "a segment"
        self.leave_out(f"{what} is left out: {error}")
        self._next = segment.sequence + 1

    def _check_end(self) -> None:
        """Raises SourceError at the end of a recording whose last segments could not be fetched, or none."""
        if not self.playlist.ended:
            return
        lost, self._lost = self._lost, None
        if lost is not None and (lost.count >= _MOST_LOST or not self._any_good):
            raise lost.error
        if not self._any_good and all(segment.gap for segment in self.playlist.segments):
            raise unsupported("the source has nothing but gaps (EXT-X-GAP): none of its segments was made")

    # --- reloading, and other playlists ---------------------------------------------------------------------

    def _load_in_time(self, segment: Segment) -> None:
        """Reloads the playlist while one segment is left, so that a bad answer does not stop playing."""
        left = self.playlist.segments[-1].sequence - segment.sequence
        if not self.playlist.ended and left <= 1 and time.monotonic() >= self._list.due_at():
            self._load_again()

    def _reload(self) -> None:
        """Waits and reloads, when all listed segments were read. Raises SourceError when nothing new
        comes."""
        due_at, until = self._list.due_at(), float("inf")
        if self._waits_little and self._dry_since is not None:
            until = self._dry_since + _PATIENCE_S
        self.fetcher.wait(min(due_at, until) - time.monotonic())
        if time.monotonic() < due_at:
            return
        self._load_again()
        error, limit_s = self._list.error, self._list.limit_s()
        if error is not None and self._list.bad_answers > _MOST_BAD_ANSWERS and self._can_switch():
            raise error
        if self._list.loaded_at - max(self._list.changed_at, self._dry_since or 0) > limit_s:
            if error is not None:
                raise error
            raise interrupted(f"the live playlist did not grow for {limit_s:g} s")

    def _load_again(self) -> None:
        if self._list.load_again():
            self._next = self.playlist.join().sequence

    def _switch(self, error: SourceError) -> bool:
        """Continues with another playlist of the same content; False where none is left that can be
        loaded."""
        for load in list(self._others) if self._can_switch() else []:
            try:
                new = load()
            except SourceError:
                self.fetcher.raise_if_aborted()
                continue
            if new.segments and new.ended == self.playlist.ended:
                self._others.remove(load)
                self._others.append(self._list.load)
                self._switches += 1
                self._drop()
                self._list.go_over_to(new, load, self._next)
                self._lost = self._form = self._barren_since = None
                self.notes.add(f"another variant of the source is played: {error}")
                return True
        return False

    def _can_switch(self) -> bool:
        """False when all were tried since the last segment that was fetched: the next one is lost in all."""
        return bool(self._others) and self._switches <= len(self._others)

    def _revive(self) -> bool:
        """Tries this rendition again, a while after it failed, where the leader is by then."""
        now = time.monotonic()
        if self._dead_until is None or now < self._dead_until:
            return False
        self._dead_until = self.failure = None
        self._list.be_patient()
        self._lost = self._barren_since = None
        if not self.playlist.ended:
            self._load_again()
        if self._leader is not None:
            self._go_to(self._leader)
        return True

    def _go_to(self, leader: "Rendition") -> None:
        """Skips ahead to where `leader` is; never goes back."""
        at_us = leader.taken_us
        if not self.playlist.ended:  # both lists end at about the same time
            at_us = max(0, self.playlist.duration_us - (leader.newest_us() - leader.taken_us))
        self._next = max(self._next, self.playlist.at(at_us).sequence)

    def _drop(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].close()

    def close(self) -> None:
        self._drop()


def _wait_s(segment: Segment) -> float:
    both_s = _OF_BOTH_WAITS_S + segment.duration_us / 1e6
    return min(_MOST_WAIT_S, max(_LEAST_WAIT_S, both_s / 2))


def _name(part: Part) -> tuple[str, int]:
    """What identifies a part although each answer signs its address anew."""
    return part.url.partition("?")[0], part.offset
