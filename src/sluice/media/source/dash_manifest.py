"""MPEG-DASH manifests as data (ISO/IEC 23009-1). No IO: text and the address it came from in, segments out.

Of each period the best representation of each kind is taken. What must not be played without being
understood (EssentialProperty) is left out; what is encrypted is refused. Times are microseconds of the
presentation; for a live one zero is its `availabilityStartTime`.
"""

from dataclasses import dataclass
from itertools import islice
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

from sluice.media.packets import TrackKind
from sluice.media.source.dash_segments import Track, Window, follows_clock, segments_of
from sluice.media.source.dash_xml import duration_us, integer, parse_xml, unix_us, unsupported
from sluice.media.source.hls_playlist import Segment

#: A manifest with more is refused: 27 h of 2 s.
_MOST_SEGMENTS = 50_000
#: Codecs that are taken before others: what can be copied, and what every sender means to be played.
_PREFERRED = {TrackKind.VIDEO: ("avc1", "avc3"), TrackKind.AUDIO: ("mp4a", "opus")}
_SOUND = ("mp4a", "opus", "ac-3", "ec-3", "ac-4", "flac", "vorbis", "mha1", "mhm1", "dts")
#: An EssentialProperty that only describes colours; others, such as trick play, make a set unfit.
_HARMLESS_PROPERTY = "urn:mpeg:mpegB:cicp:"
_KINDS = {kind.value: kind for kind in TrackKind}


@dataclass(frozen=True, slots=True)
class Manifest:
    live: bool
    location: str  #: where it is to be asked for again
    delay_us: int | None  #: `suggestedPresentationDelay`
    available_at_us: int  #: `availabilityStartTime`, since 1970; 0 for a recording
    depth_us: int | None  #: `timeShiftBufferDepth`: how long segments stay
    clocks: tuple[tuple[str, str], ...]  #: UTCTiming: scheme and value
    periods: tuple[dict[TrackKind, Track], ...]

    def kinds(self) -> frozenset[TrackKind]:
        return frozenset(kind for period in self.periods for kind in period)

    def follows_clock(self) -> bool:
        """True where the time tells which segments are there, at least in part."""
        return self.live and any(follows_clock(t) for period in self.periods for t in period.values())

    def segments(self, kind: TrackKind, now_us: int) -> list[Segment]:
        """What is there at `now_us` (since 1970), over all periods, not numbered. Raises SourceError
        (permanent)."""
        window = None
        if self.live:
            end_us = now_us - self.available_at_us
            window = Window(end_us - self.depth_us if self.depth_us is not None else 0, end_us)
        tracks = [period[kind] for period in self.periods if kind in period]
        # A period that is still to come has no segments yet.
        found = (segment for track in tracks for segment in segments_of(track, window))
        segments = list(islice(found, _MOST_SEGMENTS + 1))
        if len(segments) > _MOST_SEGMENTS:
            raise unsupported(f"the DASH manifest has more than {_MOST_SEGMENTS} segments")
        return segments


def parse_manifest(text: str, base: str) -> Manifest:
    """`base`: where it came from. Raises SourceError (permanent) for what cannot be played."""
    root = parse_xml(text)
    if root.tag != "MPD":
        raise unsupported(f"the DASH manifest begins with <{root.tag[:40]}> instead of <MPD>")
    live = root.get("type") == "dynamic"
    location = root.findtext("Location")
    manifest = Manifest(
        live=live,
        location=urljoin(base, location.strip()) if location else base,
        delay_us=duration_us(root.get("suggestedPresentationDelay")),
        available_at_us=unix_us(root.get("availabilityStartTime", "1970-01-01T00:00:00Z")) if live else 0,
        depth_us=duration_us(root.get("timeShiftBufferDepth")),
        clocks=tuple((n.get("schemeIdUri", ""), n.get("value", "")) for n in root.findall("UTCTiming")),
        periods=tuple(_tracks(root, base, *span) for span in _periods(root)),
    )
    if not manifest.kinds():
        raise unsupported("the DASH manifest has neither video nor audio that can be played")
    return manifest


def _periods(root: Element) -> list[tuple[Element, int, int | None]]:
    """The periods with their beginnings and ends (5.3.2.1)."""
    spans: list[tuple[Element, int, int | None]] = []
    end_us: int | None = 0
    for node in root.findall("Period"):
        told_us = duration_us(node.get("start"))
        start_us = told_us if told_us is not None else end_us
        if start_us is None:
            raise unsupported("the DASH manifest does not tell when one of its periods begins")
        if spans and spans[-1][2] is None:
            spans[-1] = (*spans[-1][:2], start_us)
        length_us = duration_us(node.get("duration"))
        end_us = start_us + length_us if length_us is not None else None
        spans.append((node, start_us, end_us))
    total_us = duration_us(root.get("mediaPresentationDuration"))
    if spans and spans[-1][2] is None and total_us is not None:
        spans[-1] = (*spans[-1][:2], total_us)
    return spans


@dataclass(frozen=True, slots=True)
class _Candidate:
    kind: TrackKind
    track: Track
    codecs: str
    language: str
    encrypted: bool
    main: bool

    def rank(self) -> tuple[bool, int]:
        codecs = (codec.strip().lower() for codec in self.codecs.split(","))
        preferred = not self.codecs or any(codec.startswith(_PREFERRED[self.kind]) for codec in codecs)
        return preferred, self.track.bandwidth


def _tracks(
    root: Element, base: str, period: Element, start_us: int, end_us: int | None
) -> dict[TrackKind, Track]:
    base = _base(_base(base, root), period)
    found: list[_Candidate] = []
    for group in period.findall("AdaptationSet"):
        properties = group.findall("EssentialProperty")
        if all(p.get("schemeIdUri", "").startswith(_HARMLESS_PROPERTY) for p in properties):
            for node in group.findall("Representation"):
                address = _base(_base(base, group), node)
                bandwidth = integer(node.get("bandwidth"), 0)
                levels = (period, group, node)
                track = Track(address, node.get("id", ""), bandwidth, start_us, end_us, levels)
                candidate = _candidate(group, node, track)
                if candidate is not None:
                    found.append(candidate)
    kinds = {candidate.kind for candidate in found}
    return {kind: _best([candidate for candidate in found if candidate.kind is kind]) for kind in kinds}


def _candidate(group: Element, node: Element, track: Track) -> _Candidate | None:
    """None for what is neither picture nor sound."""
    codecs = node.get("codecs") or group.get("codecs") or ""
    texts = [node.get("mimeType"), group.get("mimeType"), group.get("contentType")]
    texts += [component.get("contentType") for component in group.findall("ContentComponent")]
    kind = next((_KINDS.get(text.partition("/")[0].lower()) for text in texts if text), None)
    if kind is None:
        return None
    if codecs and all(codec.strip().lower().startswith(_SOUND) for codec in codecs.split(",")):
        kind = TrackKind.AUDIO  # whatever its container is called
    roles = {role.get("value") for role in group.findall("Role")}
    encrypted = any(level.find("ContentProtection") is not None for level in (group, node))
    return _Candidate(kind, track, codecs, group.get("lang", ""), encrypted, not roles or "main" in roles)


def _best(candidates: list[_Candidate]) -> Track:
    """The main one before commentaries and the like, in the first language, in the best quality."""
    clear = [candidate for candidate in candidates if not candidate.encrypted]
    if not clear:
        raise unsupported("the source is encrypted (DRM), and there is no key for it")
    main = [candidate for candidate in clear if candidate.main] or clear
    return max((c for c in main if c.language == main[0].language), key=_Candidate.rank).track


def _base(base: str, node: Element) -> str:
    """5.6: the first of several is as good as any."""
    address = node.findtext("BaseURL")
    return urljoin(base, address.strip()) if address else base
