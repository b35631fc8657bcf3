"""HLS, recorded and live: our own reader of playlists, FFmpeg's demuxers behind it.

FFmpeg's demuxer for HLS is not used: it resolves addresses against where it asked instead of where it was
redirected to, skips lost segments without a word, and sleeps where nothing can wake it. Media time begins
with the first segment that is played and runs on over discontinuities. A playlist that ended is an end;
a live one that stops growing is a loss (design 5).
"""

from collections.abc import Callable
from typing import Literal

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.live_edge import Edge
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.hls_playlist import Variant, best_variant, is_master, parse_media
from sluice.media.source.hls_reader import Fetcher, Rendition, read_text
from sluice.media.source.lane_group import LaneGroup
from sluice.media.source.lanes import Lane
from sluice.media.source.sniff import SniffedFile
from sluice.net.http import HttpFile


class HlsSource:
    """`open`, then `read` until it returns nothing; `seek` in a recording. Blocks, as every file does."""

    live: Literal[False] = (
        False  #: played like a file, by media time; `Probe.live` says whether it has an end
    )

    def __init__(
        self,
        playlist: HttpFile,
        head: SniffedFile,
        connect: Callable[[str], HttpFile],
        kinds: frozenset[TrackKind] = frozenset(TrackKind),
    ) -> None:
        """`head` stands over `playlist`, at its beginning; `connect` makes files from addresses. Only tracks
        of `kinds` are read, and of playlists those that have them."""
        self._playlist, self._head, self._kinds = playlist, head, kinds
        self._fetcher = Fetcher(connect)
        self._lanes = LaneGroup()

    def open(self) -> Probe:
        """Raises SourceError."""
        text, base = read_text(self._head), self._playlist.url
        variant = best_variant(text, base) if is_master(text) else Variant(base, 0, (), None)
        if is_master(text):
            text, base = self._fetcher.text(variant.url)
        clocks: dict[int, int] = {}
        sound_apart = variant.audio_url is not None
        main = self._kinds - ({TrackKind.AUDIO} if sound_apart else set())
        if main:
            self._lanes.add(self._lane(variant.url, text, base, main, clocks))
        if variant.audio_url is not None and TrackKind.AUDIO in self._kinds:
            sound, sound_base = self._fetcher.text(variant.audio_url)
            only = frozenset({TrackKind.AUDIO})
            self._lanes.add(self._lane(variant.audio_url, sound, sound_base, only, clocks))
        probes = self._lanes.open()
        playlist = self._lanes.main.rendition.playlist
        if not playlist.ended:
            self._lanes.begin_at(0)  # sound that begins before the picture would delay it
        return Probe(
            video=next((p.video for p in probes if p.video), None),
            audio=next((p.audio for p in probes if p.audio), None),
            live=not playlist.ended,
            seekable=playlist.ended,
            duration_us=playlist.duration_us if playlist.ended else None,
        )

    def read(self, until_us: int) -> list[Packet]:
        """Packets in the order of decoding up to `until_us`; empty at the end. Raises SourceError."""
        return self._lanes.read(until_us)

    def edge(self) -> Edge | None:
        """Of a live source; None when it has ended."""
        return self._lanes.edge()

    def skip(self) -> bool:
        """Leaves out what keeps it from its edge, see LaneGroup. Raises SourceError."""
        return self._lanes.skip()

    def seek(self, position_us: int) -> None:
        """To the beginning of the segment that holds the position; a live source cannot."""
        self._lanes.seek(position_us)

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""
        self._playlist.abort()
        self._fetcher.abort()

    def close(self) -> None:
        self._lanes.close()
        self._playlist.close()

    def _lane(
        self, url: str, text: str, base: str, kinds: frozenset[TrackKind], clocks: dict[int, int]
    ) -> Lane:
        playlist = parse_media(text, base)
        if not playlist.segments:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED if playlist.ended else Reason.IDLE_TIMEOUT,
                "the playlist has no segments" + ("" if playlist.ended else " yet"),
                transient=not playlist.ended,
            )
        rendition = Rendition(playlist, self._fetcher, lambda: parse_media(*self._fetcher.text(url)))
        return Lane(rendition, kinds, clocks)
