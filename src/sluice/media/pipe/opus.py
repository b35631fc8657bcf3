"""Audio for rooms: any codec that FFmpeg decodes becomes Opus, 48 kHz stereo, 20 ms packets (RFC 7587).

The output is a continuous run of 20 ms packets (sound_run.py). Where the source's times depart from the run,
silence is inserted, or sound is left out with a cross-fade, so that it stays with the picture. This happens
after a jump, and bit by bit while a live source is played faster. A long gap moves the clock instead.
"""

from sluice.core.plan import AudioTrack
from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.gain import FRAME_SAMPLES
from sluice.media.pipe.loudness import Loudness
from sluice.media.pipe.opus_encode import OpusEncode
from sluice.media.pipe.pcm import FRAME_BYTES, best_match, cross_fade
from sluice.media.pipe.sound_decode import SoundDecode
from sluice.media.pipe.sound_run import RATE, TOLERANCE_US, SoundRun

_FADE = 960
#: How many samples later a cross-fade may begin, where the waves match better: the period of 100 Hz.
_SEARCH = 480


class OpusPipe:
    """Takes packets of one track in order. `left_out` counts how often sound was left out."""

    def __init__(
        self,
        track: AudioTrack,
        *,
        live: bool = False,
        gain: float = 1.0,
        loudness: Loudness | None = None,
        begin_us: int | None = None,
    ) -> None:
        """`live`: one packet is always held back, so that a fade to what comes next is possible. `begin_us`:
        the sound begins there, in its middle. Raises SourceError (permanent) when nothing decodes the
        codec."""
        self.left_out = 0
        self._decode = SoundDecode(track)
        self._run = SoundRun()
        self._encode = OpusEncode(self._run, gain, from_silence=begin_us is not None)
        self._held = _FADE if live else 0
        self._leaving_out = False
        self._joining = bytearray()  #: sound to be faded to, until there is enough to choose from
        self._pass_joined = False
        self.loudness = loudness  #: may be set at any time
        self._begin_us = begin_us
        self._end_us: int | None = None

    @property
    def dropped(self) -> int:
        """Packets that could not be decoded."""
        return self._decode.dropped

    @property
    def decode_s(self) -> float:
        """CPU time."""
        return self._decode.decoding.seconds

    @property
    def encode_s(self) -> float:
        return self._encode.encoding.seconds

    @property
    def end_us(self) -> int:
        """Where the run of sound ends."""
        return self._run.end_us

    @property
    def next_us(self) -> int:
        """Media time of the packet that comes next."""
        return self._encode.next_us

    def push(self, packet: Packet) -> list[OutFrame]:
        """The Opus packets that this packet completes. Raises SourceError as the constructor does."""
        sound = self._decode.decode(packet)
        if sound and self.loudness is not None:
            sound = self.loudness.run(sound)
        if sound:
            self._take(sound, packet.pts_us)
        return self._encoded()

    def begin(self, track: AudioTrack) -> None:
        """Goes on with the sound of this track. Raises SourceError as the constructor does."""
        decode = SoundDecode(track)
        sound = self._decode.finish()
        if sound:
            self._take(sound, self._run.end_us)
        decode.dropped, decode.decoding = self._decode.dropped, self._decode.decoding
        self._decode = decode

    def begin_at(self, media_us: int) -> None:
        """Sound before this time only prepares the decoder, and is left out."""
        self._begin_us = media_us

    def end_at(self, media_us: int) -> None:
        """Sound from this time on is an encoder's padding and is left out."""
        self._end_us = media_us

    def set_gain(self, gain: float, from_us: int) -> list[OutFrame]:
        """The packets in place of those from `from_us` on that were made already."""
        return self._encode.set_gain(gain, from_us)

    def flush(self) -> list[OutFrame]:
        """The end of a pass. The next pass goes on at the very sample at which this one ends."""
        sound = self._decode.finish()
        if sound:
            self._take(sound, self._run.end_us)
        self._pass_joined = True
        self._end_us = None
        return self._encoded()

    def end_on(self, remainder: int) -> None:
        """At the end of a pass, makes the run `remainder` samples longer than whole packets: it cuts the last
        packet or fills it, whichever is less. Nobody hears that as a gap."""
        over = (self._run.samples - remainder) % FRAME_SAMPLES
        if over <= min(FRAME_SAMPLES // 2, self._encode.waiting):
            self._encode.cut(over)
        else:
            self._encode.write(bytes((FRAME_SAMPLES - over) * FRAME_BYTES))

    def close(self) -> list[OutFrame]:
        """The end of the sound: what decoder and encoder still hold."""
        held = self._decode.finish()
        if held:
            self._take(held, self._run.end_us)
        if self._joining:
            self._encode.write(self._joining)
            self._joining = bytearray()
        return self._encode.finish()

    def _take(self, sound: bytes, at_us: int) -> None:
        if self._begin_us is not None:
            early = max(0, round((self._begin_us - at_us) * RATE / 1_000_000))
            sound, at_us = sound[early * FRAME_BYTES :], max(at_us, self._begin_us)
            if sound:
                self._begin_us = None
        if self._end_us is not None:
            sound = sound[: max(0, self._end_us - at_us) * RATE // 1_000_000 * FRAME_BYTES]
        if not sound:
            return
        if self._joining:
            self._join(sound)
            return
        exact = self._pass_joined or self._leaving_out
        gap = self._run.gap(at_us, 0 if exact else TOLERANCE_US)
        self._leaving_out = gap < 0 and not self._pass_joined
        if self._leaving_out:
            self._leave_out(-gap, sound)
            return
        sound = sound[max(0, -gap) * FRAME_BYTES :]
        if sound:
            self._pass_joined = False
            if gap > 0:
                self._encode.write(bytes(gap * FRAME_BYTES))
            self._encode.write(sound)

    def _leave_out(self, overlap: int, sound: bytes) -> None:
        """Leaves out what overlaps the run, but for the fade and half of the range in which it may begin."""
        fade = min(_FADE, self._encode.waiting)
        left_out = max(0, overlap - fade - _SEARCH // 2)
        if left_out * FRAME_BYTES < len(sound):
            self._leaving_out = False
            self._join(sound[left_out * FRAME_BYTES :])

    def _join(self, sound: bytes) -> None:
        """Fades from the end of the run to `sound`, when enough has come to choose where."""
        new = self._joining
        new += sound
        fade = min(_FADE, self._encode.waiting)
        if len(new) < (fade + _SEARCH) * FRAME_BYTES:
            return
        self._joining = bytearray()
        self.left_out += 1
        end = self._encode.end(fade)
        begin = best_match(end, new[: (fade + _SEARCH) * FRAME_BYTES]) * FRAME_BYTES
        self._encode.replace_end(cross_fade(end, new[begin : begin + len(end)]))
        self._encode.write(new[begin + len(end) :])

    def _encoded(self) -> list[OutFrame]:
        return [] if self._joining else self._encode.encode(self._held)
