"""Audio for rooms: any codec that FFmpeg decodes becomes Opus, 48 kHz stereo, 20 ms packets (RFC 7587).

The output is a continuous run of 20 ms packets. Where the source's timestamps leave that run by more than
`_TOLERANCE_US`, silence is inserted or samples are dropped, so that sound stays with the picture; a gap
longer than `_LONGEST_SILENCE_US` moves the clock instead.
"""

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import AudioTrack
from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.process.link import FrameType

RATE = 48_000
_SAMPLES = 960
_PACKET_US = 20_000
_BITRATE = 128_000
_TOLERANCE_US = 30_000
_LONGEST_SILENCE_US = 1_000_000
#: libopus delays the sound by its look-ahead of 312 samples; packets are stamped that much earlier.
_LOOKAHEAD_US = 6_500


class OpusPipe:
    """Feed it packets of one track in order; `dropped` counts packets that could not be decoded."""

    def __init__(self, track: AudioTrack) -> None:
        """Raises SourceError (permanent) when nothing decodes this codec."""
        try:
            decoder = av.CodecContext.create(track.codec, "r")
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED, f"no decoder for the audio codec {track.codec}", transient=False
            ) from error
        assert isinstance(decoder, AudioCodecContext)  # noqa: S101 - the track is audio
        decoder.extradata = track.extradata or None
        if track.sample_rate:
            decoder.sample_rate = track.sample_rate
        self.dropped = 0
        self._decoder = decoder
        self._resampler: AudioResampler | None = None
        self._input: tuple[str, str, int] | None = None
        self._encoder = _opus_encoder()
        self._fifo = AudioFifo()
        self._origin_us: int | None = None  #: media time of the first sample of the run
        self._samples = 0  #: samples of the run so far; counted, since rounded times would drift
        self._packets = 0
        self._skip = 0  #: samples to be left out at the head of what comes next
        self._joining = False
        self._end_us: int | None = None

    def push(self, packet: Packet) -> list[OutFrame]:
        """The Opus packets that this packet completes."""
        try:
            decoded = self._decoder.decode(av.Packet(packet.data))
        except av.FFmpegError:
            self.dropped += 1
            return []
        at_us = packet.pts_us
        for frame in decoded:
            for resampled in self._resample(frame):
                self._take(resampled, at_us)
                at_us += resampled.samples * 1_000_000 // RATE
        return self._encode()

    def end_at(self, media_us: int) -> None:
        """Sound from this time on is an encoder's padding and is left out."""
        self._end_us = media_us

    def flush(self) -> list[OutFrame]:
        """Nothing: the run of samples goes on over the passes of a loop, which are joined to the sample."""
        self._joining = True
        self._end_us = None
        return []

    def _resample(self, frame: AudioFrame) -> list[AudioFrame]:
        """A source may change rate or channels in mid-stream; a resampler is made for one kind of input."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._input:
            self._resampler = AudioResampler(format="s16", layout="stereo", rate=RATE)
            self._input = kind
        frame.pts = None
        return self._resampler.resample(frame)

    def _take(self, frame: AudioFrame, at_us: int) -> None:
        if self._origin_us is None:
            self._origin_us = at_us
        gap_us = at_us - (self._origin_us + self._samples * 1_000_000 // RATE)
        tolerance_us = 0 if self._joining else _TOLERANCE_US
        self._joining = False
        if abs(gap_us) > _LONGEST_SILENCE_US:
            self._origin_us += gap_us
        elif gap_us > tolerance_us:
            self._write(_silence(gap_us * RATE // 1_000_000))
        elif gap_us < -tolerance_us:
            self._skip = -gap_us * RATE // 1_000_000
        within = frame.samples if self._end_us is None else (self._end_us - at_us) * RATE // 1_000_000
        if within >= frame.samples:
            self._write(frame)
        elif within > 0:
            self._write(_head(frame, within))

    def _write(self, frame: AudioFrame) -> None:
        frame.pts = None
        if self._skip:
            skipped = min(self._skip, frame.samples)
            self._skip -= skipped
            rest = _without_head(frame, skipped)
            if rest is None:
                return
            frame = rest
        self._fifo.write(frame)
        self._samples += frame.samples

    def _encode(self) -> list[OutFrame]:
        out: list[OutFrame] = []
        while self._fifo.samples >= _SAMPLES and self._origin_us is not None:
            frame = self._fifo.read(_SAMPLES)
            assert isinstance(frame, AudioFrame)  # noqa: S101 - so many samples are there
            frame.pts = None
            for packet in self._encoder.encode(frame):
                media_us = self._origin_us + self._packets * _PACKET_US - _LOOKAHEAD_US
                out.append(OutFrame(FrameType.AUDIO, media_us, bytes(packet)))
                self._packets += 1
        return out


def _opus_encoder() -> AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)  # noqa: S101
    encoder.sample_rate = RATE
    encoder.layout = "stereo"
    encoder.format = "s16"
    encoder.bit_rate = _BITRATE
    encoder.options = {"application": "audio", "frame_duration": "20"}
    encoder.open()
    return encoder


def _head(frame: AudioFrame, samples: int) -> AudioFrame:
    fifo = AudioFifo()
    fifo.write(frame)
    head = fifo.read(samples)
    assert isinstance(head, AudioFrame)  # noqa: S101 - so many samples are there
    return head


def _without_head(frame: AudioFrame, samples: int) -> AudioFrame | None:
    """The frame without its first samples, None when nothing is left."""
    if samples >= frame.samples:
        return None
    fifo = AudioFifo()
    fifo.write(frame)
    fifo.read(samples)
    rest = fifo.read()
    if rest is not None:
        rest.pts = None
    return rest


def _silence(samples: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="stereo", samples=samples)
    frame.sample_rate = RATE
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame
