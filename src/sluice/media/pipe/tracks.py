"""The pipes of one session, made from its plan: packets of a source in, frames for the room out."""

import contextlib
import threading
from typing import Protocol

from sluice.core.plan import Action, Plan, Probe
from sluice.core.tasks import FULL_VOLUME
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.h264_copy import H264Copy
from sluice.media.pipe.h264_encode import H264Encode
from sluice.media.pipe.loudness import Loudness
from sluice.media.pipe.sound import SoundPipe, can_copy

#: Sound is converted by one thread of a process at a time. Each call into FFmpeg gives the interpreter lock
#: away and wants it back: two such threads wake each other at each packet, and take twice the time.
_TURN = threading.Lock()


class Pipe(Protocol):
    """One track's way. `push` may be called on a worker thread, one call at a time."""

    dropped: int

    def push(self, packet: Packet) -> list[OutFrame]: ...

    def flush(self) -> list[OutFrame]:
        """What is still held at the end of a pass of the source."""
        ...


class Tracks:
    def __init__(
        self,
        plan: Plan,
        probe: Probe,
        *,
        volume: int = FULL_VOLUME,
        normalize: bool = False,
        begin_us: int | None = None,
    ) -> None:
        """`begin_us`: the sound begins in its middle, there. Raises SourceError (permanent) when a track
        cannot be set up."""
        self._plan, self._probe, self._volume = plan, probe, volume
        self._loudness = Loudness() if normalize else None
        self._lock = threading.Lock()
        self._counted: dict[str, int] = {}
        self._make(begin_us)

    @property
    def heavy(self) -> bool:
        """True when `push` takes so long that an event loop must not do it."""
        return self._encode is not None

    @property
    def has_sound(self) -> bool:
        return self._audio is not None

    @property
    def has_pictures(self) -> bool:
        return self._video is not None

    @property
    def sound_end_us(self) -> int | None:
        """Where the sound that was pushed ends, of a session without video."""
        return self._audio.end_us if self._audio is not None and self._video is None else None

    def push(self, packet: Packet) -> list[OutFrame]:
        """Raises SourceError when the packet shows that the source cannot be played after all."""
        if packet.kind is TrackKind.VIDEO:
            return self._video.push(packet) if self._video is not None else []
        if self._audio is None:
            return []
        with self._lock:
            return self._audio.push(packet)

    def push_all(self, packets: list[Packet]) -> list[OutFrame]:
        """As `push` of each, on a worker thread."""
        with contextlib.nullcontext() if self.has_pictures else _TURN:
            return [frame for packet in packets for frame in self.push(packet)]

    def flush(self) -> list[OutFrame]:
        """The end of a pass."""
        with self._lock:
            return [f for pipe in (self._video, self._audio) if pipe is not None for f in pipe.flush()]

    def close(self) -> list[OutFrame]:
        """The end of the last pass."""
        frames = self._video.flush() if self._video is not None else []
        with self._lock:
            return frames + (self._audio.close() if self._audio is not None else [])

    def restart(self, begin_us: int) -> None:
        """The source goes on elsewhere, with sound from `begin_us` on."""
        with self._lock:
            self._counted = self.dropped()
            self._make(begin_us)

    def change_sound(self, volume: int, normalize: bool, from_us: int) -> list[OutFrame]:
        """From any thread, while another pushes. The sound in place of what was made already from `from_us`
        on."""
        with self._lock:
            self._volume = volume
            if self._loudness is not None:
                self._loudness.on = normalize
            elif normalize:
                self._loudness = Loudness()
            if self._audio is None:
                return []
            return self._audio.change(volume, self._loudness, from_us)

    def end_pass_at(self, media_us: int) -> None:
        """Where this pass of a loop ends: what sound lies behind it would overlap the next."""
        if self._audio is not None:
            self._audio.end_at(media_us)

    def request_key_frame(self) -> None:
        """A viewer needs one; a copied stream has them when it has them."""
        if self._encode is not None:
            self._encode.request_key_frame()

    def dropped(self) -> dict[str, int]:
        """What could not be used, by rule."""
        now = {
            "video_undecodable": self._video.dropped if self._video else 0,
            "audio_undecodable": self._audio.dropped if self._audio else 0,
            "audio_left_out": self._audio.left_out if self._audio else 0,
        }
        return {rule: count + self._counted.get(rule, 0) for rule, count in now.items()}

    def _make(self, begin_us: int | None) -> None:
        plan, probe = self._plan, self._probe
        self._video: Pipe | None = None
        self._encode: H264Encode | None = None
        if probe.video and plan.video.action is Action.COPY:
            self._video = H264Copy(probe.video)
        elif probe.video and plan.target is not None:
            self._video = self._encode = H264Encode(probe.video, plan.target)
        self._audio: SoundPipe | None = None
        if probe.audio and plan.audio.action is not Action.NONE:
            changed = self._volume != FULL_VOLUME or self._loudness is not None
            self._audio = SoundPipe(
                probe.audio,
                copy=can_copy(probe.audio) and not changed,
                volume=self._volume,
                loudness=self._loudness,
                live=probe.live,
                begin_us=begin_us,
            )
