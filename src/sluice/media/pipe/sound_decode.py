"""Sound of any codec that FFmpeg decodes, as 16-bit stereo at 48 kHz.

What encoders put before and behind the sound is left out where the source marks it (source/trims.py). The
resampler goes on over the passes of a file, so they are joined to the very sample.
"""

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from sluice.core.plan import AudioTrack, is_sound
from sluice.media.packets import Packet
from sluice.media.pipe.decoder import decoder_of, open_decoder
from sluice.media.pipe.filters import Resampler
from sluice.media.pipe.pcm import FRAME_BYTES
from sluice.media.pipe.sound_run import RATE
from sluice.media.stopwatch import Stopwatch

#: One packet in so many is measured.
_MEASURED = 16
#: By the number of channels, for sources whose packets do not tell.
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


class SoundDecode:
    """`dropped` counts packets that could not be decoded."""

    def __init__(self, track: AudioTrack) -> None:
        """Raises SourceError (permanent) when nothing decodes this codec."""
        self.dropped = 0
        self.decoding = Stopwatch(_MEASURED)
        self._track = track
        self._open(track.extradata)
        self._resampler: Resampler | None = None
        self._input: tuple[str, str, int] | None = None

    def decode(self, packet: Packet) -> bytes:
        """The sound that this packet completes. Raises SourceError as the constructor does."""
        if packet.extradata and packet.extradata != self._extradata:
            self._open(packet.extradata)
        try:
            frames = self.decoding.time(self._decoder.decode, packet.encoded or av.Packet(packet.data))
        except av.FFmpegError:
            self.dropped += 1
            return b""
        return self._resample(frames)

    def finish(self) -> bytes:
        """The sound that the decoder still holds at the end of a pass. The next packet begins anew."""
        try:
            frames = self._decoder.decode(None)
        except av.FFmpegError:
            frames = []
        self._decoder.flush_buffers()
        return self._resample(frames)

    def _open(self, extradata: bytes) -> None:
        track, self._extradata = self._track, extradata
        if track.codec == "opus":  # libopus is what browsers use, too
            self._decoder = open_decoder("libopus", _without_preskip(extradata), AudioCodecContext)
        elif extradata == track.extradata:
            self._decoder = decoder_of(track, AudioCodecContext)
            if self._decoder is track.context:
                return
        else:
            self._decoder = open_decoder(track.codec, extradata, AudioCodecContext)
        if track.sample_rate:
            self._decoder.sample_rate = track.sample_rate
        if track.channels in _LAYOUTS:  # packets of PCM do not tell
            self._decoder.layout = _LAYOUTS[track.channels]

    def _resample(self, frames: list[AudioFrame]) -> bytes:
        try:
            return b"".join(_pcm(made) for frame in frames for made in self._to_room(frame))
        except av.FFmpegError:  # its channels cannot be mixed
            self.dropped += 1
            return b""

    def _to_room(self, frame: AudioFrame) -> list[AudioFrame]:
        """Makes a new resampler when the source changes rate or channels in mid-stream."""
        if not is_sound(frame.sample_rate, frame.layout.nb_channels):
            self.dropped += 1
            return []
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._input:
            self._resampler = Resampler(RATE)
            self._input = kind
        frame.pts = None
        return self._resampler.resample(frame)


def _without_preskip(head: bytes) -> bytes:
    """An OpusHead (RFC 7845 5.1) without pre-skip, so that a decoder can begin anywhere. Packets themselves
    say what is to be left out."""
    return head[:10] + b"\0\0" + head[12:] if len(head) >= 19 else head


def _pcm(frame: AudioFrame) -> bytes:
    """The samples of a frame, without the padding of its plane."""
    return bytes(frame.planes[0])[: frame.samples * FRAME_BYTES]
