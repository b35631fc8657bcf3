"""The sound of one session: Opus is copied where it may stay as it is, all else is decoded and encoded.

When the volume of copied sound changes, it is converted; when the change is taken back, it is copied again.
There is no gap between the two. The conversion begins with packets that were copied already, so that its
first packet takes the place of a copied one. When it ends, all that it holds is heard before the first copied
packet.

The same is done where one pass of a file follows another: Opus packets depend on those before them, and the
first packets of a file depend on none.
"""

from collections import deque
from dataclasses import replace
from typing import NamedTuple

from sluice.core.plan import OPUS_CHANNELS, AudioTrack
from sluice.core.tasks import FULL_VOLUME
from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.loudness import Loudness
from sluice.media.pipe.opus import OpusPipe
from sluice.media.pipe.opus_copy import OpusCopy, samples_of
from sluice.media.pipe.opus_encode import LOOKAHEAD_SAMPLES, LOOKAHEAD_US
from sluice.media.pipe.sound_run import RATE

#: Copied packets are kept for so long: more than may wait to be sent, and what a decoder needs before that.
_KEPT_US = 2_500_000
#: A decoder of Opus gives the right sound after so much (RFC 7845 4.6).
_PREROLL_US = 80_000
#: Sound is converted at full volume for so long before it is copied again, so that decoders come near it.
_SETTLE_US = 100_000
#: Samples of the first packet of nearly every Opus file: 20 ms, less the delay of libopus.
_USUAL_FIRST = 960 - 312


class _Counted(NamedTuple):
    """By pipes that are gone."""

    dropped: int = 0
    left_out: int = 0
    decode_s: float = 0.0
    encode_s: float = 0.0


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
        """`begin_us`: the sound begins there, in its middle. Raises SourceError (permanent) when nothing
        decodes this codec."""
        self._track, self._live, self._loudness = track, live, loudness
        self._copy: OpusCopy | None = None
        self._convert: OpusPipe | None = None
        self._recent: deque[tuple[Packet, int]] = deque()  #: copied packets, each with its time in the room
        self._copy_from_us: int | None = None  #: when copying may begin again; None: never
        self._counted = _Counted()
        self._unaligned = can_copy(track)  #: converted packets are not yet in the places of copied ones
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
        """Whether packets are copied at present."""
        return self._convert is None

    @property
    def dropped(self) -> int:
        counted, pipe = self._counted, self._convert or self._copy  # asked for at each packet
        return counted.dropped + pipe.dropped if pipe is not None else 0

    @property
    def left_out(self) -> int:
        return self._sum().left_out

    @property
    def decode_s(self) -> float:
        """CPU time."""
        return self._sum().decode_s

    @property
    def encode_s(self) -> float:
        return self._sum().encode_s

    @property
    def end_us(self) -> int:
        """Where the run of sound ends."""
        return self._pipe.end_us

    def begin(self, track: AudioTrack) -> list[OutFrame]:
        """Goes on with the sound of this track. A conversion goes on as one. Raises SourceError as the
        constructor does."""
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
            # A decoder leaves out the beginning of the first packet of the next pass. The packets after it
            # are to be in the places of copied ones.
            self._convert.end_on(-LOOKAHEAD_SAMPLES - self._first_samples)
            self._copy_from_us = self._convert.end_us + _SETTLE_US
        return frames

    def close(self) -> list[OutFrame]:
        """The end of the sound."""
        return self._pipe.close()

    def end_at(self, media_us: int) -> None:
        """Sound from this time on is an encoder's padding, and is left out."""
        if self._convert is not None:
            self._convert.end_at(media_us)

    def change(self, volume: int, loudness: Loudness | None, from_us: int) -> list[OutFrame]:
        """Returns packets that replace those from `from_us` on which were made already. The loudness changes
        slowly, from the sound on that is decoded next."""
        self._loudness = loudness
        as_it_is = volume == FULL_VOLUME and (loudness is None or not loudness.on)
        if self._convert is None:
            return [] if as_it_is else self._to_conversion(volume / FULL_VOLUME, from_us)
        back = can_copy(self._track) and as_it_is and self._convert.loudness is None
        self._copy_from_us = from_us + _SETTLE_US if back else None
        self._convert.loudness = loudness
        return self._convert.set_gain(volume / FULL_VOLUME, from_us)

    def _sum(self) -> _Counted:
        """What was counted. Another thread may ask: pipes are changed in one step, without a call between."""
        counted, pipe = self._counted, self._convert or self._copy
        assert pipe is not None  # noqa: S101 - there is always one of them
        return _Counted(
            counted.dropped + pipe.dropped,
            counted.left_out + pipe.left_out,
            counted.decode_s + pipe.decode_s,
            counted.encode_s + pipe.encode_s,
        )

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
        """Converts the packets that were copied from a little before `from_us` on, and goes on converting."""
        from_us = min((at_us for _, at_us in self._recent if at_us >= from_us), default=self._pipe.end_us)
        convert, counted = OpusPipe(self._track, live=self._live), self._sum()
        self._counted, self._convert, self._copy = counted, convert, None
        self._unaligned, self._begin_us = True, None
        for packet, at_us in self._recent:
            if at_us >= from_us - _PREROLL_US - _SETTLE_US:
                self.push(replace(packet, pts_us=at_us + packet.skipped_us))
        self._recent.clear()
        convert.loudness = self._loudness
        return convert.set_gain(gain, from_us)

    def _align(self, convert: OpusPipe, packet: Packet) -> None:
        """Moves the run so that its packets take the places of copied ones: they are early by the encoder's
        delay."""
        begin_us = packet.pts_us - packet.skipped_us
        length_us = (samples_of(packet.data) or 0) * 1_000_000 // RATE
        if self._begin_us is None or begin_us + length_us > self._begin_us:
            convert.begin_at(begin_us + LOOKAHEAD_US)
            self._unaligned = False

    def _back_to_copy(self, packet: Packet, begin_us: int) -> list[OutFrame]:
        """Copies from this packet on, if the next converted packet would take its place."""
        assert self._convert is not None  # noqa: S101 - called while converting
        if self._convert.next_us != begin_us:
            return []
        copy, counted = OpusCopy(), self._sum()
        self._counted, self._convert, self._copy = counted, None, copy
        self._copy_from_us = None
        return self._copied(replace(packet, pts_us=begin_us))


def can_copy(track: AudioTrack) -> bool:
    return track.codec == "opus" and track.channels <= OPUS_CHANNELS
