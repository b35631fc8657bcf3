"""Sound for CDNs: a room's Opus becomes AAC-LC, 44.1 kHz stereo, in one unbroken run of frames.

Where the times of the sound depart from the run, FFmpeg's resampler corrects that, so sound is never off its
time by more than `_HARD_S`. It stretches sound when clocks differ, which nobody hears; it fills in silence
for a lost packet; and it leaves out sound for a time that is already filled.

The caller fills times without sound by `silence`: players start only when both tracks flow, and one call must
not bridge a long gap.
"""

from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.filter import Graph

from sluice.core.vitals import Level
from sluice.media.packets import TrackKind
from sluice.media.pipe.filters import new_graph
from sluice.media.pipe.level import LevelMeter
from sluice.media.stopwatch import Stopwatch
from sluice.media.units import AudioHeaders, Unit
from sluice.wire.flv import PacketType, write_aac_tag

RATE = 44_100
BITRATE = 128_000
_OPUS_RATE = 48_000
_FRAME_SAMPLES = 1024
#: Deviations between the two are stretched away within a second. Smaller ones are rounding.
_SOFT_S, _HARD_S = 0.003, 0.017
_STRETCH = RATE // 50  #: samples per second, at most
_SILENT_SAMPLES = 960
#: One packet or frame in so many is measured.
_MEASURED = 16


class AacPipe:
    """Times are those of the first samples of the input. What the encoder adds in front is accounted for."""

    def __init__(self) -> None:
        self.dropped = 0  #: packets that could not be decoded
        self.decoding, self.encoding = Stopwatch(_MEASURED), Stopwatch(_MEASURED)
        self.level: Level | None = None  #: of the sound that came last
        self._meter = LevelMeter(1.0)
        self.end_us: int | None = None  #: where the run ends at present; None before it begins
        decoder = av.CodecContext.create("opus", "r")
        assert isinstance(decoder, AudioCodecContext)  # noqa: S101 - Opus is audio
        self._decoder = decoder
        self._graph = _graph()
        self._encoder = _encoder()
        self._silence = _silent_frame()

    @property
    def headers(self) -> AudioHeaders:
        tag = write_aac_tag(PacketType.CONFIG, self._encoder.extradata or b"")
        return AudioHeaders(tag, RATE, BITRATE)

    def sound(self, packet: bytes, at_us: int) -> list[Unit]:
        """The AAC frames that this Opus packet completes."""
        if not packet:  # an empty packet would mean to the decoder that the stream is over
            self.dropped += 1
            return []
        try:
            frames = self.decoding.time(self._decoder.decode, av.Packet(packet))
        except av.FFmpegError:
            self.dropped += 1
            return []
        units: list[Unit] = []
        for frame in frames:
            assert isinstance(frame, AudioFrame)  # noqa: S101
            for plane in frame.planes:
                self._meter.add(memoryview(plane).cast("f")[: frame.samples])
            self.level = self._meter.take()
            units += self._take(frame, at_us)
            at_us += frame.samples * 1_000_000 // _OPUS_RATE
        return units

    def silence(self, until_us: int) -> list[Unit]:
        """Fills the run with silence to about `until_us`, or begins it there."""
        units: list[Unit] = []
        if self.end_us is None:
            self.end_us = until_us
        while self.end_us < until_us:
            units += self._take(self._silence, self.end_us)
        return units

    def _take(self, frame: AudioFrame, at_us: int) -> list[Unit]:
        frame.pts, frame.time_base = at_us * _OPUS_RATE // 1_000_000, Fraction(1, _OPUS_RATE)
        end_us = at_us + frame.samples * 1_000_000 // _OPUS_RATE
        self.end_us = end_us if self.end_us is None else max(self.end_us, end_us)
        self._graph.push(frame)
        units: list[Unit] = []
        while True:
            try:
                resampled = self._graph.pull()
            except av.BlockingIOError:
                return units
            assert isinstance(resampled, AudioFrame)  # noqa: S101
            for packet in self.encoding.time(self._encoder.encode, resampled):
                assert packet.pts is not None  # noqa: S101 - since the frame has one
                body = write_aac_tag(PacketType.FRAME, bytes(packet))
                units.append(Unit(TrackKind.AUDIO, packet.pts * 1_000_000 // RATE, body))


def _graph() -> Graph:
    """From what the decoder makes to frames of the encoder's size, on the clock of the timestamps."""
    graph = new_graph()
    source = graph.add_abuffer(
        sample_rate=_OPUS_RATE, format="fltp", layout="stereo", time_base=Fraction(1, _OPUS_RATE)
    )
    resample = graph.add(
        "aresample",
        f"{RATE}:async={_STRETCH}:min_comp={_SOFT_S}:min_hard_comp={_HARD_S}:comp_duration=1",
    )
    sink = graph.add("abuffersink")
    source.link_to(resample)
    resample.link_to(sink)
    graph.configure()
    graph.set_audio_frame_size(_FRAME_SAMPLES)
    return graph


def _encoder() -> AudioCodecContext:
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, AudioCodecContext)  # noqa: S101
    encoder.sample_rate, encoder.time_base = RATE, Fraction(1, RATE)
    encoder.layout, encoder.format = "stereo", "fltp"
    encoder.bit_rate = BITRATE
    # A third of the cost of the defaults. Most microphones are mono; for them the search for mid/side stereo
    # takes longer than all the rest, and saves bits of which there are enough.
    encoder.options = {"aac_coder": "fast", "aac_ms": "0"}
    encoder.open()
    return encoder


def _silent_frame() -> AudioFrame:
    frame = AudioFrame(format="fltp", layout="stereo", samples=_SILENT_SAMPLES)
    frame.sample_rate = _OPUS_RATE
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame
