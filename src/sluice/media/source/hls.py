"""HLS, recorded and live: our own reader of playlists, FFmpeg's demuxers behind it.

FFmpeg's demuxer for HLS is not used: it resolves addresses against the one that it requested and not the one
that it was redirected to, skips lost segments silently, and sleeps where nothing can wake it. Media time
begins with the first segment that is played and runs on over discontinuities. The end of a playlist that has
one ends the source; a live playlist that stops growing is a loss.
"""

import time
from collections.abc import Sequence

from sluice.core.errors import SourceError, interrupted, unsupported
from sluice.core.masking import mask_url
from sluice.core.plan import Probe
from sluice.core.source_facts import Variant as ShownVariant
from sluice.media.packets import TrackKind
from sluice.media.source.hls_fetch import read_text
from sluice.media.source.hls_master import Master, Variant, is_master, parse_master
from sluice.media.source.hls_numbering import run_shift_to
from sluice.media.source.hls_offer import Offer
from sluice.media.source.hls_playlist import MediaPlaylist, parse_media
from sluice.media.source.hls_reload import Load
from sluice.media.source.hls_rendition import Rendition
from sluice.media.source.hls_text import Variables
from sluice.media.source.rendition_set import RenditionSet
from sluice.media.source.segmented import SegmentedSource, no_segments

#: Variants are tried one behind the other, so many and so long.
_MOST_VARIANTS, _LONGEST_S = 16, 20.0


class HlsSource(SegmentedSource):
    title = "HLS"
    _offer: Offer | None = None  #: of a master playlist
    _heard: str | None = None  #: address of the playlist of the sound

    def _offered(self) -> tuple[Sequence[ShownVariant], int]:
        return self._offer.shown if self._offer is not None else ((), 0)

    def open(self) -> Probe:
        """Raises SourceError."""
        text, base = read_text(self._head), self._file.url
        if is_master(text):
            return self._open_best(parse_master(text, base))
        return self._play(Variant(base, 0, ()), _checked(parse_media(text, base)), (), None)

    def _open_best(self, master: Master) -> Probe:
        """Plays the best variant that can be played; where none can, raises the error of the best one."""
        begun, offer = time.monotonic(), Offer(master)
        variants, variables, self._offer = master.variants[:_MOST_VARIANTS], master.variables, offer
        first_error: SourceError | None = None
        for n, variant in enumerate(variants):
            alike = [other.url for other in variants[n + 1 :] if other.like(variant)]
            try:
                playlist = _checked(self._load(variant.url, variables)())
                probe = self._play(variant, playlist, alike, variables)
                offer.tell(master, n, self._heard)
                return probe
            except SourceError as error:
                self._begin_again()
                offer.fail(n, str(error))
                offer.tell(master)
                first_error = first_error or error
                if n + 1 < len(variants):
                    self.notes.add(f"another variant of the source is played: {error}")
            if time.monotonic() - begun > _LONGEST_S:
                break
        assert first_error is not None  # noqa: S101 - there is one variant at least
        raise first_error

    def _play(
        self, variant: Variant, playlist: MediaPlaylist, alike: Sequence[str], variables: Variables | None
    ) -> Probe:
        """Opens a variant, and its audio if that has playlists of its own; video alone where that fails."""
        kinds = self._kinds - ({TrackKind.AUDIO} if variant.sounds else set())

        def main() -> Rendition:
            load, *others = [self._load(url, variables) for url in (variant.url, *alike)]
            return Rendition(playlist, self._fetcher, load, notes=self.notes, others=others)

        if not variant.sounds or TrackKind.AUDIO not in self._kinds:
            return self._begin([(main(), kinds)])
        first = main() if kinds else None
        try:
            sound = self._sound(variant, first, variables)
            renditions = [(first, kinds)] if first is not None else []
            return self._begin([*renditions, (sound, frozenset({TrackKind.AUDIO}))])
        except SourceError as error:
            if first is None:
                raise
            self._begin_again()
            self._heard = None
            probe = self._begin([(main(), kinds)])
            self.notes.add(f"the sound is left out: {error}")
            return probe

    def _sound(self, variant: Variant, main: Rendition | None, variables: Variables | None) -> Rendition:
        loads = [self._load(url, variables) for url in variant.sounds]
        first_error: SourceError | None = None
        for n, load in enumerate(loads):
            try:
                playlist = _checked(load())
            except SourceError as error:
                self._fetcher.raise_if_aborted()
                first_error = first_error or error
                continue
            run_shift = run_shift_to(main.playlist, playlist) if main is not None else 0
            others = loads[n + 1 :]
            sound = Rendition(
                playlist,
                self._fetcher,
                load,
                notes=self.notes,
                others=others,
                run_shift=run_shift,
                leader=main,
            )
            if sound.peek() is None:
                raise interrupted("the sound has no segment that can be read")
            self._heard = variant.sounds[n]
            return sound
        assert first_error is not None  # noqa: S101 - there is one playlist at least
        raise first_error

    def _begin(self, renditions: Sequence[tuple[Rendition, frozenset[TrackKind]]]) -> Probe:
        probes = self._open_renditions(renditions)
        playlist = self._renditions.main.rendition.playlist
        if not playlist.ended:
            self._renditions.begin_at(0)  # sound that begins before the picture would delay it
        return self._summed_up(probes, live=not playlist.ended, duration_us=playlist.duration_us)

    def _begin_again(self) -> None:
        self._fetcher.raise_if_aborted()
        self._renditions.close()
        self._fetcher.close_all()
        self._renditions = RenditionSet()

    def _load(self, url: str, variables: Variables | None) -> Load:
        def load() -> MediaPlaylist:
            text, base = self._fetcher.text(url)
            if is_master(text):
                raise unsupported(f"the master playlist names another master playlist: {mask_url(base)}")
            return parse_media(text, base, variables)

        return load


def _checked(playlist: MediaPlaylist) -> MediaPlaylist:
    """Raises SourceError for one without segments."""
    if not playlist.segments:
        raise no_segments("the playlist", live=not playlist.ended)
    return playlist
