"""Video for rooms by re-encoding: any codec that FFmpeg decodes becomes H.264 constrained baseline.

A picture that is marked as interlaced is deinterlaced. Pictures are turned upright, get square pixels, and
are fitted into the asked size with black bars. Frames beyond the asked rate are left out; none is duplicated.
A key frame comes when a viewer needs one, and at least every two seconds.
"""

from fractions import Fraction
from itertools import pairwise

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from sluice.core.plan import VideoTarget, VideoTrack, even, upright_size
from sluice.media.packets import Packet
from sluice.media.pipe.decoder import decoder_of, open_decoder
from sluice.media.pipe.filters import new_graph
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.looks import FrameLooks
from sluice.media.relief import NO_RELIEF, Relief
from sluice.media.stopwatch import Stopwatch
from sluice.process.link import FrameType
from sluice.wire.h264 import split_annexb

_CLOCK = Fraction(1, 1_000_000)
_KEY_FRAME_US = 2_000_000
#: A frame counts as due when it is early by up to this share of the distance: containers round their times.
_EARLY = 0.25
_UNKNOWN_RATE = 30


class H264Encode:
    """Takes packets of one track in order. `dropped` counts packets that could not be decoded, `left_out`
    pictures that were not shown because the machine had too much to do."""

    def __init__(self, track: VideoTrack, target: VideoTarget, relief: Relief = NO_RELIEF) -> None:
        """Raises SourceError (permanent) when nothing decodes this codec."""
        self.dropped = self.left_out = 0
        self.heavy = True
        self._decoding, self._encoding = Stopwatch(), Stopwatch()
        self._looks = FrameLooks(track.codec, track.width, track.height)
        self._relief = relief
        self._due = 0  #: pictures that were due
        self._hidden: set[int] = set()  #: times of pictures that are decoded and not shown
        self._decoder: VideoCodecContext
        self._use(track)
        self._target = target
        self._shape: _Shape | None = None
        self._graph: _Fitting | None = None
        self._encoder: VideoCodecContext | None = None
        self._due_us: float | None = None
        self._last_us: int | None = None
        self._key_wanted = False
        self._key_us: int | None = None

    def begin(self, track: VideoTrack) -> list[OutFrame]:
        """Goes on with pictures of this track, from a key frame on. Raises SourceError as the constructor
        does."""
        frames = self.flush()
        self._use(track)
        return frames

    @property
    def decode_s(self) -> float:
        """CPU time."""
        return self._decoding.seconds

    @property
    def encode_s(self) -> float:
        return self._encoding.seconds

    def request_key_frame(self) -> None:
        """The next frame becomes a key frame. May be called from any thread."""
        self._key_wanted = True

    def push(self, packet: Packet) -> list[OutFrame]:
        """The frames that this packet completes."""
        if packet.extradata and packet.extradata != self._decoder.extradata:
            self._decoder = open_decoder(self._track.codec, packet.extradata, VideoCodecContext)
            self._started = False
        if not self._started and not packet.key:
            self.dropped += 1
            return []
        self._started = True
        if packet.hidden:
            self._hidden.add(packet.pts_us)
        self._looks.note(len(packet.data), packet.pts_us, key=packet.key)
        coded = av.Packet(packet.data)
        coded.pts, coded.dts, coded.time_base = packet.pts_us, packet.dts_us, _CLOCK
        try:
            decoded = self._decoding.time(self._decoder.decode, coded)
        except av.FFmpegError:
            self.dropped += 1
            return []
        return self._take(decoded)

    def flush(self) -> list[OutFrame]:
        """The frames that decoder and filters still hold. The next pass begins with a key frame."""
        try:
            frames = self._take(self._decoder.decode(None))
        except av.FFmpegError:  # it was never opened, and holds nothing
            frames = []
        frames += [out for picture in self._drain() for out in self._encode(picture)]
        if self._decoder.is_open:
            self._decoder.flush_buffers()
        self._started = False
        self._hidden.clear()
        return frames

    def _use(self, track: VideoTrack) -> None:
        self._track = track
        self._decoder = decoder_of(track, VideoCodecContext)
        self._rotation = track.rotation % 360
        self._aspect = track.pixel_aspect
        self._started = False

    def _take(self, decoded: list[VideoFrame]) -> list[OutFrame]:
        return [
            out
            for frame in decoded
            if self._is_due(frame) and not self._leaves_out()
            for picture in self._fit(frame)
            for out in self._encode(picture)
        ]

    def _is_due(self, frame: VideoFrame) -> bool:
        """FrameRate is an upper bound: frames beyond it are left out, none is added."""
        at_us = frame.pts
        if at_us in self._hidden:
            self._hidden.discard(at_us)
            return False
        if at_us is None or (self._last_us is not None and at_us <= self._last_us):
            return False
        if self._target.frame_rate is None:
            self._last_us = at_us
            return True
        distance_us = 1e6 / self._target.frame_rate
        if self._due_us is not None and at_us < self._due_us - _EARLY * distance_us:
            return False
        behind = self._due_us is None or at_us > self._due_us + distance_us
        self._due_us = (at_us if behind or self._due_us is None else self._due_us) + distance_us
        self._last_us = at_us
        return True

    def _leaves_out(self) -> bool:
        """Whether this picture gives way. One that somebody waits for does not."""
        self._due += 1
        if self._due % self._relief.shown == 0 or self._key_wanted or self._key_us is None:
            return False
        self.left_out += 1
        return True

    def _fit(self, frame: VideoFrame) -> list[VideoFrame]:
        aspect = self._aspect or self._decoder.sample_aspect_ratio or Fraction(1)
        shape = _Shape.of(frame, aspect, self._rotation)
        held = self._drain() if self._shape != shape else []
        if self._graph is None:
            self._shape, self._graph = shape, _Fitting(shape, self._target)
        return held + self._graph.run(frame)

    def _drain(self) -> list[VideoFrame]:
        """The pictures that the filters still hold. They take nothing more after that."""
        held = self._graph.run(None) if self._graph is not None else []
        self._shape = self._graph = None
        return held

    def _encode(self, picture: VideoFrame) -> list[OutFrame]:
        # Filters may use another clock: yadif counts in half frames.
        at_us = round((picture.pts or 0) * (picture.time_base or _CLOCK) / _CLOCK)
        if self._encoder is None or (self._encoder.width, self._encoder.height) != (
            picture.width,
            picture.height,
        ):
            self._encoder = open_encoder(picture, self._target)
        seen = self._looks.look(picture, at_us)
        picture.pts, picture.time_base = at_us, _CLOCK
        key = self._key_wanted or self._key_us is None or at_us - self._key_us >= _KEY_FRAME_US
        picture.pict_type = PictureType.I if key else PictureType.NONE
        if key:
            self._key_wanted, self._key_us = False, at_us
        return [
            OutFrame(
                FrameType.VIDEO, coded.pts or 0, _with_lengths(bytes(coded)), coded.is_keyframe, seen=seen
            )
            for coded in self._encoding.time(self._encoder.encode, picture)
        ]


class _Shape(tuple[int, int, str, Fraction, int, bool]):
    """What the filters depend on: size, pixel format, aspect of a pixel, rotation, interlaced."""

    __slots__ = ()

    @classmethod
    def of(cls, frame: VideoFrame, aspect: Fraction, rotation: int) -> "_Shape":
        return cls(
            (
                frame.width,
                frame.height,
                frame.format.name,
                aspect,
                rotation,
                bool(frame.interlaced_frame),
            )
        )


class _Fitting:
    """The filters from one shape of decoded frame to the picture that is encoded."""

    def __init__(self, shape: _Shape, target: VideoTarget) -> None:
        width, height, pixel_format, aspect, rotation, interlaced = shape
        graph = new_graph()
        source = graph.add(
            "buffer",
            f"video_size={width}x{height}:pix_fmt={pixel_format}:time_base=1/1000000:pixel_aspect=1/1",
        )
        chain = [source]
        if interlaced:
            chain.append(graph.add("yadif", "deint=interlaced"))
        shown_width, shown_height = shown = upright_size(width, height, aspect, rotation)
        if rotation in (90, 270):
            # The rotation is the one by which the stored picture is to be turned counter-clockwise.
            chain.append(graph.add("transpose", "cclock" if rotation == 90 else "clock"))
        elif rotation == 180:
            chain += [graph.add("hflip"), graph.add("vflip")]
        box = target.box(shown)
        scale = min(box[0] / shown_width, box[1] / shown_height)
        fitted = (min(box[0], even(shown_width * scale)), min(box[1], even(shown_height * scale)))
        if fitted != shown:
            chain.append(graph.add("scale", f"{fitted[0]}:{fitted[1]}"))
        if fitted != box:
            chain.append(graph.add("pad", f"{box[0]}:{box[1]}:(ow-iw)/2:(oh-ih)/2"))
        chain += [graph.add("format", "pix_fmts=yuv420p"), graph.add("buffersink")]
        for left, right in pairwise(chain):
            left.link_to(right)
        graph.configure()
        self._graph = graph

    def run(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """The pictures that are ready. Deinterlacing holds a frame until the next one comes; None drains
        it."""
        if frame is not None:
            frame.time_base = _CLOCK
        self._graph.vpush(frame)
        pictures: list[VideoFrame] = []
        while True:
            try:
                pictures.append(self._graph.vpull())
            except (BlockingIOError, EOFError):
                return pictures


def open_encoder(picture: VideoFrame, target: VideoTarget) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)  # noqa: S101
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuv420p"
    encoder.time_base = _CLOCK
    encoder.framerate = Fraction(target.frame_rate or _UNKNOWN_RATE)
    encoder.gop_size = 10_000  # `_encode` asks for key frames by time: no frame rate is certain
    encoder.thread_count = 1
    options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "forced-idr": "1",
        "crf": "23",
    }
    if target.bitrate_kbps is not None:
        # At most so much, over any second.
        options |= {"maxrate": f"{target.bitrate_kbps}k", "bufsize": f"{target.bitrate_kbps}k"}
    encoder.options = options
    encoder.open()
    return encoder


def _with_lengths(annexb: bytes) -> bytes:
    """The frame link's form: each NAL unit behind its length in four bytes."""
    return b"".join(part for unit in split_annexb(annexb) for part in (len(unit).to_bytes(4, "big"), unit))
