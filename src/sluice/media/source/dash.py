"""MPEG-DASH, recorded and live: our own reader of manifests, FFmpeg's demuxers behind it.

The manifest becomes playlists of segments, one for video and one for audio, which are read like those of HLS.
FFmpeg's demuxer for DASH is not used: it requests segments of a live presentation before they exist, skips
those that do not, and gives up once it has played those that existed at first. A recording ends, and so does
a live presentation whose manifest says that it became one; one that stops growing is a loss.
"""

import re
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import partial

from sluice.core.errors import SourceError, interrupted
from sluice.core.plan import Probe
from sluice.core.source_facts import Variant
from sluice.media.packets import TrackKind
from sluice.media.source.dash_manifest import Manifest, parse_manifest
from sluice.media.source.dash_xml import unix_us
from sluice.media.source.hls_fetch import Fetcher, read_text
from sluice.media.source.hls_playlist import MediaPlaylist, Segment
from sluice.media.source.hls_rendition import Rendition
from sluice.media.source.notes import Notes
from sluice.media.source.segmented import SegmentedSource, no_segments
from sluice.net.http import HttpFile

#: How many segments behind its edge a live presentation is joined: where the manifest suggests no delay, and
#: at least. It takes up to a segment and a half until we see that there is a new one.
_DELAY_SEGMENTS, _LEAST_SEGMENTS = 3, 2
#: Audio may begin this much earlier than video.
_EARLY_US = 20_000
#: The Date of an answer is no better than seconds, and caches make it worse.
_DATE_ROUGH_US = 2_000_000
_AGE = re.compile(r"\d{1,9}", re.ASCII)
_UTC = "urn:mpeg:dash:utc:"


class DashSource(SegmentedSource):
    title = "MPEG-DASH"
    _offers: tuple[Sequence[Variant], int] = ((), 0)

    def _offered(self) -> tuple[Sequence[Variant], int]:
        return self._offers

    def open(self) -> Probe:
        """Raises SourceError."""
        manifest = parse_manifest(read_text(self._head), self._file.url)
        self._offers = manifest.offers, manifest.further
        presentation = _Presentation(manifest, self._fetcher, self.notes, _skew_of(self._file))
        # What is alone in its manifest may hold both.
        kinds = [k for k in presentation.kinds if k in self._kinds] or presentation.kinds
        leader: Rendition | None = None
        renditions: list[tuple[Rendition, frozenset[TrackKind]]] = []
        played: set[str] = set()
        for kind in kinds:
            wanted = frozenset({kind}) if len(manifest.kinds()) > 1 else self._kinds
            rendition = presentation.rendition(kind, leader)
            if leader is not None and rendition.peek() is None:
                continue  # told in the notes
            leader = leader or rendition
            renditions.append((rendition, wanted))
            played.add(kind.value)
        probes = self._open_renditions(renditions)
        offers = [one if one.kind in played else one.left_out() for one in manifest.offers]
        self._offers = offers, manifest.further
        if presentation.live:
            self._renditions.begin_at(-_EARLY_US)
        main = self._renditions.main.rendition.playlist
        duration_us = main.duration_us or probes[0].duration_us
        return self._summed_up(probes, live=presentation.live, duration_us=duration_us)


class _Presentation:
    """A manifest over its reloads, as one playlist for each kind of track. Time zero of these playlists is
    the beginning of the first segment that is played.

    Each rendition asks for its playlist when it needs it; a manifest that was fetched for one serves all.
    """

    def __init__(self, manifest: Manifest, fetcher: Fetcher, notes: Notes, skew_us: int | None) -> None:
        """`skew_us`: how far the clock of the manifest's server is ahead of ours. Raises SourceError when
        there are no segments (yet)."""
        self._fetcher, self._notes = fetcher, notes
        self.live = manifest.live
        self._round = 0  #: counts the reloads
        self._skew_us = self._clock_skew_us(manifest, skew_us) if manifest.follows_clock() else 0
        all_kinds = [kind for kind in TrackKind if kind in manifest.kinds()]
        self._seen = dict.fromkeys(all_kinds, 0)
        self._choices = dict.fromkeys(all_kinds, 0)
        self._segments: dict[TrackKind, list[Segment]] = {kind: [] for kind in all_kinds}
        self._take(manifest)
        #: Those to be played, the one that sets the rhythm first.
        self.kinds = [kind for kind in all_kinds if self._segments[kind]]
        if not self.kinds:
            raise no_segments("the DASH manifest", live=self.live)
        if len(self.kinds) < len(all_kinds):
            self._notes.add(f"the source begins with {self.kinds[0].value} only, which is played alone")
        self._delay_us = self._delay_of(manifest)
        self._zero_us = self._first_us(self._segments[self.kinds[0]])

    def rendition(self, kind: TrackKind, leader: Rendition | None) -> Rendition:
        first, *others = [partial(self._reload, kind, n) for n in range(self._manifest.choices(kind))]
        return Rendition(
            self._playlist(kind), self._fetcher, first, notes=self._notes, others=others, leader=leader
        )

    def _reload(self, kind: TrackKind, choice: int) -> MediaPlaylist:
        """`choice`: which representation; the best is 0."""
        if self._choices[kind] != choice:
            self._choices[kind] = choice
            self._take(self._manifest)
            return self._playlist(kind)
        if self._seen[kind] == self._round:
            # Whatever its minimumUpdatePeriod: the manifest also tells the end, before segments are missed.
            manifest = parse_manifest(*self._fetcher.text(self._manifest.location))
            if manifest.live and manifest.available_at_us != self._manifest.available_at_us:
                self._begin_anew(manifest)
            else:
                self._take(manifest)
            self._round += 1
        self._seen[kind] = self._round
        return self._playlist(kind)

    def _take(self, manifest: Manifest) -> None:
        for kind, before in self._segments.items():
            self._segments[kind] = _follow(self._listed(manifest, kind), before)
        self._manifest = manifest

    def _begin_anew(self, manifest: Manifest) -> None:
        """The address has another presentation now, which continues where the one before ended. Raises
        SourceError when it has no segments yet."""
        found = {kind: self._listed(manifest, kind) for kind in self._segments}
        main = self.kinds[0]
        if not found[main]:
            raise interrupted("the live source began anew")
        end_us = self._segments[main][-1].end_us - self._zero_us
        self._delay_us = self._delay_of(manifest, found[main])
        begin_us = self._first_us(found[main])
        for kind, segments in found.items():
            number = self._segments[kind][-1].sequence + 1 if self._segments[kind] else 0
            new = (segment for segment in segments if segment.end_us > begin_us)
            self._segments[kind] = [replace(s, sequence=number + n) for n, s in enumerate(new)]
        self._zero_us = begin_us - end_us
        self._manifest = manifest
        self._notes.add("the live source began anew; it is played on from there")

    def _listed(self, manifest: Manifest, kind: TrackKind) -> list[Segment]:
        return manifest.segments(kind, _wall_us() + self._skew_us, self._choices[kind])

    def _playlist(self, kind: TrackKind) -> MediaPlaylist:
        segments = self._segments[kind]
        return MediaPlaylist(
            tuple(_shift(segment, -self._zero_us) for segment in segments),
            _longest_us(segments),
            ended=not self._manifest.live,
            # Joined at zero; if it has to be joined again, as far behind the edge as the first time.
            hold_back_us=self._delay_us,
            start_offset_us=0 if self._round == 0 else None,
        )

    def _delay_of(self, manifest: Manifest, segments: list[Segment] | None = None) -> int:
        longest_us = _longest_us(segments or self._segments[self.kinds[0]])
        delay_us = manifest.delay_us or _DELAY_SEGMENTS * longest_us
        return max(delay_us, _LEAST_SEGMENTS * longest_us)

    def _first_us(self, segments: list[Segment]) -> int:
        """Where to begin."""
        if not self.live:
            return segments[0].start_us
        join_us = segments[-1].end_us - self._delay_us
        return next(s.start_us for s in segments if s.end_us > join_us)

    def _clock_skew_us(self, manifest: Manifest, skew_us: int | None) -> int:
        """How far the server's clock is ahead of ours, by the manifest (5.8.4.11) or by the Date of its
        answer (`skew_us`); 0 where neither tells."""
        for scheme, value in manifest.clocks:
            name = scheme.removeprefix(_UTC).partition(":")[0]
            try:
                if name == "direct":
                    return unix_us(value) - _wall_us()
                told_us = self._ask_skew(name, value.split()[0]) if value.split() else None
            except SourceError:
                self._fetcher.raise_if_aborted()
                continue
            if told_us is not None:
                return told_us
        return skew_us if skew_us is not None and abs(skew_us) > _DATE_ROUGH_US else 0

    def _ask_skew(self, name: str, url: str) -> int | None:
        if name in ("http-iso", "http-xsdate"):
            return unix_us(self._fetcher.text(url)[0]) - _wall_us()
        if name != "http-head":
            return None
        file = self._fetcher.open(url)
        try:
            return _skew_of(file)
        finally:
            self._fetcher.close(file)


def _skew_of(file: HttpFile) -> int | None:
    """How far the server's clock is ahead of ours, by the Date of its answer, which a cache keeps and adds an
    Age to (RFC 9110 6.6.1, RFC 9111 5.1). Date leaves out half a second on average."""
    age = file.header("age").strip()
    try:
        told_s = parsedate_to_datetime(file.date).timestamp() + 0.5
    except (ValueError, OverflowError):
        return None
    return int((told_s + (int(age) if _AGE.fullmatch(age) else 0)) * 1e6) - _wall_us()


def _wall_us() -> int:
    return int(time.time() * 1e6)


def _follow(segments: list[Segment], before: list[Segment]) -> list[Segment]:
    """`segments` with sequence numbers that continue those of `before`; a segment that was listed before
    keeps its number. Returns `before` when there are none, or only older ones, as caches have at times."""
    first = 0
    if before and segments:
        newest = before[-1]
        beyond_us = newest.start_us + newest.duration_us // 2
        if segments[-1].end_us <= newest.start_us:
            return before
        known = bisect_left(segments, beyond_us, key=lambda segment: segment.start_us)
        first = newest.sequence + 1 - known
    if first == 0:  # they are numbered so: a copy of a hundred thousand would cost memory for nothing
        return segments or before
    return [replace(segment, sequence=first + n) for n, segment in enumerate(segments)] or before


def _longest_us(segments: list[Segment]) -> int:
    """The longest duration, at least a second, since the server is asked no more often than that."""
    return max(1_000_000, *(segment.duration_us for segment in segments))


def _shift(segment: Segment, by_us: int) -> Segment:
    if by_us == 0:
        return segment
    shift_us = segment.shift_us + by_us if segment.shift_us is not None else None
    return replace(segment, start_us=segment.start_us + by_us, shift_us=shift_us)
