"""Video for rooms without re-encoding: H.264 access units as they are, made startable at key frames.

Containers keep SPS and PPS outside the frames (ISO/IEC 14496-15 5.3). Receivers of RTP need them before each
key frame, so they are put there. Malformed units, and units before the first key frame, are dropped and
counted. Pictures that are not in the order in which they are shown cannot be copied: `push` raises Reordered.
"""

import contextlib

from sluice.core.errors import unsupported
from sluice.core.plan import VideoTrack
from sluice.media.packets import Packet
from sluice.media.pipe.coded_looks import CodedLooks
from sluice.media.pipe.frames import OutFrame
from sluice.process.link import FrameType
from sluice.wire.h264 import AvcConfig, H264Error, Sps, split_avcc

_IDR, _SPS, _FILLER = 5, 7, 12
#: Where no parameter set tells the order, B-frames show up within so many pictures. Until then packets are
#: kept.
_UNSURE_PICTURES = 64


class Reordered(Exception):
    """The picture that was pushed is to be shown before the last one."""


class H264Copy:
    def __init__(self, track: VideoTrack) -> None:
        """Raises SourceError (permanent) when the track's configuration record is malformed."""
        self.dropped = 0
        self.gop: list[Packet] = []  #: packets since the last key frame, while the order is not known
        self._started = False
        self._last_pts_us: int | None = None
        self._unsure = 0
        self.encode_s = self._looked_s = 0.0
        self._pixels = track.width, track.height
        self._looks = CodedLooks(track.extradata, *self._pixels)
        self.begin(track)

    def begin(self, track: VideoTrack) -> list[OutFrame]:
        """Goes on with pictures of this track, from a key frame on. Raises SourceError as the constructor
        does."""
        self._pixels = track.width, track.height
        self._configure(track.extradata)
        self._started = False
        self._last_pts_us = None
        return []

    @property
    def heavy(self) -> bool:
        """Whether the next `push` may decode a picture."""
        return self._looks.suspicious

    @property
    def decode_s(self) -> float:
        """CPU time."""
        return self._looked_s + self._looks.decoding.seconds

    def push(self, packet: Packet) -> list[OutFrame]:
        """The frame for the room, or none. Raises Reordered when B-frames turn up."""
        if packet.extradata:
            self._configure(packet.extradata)
        try:
            units = split_avcc(packet.data, self._length_size)
        except H264Error:
            self._started = False
            self.dropped += 1
            return []
        kinds = {unit[0] & 0x1F for unit in units if unit}
        key = packet.key or _IDR in kinds
        if not self._started and not key:
            self.dropped += 1
            return []
        if self._last_pts_us is not None and packet.pts_us < self._last_pts_us and not key:
            raise Reordered
        self._last_pts_us = packet.pts_us
        self._started = True
        if self._unsure:
            self._keep(packet, key)
        if key and _SPS not in kinds:
            units = [*self._parameter_sets, *units]
        payload = b"".join(part for unit in units for part in (len(unit).to_bytes(4, "big"), unit))
        size = len(packet.data)
        if _FILLER in kinds:
            size -= sum(len(unit) for unit in units if unit and unit[0] & 0x1F == _FILLER)
        seen = self._looks.look(packet.data, size, len(units), packet.pts_us, key=key)
        return [OutFrame(FrameType.VIDEO, packet.pts_us, payload, key, seen=seen)]

    def flush(self) -> list[OutFrame]:
        """Nothing is held; the next pass begins with a key frame."""
        self._started = False
        self._last_pts_us = None
        self.gop.clear()
        return []

    def _keep(self, packet: Packet, key: bool) -> None:
        self._unsure -= 1
        if key or not self._unsure:
            self.gop.clear()
        if self._unsure:
            self.gop.append(packet)

    def _configure(self, extradata: bytes) -> None:
        try:
            config = AvcConfig.parse(extradata)
        except H264Error as error:
            raise unsupported(f"the source's H.264 configuration is malformed: {error}") from error
        if extradata != self._looks.extradata:
            self._looked_s += self._looks.decoding.seconds
            self._looks = CodedLooks(extradata, *self._pixels)
        self._length_size = config.length_size
        self._parameter_sets = [*config.sps, *config.pps]
        self._unsure = _UNSURE_PICTURES
        with contextlib.suppress(H264Error):  # then the pictures themselves show the order
            sps = Sps.parse(config.sps[0])
            if not sps.allows_b_slices or sps.reorder_frames == 0:
                self._unsure = 0
                self.gop.clear()
