"""Parses MPEG-DASH manifests (ISO/IEC 23009-1). No IO: text and its address in, segments out.

In each period the best representation of each kind is taken. Sets with an EssentialProperty that we do not
know are left out; encrypted sources are refused. Times are microseconds of the presentation; zero of a live
one is its `availabilityStartTime`.
"""

import re
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from sluice.core.budget import Budget
from sluice.core.errors import unsupported
from sluice.core.limits import MOST_EXAMINED_SEGMENTS, MOST_SEGMENTS, MOST_SHOWN_VARIANTS
from sluice.core.source_facts import Variant, language_of
from sluice.media.packets import TrackKind
from sluice.media.source.dash_segments import Spending, Track, Window, follows_clock, segments_of
from sluice.media.source.dash_xml import duration_us, integer, join, parse_xml, unix_us
from sluice.media.source.hls_playlist import Segment
from sluice.media.source.hls_text import address_budget

#: Preferred codecs: they can be copied, and every sender has them played.
_PREFERRED = {TrackKind.VIDEO: ("avc1", "avc3"), TrackKind.AUDIO: ("mp4a", "opus")}
_SOUND = ("mp4a", "opus", "ac-3", "ec-3", "ac-4", "flac", "vorbis", "mha1", "mhm1", "dts")
#: An EssentialProperty that only describes colours; others, such as trick play, make a set unfit.
_HARMLESS_PROPERTY = "urn:mpeg:mpegB:cicp:"
_MOST_CHOICES, _MOST_BASES = 8, 4
_KINDS = {kind.value: kind for kind in TrackKind}
_BEST = "the best of its kind: a preferred codec, then the highest bit rate"
_PIXELS = re.compile(r"\d{1,5}", re.ASCII)
#: 5.3.7.2: a number, or one over another.
_FRAME_RATE = re.compile(r"(\d{1,6})(?:/([1-9]\d{0,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says at one time."""

    live: bool
    location: str  #: its address for reloads
    delay_us: int | None  #: `suggestedPresentationDelay`
    available_at_us: int  #: `availabilityStartTime`, since 1970; 0 for a recording
    depth_us: int | None  #: `timeShiftBufferDepth`: how long segments stay
    clocks: tuple[tuple[str, str], ...]  #: UTCTiming: scheme and value
    periods: tuple[dict[TrackKind, tuple[Track, ...]], ...]  #: the best of each kind first
    offers: tuple[Variant, ...] = ()  #: what the first period offers, for people
    further: int = 0  #: how many more it offers

    def kinds(self) -> frozenset[TrackKind]:
        return frozenset(kind for period in self.periods for kind in period)

    def follows_clock(self) -> bool:
        """True where the clock tells which segments exist, at least of some tracks."""
        tracks = (tracks[0] for period in self.periods for tracks in period.values())
        return self.live and any(follows_clock(track) for track in tracks)

    def choices(self, kind: TrackKind) -> int:
        """How many representations there are to choose from, in the period that has most."""
        return max(len(period.get(kind, ())) for period in self.periods)

    def segments(self, kind: TrackKind, now_us: int, choice: int = 0) -> list[Segment]:
        """The segments of all periods that exist at `now_us` (since 1970), numbered from 0. `choice`: 0 takes
        the best representation of each period, 1 the next best one, and so on. Raises SourceError
        (permanent)."""
        window = None
        if self.live:
            end_us = now_us - self.available_at_us
            window = Window(end_us - self.depth_us if self.depth_us is not None else 0, end_us)
        periods = [period[kind] for period in self.periods if kind in period]
        tracks = [tracks[min(choice, len(tracks) - 1)] for tracks in periods]
        # A period that is still to come has no segments yet.
        many = "the DASH manifest has more than {} segments"
        budget = Spending(
            Budget(MOST_EXAMINED_SEGMENTS, many.format(MOST_EXAMINED_SEGMENTS)), address_budget("manifest")
        )
        kept = Budget(MOST_SEGMENTS, many.format(MOST_SEGMENTS))
        segments: list[Segment] = []
        for track in tracks:
            for segment in segments_of(track, window, budget):
                kept.spend()
                segments.append(replace(segment, sequence=len(segments)))
        return segments


def parse_manifest(text: str, base: str) -> Manifest:
    """`base`: the manifest's address. Raises SourceError (permanent) for a manifest that cannot be played."""
    root = parse_xml(text)
    if root.tag != "MPD":
        raise unsupported(f"the DASH manifest begins with <{root.tag[:40]}> instead of <MPD>")
    live = root.get("type") == "dynamic"
    location = root.findtext("Location")
    bases = _bases((base,), root)
    periods: list[dict[TrackKind, tuple[Track, ...]]] = []
    offers: tuple[Variant, ...] = ()
    further = 0
    for span in _periods(root):
        found = _candidates(bases, *span)
        if not periods:
            offers, further = _offers(found), max(0, len(found) - MOST_SHOWN_VARIANTS)
        periods.append(_tracks(found))
    manifest = Manifest(
        live=live,
        location=join(base, location.strip()) if location else base,
        delay_us=duration_us(root.get("suggestedPresentationDelay")),
        available_at_us=unix_us(root.get("availabilityStartTime", "1970-01-01T00:00:00Z")) if live else 0,
        depth_us=duration_us(root.get("timeShiftBufferDepth")),
        clocks=tuple((n.get("schemeIdUri", ""), n.get("value", "")) for n in root.findall("UTCTiming")),
        periods=tuple(periods),
        offers=offers,
        further=further,
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

    def why_behind(self, best: "_Candidate") -> str:
        """Why `best` is played, and not this one."""
        reasons = (
            ("it is encrypted", self.encrypted),
            ("it is a commentary or the like", best.main > self.main),
            ("another language comes first", self.language != best.language),
            ("another codec is preferred", best.rank()[0] > self.rank()[0]),
            ("its bit rate is lower", best.track.bandwidth > self.track.bandwidth),
        )
        return next((why for why, holds in reasons if holds), "another one of its kind is listed first")


def _tracks(found: list[_Candidate]) -> dict[TrackKind, tuple[Track, ...]]:
    kinds = {candidate.kind for candidate in found}
    ranked = {kind: _ranked([one for one in found if one.kind is kind]) for kind in kinds}
    return {kind: tuple(one.track for one in best[:_MOST_CHOICES]) for kind, best in ranked.items()}


def _offers(found: list[_Candidate]) -> tuple[Variant, ...]:
    """Those that are played first."""
    best: dict[TrackKind, _Candidate] = {}
    for kind in TrackKind:
        if alike := [one for one in found if one.kind is kind]:
            best[kind] = _ranked(alike)[0]
    shown = [*best.values(), *(one for one in found if one is not best[one.kind])]
    return tuple(_offer(one, best[one.kind]) for one in shown[:MOST_SHOWN_VARIANTS])


def _offer(one: _Candidate, best: _Candidate) -> Variant:
    def told(name: str) -> str:
        levels = reversed(one.track.levels[1:])  # the period has none of these
        return next((text for node in levels if (text := node.get(name))), "")

    width, height = (int(t) if _PIXELS.fullmatch(t := told(name)) else None for name in ("width", "height"))
    rate = _FRAME_RATE.fullmatch(told("frameRate"))
    return Variant(
        one.kind.value,
        one.track.bandwidth or None,
        tuple(codec.strip() for codec in one.codecs.split(",") if codec.strip()),
        width,
        height,
        int(rate[1]) / int(rate[2] or 1) if rate else None,
        language_of(one.language),
        chosen=one is best,
        why=_BEST if one is best else one.why_behind(best),
    )


def _candidates(
    bases: tuple[str, ...], period: Element, start_us: int, end_us: int | None
) -> list[_Candidate]:
    bases = _bases(bases, period)
    found: list[_Candidate] = []
    for node in period.findall("AdaptationSet"):
        properties = node.findall("EssentialProperty")
        if all(p.get("schemeIdUri", "").startswith(_HARMLESS_PROPERTY) for p in properties):
            group = _Group.of(node, _bases(bases, node))
            for representation in node.findall("Representation"):
                track = Track(
                    _bases(group.bases, representation),
                    representation.get("id", ""),
                    integer(representation.get("bandwidth"), 0),
                    start_us,
                    end_us,
                    (period, node, representation),
                )
                candidate = group.candidate(representation, track)
                if candidate is not None:
                    found.append(candidate)
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    """What an AdaptationSet says of all its representations."""

    bases: tuple[str, ...]
    codecs: str
    types: tuple[str | None, ...]
    language: str
    encrypted: bool
    main: bool

    @classmethod
    def of(cls, node: Element, bases: tuple[str, ...]) -> "_Group":
        components = (component.get("contentType") for component in node.findall("ContentComponent"))
        roles = {role.get("value") for role in node.findall("Role")}
        return cls(
            bases,
            node.get("codecs", ""),
            (node.get("mimeType"), node.get("contentType"), *components),
            node.get("lang", ""),
            node.find("ContentProtection") is not None,
            not roles or "main" in roles,
        )

    def candidate(self, node: Element, track: Track) -> _Candidate | None:
        """None for a representation that is neither video nor audio."""
        codecs = node.get("codecs") or self.codecs
        texts = (node.get("mimeType"), *self.types)
        kind = next((_KINDS.get(text.partition("/")[0].lower()) for text in texts if text), None)
        if kind is None:
            return None
        if codecs and all(codec.strip().lower().startswith(_SOUND) for codec in codecs.split(",")):
            kind = TrackKind.AUDIO  # whatever its container is called
        encrypted = self.encrypted or node.find("ContentProtection") is not None
        return _Candidate(kind, track, codecs, self.language, encrypted, self.main)


def _ranked(candidates: list[_Candidate]) -> list[_Candidate]:
    """Those to choose from: main ones (no commentaries and the like) in the first language, best first."""
    clear = [candidate for candidate in candidates if not candidate.encrypted]
    if not clear:
        raise unsupported("the source is encrypted (DRM), and there is no key for it")
    main = [candidate for candidate in clear if candidate.main] or clear
    alike = [candidate for candidate in main if candidate.language == main[0].language]
    return sorted(alike, key=_Candidate.rank, reverse=True)


def _bases(bases: tuple[str, ...], node: Element) -> tuple[str, ...]:
    """5.6: several base addresses have the same content; where the first fails, the next is tried."""
    told = [text.strip() for found in node.findall("BaseURL") if (text := found.text) and text.strip()]
    if not told:
        return bases
    joined = dict.fromkeys(join(base, address) for address in told[:_MOST_BASES] for base in bases)
    return tuple(joined)[:_MOST_BASES]
