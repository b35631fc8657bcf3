"""Audio for rooms: any codec that FFmpeg decodes becomes Opus, 48 kHz stereo, 20 ms packets (RFC 7587).

The output is a continuous run of 20 ms packets (sound_run.py). Where the source's times leave that run,
silence is inserted, or sound is left out with a cross-fade, so that it stays with the picture: after a
jump, and bit by bit while a live source is played faster. A long gap moves the clock instead.
"""

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from sluice.core.plan import AudioTrack
from sluice.media.packets import Packet
from sluice.media.pipe.decoder import open_decoder
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.pcm import FRAME_BYTES, best_match, cross_fade
from sluice.media.pipe.sound_run import RATE, TOLERANCE_US, SoundRun
from sluice.process.link import FrameType

_SAMPLES = 960
_BITRATE = 128_000
#: At this rate Opus is transparent whatever the complexity; from 7 on libopus also looks for speech, which is
#: of use at a fifth of it. Costs of a stream: 10 takes 0.68 % of a core, 5 takes 0.44, 0 takes 0.26.
_COMPLEXITY = "5"
#: libopus delays the sound by its look-ahead of 312 samples; packets are stamped that much earlier.
_LOOKAHEAD_US = 6_500
_FADE = 960
#: How many samples later a cross-fade may begin, where the waves match better: the period of 100 Hz.
_SEARCH = 480


class OpusPipe:
    """Feed it packets of one track in order; `dropped` counts packets that could not be decoded, `left_out`
    how often sound was left out."""

    def __init__(self, track: AudioTrack, *, live: bool = False) -> None:
        """Raises SourceError (permanent) when nothing decodes this codec. `live`: one packet is always held
        back, so that whatever comes next can be faded to."""
        self._track = track
        self._open(track.extradata)
        self.dropped = self.left_out = 0
        self._resampler: AudioResampler | None = None
        self._input: tuple[str, str, int] | None = None
        self._encoder = _opus_encoder()
        self._run = SoundRun()
        self._pcm = bytearray()  #: the end of the run, which is not encoded yet
        self._held = _FADE if live else 0
        self._encoded = 0
        self._leaving_out = False
        self._joining = bytearray()  #: sound to be faded to, until there is enough to choose from
        self._pass_joined = False
        self._end_us: int | None = None

    def push(self, packet: Packet) -> list[OutFrame]:
        """The Opus packets that this packet completes. Raises SourceError as the pipe's making does."""
        if packet.extradata and packet.extradata != self._decoder.extradata:
            self._open(packet.extradata)
        try:
            decoded = self._decoder.decode(av.Packet(packet.data))
        except av.FFmpegError:
            self.dropped += 1
            return []
        at_us = packet.pts_us
        for frame in decoded:
            for resampled in self._resample(frame):
                self._take(_pcm(resampled), at_us)
                at_us += resampled.samples * 1_000_000 // RATE
        return self._encode()

    def end_at(self, media_us: int) -> None:
        """Sound from this time on is an encoder's padding and is left out."""
        self._end_us = media_us

    def flush(self) -> list[OutFrame]:
        """Nothing: the run of samples goes on over the passes of a loop, which are joined to the sample."""
        self._pass_joined = True
        self._end_us = None
        return []

    def _open(self, extradata: bytes) -> None:
        self._decoder = open_decoder(self._track.codec, extradata, AudioCodecContext)
        if self._track.sample_rate:
            self._decoder.sample_rate = self._track.sample_rate

    def _resample(self, frame: AudioFrame) -> list[AudioFrame]:
        """A source may change rate or channels in mid-stream; a resampler is made for one kind of input."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._input:
            self._resampler = AudioResampler(format="s16", layout="stereo", rate=RATE)
            self._input = kind
        frame.pts = None
        return self._resampler.resample(frame)

    def _take(self, sound: bytes, at_us: int) -> None:
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
            self._write(bytes(max(0, gap) * FRAME_BYTES))
            self._write(sound)

    def _write(self, sound: bytes | bytearray) -> None:
        self._pcm += sound
        self._run.add(len(sound) // FRAME_BYTES)

    def _leave_out(self, overlap: int, sound: bytes) -> None:
        """What overlaps the run, but for what is faded to and half of where the fade may begin."""
        fade = min(_FADE, len(self._pcm) // FRAME_BYTES)
        left_out = max(0, overlap - fade - _SEARCH // 2)
        if left_out * FRAME_BYTES < len(sound):
            self._leaving_out = False
            self._join(sound[left_out * FRAME_BYTES :])

    def _join(self, sound: bytes) -> None:
        """Fades from the end of the run to `sound` and what follows it, when there is enough of it."""
        new = self._joining
        new += sound
        fade = min(_FADE * FRAME_BYTES, len(self._pcm))
        if len(new) < fade + _SEARCH * FRAME_BYTES:
            return
        self._joining = bytearray()
        self.left_out += 1
        end = bytes(self._pcm[len(self._pcm) - fade :])
        begin = best_match(end, new[: fade + _SEARCH * FRAME_BYTES]) * FRAME_BYTES
        self._pcm[len(self._pcm) - fade :] = cross_fade(end, new[begin : begin + fade])
        self._write(new[begin + fade :])

    def _encode(self) -> list[OutFrame]:
        out: list[OutFrame] = []
        while not self._joining and len(self._pcm) >= (_SAMPLES + self._held) * FRAME_BYTES:
            frame = AudioFrame(format="s16", layout="stereo", samples=_SAMPLES)
            frame.sample_rate = RATE
            frame.planes[0].update(bytes(self._pcm[: _SAMPLES * FRAME_BYTES]))
            del self._pcm[: _SAMPLES * FRAME_BYTES]
            for packet in self._encoder.encode(frame):
                media_us = self._run.at(self._encoded) - _LOOKAHEAD_US
                out.append(OutFrame(FrameType.AUDIO, media_us, bytes(packet)))
                self._encoded += _SAMPLES
        return out


def _pcm(frame: AudioFrame) -> bytes:
    """The samples, without what the plane is padded with."""
    return bytes(frame.planes[0])[: frame.samples * FRAME_BYTES]


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
