"""What the packets of a source show of it: rates, key frames, the order of pictures. No IO.

It is cheap enough for each packet of a relay, and looks at the beginning of each track alone: behind that
`note` returns at once.
"""

from dataclasses import replace

from sluice.core.plan import AudioTrack, Probe, Track, VideoTrack
from sluice.core.source_facts import Packaging, Shown, SourceFacts, source_facts
from sluice.media.packets import Packet, TrackKind

#: How much of each track is looked at: media, and packets.
_MOST_US, _MOST_PACKETS = 30_000_000, 5_000
#: What is needed to tell rates.
_LEAST_US, _LEAST_PACKETS = 300_000, 5


class _TrackSeen:
    """One track from its beginning in one form."""

    __slots__ = (
        "bytes",
        "count",
        "first_us",
        "gop_us",
        "key_us",
        "newest_us",
        "reordered",
        "shown_us",
        "track",
    )

    def __init__(self, track: Track | None = None) -> None:
        self.track = track
        self.count = self.bytes = 0
        self.first_us = self.newest_us = self.shown_us = 0
        self.key_us: int | None = None
        self.gop_us: int | None = None
        self.reordered = False

    @property
    def span_us(self) -> int:
        return self.newest_us - self.first_us

    def note(self, packet: Packet) -> None:
        at_us = packet.dts_us
        if not self.count:
            self.first_us = self.newest_us = at_us
            self.shown_us = packet.pts_us
        self.count += 1
        self.bytes += len(packet.data)
        if packet.pts_us > self.shown_us:
            self.shown_us = packet.pts_us
        elif packet.pts_us < self.shown_us and at_us > self.newest_us:
            self.reordered = True
        if at_us > self.newest_us:
            self.newest_us = at_us
        if packet.key:
            if self.key_us is not None and at_us - self.key_us > (self.gop_us or 0):
                self.gop_us = at_us - self.key_us
            self.key_us = at_us

    def shown(self) -> Shown:
        if self.count < _LEAST_PACKETS or self.span_us < _LEAST_US:
            return Shown(self.span_us, gop_us=self.gop_us)
        # The last packet lasts, too: there is one distance less than packets.
        length_s = self.span_us * self.count / (self.count - 1) / 1e6
        return Shown(self.span_us, self.count / length_s, round(self.bytes * 8 / length_s), self.gop_us)


class Seen:
    """What was seen of one source, up to a jump in it. Packets are noted as they are read; `facts` may be
    asked for at any time, by the thread that notes or by another one."""

    def __init__(self) -> None:
        self._tracks = {kind: _TrackSeen() for kind in TrackKind}

    def note(self, packet: Packet) -> None:
        seen = self._tracks[packet.kind]
        if packet.track is not None and packet.track != seen.track:
            if seen.track is not None:  # it goes on in another form
                seen = self._tracks[packet.kind] = _TrackSeen()
            seen.track = replace(packet.track, context=None)  # which would keep a codec
        if seen.count < _MOST_PACKETS and seen.newest_us - seen.first_us < _MOST_US:
            seen.note(packet)

    def shown(self, kind: TrackKind) -> Shown:
        return self._tracks[kind].shown()

    def has_gop(self) -> bool:
        """Whether a whole group of pictures was seen."""
        return self._tracks[TrackKind.VIDEO].gop_us is not None

    def probe(self, probe: Probe) -> Probe:
        """`probe` with the tracks that there are by now."""
        seen, heard = self._tracks[TrackKind.VIDEO], self._tracks[TrackKind.AUDIO]
        video = seen.track if isinstance(seen.track, VideoTrack) else probe.video
        if video is not None and seen.reordered:
            video = replace(video, has_b_frames=True)
        audio = heard.track if isinstance(heard.track, AudioTrack) else probe.audio
        return replace(probe, video=video, audio=audio)

    def facts(self, packaging: Packaging, probe: Probe | None) -> SourceFacts:
        """`probe`: what the source said when it was opened; None: it is not open yet."""
        now = self.probe(probe) if probe is not None else None
        return source_facts(packaging, now, self.shown(TrackKind.VIDEO), self.shown(TrackKind.AUDIO))
