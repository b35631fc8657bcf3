"""The pipes of one session, made from its plan: packets of a source in, frames for the room out."""

from sluice.core.plan import Action, Plan, Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.h264_copy import H264Copy
from sluice.media.pipe.opus import OpusPipe


class Tracks:
    def __init__(self, plan: Plan, probe: Probe) -> None:
        """Raises SourceError (permanent) when a track cannot be set up."""
        self._video = H264Copy(probe.video) if probe.video and plan.video.action is Action.COPY else None
        self._audio = OpusPipe(probe.audio) if probe.audio and plan.audio.action is Action.TRANSCODE else None

    def push(self, packet: Packet) -> list[OutFrame]:
        """Raises SourceError when the packet shows that the source cannot be played after all."""
        pipe = self._video if packet.kind is TrackKind.VIDEO else self._audio
        return pipe.push(packet) if pipe is not None else []

    def dropped(self) -> dict[str, int]:
        """Packets that could not be used, by rule."""
        return {
            "video_undecodable": self._video.dropped if self._video else 0,
            "audio_undecodable": self._audio.dropped if self._audio else 0,
        }
