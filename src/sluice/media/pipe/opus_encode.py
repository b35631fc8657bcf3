"""The encoder for rooms: a run of samples becomes Opus packets of 20 ms (RFC 7587), with a gain.

What was encoded can be encoded again with another gain, as long as it is kept: packets are made long before
they are due, and a new volume shall not wait for that.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.gain import FRAME_SAMPLES, Gain, frame_of, ramp
from sluice.media.pipe.pcm import FRAME_BYTES, Sound
from sluice.media.pipe.sound_run import RATE, SoundRun
from sluice.process.link import FrameType

#: libopus delays the sound by its look-ahead of 312 samples; packets are stamped that much earlier.
LOOKAHEAD_SAMPLES, LOOKAHEAD_US = 312, 6_500
_BITRATE = 128_000
#: At this rate Opus is transparent whatever the complexity; from 7 on libopus also looks for speech, which is
#: of use at a fifth of it. Costs of a stream: 10 takes 0.68 % of a core, 5 takes 0.44, 0 takes 0.26.
_COMPLEXITY = "5"
#: Frames that are kept: more than may wait to be sent.
_MOST_KEPT = 150
#: Frames encoded before those that are to be had, so that the encoder hears what decoders heard before.
_LEAD = 3
_BYTES = FRAME_SAMPLES * FRAME_BYTES


@dataclass(slots=True)
class _Made:
    """A frame of the run that was encoded, and the gain at its end."""

    media_us: int
    gain: float


class OpusEncode:
    """`write` sound, then `encode`. The end of what is not encoded yet may still be changed."""

    def __init__(self, run: SoundRun, gain: float, *, from_silence: bool = False) -> None:
        """`from_silence`: what begins in mid-sound is faded in."""
        self._run = run
        self._encoder = _opus_encoder()
        self._pcm = bytearray()  #: of the frames in `_made`, and what is not encoded yet
        self._made: deque[_Made] = deque()
        self._stamps: deque[int] = deque()  #: of frames that are to be encoded again
        self._next = 0  #: sample of the run that is to be encoded next
        self._gain, self._steady = gain, Gain(gain)
        self._gain_now = 0.0 if from_silence else gain  #: at the end of what was encoded

    @property
    def waiting(self) -> int:
        """Samples that are not encoded yet."""
        return (len(self._pcm) - len(self._made) * _BYTES) // FRAME_BYTES

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
        out = self._encode((self.waiting - hold) // FRAME_SAMPLES)
        drop = len(self._made) - _MOST_KEPT
        if drop > 0:
            del self._pcm[: drop * _BYTES]
            for _ in range(drop):
                self._made.popleft()
        return out

    def finish(self) -> list[OutFrame]:
        """All that was written and not encoded, with the silence that the last packet needs."""
        tail = -(self.waiting + LOOKAHEAD_SAMPLES) % FRAME_SAMPLES + LOOKAHEAD_SAMPLES
        if self.waiting:
            self.write(bytes(tail * FRAME_BYTES))
        return self.encode()

    def set_gain(self, gain: float, from_us: int) -> list[OutFrame]:
        """From the packet at `from_us` on, in place of those that were made already, or from the next."""
        self._gain, self._steady = gain, Gain(gain)
        again = [made for made in self._made if made.media_us >= from_us]
        if not again:
            return []
        first = len(self._made) - len(again)
        self._next -= len(again) * FRAME_SAMPLES
        self._stamps.extendleft(made.media_us for made in reversed(again))
        for _ in again:
            self._made.pop()
        self._gain_now = self._made[-1].gain if self._made else self._gain_now
        for n in range(max(0, first - _LEAD), first):
            sound = self._pcm[n * _BYTES : (n + 1) * _BYTES]
            kept = self._made[n].gain
            self._encoder.encode(frame_of(sound if kept == 1 else ramp(sound, kept, kept)))
        return self._encode(len(again))

    def _encode(self, count: int) -> list[OutFrame]:
        out: list[OutFrame] = []
        for frame in islice(self._frames(count), max(0, count)):
            for packet in self._encoder.encode(frame):
                media_us = self._stamps.popleft() if self._stamps else self.next_us
                out.append(OutFrame(FrameType.AUDIO, media_us, bytes(packet)))
                self._made.append(_Made(media_us, self._gain))
            self._next += FRAME_SAMPLES
        return out

    def _frames(self, count: int) -> Iterator[AudioFrame]:
        if count <= 0:
            return
        begin = len(self._made) * _BYTES
        sound = memoryview(bytes(self._pcm[begin : begin + count * _BYTES]))
        if self._gain_now != self._gain:
            yield frame_of(ramp(sound[:_BYTES].tobytes(), self._gain_now, self._gain))
            self._gain_now = self._gain
            sound = sound[_BYTES:]
        yield from self._steady.frames(sound.tobytes())


def _opus_encoder() -> AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)  # noqa: S101
    encoder.sample_rate = RATE
    encoder.layout = "stereo"
    encoder.format = "s16"
    encoder.bit_rate = _BITRATE
    encoder.options = {
        "application": "audio",
        "frame_duration": "20",
        "compression_level": _COMPLEXITY,
    }
    encoder.open()
    return encoder
