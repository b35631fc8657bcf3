"""Parses HLS media playlists (RFC 8216bis). No IO: text and its address in, absolute addresses out.

Tags that change nothing for a relay are skipped, as the RFC asks (6.3.1): low-latency playlists are played as
ordinary ones, advertisements as part of the content. A playlist that would be played wrongly is refused: one
with encryption other than AES-128 of whole segments.
"""

from dataclasses import dataclass, replace

from sluice.core.errors import SourceError, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_SEGMENTS
from sluice.media.source.hls_text import (
    Addresses,
    Variables,
    attributes,
    byte_range,
    check_head,
    date_us,
    initialization_vector,
    integer,
    lines_of,
    microseconds,
)

_LIVE_TARGETS = 3  # 6.3.3: not closer to the end than three target durations
_IDENTITY = "identity"
#: Names of the DRM systems, by key format.
_DRM = {
    "com.apple.streamingkeydelivery": "FairPlay",
    "com.microsoft.playready": "PlayReady",
    "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed": "Widevine",
}


@dataclass(frozen=True, slots=True)
class Key:
    """AES-128 (4.4.4.4): the address of its 16 bytes, and the initialization vector."""

    url: str
    iv: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a resource: all of it, or `length` from `offset` on. `others`: its further addresses."""

    url: str
    offset: int = 0
    length: int | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """An initialization section (4.4.4.5), with the key that is in force at its tag."""

    part: Part
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a media playlist, HLS's or one that a DASH manifest was turned into.

    `start_us` counts from the playlist's first segment. A run has the segments between two discontinuities
    (4.4.4.3) or of one DASH period; their media timestamps are on one clock. `run` is its number, which stays
    the same over reloads and is shared by the renditions of a source (see hls_numbering.py). A segment that
    is a `gap` (4.4.4.7) does not exist and is not requested. `program_time_us` is the time of day at which
    the segment was made, in microseconds since 1970, if its run tells (4.4.4.6). `origin` tells playlists
    with the same content apart: segments of two of them are never read as one file.

    Only DASH sets the others (see dash.py). `shift_us` is added to the media's timestamps to make them times
    of the playlist. A `whole` segment is a complete, seekable file. An `optional` segment was computed and
    not listed, so that it may come late or never.
    """

    sequence: int
    part: Part
    start_us: int
    duration_us: int
    run: int
    key: Key | None
    header: Header | None
    shift_us: int | None = None
    whole: bool = False
    optional: bool = False
    gap: bool = False
    program_time_us: int | None = None
    origin: int = 0

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """What a media playlist lists at one time."""

    segments: tuple[Segment, ...]
    target_us: int
    ended: bool  #: it will not change any more
    hold_back_us: int | None
    start_offset_us: int | None  #: EXT-X-START; negative from the end
    tells_runs: bool = False  #: EXT-X-DISCONTINUITY-SEQUENCE is there

    @property
    def duration_us(self) -> int:
        return self.segments[-1].end_us if self.segments else 0

    def join(self) -> Segment:
        """The segment of a live playlist at which a viewer who joins now begins (6.3.3, 4.4.2.2)."""
        offset_us = self.start_offset_us
        if offset_us is None:
            offset_us = -(self.hold_back_us or _LIVE_TARGETS * self.target_us)
        at_us = offset_us if offset_us >= 0 else max(0, self.duration_us + offset_us)
        return self.at(at_us)

    def at(self, position_us: int) -> Segment:
        """The segment at this position; behind the end, the last one."""
        return next((s for s in self.segments if position_us < s.end_us), self.segments[-1])


def parse_media(text: str, base: str, master: Variables | None = None) -> MediaPlaylist:
    """`base`: the playlist's address; `master`: variables of the master playlist that names it. Raises
    SourceError, permanent for a playlist that cannot be played."""
    check_head(text)
    reader = _MediaReader(base, master)
    for line in lines_of(text):
        reader.take(line)
    segments = _with_times(reader.segments)
    # At least one second: it is also how often the server is asked.
    target_us = max(1_000_000, reader.target_us or max((s.duration_us for s in segments), default=0))
    hold_back_us = reader.hold_back_us
    return MediaPlaylist(
        tuple(segments),
        target_us,
        reader.ended,
        # 4.4.3.8 allows no less; servers write 0 when they mean no value.
        max(hold_back_us, _LIVE_TARGETS * target_us) if hold_back_us else None,
        reader.start_offset_us,
        reader.tells_runs,
    )


@dataclass(slots=True)
class _Coming:
    """What tags say of the next segment."""

    duration_us: int | None = None
    range: tuple[int, int | None] | None = None
    program_time_us: int | None = None
    gap: bool = False


class _MediaReader:
    def __init__(self, base: str, master: Variables | None) -> None:
        self.segments: list[Segment] = []
        self.target_us = 0
        self.ended = self.tells_runs = False
        self.hold_back_us: int | None = None
        self.start_offset_us: int | None = None
        self._addresses = Addresses(base)
        self._variables = Variables(base, master)
        self._sequence = self._run = self._start_us = 0
        self._header: Header | None = None
        #: The tag in force, by key format (4.4.4.4: several tags may lead to the same key).
        self._keys: dict[str, dict[str, str]] = {}
        self._key_url: str | None = None  #: of the tags in force, once it was needed
        self._range_ends: dict[str, int] = {}
        self._coming = _Coming()

    def take(self, line: str) -> None:
        if not line.startswith("#"):
            self._take_segment(self._variables.fill(line))
            return
        tag, _, value = line.partition(":")
        match tag:
            case "#EXTINF":
                self._coming.duration_us = microseconds(value.partition(",")[0])
            case "#EXT-X-TARGETDURATION":
                self.target_us = microseconds(value)
            case "#EXT-X-MEDIA-SEQUENCE" if not self.segments:
                self._sequence = integer(value)
            case "#EXT-X-DISCONTINUITY-SEQUENCE" if not self.segments:
                self._run, self.tells_runs = self._run + integer(value), True
            case "#EXT-X-DISCONTINUITY":
                self._run += 1
            case "#EXT-X-BYTERANGE":
                self._coming.range = byte_range(value)
            case "#EXT-X-GAP":
                self._coming.gap = True
            case "#EXT-X-PROGRAM-DATE-TIME":
                self._coming.program_time_us = date_us(value)
            case "#EXT-X-ENDLIST":
                self.ended = True
            case "#EXT-X-PLAYLIST-TYPE":
                # 4.4.3.5: a VOD playlist cannot change. One of type EVENT is live: like every live source it
                # is joined near its edge, however long ago it began, unless EXT-X-START says otherwise.
                self.ended = self.ended or value.strip() == "VOD"
            case "#EXT-X-DEFINE":
                self._variables.define(line)
            case "#EXT-X-KEY" | "#EXT-X-MAP" | "#EXT-X-START" | "#EXT-X-SERVER-CONTROL" | "#EXT-X-SKIP":
                self._take_attributes(tag, attributes(line, self._variables))

    def _take_attributes(self, tag: str, found: dict[str, str]) -> None:
        if tag == "#EXT-X-KEY":
            self._key_url = None
            if found.get("METHOD", "NONE") == "NONE":
                self._keys.clear()
            else:
                self._keys[found.get("KEYFORMAT", _IDENTITY)] = found
        elif tag == "#EXT-X-MAP":
            if "URI" not in found:
                raise unsupported("the playlist has an initialization section without an address")
            length, offset = byte_range(found["BYTERANGE"]) if "BYTERANGE" in found else (None, 0)
            self._header = Header(Part(self._addresses.of(found["URI"]), offset or 0, length), self._key())
        elif tag == "#EXT-X-START":
            self.start_offset_us = _hint(found.get("TIME-OFFSET"))
        elif tag == "#EXT-X-SERVER-CONTROL":
            self.hold_back_us = _hint(found.get("HOLD-BACK"))
        elif tag == "#EXT-X-SKIP":
            raise SourceError(
                Reason.SOURCE_REFUSED,
                "the server answers with a part of the playlist (EXT-X-SKIP) that was not asked for",
                transient=True,
            )

    def _take_segment(self, uri: str) -> None:
        if self._coming.duration_us is None:
            return  # an address without EXTINF is no segment (4.4.4.1)
        if len(self.segments) >= MOST_SEGMENTS:
            raise unsupported(f"the playlist has more than {MOST_SEGMENTS} segments")
        segment = Segment(
            self._sequence,
            self._part(self._addresses.of(uri)),
            self._start_us,
            max(self._coming.duration_us, 0),
            self._run,
            self._key(),
            self._header,
            gap=self._coming.gap,
            program_time_us=self._coming.program_time_us,
        )
        self.segments.append(segment)
        self._sequence += 1
        self._start_us = segment.end_us
        self._coming = _Coming()

    def _part(self, url: str) -> Part:
        if self._coming.range is None:
            return Part(url)
        length, offset = self._coming.range
        if offset is None:  # 4.4.4.2: behind the range before
            offset = self._range_ends.get(url, 0)
        self._range_ends[url] = offset + length
        return Part(url, offset, length)

    def _key(self) -> Key | None:
        if not self._keys:
            return None
        found = self._keys.get(_IDENTITY)
        if found is None or found["METHOD"] != "AES-128" or not found.get("URI"):
            form, told = next(iter(self._keys.items())) if found is None else (_IDENTITY, found)
            name = _DRM.get(form.lower(), form)[:80]
            raise unsupported(
                f"the source is encrypted ({told['METHOD'][:40]}, {name}), and there is no key for it"
            )
        # 5.2: without an initialization vector it is the media sequence number.
        iv = initialization_vector(found["IV"]) if "IV" in found else self._sequence.to_bytes(16, "big")
        if self._key_url is None:
            self._key_url = self._addresses.of(found["URI"])
        return Key(self._key_url, iv)


def _with_times(segments: list[Segment]) -> list[Segment]:
    """The segments with their time of day, counted from those in the same run that have one (4.4.4.6)."""
    if not any(segment.program_time_us is not None for segment in segments):
        return segments
    for ordered in (range(len(segments)), reversed(range(len(segments)))):
        run, lead_us = None, None  # the time of day minus that in the playlist
        for n in ordered:
            segment = segments[n]
            if segment.run != run:
                run, lead_us = segment.run, None
            if segment.program_time_us is not None:
                lead_us = segment.program_time_us - segment.start_us
            elif lead_us is not None:
                segments[n] = replace(segment, program_time_us=segment.start_us + lead_us)
    return segments


def _hint(value: str | None) -> int | None:
    """An optional duration; None where it is missing or malformed."""
    try:
        return microseconds(value) if value is not None else None
    except SourceError:
        return None
