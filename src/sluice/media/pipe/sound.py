"""The sound of one session: Opus that may stay as it is is copied, all else is decoded and encoded.

A copy becomes a conversion when its volume changes, and a copy again when that is over, without a gap: the
conversion begins with packets that were copied already, so that its first packet stands where a copied one
would, and what it has in hand when it ends is heard before the first copied one. The same is done where one
pass of a file follows another: packets lean on those before them, and those of a beginning on none.
"""

from collections import deque
from dataclasses import replace

from sluice.core.plan import OPUS_CHANNELS, AudioTrack
from sluice.core.tasks import FULL_VOLUME
from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.loudness import Loudness
from sluice.media.pipe.opus import OpusPipe
from sluice.media.pipe.opus_copy import OpusCopy, samples_of
from sluice.media.pipe.opus_encode import LOOKAHEAD_SAMPLES, LOOKAHEAD_US
from sluice.media.pipe.sound_run import RATE

#: Of what was copied, so much is kept: more than may wait to be sent, and what a decoder needs before it.
_KEPT_US = 2_500_000
#: What a decoder of Opus needs to be right (RFC 7845 4.6).
_PREROLL_US = 80_000
#: Converted at full volume before it is copied again, so that decoders have come near what they will get.
_SETTLE_US = 100_000
#: Samples of the first packet of nearly every file of Opus: 20 ms but for the delay of libopus.
_USUAL_FIRST = 960 - 312


class SoundPipe:
    def __init__(
        self,
        track: AudioTrack,
        *,
        copy: bool,
        volume: int,
        loudness: Loudness | None = None,
        live: bool = False,
        begin_us: int | None = None,
    ) -> None:
        """`begin_us`: it begins in mid-sound, there. Raises SourceError (permanent) when nothing decodes
        this codec."""
        self._track, self._live, self._loudness = track, live, loudness
        self._copy: OpusCopy | None = None
        self._convert: OpusPipe | None = None
        self._recent: deque[tuple[Packet, int]] = deque()  #: what was copied, and to when
        self._copy_from_us: int | None = None  #: converted for now; None: for good
        self._counted = [0, 0]
        self._unaligned = can_copy(track)  #: packets of a conversion do not stand where copied ones would yet
        self._begin_us = begin_us
        self._first_samples = _USUAL_FIRST
        if copy:
            self._copy = OpusCopy()
            if begin_us is not None:
                self._copy.begin_at(begin_us)
        else:
            gain = volume / FULL_VOLUME
            self._convert = OpusPipe(track, live=live, gain=gain, loudness=loudness, begin_us=begin_us)

    @property
    def copies(self) -> bool:
        """Whether packets stay as they are, for now."""
        return self._convert is None

    @property
    def dropped(self) -> int:
        return self._counted[0] + self._pipe.dropped

    @property
    def left_out(self) -> int:
        return self._counted[1] + self._pipe.left_out

    @property
    def end_us(self) -> int:
        """Where the run of sound ends."""
        return self._pipe.end_us

    def begin(self, track: AudioTrack) -> list[OutFrame]:
        """The run goes on with the sound of this track; what was converted stays converted. Raises
        SourceError as the making does."""
        frames: list[OutFrame] = []
        if self._convert is None and not can_copy(track):
            frames = self._to_conversion(1.0, self._pipe.end_us)
        self._track = track
        if self._convert is not None:
            self._convert.begin(track)
            self._copy_from_us, self._unaligned = None, can_copy(track)
        return frames

    def push(self, packet: Packet) -> list[OutFrame]:
        if packet.skipped_us and packet.duration_us:
            self._first_samples = packet.duration_us * RATE // 1_000_000
        if self._convert is None:
            return self._copied(packet)
        if self._unaligned:
            self._align(self._convert, packet)
        begin_us = self._convert.end_us
        frames = self._convert.push(packet)
        if self._copy_from_us is not None and begin_us >= self._copy_from_us:
            frames += self._back_to_copy(packet, begin_us)
        return frames

    def flush(self) -> list[OutFrame]:
        """The end of a pass."""
        frames: list[OutFrame] = []
        if self._convert is None:
            frames = self._to_conversion(1.0, self._pipe.end_us)
            self._copy_from_us = 0
        assert self._convert is not None  # noqa: S101 - it is one now
        frames += self._convert.flush()
        if self._copy_from_us is not None:
            # The first packet of the next pass is shorter by what its decoder leaves out; those behind it are
            # to stand where copied ones would.
            self._convert.end_on(-LOOKAHEAD_SAMPLES - self._first_samples)
            self._copy_from_us = self._convert.end_us + _SETTLE_US
        return frames

    def close(self) -> list[OutFrame]:
        """The end of the sound."""
        return self._pipe.close()

    def end_at(self, media_us: int) -> None:
        """Sound from this time on is an encoder's padding."""
        if self._convert is not None:
            self._convert.end_at(media_us)

    def change(self, volume: int, loudness: Loudness | None, from_us: int) -> list[OutFrame]:
        """The packets in place of those from `from_us` on that were made already. Loudness changes slowly,
        and with what is decoded from now on."""
        self._loudness = loudness
        as_it_is = volume == FULL_VOLUME and (loudness is None or not loudness.on)
        if self._convert is None:
            return [] if as_it_is else self._to_conversion(volume / FULL_VOLUME, from_us)
        back = can_copy(self._track) and as_it_is and self._convert.loudness is None
        self._copy_from_us = from_us + _SETTLE_US if back else None
        self._convert.loudness = loudness
        return self._convert.set_gain(volume / FULL_VOLUME, from_us)

    @property
    def _pipe(self) -> OpusPipe | OpusCopy:
        pipe = self._convert or self._copy
        assert pipe is not None  # noqa: S101 - there is always one of them
        return pipe

    def _copied(self, packet: Packet) -> list[OutFrame]:
        assert self._copy is not None  # noqa: S101 - what is not converted is copied
        at_us = self._copy.end_us
        frames = self._copy.push(packet)
        if frames or self._copy.held is packet:
            self._recent.append((packet, frames[0].media_us if frames else at_us))
            while self._recent[0][1] < at_us - _KEPT_US:
                self._recent.popleft()
        return frames

    def _to_conversion(self, gain: float, from_us: int) -> list[OutFrame]:
        """Converts what was copied from a little before `from_us` on."""
        from_us = min((at_us for _, at_us in self._recent if at_us >= from_us), default=self._pipe.end_us)
        self._counted = [self.dropped, self.left_out]
        self._convert = convert = OpusPipe(self._track, live=self._live)
        self._copy, self._unaligned, self._begin_us = None, True, None
        for packet, at_us in self._recent:
            if at_us >= from_us - _PREROLL_US - _SETTLE_US:
                self.push(replace(packet, pts_us=at_us + packet.skipped_us))
        self._recent.clear()
        convert.loudness = self._loudness
        return convert.set_gain(gain, from_us)

    def _align(self, convert: OpusPipe, packet: Packet) -> None:
        """Packets of both ways are to stand in one row: the conversion's are early by its delay."""
        begin_us = packet.pts_us - packet.skipped_us
        length_us = (samples_of(packet.data) or 0) * 1_000_000 // RATE
        if self._begin_us is None or begin_us + length_us > self._begin_us:
            convert.begin_at(begin_us + LOOKAHEAD_US)
            self._unaligned = False

    def _back_to_copy(self, packet: Packet, begin_us: int) -> list[OutFrame]:
        """Where the next packet of the conversion would stand where this one does."""
        assert self._convert is not None  # noqa: S101 - asked by who converts
        if self._convert.next_us != begin_us:
            return []
        self._counted = [self.dropped, self.left_out]
        self._convert = self._copy_from_us = None
        self._copy = OpusCopy()
        return self._copied(replace(packet, pts_us=begin_us))


def can_copy(track: AudioTrack) -> bool:
    return track.codec == "opus" and track.channels <= OPUS_CHANNELS
