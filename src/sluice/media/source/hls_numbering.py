"""Keeps the numbers of segments and runs the same over the reloads of a live HLS playlist.

Pure. A segment that is listed again keeps its run, even when the discontinuity before it has left the
playlist and EXT-X-DISCONTINUITY-SEQUENCE is missing or wrong. A playlist that is older than the known one
changes nothing; caches answer with such at times. One that begins anew, as after an encoder's restart,
continues our numbers.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from sluice.media.source.hls_playlist import MediaPlaylist, Segment

_DAY_US = 86_400_000_000


class Change(Enum):
    """What a reload brought."""

    NEWS = "news"
    NONE = "none"
    STALE = "stale"  #: older than what is known, or empty
    ANEW = "anew"  #: the server's numbers began anew; ours go on


class Numbering:
    """Has the newest playlist, renumbered so that sequence numbers never go back. `begin_us` and `end_us` are
    on a clock that starts at the beginning of the first playlist and runs on over reloads."""

    def __init__(
        self,
        playlist: MediaPlaylist,
        *,
        run_shift: int = 0,
        shift: int = 0,
        base_us: int = 0,
        origin: int = 0,
    ) -> None:
        """`run_shift`: what `run_shift_to` found, for a second rendition. The others: see `replaced_by`."""
        self._shift = shift  #: what is added to the server's media sequence numbers
        self._base_us = base_us  #: where the playlist's first segment begins
        self._origin = origin
        self.playlist = self._renumbered(playlist, lambda segment: segment.run + run_shift)
        self._suspect_end: int | None = None  #: last number of the older playlist that came last
        self._told_shift = run_shift if playlist.tells_runs else None

    @property
    def end_us(self) -> int:
        return self._base_us + self.playlist.duration_us

    def begin_us(self, segment: Segment) -> int:
        return self._base_us + segment.start_us

    def take(self, new: MediaPlaylist, *, believe: bool = False, passed_us: int = _DAY_US) -> Change:
        """Takes the answer to a reload, `passed_us` after the last one that had news. `believe`: that was so
        long ago that an older playlist, if it grows, is taken for the server's current one."""
        if not new.segments:
            self.playlist = replace(self.playlist, ended=self.playlist.ended or new.ended)
            return Change.STALE if not new.ended else Change.NEWS
        old = self.playlist
        end = new.segments[-1].sequence + self._shift
        known = old.segments[-1].sequence
        if end < known:
            grown = self._suspect_end is not None and end > self._suspect_end
            self._suspect_end = end
            if not self._is_anew(new, grown, believe):
                return Change.STALE
            self._begin_anew(new)
            return Change.ANEW
        self._suspect_end = None
        self._adopt(new, passed_us)
        return Change.NEWS if end > known or new.ended else Change.NONE

    def _is_anew(self, new: MediaPlaylist, grown: bool, believe: bool) -> bool:
        """Whether a playlist with lower numbers is newer all the same: it was made later, has other segments
        under the same numbers, or is far from the known one and growing."""
        old = {segment.sequence: segment for segment in self.playlist.segments}
        last, newest = self.playlist.segments[-1], new.segments[-1]
        if last.program_time_us is not None and newest.program_time_us is not None:
            return newest.program_time_us > last.program_time_us
        pairs = [(old[n], s) for s in new.segments if (n := s.sequence + self._shift) in old]
        if any(a.duration_us != b.duration_us for a, b in pairs):
            return True
        return grown and (believe or not pairs)

    def _begin_anew(self, new: MediaPlaylist) -> None:
        last, first = self.playlist.segments[-1], new.segments[0]
        end_us = self.end_us
        self._shift = last.sequence + 1 - first.sequence
        self._suspect_end = self._told_shift = None
        shift = last.run + 1 - first.run
        self.playlist = self._renumbered(new, lambda segment: segment.run + shift)
        self._base_us = end_us - self.playlist.segments[0].start_us

    def _adopt(self, new: MediaPlaylist, passed_us: int) -> None:
        old = {segment.sequence: segment for segment in self.playlist.segments}
        common = [s for s in new.segments if s.sequence + self._shift in old]
        if common:
            runs = {s.sequence: old[s.sequence + self._shift].run for s in common}
            before, behind = (
                runs[common[0].sequence] - common[0].run,
                runs[common[-1].sequence] - common[-1].run,
            )
            first = common[0].sequence

            def run(segment: Segment) -> int:
                shift = before if segment.sequence < first else behind
                return runs.get(segment.sequence, segment.run + shift)

            if behind != self._told_shift:
                self._told_shift = None  # the server's numbers of runs cannot be trusted
            at_us = self.begin_us(old[first + self._shift])
            self._base_us = at_us - common[0].start_us
        else:
            shift = self._shift_behind(new)
            # Numbers and dates may leap: no more can be missing than the time that passed.
            begin_us = self.end_us + min(self._missed_us(new), passed_us)

            def run(segment: Segment) -> int:
                return segment.run + shift

            self._base_us = begin_us - new.segments[0].start_us
        self.playlist = self._renumbered(new, run)

    def _shift_behind(self, new: MediaPlaylist) -> int:
        """What is added to the runs of a playlist that has no segment in common with the one before: only the
        server's numbers may tell what lay between."""
        last, first = self.playlist.segments[-1], new.segments[0]
        if new.tells_runs and self._told_shift is not None and first.run + self._told_shift >= last.run:
            return self._told_shift
        return last.run + 1 - first.run

    def _missed_us(self, new: MediaPlaylist) -> int:
        """Duration of the segments that were listed between two reloads, and are gone already."""
        last, first = self.playlist.segments[-1], new.segments[0]
        if last.program_time_us is not None and first.program_time_us is not None:
            return max(0, first.program_time_us - last.program_time_us - last.duration_us)
        missed = first.sequence + self._shift - last.sequence - 1
        lengths = [segment.duration_us for segment in (*self.playlist.segments, *new.segments)]
        return missed * sum(lengths) // len(lengths)

    def replaced_by(self, new: MediaPlaylist, sequence: int, newest_us: int) -> "Numbering":
        """The numbering of another playlist with the same content. Its segment that plays at the time of our
        segment `sequence` gets that number. `newest_us`: where a live source is by now."""
        segments = self.playlist.segments
        wanted = segments[max(0, min(sequence - segments[0].sequence, len(segments) - 1))]
        at_us = self.begin_us(wanted) + (wanted.duration_us if sequence > wanted.sequence else 0)
        same = next((s for s in new.segments if s.sequence + self._shift == sequence), None)
        if wanted.program_time_us is not None and all(s.program_time_us is not None for s in new.segments):
            date_us = wanted.program_time_us + at_us - self.begin_us(wanted)
            found = min(new.segments, key=lambda s: abs((s.program_time_us or 0) - date_us))
        elif new.ended:
            found = min(new.segments, key=lambda s: abs(s.start_us - at_us))
        else:  # encoders number alike, though 6.2.4 does not promise it
            found = same or new.at(max(0, new.duration_us - (newest_us - at_us)))
        return Numbering(
            new,
            run_shift=run_shift_to(self.playlist, new),
            shift=sequence - found.sequence,
            base_us=at_us - found.start_us,
            origin=self._origin + 1,
        )

    def _renumbered(self, playlist: MediaPlaylist, run: Callable[[Segment], int]) -> MediaPlaylist:
        shift, origin = self._shift, self._origin
        if shift == origin == 0 and all(segment.run == run(segment) for segment in playlist.segments):
            return playlist
        segments = (
            replace(segment, sequence=segment.sequence + shift, run=run(segment), origin=origin)
            for segment in playlist.segments
        )
        return replace(playlist, segments=tuple(segments))


def run_shift_to(main: MediaPlaylist, other: MediaPlaylist) -> int:
    """What is added to the runs of `other`, a second rendition, to make them those of `main`. 0 where both
    playlists number their runs; else segments at one time of day, or one position, are of one run."""
    if main.tells_runs and other.tells_runs:
        return 0
    by_date = all(
        any(segment.program_time_us is not None for segment in playlist.segments)
        for playlist in (main, other)
    )
    places = [
        (at_us, segment) for segment in main.segments if (at_us := _place(segment, main, by_date)) is not None
    ]
    places.sort(key=lambda place: place[0])
    votes: Counter[int] = Counter()
    for segment in other.segments:
        at_us = _place(segment, other, by_date)
        if at_us is not None:
            n = bisect_right(places, at_us + segment.duration_us // 2, key=lambda place: place[0])
            if n:
                votes[places[n - 1][1].run - segment.run] += max(1, segment.duration_us)
    return votes.most_common(1)[0][0] if votes else 0


def _place(segment: Segment, playlist: MediaPlaylist, by_date: bool) -> int | None:
    """A position by which two playlists can be compared: the time of day, or a time from the beginning of a
    recording or from the end of a live playlist."""
    if by_date:
        return segment.program_time_us
    return segment.start_us if playlist.ended else segment.start_us - playlist.duration_us
