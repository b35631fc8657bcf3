"""HLS playlists as data (RFC 8216). No IO: text and the address it came from in, absolute addresses out.

Tags that change nothing for a relay are skipped, as the RFC asks (6.3.1). What would be played wrongly
without being understood is refused: encryption other than AES-128 of whole segments.
"""

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason

#: A playlist longer than this is refused: 12 h of 2 s segments have some 3 MB.
MOST_BYTES = 8 << 20
_MOST_SEGMENTS = 100_000
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_LIVE_TARGETS = 3  # 6.3.3: not closer to the end than three target durations


@dataclass(frozen=True, slots=True)
class Key:
    """AES-128 (4.3.2.4): the address of its 16 bytes; `iv` None means the segment's sequence number."""

    url: str
    iv: bytes | None


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a resource: all of it, or `length` from `offset` on."""

    url: str
    offset: int = 0
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """`start_us` counts from the playlist's first segment; `run` numbers the stretches between
    discontinuities over reloads (4.3.3.3), `header` is the initialization section (4.3.2.5).

    DASH, whose manifests are turned into the same form, knows more (see dash.py): `shift_us` is what makes
    the media's timestamps count as `start_us` does, a `whole` segment is a file that can be sought in, and
    one that is `optional` was not named but counted, and may be late or never come.
    """

    sequence: int
    part: Part
    start_us: int
    duration_us: int
    run: int
    key: Key | None
    header: Part | None
    shift_us: int | None = None
    whole: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    segments: tuple[Segment, ...]
    target_us: int
    ended: bool
    hold_back_us: int | None
    start_offset_us: int | None  #: EXT-X-START; negative from the end

    @property
    def duration_us(self) -> int:
        return self.segments[-1].start_us + self.segments[-1].duration_us if self.segments else 0

    def join(self) -> Segment:
        """Where one who joins now begins to play a playlist that grows (6.3.3, 4.3.5.2)."""
        offset_us = self.start_offset_us
        if offset_us is None:
            offset_us = -(self.hold_back_us or _LIVE_TARGETS * self.target_us)
        at_us = offset_us if offset_us >= 0 else max(0, self.duration_us + offset_us)
        return self.at(at_us)

    def at(self, position_us: int) -> Segment:
        """The segment that holds the position; the last one behind the end."""
        return next((s for s in self.segments if position_us < s.start_us + s.duration_us), self.segments[-1])


@dataclass(frozen=True, slots=True)
class Variant:
    """One choice of a master playlist; `audio_url` where its sound has a playlist of its own."""

    url: str
    bandwidth_bps: int
    codecs: tuple[str, ...]
    audio_url: str | None


def is_master(text: str) -> bool:
    return "#EXT-X-STREAM-INF" in text


def best_variant(text: str, base: str) -> Variant:
    """The highest bandwidth; one with H.264 before any other, since it can be copied and is cheap to decode.

    Raises SourceError (permanent) when there is none.
    """
    audio: dict[str, str | None] = {}
    variants: list[Variant] = []
    pending: dict[str, str] | None = None
    for line in _lines(text):
        if line.startswith("#EXT-X-MEDIA:"):
            _take_rendition(audio, _attributes(line), base)
        elif line.startswith("#EXT-X-STREAM-INF:"):
            pending = _attributes(line)
        elif not line.startswith("#") and pending is not None:
            codecs = tuple(c.strip().lower() for c in pending.get("CODECS", "").split(",") if c.strip())
            bandwidth = pending.get("BANDWIDTH", "")
            variants.append(
                Variant(
                    urljoin(base, line),
                    int(bandwidth) if bandwidth.isdecimal() else 0,
                    codecs,
                    audio.get(pending.get("AUDIO", "")),
                )
            )
            pending = None
    if not variants:
        raise _unsupported("the playlist has no segments and names no other playlist that has")
    return max(variants, key=_rank)


def parse_media(text: str, base: str) -> MediaPlaylist:
    """Raises SourceError (permanent) for what cannot be played."""
    reader = _MediaReader(base)
    for line in _lines(text):
        reader.take(line)
    return MediaPlaylist(
        tuple(reader.segments),
        # At least one second: it is also how often the server is asked.
        max(reader.target_us, 1_000_000),
        reader.ended,
        reader.hold_back_us,
        reader.start_offset_us,
    )


class _MediaReader:
    def __init__(self, base: str) -> None:
        self.segments: list[Segment] = []
        self.target_us = 0
        self.ended = False
        self.hold_back_us: int | None = None
        self.start_offset_us: int | None = None
        self._base = base
        self._sequence = self._run = self._start_us = 0
        self._duration_us: int | None = None
        self._range: tuple[int, int | None] | None = None
        self._range_ends: dict[str, int] = {}
        self._key: Key | None = None
        self._header: Part | None = None

    def take(self, line: str) -> None:
        if not line.startswith("#"):
            self._take_segment(line)
            return
        tag, _, value = line.partition(":")
        match tag:
            case "#EXTINF":
                self._duration_us = _us(value.partition(",")[0])
            case "#EXT-X-TARGETDURATION":
                self.target_us = _us(value)
            case "#EXT-X-MEDIA-SEQUENCE":
                self._sequence = _int(value)
            case "#EXT-X-DISCONTINUITY-SEQUENCE":
                self._run = _int(value)
            case "#EXT-X-DISCONTINUITY":
                self._run += 1
            case "#EXT-X-BYTERANGE":
                self._range = _range(value)
            case "#EXT-X-ENDLIST":
                self.ended = True
            case "#EXT-X-KEY" | "#EXT-X-MAP" | "#EXT-X-START" | "#EXT-X-SERVER-CONTROL":
                self._take_attributes(tag, _attributes(line))

    def _take_attributes(self, tag: str, found: dict[str, str]) -> None:
        if tag == "#EXT-X-KEY":
            self._key = _key(found, self._base)
        elif tag == "#EXT-X-MAP":
            offset, length = 0, None
            if "BYTERANGE" in found:
                length, at = _range(found["BYTERANGE"])
                offset = at or 0
            self._header = Part(urljoin(self._base, found.get("URI", "")), offset, length)
        elif tag == "#EXT-X-START" and "TIME-OFFSET" in found:
            self.start_offset_us = _us(found["TIME-OFFSET"])
        elif "HOLD-BACK" in found:
            self.hold_back_us = _us(found["HOLD-BACK"])

    def _take_segment(self, uri: str) -> None:
        if self._duration_us is None:
            return  # an address without EXTINF is no segment (4.3.2.1)
        if len(self.segments) >= _MOST_SEGMENTS:
            raise _unsupported(f"the playlist has more than {_MOST_SEGMENTS} segments")
        part = Part(urljoin(self._base, uri))
        if self._range is not None:
            length, at = self._range
            offset = self._range_ends.get(part.url, 0) if at is None else at
            part = Part(part.url, offset, length)
            self._range_ends[part.url] = offset + length
        duration_us = max(self._duration_us, 0)
        self.segments.append(
            Segment(self._sequence, part, self._start_us, duration_us, self._run, self._key, self._header)
        )
        self._sequence += 1
        self._start_us += duration_us
        self._duration_us = self._range = None


def _take_rendition(audio: dict[str, str | None], found: dict[str, str], base: str) -> None:
    """The default rendition of each group; one without an address is in the variant itself (4.3.4.2.1)."""
    if found.get("TYPE") == "AUDIO":
        group = found.get("GROUP-ID", "")
        if group not in audio or found.get("DEFAULT") == "YES":
            audio[group] = urljoin(base, found["URI"]) if found.get("URI") else None


def _rank(variant: Variant) -> tuple[bool, bool, int]:
    """Without CODECS nothing is known, and H.264 with AAC is what almost all streams are."""
    h264 = not variant.codecs or any(codec.startswith(("avc1", "avc3")) for codec in variant.codecs)
    sound_only = all(codec.startswith(("mp4a", "opus", "ac-3", "ec-3")) for codec in variant.codecs)
    return h264, not variant.codecs or not sound_only, variant.bandwidth_bps


def _key(found: dict[str, str], base: str) -> Key | None:
    method, form = found.get("METHOD", "NONE"), found.get("KEYFORMAT", "identity")
    if method == "NONE":
        return None
    if method != "AES-128" or form != "identity" or not found.get("URI"):
        raise _unsupported(f"the source is encrypted ({method}, {form}), and there is no key for it")
    iv = found.get("IV")
    try:
        return Key(urljoin(base, found["URI"]), int(iv, 16).to_bytes(16, "big") if iv else None)
    except (ValueError, OverflowError) as error:
        raise _unsupported("the playlist has a malformed initialization vector") from error


def _lines(text: str) -> list[str]:
    return [line for line in (line.strip() for line in text.splitlines()) if line]


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _range(value: str) -> tuple[int, int | None]:
    length, _, offset = value.strip().partition("@")
    return _int(length), _int(offset) if offset else None


def _int(value: str) -> int:
    text = value.strip()
    if not text.isdecimal() or len(text) > 18:
        raise _unsupported(f"the playlist has a malformed number: {text[:40]!r}")
    return int(text)


def _us(value: str) -> int:
    try:
        seconds = float(value.strip())
    except ValueError as error:
        raise _unsupported(f"the playlist has a malformed duration: {value.strip()[:40]!r}") from error
    if not -1e9 < seconds < 1e9:
        raise _unsupported("the playlist has an impossible duration")
    return round(seconds * 1_000_000)


def _unsupported(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_UNSUPPORTED, text, transient=False)
