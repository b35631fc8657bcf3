"""The pipes of one session, made from its plan: packets of a source in, frames for the room out."""

from typing import Protocol

from sluice.core.plan import Action, Plan, Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.h264_copy import H264Copy
from sluice.media.pipe.h264_encode import H264Encode
from sluice.media.pipe.opus import OpusPipe
from sluice.media.pipe.opus_copy import OpusCopy


class Pipe(Protocol):
    """One track's way. `push` may be called on a worker thread, one call at a time."""

    dropped: int

    def push(self, packet: Packet) -> list[OutFrame]: ...

    def flush(self) -> list[OutFrame]:
        """What is still held at the end of a pass of the source."""
        ...


class Tracks:
    def __init__(self, plan: Plan, probe: Probe) -> None:
        """Raises SourceError (permanent) when a track cannot be set up."""
        self._video: Pipe | None = None
        self._encode: H264Encode | None = None
        if probe.video and plan.video.action is Action.COPY:
            self._video = H264Copy(probe.video)
        elif probe.video and plan.target is not None:
            self._video = self._encode = H264Encode(probe.video, plan.target)
        self._audio: OpusPipe | OpusCopy | None = None
        if probe.audio and plan.audio.action is not Action.NONE:
            copied = plan.audio.action is Action.COPY
            self._audio = OpusCopy() if copied else OpusPipe(probe.audio, live=probe.live)

    @property
    def heavy(self) -> bool:
        """True when `push` takes so long that an event loop must not do it."""
        return self._encode is not None

    def push(self, packet: Packet) -> list[OutFrame]:
        """Raises SourceError when the packet shows that the source cannot be played after all."""
        pipe = self._video if packet.kind is TrackKind.VIDEO else self._audio
        return pipe.push(packet) if pipe is not None else []

    def flush(self) -> list[OutFrame]:
        return [frame for pipe in (self._video, self._audio) if pipe is not None for frame in pipe.flush()]

    def end_pass_at(self, media_us: int) -> None:
        """Where this pass of a loop ends: what sound lies behind it would overlap the next."""
        if isinstance(self._audio, OpusPipe):
            self._audio.end_at(media_us)

    def request_key_frame(self) -> None:
        """A viewer needs one; a copied stream has them when it has them."""
        if self._encode is not None:
            self._encode.request_key_frame()

    def dropped(self) -> dict[str, int]:
        """What could not be used, by rule."""
        return {
            "video_undecodable": self._video.dropped if self._video else 0,
            "audio_undecodable": self._audio.dropped if self._audio else 0,
            "audio_left_out": self._audio.left_out if self._audio else 0,
        }
