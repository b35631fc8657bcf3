"""Video for rooms without re-encoding: H.264 access units as they are, made startable at key frames.

Containers keep SPS and PPS outside the frames (ISO/IEC 14496-15 5.3); a receiver of RTP needs them before
each key frame. Units that are malformed, or that come before the first key frame, are dropped and counted.
"""

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import VideoTrack
from sluice.media.packets import Packet
from sluice.media.pipe.frames import OutFrame
from sluice.process.link import FrameType
from sluice.wire.h264 import AvcConfig, H264Error, split_avcc

_IDR, _SPS = 5, 7


class H264Copy:
    def __init__(self, track: VideoTrack) -> None:
        """Raises SourceError (permanent) when the track's configuration record is malformed."""
        self.dropped = 0
        self._configure(track.extradata)
        self._started = False
        self._last_pts_us: int | None = None

    def push(self, packet: Packet) -> list[OutFrame]:
        """The frame for the room, or none. Raises SourceError when B-frames turn up."""
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
        self._check_order(packet.pts_us, key)
        self._started = True
        if key and _SPS not in kinds:
            units = [*self._parameter_sets, *units]
        payload = b"".join(part for unit in units for part in (len(unit).to_bytes(4, "big"), unit))
        return [OutFrame(FrameType.VIDEO, packet.pts_us, payload, key)]

    def flush(self) -> list[OutFrame]:
        """Nothing is held; the next pass begins with a key frame."""
        self._started = False
        self._last_pts_us = None
        return []

    def _configure(self, extradata: bytes) -> None:
        try:
            config = AvcConfig.parse(extradata)
        except H264Error as error:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED,
                f"the source's H.264 configuration is malformed: {error}",
                transient=False,
            ) from error
        self._length_size = config.length_size
        self._parameter_sets = [*config.sps, *config.pps]

    def _check_order(self, pts_us: int, key: bool) -> None:
        if self._last_pts_us is not None and pts_us < self._last_pts_us and not key:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED,
                "the source's video has B-frames, which browsers cannot show in real time; "
                "encode it without them (x264: bframes=0)",
                transient=False,
            )
        self._last_pts_us = pts_us
