"""What a master playlist of HLS offers, and which of it is played and why: for people. No IO."""

from sluice.core.limits import MOST_SHOWN_VARIANTS
from sluice.core.source_facts import Variant as Shown
from sluice.core.source_facts import language_of
from sluice.media.packets import TrackKind
from sluice.media.source.hls_master import Master, Sound, Variant, why_behind


class Offer:
    """Follows the choice, which is made on one thread; another may ask for `shown`: variants and sounds, a
    bounded number, and how many more there are."""

    def __init__(self, master: Master) -> None:
        self._failures: dict[int, str] = {}
        self.shown = self._shown(master, None, None)

    def fail(self, number: int, why: str) -> None:
        """The variant of this number cannot be played."""
        self._failures[number] = why

    def tell(self, master: Master, chosen: int | None = None, heard: str | None = None) -> None:
        """Tells what has failed by now, and which variant is played, with the sound of the playlist `heard`.
        `master` is not kept: its addresses may have megabytes."""
        self.shown = self._shown(master, chosen, heard)

    def _shown(self, master: Master, chosen: int | None, heard: str | None) -> tuple[list[Shown], int]:
        best = master.variants[chosen] if chosen is not None else None
        most = MOST_SHOWN_VARIANTS
        variants = [self._variant(n, variant, best) for n, variant in enumerate(master.variants[:most])]
        variants += [_sound(sound, best, heard) for sound in master.sounds[: most - len(variants)]]
        return variants, len(master.variants) + len(master.sounds) - len(variants)

    def _variant(self, number: int, variant: Variant, best: Variant | None) -> Shown:
        width, height = variant.size or (None, None)
        return Shown(
            bandwidth_bps=variant.bandwidth_bps or None,
            codecs=variant.codecs,
            width=width,
            height=height,
            frame_rate=variant.frame_rate,
            chosen=variant is best,
            why=self._why(number, variant, best),
        )

    def _why(self, number: int, variant: Variant, best: Variant | None) -> str:
        if number in self._failures:
            return f"it cannot be played: {self._failures[number]}"
        if best is None:
            return "it was not tried yet"
        if variant is best:
            return "the best that can be played: H.264 first, then the highest bit rate"
        return why_behind(variant, best)


def _sound(sound: Sound, best: Variant | None, heard: str | None) -> Shown:
    language, name = sound.who
    chosen = heard is not None and sound.url == heard
    why = "the sound of the variant that is played" if chosen else "another sound is played, or none"
    if best is None:
        why = "it was not tried yet"
    return Shown(TrackKind.AUDIO.value, language=language_of(language), name=name, chosen=chosen, why=why)
