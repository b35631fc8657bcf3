"""Parses HLS master playlists (RFC 8216bis 4.4.6): which media playlists there are, in the order to try them.

No IO. The order of tags means nothing: a master playlist may name a rendition behind the variant that uses
it. Playlists of key frames alone, session data and session keys are of no use to a relay.
"""

import re
from dataclasses import dataclass, replace

from sluice.core.budget import Budget
from sluice.core.errors import SourceError, unsupported
from sluice.core.limits import MOST_RENDITIONS
from sluice.media.source.hls_text import Addresses, Variables, attributes, check_head, integer, lines_of

_SOUND = ("mp4a", "opus", "ac-3", "ec-3", "ac-4", "flac", "mp3")
#: Audio description is for those who choose it; for a room nobody chooses.
_FOR_THE_BLIND = "public.accessibility.describes-video"
_MOST_ALIKE = 8
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_FRAME_RATE = re.compile(r"\d{1,4}(?:\.\d{0,6})?", re.ASCII)
#: Why a variant is tried after another, by the places of their ranks.
_BEHIND = (
    "it is not H.264, which is passed on unchanged or cheap to decode",
    "it has sound alone",
    "its bit rate is lower",
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a master playlist. `sounds`: addresses of its audio, if that has playlists of its own:
    the one to play first, then others with the same in another quality."""

    url: str
    bandwidth_bps: int
    codecs: tuple[str, ...]
    sounds: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    frame_rate: float | None = None

    @property
    def sound_only(self) -> bool:
        return bool(self.codecs) and all(codec.startswith(_SOUND) for codec in self.codecs)

    def like(self, other: "Variant") -> bool:
        """Whether one can continue where the other was left: both have the same kinds of tracks."""
        return (not self.sounds, self.sound_only) == (not other.sounds, other.sound_only)


@dataclass(frozen=True, slots=True)
class Sound:
    """A rendition of sound."""

    group: str
    url: str | None  #: None: the audio is in the variant itself (4.4.6.2.1)
    who: tuple[str, str]  #: language and name; with these, another group has the same in another quality
    rank: tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True)
class Master:
    """What a master playlist names."""

    variants: tuple[Variant, ...]  #: the best first
    variables: Variables
    sounds: tuple[Sound, ...] = ()  #: with playlists of their own


def is_master(text: str) -> bool:
    for line in lines_of(text):
        if line.startswith(("#EXT-X-STREAM-INF:", "#EXT-X-MEDIA:")):
            return True
        if line.startswith("#EXTINF:"):
            return False
    return False


def parse_master(text: str, base: str) -> Master:
    """Raises SourceError (permanent) when it names no playlist."""
    check_head(text)
    variables, addresses = Variables(base), Addresses(base)
    renditions = Budget(
        MOST_RENDITIONS, f"the playlist names more than {MOST_RENDITIONS} variants and renditions"
    )
    sounds: list[Sound] = []
    named: list[tuple[str, dict[str, str]]] = []
    pending: dict[str, str] | None = None
    for line in lines_of(text):
        if line.startswith("#EXT-X-DEFINE:"):
            variables.define(line)
        elif line.startswith("#EXT-X-MEDIA:"):
            renditions.spend()
            _take_sound(sounds, attributes(line, variables), addresses)
        elif line.startswith("#EXT-X-STREAM-INF:"):
            renditions.spend()
            pending = attributes(line, variables)
        elif not line.startswith("#") and pending is not None:
            named.append((addresses.of(variables.fill(line)), pending))
            pending = None
    groups = _sounds_of_groups(sounds)
    variants = [_variant(url, found, groups) for url, found in named]
    if not variants:  # a station may have nothing but renditions
        variants = [Variant(sound.url, 0, ("mp4a",)) for sound in sounds if sound.url is not None]
    if not variants:
        raise unsupported("the playlist has no segments and names no other playlist that has")
    apart = tuple(sound for sound in sounds if sound.url is not None)
    return Master(tuple(sorted(variants, key=_rank, reverse=True)), variables, apart)


def _take_sound(sounds: list[Sound], found: dict[str, str], addresses: Addresses) -> None:
    if found.get("TYPE") != "AUDIO":
        return
    rank = (
        found.get("DEFAULT") == "YES",
        _FOR_THE_BLIND not in found.get("CHARACTERISTICS", ""),
        found.get("AUTOSELECT") == "YES",
    )
    url = addresses.of(found["URI"]) if found.get("URI") else None
    who = found.get("LANGUAGE", ""), found.get("NAME", "")
    sounds.append(Sound(found.get("GROUP-ID", ""), url, who, rank))


def _variant(url: str, found: dict[str, str], sounds: dict[str, tuple[str, ...]]) -> Variant:
    codecs = tuple(c.strip().lower() for c in found.get("CODECS", "").split(",") if c.strip())
    size = _SIZE.fullmatch(found.get("RESOLUTION", ""))
    rate = _FRAME_RATE.fullmatch(found.get("FRAME-RATE", ""))
    variant = Variant(
        url,
        _bandwidth(found.get("BANDWIDTH", "")),
        codecs,
        sounds.get(found.get("AUDIO", ""), ()),
        (int(size[1]), int(size[2])) if size else None,
        float(rate[0]) if rate else None,
    )
    return replace(variant, sounds=()) if variant.sound_only else variant  # it is a rendition of its group


def _sounds_of_groups(sounds: list[Sound]) -> dict[str, tuple[str, ...]]:
    """The addresses to try, by group."""
    groups: dict[str, Sound] = {}
    alike: dict[tuple[str, str], list[Sound]] = {}
    for sound in sounds:
        if sound.group not in groups or sound.rank > groups[sound.group].rank:
            groups[sound.group] = sound
        same = alike.setdefault(sound.who, [])
        if len(same) < _MOST_ALIKE and any(sound.who):
            same.append(sound)
    found: dict[str, tuple[str, ...]] = {}
    for group, chosen in groups.items():
        others = [s.url for s in alike[chosen.who] if s.group != group and s.url is not None]
        found[group] = tuple(dict.fromkeys([chosen.url, *others])) if chosen.url is not None else ()
    return found


def _bandwidth(text: str) -> int:
    try:
        return integer(text)
    except SourceError:
        return 0


def _rank(variant: Variant) -> tuple[bool, bool, int]:
    """Sorts variants: H.264 first, since it can be copied and is cheap to decode, then those with video, then
    the highest bandwidth. A variant without CODECS counts as H.264: almost all streams are H.264 with AAC."""
    h264 = not variant.codecs or any(codec.startswith(("avc1", "avc3")) for codec in variant.codecs)
    return h264, not variant.sound_only, variant.bandwidth_bps


def why_behind(variant: Variant, other: Variant) -> str:
    """Why `variant` is tried after `other`."""
    ranks = zip(_BEHIND, _rank(variant), _rank(other), strict=True)
    return next((why for why, mine, best in ranks if mine < best), "another one of its kind is listed first")
