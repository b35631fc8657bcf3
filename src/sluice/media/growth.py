"""Adds what sessions count to the figures of their process, once a second."""

from typing import NamedTuple

from sluice.core.drops import DropRule
from sluice.core.figures import BYTES_OUT, DECODE_SECONDS, ENCODE_SECONDS, FRAMES_OUT, RECONNECTS, Growth
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.packets import TrackKind


class Ends(NamedTuple):
    """Labels of figures: where media goes, and what is reached again when it was lost."""

    sends_to: str
    reconnects_to: str


_NOWHERE = Ends("", "")


class CountsGrowth:
    """Of one session, or of what several share."""

    def __init__(self, context: MediaContext, ends: Ends = _NOWHERE) -> None:
        """`ends`: of a session that sends anything."""
        self._growth, self._ends = Growth(context.tally), ends
        self._drops = context.drops
        self._dropped: dict[DropRule, int] = {}

    def note(self, totals: Counts) -> None:
        note, ends = self._growth.note, self._ends
        note(FRAMES_OUT, totals.video_frames, TrackKind.VIDEO.value)
        note(FRAMES_OUT, totals.audio_packets, TrackKind.AUDIO.value)
        note(BYTES_OUT, totals.bytes_out, ends.sends_to)
        note(RECONNECTS, totals.reconnects, ends.reconnects_to)
        for figure, by_kind in ((DECODE_SECONDS, totals.decode_s), (ENCODE_SECONDS, totals.encode_s)):
            for kind, seconds in by_kind.items():
                note(figure, seconds, kind.value)
        for rule, count in totals.dropped.items():
            known = self._dropped.get(rule, 0)
            if count > known:
                self._drops.add(rule, count - known)
                self._dropped[rule] = count
