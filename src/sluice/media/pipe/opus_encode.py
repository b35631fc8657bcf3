"""The encoder for rooms: a run of samples becomes Opus packets of 20 ms (RFC 7587), with a gain.

Packets are made long before they are due. So that a new volume does not wait for that, the sound of the last
packets is kept, and can be encoded again with another gain.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from sluice.core.plan import OPUS_BITRATE_BPS
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.gain import FRAME_SAMPLES, Gain, frame_of, ramp
from sluice.media.pipe.level import LevelMeter
from sluice.media.pipe.pcm import FRAME_BYTES, Sound
from sluice.media.pipe.sound_run import RATE, SoundRun
from sluice.media.stopwatch import Stopwatch
from sluice.process.link import FrameType

#: libopus delays the sound by its look-ahead of 120 samples; packets are stamped that much earlier.
LOOKAHEAD_SAMPLES, LOOKAHEAD_US = 120, 2_500
#: No modes for speech, which help at a fifth of this bitrate, and complexity 0. That takes 0.28 % of a core
#: for a stream, where complexity 5 takes 0.46 and 10 takes 0.75. Measured in ten bands with notes and drums,
#: its noise is within 1 dB of that of complexity 5 at the same bitrate, but 2 dB above it over 12 kHz.
#: Without the constraint on the bitrate, complexity 0 would spend too little there.
_OPTIONS = {
    "application": "lowdelay",
    "frame_duration": "20",
    "compression_level": "0",
    "vbr": "constrained",
}
#: So many frames are kept: more than may wait to be sent.
_MOST_KEPT = 100
#: So many frames are encoded again first, and not sent, so that the encoder is where decoders are.
_LEAD = 2
#: One frame in so many is measured.
_MEASURED = 16
#: Levels are of so many frames.
_LEVEL = 16
_BYTES = FRAME_SAMPLES * FRAME_BYTES


@dataclass(slots=True)
class _Made:
    """A frame that was encoded: its sound before the gain, and the gain at its end."""

    media_us: int
    sound: bytes
    gain: float


class OpusEncode:
    """`write` sound, then `encode`. What is not encoded yet can be changed at its end."""

    def __init__(self, run: SoundRun, gain: float, *, from_silence: bool = False) -> None:
        """`from_silence`: the sound begins in its middle, and is faded in."""
        self._run = run
        self._encoder = open_opus()
        self.encoding = Stopwatch(_MEASURED)
        self._meter, self._unheard = LevelMeter(), 0  #: and frames since the last level
        self._pcm = bytearray()  #: sound that is not encoded yet
        self._made: deque[_Made] = deque(maxlen=_MOST_KEPT)
        self._next = 0  #: sample of the run that is to be encoded next
        self._gain, self._steady = gain, Gain(gain)
        self._gain_now = 0.0 if from_silence else gain  #: the gain at the end of what was encoded

    @property
    def waiting(self) -> int:
        """Samples that are not encoded yet."""
        return len(self._pcm) // FRAME_BYTES

    @property
    def next_us(self) -> int:
        """Media time of the packet that comes next."""
        return self._run.at(self._next) - LOOKAHEAD_US

    def write(self, sound: Sound) -> None:
        self._pcm += sound
        self._run.add(len(sound) // FRAME_BYTES)

    def end(self, samples: int) -> bytes:
        """The last so many samples, none of which is encoded yet."""
        return bytes(self._pcm[len(self._pcm) - samples * FRAME_BYTES :])

    def replace_end(self, sound: bytes) -> None:
        self._pcm[len(self._pcm) - len(sound) :] = sound

    def cut(self, samples: int) -> None:
        """Leaves out the last so many samples, none of which is encoded yet."""
        if samples:
            del self._pcm[len(self._pcm) - samples * FRAME_BYTES :]
            self._run.add(-samples)

    def encode(self, hold: int = 0) -> list[OutFrame]:
        """All whole frames but for the last `hold` samples."""
        size = (self.waiting - hold) // FRAME_SAMPLES * _BYTES
        if size <= 0:
            return []
        sound = bytes(memoryview(self._pcm)[:size])
        del self._pcm[:size]
        stamps = [
            self._run.at(self._next + n) - LOOKAHEAD_US for n in range(0, size // FRAME_BYTES, FRAME_SAMPLES)
        ]
        self._next += size // FRAME_BYTES
        return self._encode(sound, stamps)

    def finish(self) -> list[OutFrame]:
        """Encodes all that was written, and the silence that completes the last packet."""
        tail = -(self.waiting + LOOKAHEAD_SAMPLES) % FRAME_SAMPLES + LOOKAHEAD_SAMPLES
        if self.waiting:
            self.write(bytes(tail * FRAME_BYTES))
        return self.encode()

    def set_gain(self, gain: float, from_us: int) -> list[OutFrame]:
        """Sets the gain from the packet at `from_us` on. Returns packets that replace those made already."""
        self._gain, self._steady = gain, Gain(gain)
        again: deque[_Made] = deque()
        while self._made and self._made[-1].media_us >= from_us:
            again.appendleft(self._made.pop())
        if not again:
            return []
        lead = list(self._made)[-_LEAD:]
        self._gain_now = lead[-1].gain if lead else self._gain_now
        for made in lead:
            self._encoder.encode(
                frame_of(made.sound if made.gain == 1 else ramp(made.sound, made.gain, made.gain))
            )
        return self._encode(b"".join(made.sound for made in again), [made.media_us for made in again])

    def _encode(self, sound: bytes, stamps: list[int]) -> list[OutFrame]:
        out: list[OutFrame] = []
        samples, meter = memoryview(sound).cast("h"), self._meter
        encode, gain, clock = self._encoder.encode, self._gain, self.encoding
        for at, media_us, frame in zip(count(0, _BYTES), stamps, self._frames(sound), strict=False):
            (packet,) = clock.time(encode, frame)  # libopus gives one for each frame
            self._made.append(_Made(media_us, sound[at : at + _BYTES], gain))
            meter.add(samples[at // 2 : (at + _BYTES) // 2])
            self._unheard = unheard = (self._unheard + 1) % _LEVEL
            level = meter.take(gain) if not unheard else None
            out.append(OutFrame(FrameType.AUDIO, media_us, bytes(packet), seen=level))
        return out

    def _frames(self, sound: bytes) -> Iterator[AudioFrame]:
        if self._gain_now != self._gain:
            yield frame_of(ramp(sound[:_BYTES], self._gain_now, self._gain))
            self._gain_now = self._gain
            sound = sound[_BYTES:]
        yield from self._steady.frames(sound)


def open_opus() -> AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)  # noqa: S101
    encoder.sample_rate = RATE
    encoder.layout = "stereo"
    encoder.format = "s16"
    encoder.bit_rate = OPUS_BITRATE_BPS
    encoder.options = dict(_OPTIONS)
    encoder.open()
    return encoder
