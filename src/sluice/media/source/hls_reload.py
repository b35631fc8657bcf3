"""A media playlist over its reloads: what it lists now, and when the next reload is due.

An answer that fails, or that is older than the one before, only changes the time of the next reload. The
reader of the segments (hls_rendition.py) decides how long that is bearable, and what is played instead.
"""

import time
from collections.abc import Callable

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_RELOAD_SHARE
from sluice.media.source.hls_fetch import Fetcher
from sluice.media.source.hls_numbering import Change, Numbering
from sluice.media.source.hls_playlist import MediaPlaylist, Segment
from sluice.media.source.notes import Notes

#: A live playlist that does not change for so long is a loss, and so are segments that are not there for so
#: long. Three target durations if that is longer.
STALL_S = 10.0
#: A longer target duration counts as this one, so that reloads are not further apart.
_LONGEST_TARGET_S = 60.0
#: The pause after a reload that failed; longer from the fourth in a row on.
_BAD_ANSWER_S = 0.25

Load = Callable[[], MediaPlaylist]


class ReloadedPlaylist:
    """Calls `load` for the playlist as it is now. All times are those of `time.monotonic`."""

    def __init__(
        self, playlist: MediaPlaylist, load: Load, fetcher: Fetcher, notes: Notes, *, run_shift: int = 0
    ) -> None:
        self.load = load
        self._fetcher, self._notes = fetcher, notes
        self._numbering = Numbering(playlist, run_shift=run_shift)
        self.loaded_at = self.changed_at = self._heard_at = time.monotonic()
        self.error: SourceError | None = None  #: of the last reload
        self.bad_answers = 0  #: in a row: errors and older playlists
        self._work_s = 0.0  #: processor time of the last reload

    @property
    def newest(self) -> MediaPlaylist:
        """The newest playlist. Segments and runs keep their numbers over reloads."""
        return self._numbering.playlist

    def newest_us(self) -> int:
        """Where the source is by now; it moves on between reloads."""
        return self._numbering.end_us + int((time.monotonic() - self._heard_at) * 1e6)

    def begin_us(self, segment: Segment) -> int:
        """Where a segment of the playlist begins, on the clock of `newest_us`."""
        return self._numbering.begin_us(segment)

    def target_s(self) -> float:
        return min(self.newest.target_us / 1e6, _LONGEST_TARGET_S)

    def limit_s(self) -> float:
        """How long the playlist may bring nothing new."""
        return max(STALL_S, 3 * self.target_s())

    def due_at(self) -> float:
        """When to reload. RFC 8216bis 6.3.4: a target duration after a reload with a change, half of it after
        one without; sooner after a bad answer."""
        unchanged = self.changed_at < self.loaded_at
        pause_s = self.target_s() / (2 if unchanged else 1)
        if self.bad_answers:
            pause_s = min(pause_s, _BAD_ANSWER_S * max(1, self.bad_answers - 2))
        return self.loaded_at + max(pause_s, self._work_s / MOST_RELOAD_SHARE)

    def load_again(self) -> bool:
        """Reloads. True when the source began anew: numbers continue, but the segment that was to come next
        is gone. The error of a failed answer is kept in `error`. Raises SourceError when we were aborted, and
        for ADDRESS_NOT_ALLOWED."""
        begun_s = time.thread_time()
        try:
            return self._load_again()
        finally:
            self._work_s = time.thread_time() - begun_s

    def _load_again(self) -> bool:
        try:
            new = self.load()
        except SourceError as error:
            self._fetcher.raise_if_aborted()
            if error.reason is Reason.ADDRESS_NOT_ALLOWED:
                raise
            self.error, self.loaded_at = error, time.monotonic()
            self.bad_answers += 1
            self._notes.add(f"the playlist could not be read again at first: {error}")
            return False
        now, self.error = time.monotonic(), None
        passed_s = now - self.changed_at
        change = self._numbering.take(
            new, believe=passed_s > self.limit_s() / 2, passed_us=int(passed_s * 1e6)
        )
        self.loaded_at = now
        if change is Change.STALE:
            self.bad_answers += 1
            self._notes.add("the server answered with an older playlist at first")
            return False
        self._heard_at, self.bad_answers = now, 0
        if change is not Change.NONE:
            self.changed_at = now
        if change is Change.ANEW:
            self._notes.add("the live source began anew; it is played on from there")
        return change is Change.ANEW

    def be_patient(self) -> None:
        """Restarts the time in which something new has to come."""
        self.changed_at = time.monotonic()

    def go_over_to(self, new: MediaPlaylist, load: Load, sequence: int) -> None:
        """Changes to another playlist with the same content. Its segment at the time of our segment
        `sequence` gets that number."""
        self._numbering = self._numbering.replaced_by(new, sequence, self.newest_us())
        self.loaded_at = self.changed_at = self._heard_at = time.monotonic()
        self.load, self.error = load, None
