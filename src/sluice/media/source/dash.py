"""MPEG-DASH, recorded and live: our own reader of manifests, FFmpeg's demuxers behind it.

The manifest becomes playlists of segments, one for the picture and one for the sound, which are read as
those of HLS are. FFmpeg's demuxer for DASH is not used: it asks for segments of a live presentation before
they are there, skips those that are not, and has given up once it played what was there at first. A
recording ends, and so does a live presentation whose manifest says that it became one; one that stops growing
is a loss.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import TrackKind
from sluice.media.source.dash_manifest import Manifest, parse_manifest
from sluice.media.source.dash_xml import unix_us
from sluice.media.source.hls_fetch import Fetcher, read_text
from sluice.media.source.hls_playlist import MediaPlaylist, Segment
from sluice.media.source.hls_rendition import Rendition
from sluice.media.source.lanes import Lane
from sluice.media.source.notes import Notes
from sluice.media.source.segmented import SegmentedSource

#: How far behind its edge a live presentation is joined, in segments: without a word of its manifest, and at
#: least; the next segment is seen up to a segment and a half later.
_DELAY_SEGMENTS, _LEAST_SEGMENTS = 3, 2
#: Sound that begins earlier than the picture by less than this may be played.
_EARLY_US = 20_000
_UTC = "urn:mpeg:dash:utc:"


class DashSource(SegmentedSource):
    def open(self) -> Probe:
        """Raises SourceError."""
        presentation = _Presentation(parse_manifest(read_text(self._head), self._file.url), self._fetcher)
        # What is alone in its manifest may hold both.
        kinds = [k for k in presentation.kinds if k in self._kinds] or presentation.kinds
        clocks: dict[int, int] = {}
        leader: Rendition | None = None
        for kind in kinds:
            wanted = frozenset({kind}) if len(presentation.kinds) > 1 else self._kinds
            rendition = presentation.rendition(kind, self.notes, leader)
            leader = leader or rendition
            self._lanes.add(Lane(rendition, wanted, clocks))
        probes = self._lanes.open()
        if presentation.live:
            self._lanes.begin_at(-_EARLY_US)
        main = self._lanes.main.rendition.playlist
        return Probe(
            video=next((p.video for p in probes if p.video), None),
            audio=next((p.audio for p in probes if p.audio), None),
            live=presentation.live,
            seekable=not presentation.live,
            duration_us=None if presentation.live else main.duration_us or probes[0].duration_us,
        )


class _Presentation:
    """A manifest over time, as playlists whose zero is the first segment that is played.

    The renditions ask in turn, and one request serves them all.
    """

    def __init__(self, manifest: Manifest, fetcher: Fetcher) -> None:
        """Raises SourceError when there are no segments (yet)."""
        self._fetcher = fetcher
        self._location, self._available_at_us = manifest.location, manifest.available_at_us
        self.live = self._growing = manifest.live
        #: Those to be played, the one that sets the rhythm first.
        self.kinds = [kind for kind in TrackKind if kind in manifest.kinds()]
        self._round = 0  #: counts the reloads
        self._seen = dict.fromkeys(self.kinds, 0)
        self._skew_us = self._clock_skew_us(manifest.clocks) if manifest.follows_clock() else 0
        self._segments: dict[TrackKind, list[Segment]] = {kind: [] for kind in self.kinds}
        self._take(manifest)
        if not all(self._segments.values()):
            raise SourceError(
                Reason.IDLE_TIMEOUT if self.live else Reason.SOURCE_UNSUPPORTED,
                "the DASH manifest has no segments" + (" yet" if self.live else ""),
                transient=self.live,
            )
        main = self._segments[self.kinds[0]]
        longest_us = _longest_us(main)
        delay_us = manifest.delay_us or _DELAY_SEGMENTS * longest_us
        self._delay_us = max(delay_us, _LEAST_SEGMENTS * longest_us)
        self._zero_us = self._first_us(main)

    def rendition(self, kind: TrackKind, notes: Notes, leader: Rendition | None) -> Rendition:
        return Rendition(
            self._playlist(kind), self._fetcher, lambda: self._reload(kind), notes=notes, leader=leader
        )

    def _reload(self, kind: TrackKind) -> MediaPlaylist:
        if self._seen[kind] == self._round:
            # Whatever its minimumUpdatePeriod: it also tells the end, before segments are missed.
            manifest = parse_manifest(*self._fetcher.text(self._location))
            if manifest.live and manifest.available_at_us != self._available_at_us:
                raise SourceError(Reason.SOURCE_INTERRUPTED, "the live source began anew", transient=True)
            self._take(manifest)
            self._round += 1
        self._seen[kind] = self._round
        return self._playlist(kind)

    def _take(self, manifest: Manifest) -> None:
        now_us = _wall_us() + self._skew_us
        for kind, before in self._segments.items():
            self._segments[kind] = _follow(manifest.segments(kind, now_us), before)
        self._location, self._growing = manifest.location, manifest.live

    def _playlist(self, kind: TrackKind) -> MediaPlaylist:
        segments = self._segments[kind]
        return MediaPlaylist(
            tuple(_shift(segment, -self._zero_us) for segment in segments),
            _longest_us(segments),
            ended=not self._growing,
            # Joined at zero, and where it has to be joined again as far behind the edge as then.
            hold_back_us=self._delay_us,
            start_offset_us=0 if self._round == 0 else None,
        )

    def _first_us(self, segments: list[Segment]) -> int:
        """Where to begin."""
        if not self.live:
            return segments[0].start_us
        join_us = segments[-1].start_us + segments[-1].duration_us - self._delay_us
        return next(s.start_us for s in segments if s.start_us + s.duration_us > join_us)

    def _clock_skew_us(self, clocks: Iterable[tuple[str, str]]) -> int:
        """How far the server's clock is ahead of ours, where it tells (5.8.4.11); else they are the same."""
        for scheme, value in clocks:
            name = scheme.removeprefix(_UTC).partition(":")[0]
            try:
                if name == "direct":
                    return unix_us(value) - _wall_us()
                if name in ("http-iso", "http-xsdate") and value.split():
                    return unix_us(self._fetcher.text(value.split()[0])[0]) - _wall_us()
            except SourceError:
                self._fetcher.wait(0)  # raises when it was we who broke it off
        return 0


def _wall_us() -> int:
    return int(time.time() * 1e6)


def _follow(segments: list[Segment], before: list[Segment]) -> list[Segment]:
    """`segments` numbered on from `before`, of which they may repeat some; `before` when there are none."""
    first = 0
    if before:
        newest = before[-1]
        beyond_us = newest.start_us + newest.duration_us // 2
        known = bisect_left(segments, beyond_us, key=lambda segment: segment.start_us)
        first = newest.sequence + 1 - known
    return [replace(segment, sequence=first + n) for n, segment in enumerate(segments)] or before


def _longest_us(segments: list[Segment]) -> int:
    """Also how often the server is asked at most, so not less than a second."""
    return max(1_000_000, *(segment.duration_us for segment in segments))


def _shift(segment: Segment, by_us: int) -> Segment:
    shift_us = segment.shift_us + by_us if segment.shift_us is not None else None
    return replace(segment, start_us=segment.start_us + by_us, shift_us=shift_us)
