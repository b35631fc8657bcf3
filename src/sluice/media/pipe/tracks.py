"""The pipes of one attempt: packets of a source go in, frames for the room come out.

A pipe is made where its track begins, and is replaced where the track goes on in another form. The room sees
one stream of each kind all the time. The plan says what is done at present.
"""

import contextlib
import threading
from dataclasses import replace
from typing import Protocol

from sluice.core.budget import Allowance
from sluice.core.drops import DropRule
from sluice.core.errors import SourceError, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_RESTARTS, MOST_RESTARTS_PER_S
from sluice.core.plan import (
    AudioTrack,
    Plan,
    Probe,
    TrackAction,
    TrackPlan,
    TrackSettings,
    VideoTrack,
    make_plan,
    plan_audio,
    plan_video,
    video_target,
)
from sluice.core.tasks import FULL_VOLUME
from sluice.media.counts import Counts
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.h264_copy import H264Copy, Reordered
from sluice.media.pipe.h264_encode import H264Encode
from sluice.media.pipe.loudness import Loudness
from sluice.media.pipe.sound import SoundPipe, can_copy
from sluice.media.relief import NO_RELIEF, Relief

#: Sound is converted by one thread of a process at a time. Each call into FFmpeg releases the interpreter
#: lock and takes it again: two such threads wake each other at each packet, and take twice the time.
_TURN = threading.Lock()
#: A track is stuck when so much of it gave no frame.
_STUCK_US = 2_000_000
_ALL_STUCK = "nothing of what comes can be decoded any more; the source is opened anew"


class Pipe(Protocol):
    """Makes frames of the packets of one track. `push` may be called on a worker thread, one call at a
    time."""

    dropped: int

    @property
    def decode_s(self) -> float:
        """CPU time of the decoder."""
        ...

    @property
    def encode_s(self) -> float: ...

    @property
    def heavy(self) -> bool:
        """Whether the next `push` takes so long that it must not run on an event loop."""
        ...

    def push(self, packet: Packet) -> list[OutFrame]: ...

    def begin(self, track: VideoTrack) -> list[OutFrame]:
        """Goes on with pictures of this track. Returns what was held of the last one."""
        ...

    def flush(self) -> list[OutFrame]:
        """Returns what is still held at the end of a pass of the source."""
        ...


class Tracks:
    def __init__(
        self,
        settings: TrackSettings,
        probe: Probe,
        *,
        begin_us: int | None = None,
        relief: Relief = NO_RELIEF,
    ) -> None:
        """`begin_us`: the sound begins there, in its middle. Raises SourceError where the source cannot be
        played as asked."""
        self._settings, self._live, self._relief = settings, probe.live, relief
        plan = make_plan(settings, probe)
        self._plans = {TrackKind.VIDEO: plan.video, TrackKind.AUDIO: plan.audio}
        self._loudness = Loudness() if settings.normalize else None
        self._lock = threading.Lock()
        self._failure: SourceError | None = None
        self._counted = Counts()  #: by pipes that are gone
        self._released: dict[TrackKind, int] = {}  #: how many packets released pipes could not decode
        self._forms = {kind: Allowance(MOST_RESTARTS, MOST_RESTARTS_PER_S) for kind in TrackKind}
        self._video: Pipe | None = None
        self._audio: SoundPipe | None = None
        self._video_track: VideoTrack | None = None
        self._audio_track: AudioTrack | None = None
        #: Of each kind, the decoding time of the packet that was taken last, and of the last that gave a
        #: frame.
        self._taken_us, self._gave_us = dict.fromkeys(TrackKind, 0), dict.fromkeys(TrackKind, 0)
        self._lost_then = dict.fromkeys(TrackKind, 0)  #: how many packets could not be decoded by then
        if probe.video is not None:
            self._begin_video(probe.video)
        if probe.audio is not None:
            self._begin_audio(probe.audio, begin_us)

    @property
    def plan(self) -> Plan:
        """What is done at present."""
        video = self._plans[TrackKind.VIDEO]
        target = video_target(self._settings) if video.action is TrackAction.TRANSCODE else None
        return Plan(video, self._plans[TrackKind.AUDIO], target)

    @property
    def heavy(self) -> bool:
        """Whether `push` takes so long that it must not run on an event loop."""
        return self._video is not None and self._video.heavy

    @property
    def has_sound(self) -> bool:
        return self._plans[TrackKind.AUDIO].action is not TrackAction.NONE

    @property
    def has_pictures(self) -> bool:
        return self._plans[TrackKind.VIDEO].action is not TrackAction.NONE

    @property
    def sound_end_us(self) -> int | None:
        """Where the sound ends that was pushed; None where there are pictures."""
        return self._audio.end_us if self._audio is not None and self._video is None else None

    def stuck(self, kind: TrackKind) -> bool:
        """Whether packets of this kind come, cannot be decoded, and give no frame."""
        late = self._taken_us[kind] - self._gave_us[kind] > _STUCK_US
        return late and self._undecodable(kind) > self._lost_then[kind]

    @property
    def all_stuck(self) -> bool:
        """Whether nothing that comes can be decoded any more."""
        there = [kind for kind, plan in self._plans.items() if plan.action is not TrackAction.NONE]
        return bool(there) and all(self.stuck(kind) for kind in there)

    def check(self, *, live: bool = False) -> None:
        """Raises SourceError when no more frames can come. For a live source it is transient, so that the
        source is opened anew: its codec may have changed without notice, with the next show of a station."""
        if self._failure is not None:
            raise self._failure
        if live and self.all_stuck:
            raise SourceError(Reason.SOURCE_INTERRUPTED, _ALL_STUCK, transient=True)

    def push(self, packet: Packet) -> list[OutFrame]:
        """Raises SourceError when the packet shows that the source cannot be played after all."""
        news = packet.track is not None and packet.track not in (self._video_track, self._audio_track)
        if news and not self._forms[packet.kind].take(packet.dts_us):
            raise unsupported(
                f"the {packet.kind.value} of the source goes on in another form more than "
                f"{MOST_RESTARTS_PER_S:g} times a second"
            )
        if packet.kind is TrackKind.VIDEO:
            return self._push_picture(packet)
        with self._lock:
            frames: list[OutFrame] = []
            if isinstance(packet.track, AudioTrack):
                frames = self._begin_audio(packet.track)
            if self._audio is None:
                return frames
            made = self._audio.push(packet)
            self._note(packet, made)
            return frames + made if frames else made

    def push_all(self, packets: list[Packet]) -> list[OutFrame]:
        """Pushes all of them, on a worker thread. If a packet shows that the source cannot be played, it
        returns the frames of those before it, and `check` raises from then on."""
        frames: list[OutFrame] = []
        with contextlib.nullcontext() if self.has_pictures else _TURN:
            try:
                for packet in packets:
                    frames += self.push(packet)
            except SourceError as error:
                self._failure = error
        if self._failure is not None:
            frames += self.flush()
        return frames

    def flush(self) -> list[OutFrame]:
        """The end of a pass."""
        with self._lock:
            return [f for pipe in (self._video, self._audio) if pipe is not None for f in pipe.flush()]

    def close(self) -> list[OutFrame]:
        """The end of the last pass."""
        frames = self._video.flush() if self._video is not None else []
        with self._lock:
            return frames + (self._audio.close() if self._audio is not None else [])

    def release(self) -> None:
        """Lets go of all codecs and filters. Plan and counts stay; nothing more may be pushed."""
        with self._lock:
            self._released = {kind: self._undecodable(kind) for kind in TrackKind}
            self._counted = self.counts()
            self._video = self._audio = self._loudness = None
            # Tracks hold codecs of their demuxer.
            self._video_track = self._video_track and replace(self._video_track, context=None)
            self._audio_track = self._audio_track and replace(self._audio_track, context=None)

    def restart(self, begin_us: int) -> None:
        """The source goes on elsewhere, with sound from `begin_us` on."""
        with self._lock:
            counted, video, audio = self.counts(), self._video_track, self._audio_track
            self._counted, self._video, self._audio = counted, None, None
            self._video_track = self._audio_track = self._failure = None
            if video is not None:
                self._begin_video(video)
            if audio is not None:
                self._begin_audio(audio, begin_us)

    def plan_sound(self, settings: TrackSettings) -> None:
        """The plan says from now on what `change_sound` is going to do."""
        self._settings = settings
        if self._audio_track is not None:
            self._plans[TrackKind.AUDIO] = plan_audio(self._settings, self._audio_track)

    def change_sound(self, volume: int, normalize: bool, from_us: int) -> list[OutFrame]:
        """Returns the sound that replaces what was made already from `from_us` on. May be called from any
        thread, also while another pushes."""
        with self._lock:
            if self._released:
                return []
            if self._loudness is not None:
                self._loudness.on = normalize
            elif normalize:
                self._loudness = Loudness()
            if self._audio is None:
                return []
            return self._audio.change(volume, self._loudness, from_us)

    def end_pass_at(self, media_us: int) -> None:
        """Says where this pass of a loop ends. Sound behind that is left out: it would overlap the next
        pass."""
        if self._audio is not None:
            self._audio.end_at(media_us)

    def request_key_frame(self) -> None:
        """A viewer needs a key frame. A stream that is copied has them where it has them."""
        if isinstance(self._video, H264Encode):
            self._video.request_key_frame()

    def counts(self) -> Counts:
        """What could not be used, and the time of codecs."""
        return self._counted + _counts_of(self._video, self._audio)

    # --- pictures -----------------------------------------------------------------------------------------

    def _push_picture(self, packet: Packet) -> list[OutFrame]:
        frames: list[OutFrame] = []
        if isinstance(packet.track, VideoTrack):
            frames = self._begin_video(packet.track)
        elif packet.extradata and isinstance(self._video, H264Copy):
            frames = self._reconfigure(packet.extradata)
        if self._video is None:
            return frames
        try:
            made = self._video.push(packet)
        except Reordered:
            made = self._reorder(packet)
        self._note(packet, made)
        return frames + made if frames else made

    def _begin_video(self, track: VideoTrack) -> list[OutFrame]:
        """Returns what was held of the track before. Raises SourceError where this track cannot be played as
        asked."""
        if track == self._video_track:
            return []
        plan = plan_video(self._settings, track)
        self._video_track = track
        self._plans[TrackKind.VIDEO] = plan
        if plan.action is TrackAction.NONE:
            return []
        old, wanted = self._video, H264Copy if plan.action is TrackAction.COPY else H264Encode
        if isinstance(old, wanted):
            return old.begin(track)
        frames = old.flush() if old is not None else []
        target = video_target(self._settings)
        self._video = H264Copy(track) if wanted is H264Copy else H264Encode(track, target, self._relief)
        self._counted += _counts_of(old, None)
        return frames

    def _reconfigure(self, extradata: bytes) -> list[OutFrame]:
        """Takes a new configuration of pictures that are copied. Converts from here on if it cannot be
        copied."""
        assert self._video_track is not None  # noqa: S101 - it has begun
        changed = replace(self._video_track, extradata=extradata)
        if plan_video(self._settings, changed).action is TrackAction.COPY:
            return []
        return self._begin_video(changed)

    def _reorder(self, packet: Packet) -> list[OutFrame]:
        """Converts from now on. The decoder first gets the packets that were copied since the last key
        frame."""
        copy, track = self._video, self._video_track
        assert isinstance(copy, H264Copy)  # noqa: S101 - only a copy says so
        assert track is not None  # noqa: S101 - it has begun
        sent = [replace(before, hidden=True, track=None) for before in copy.gop]
        self._begin_video(replace(track, has_b_frames=True))
        assert self._video is not None  # noqa: S101 - just made
        return [frame for each in (*sent, packet) for frame in self._video.push(each)]

    # --- sound --------------------------------------------------------------------------------------------

    def _begin_audio(self, track: AudioTrack, begin_us: int | None = None) -> list[OutFrame]:
        """As `_begin_video`. Called with the lock held, except by the constructor."""
        if track == self._audio_track:
            return []
        plan = plan_audio(self._settings, track)
        self._audio_track = track
        frames: list[OutFrame] = []
        if self._audio is not None:
            frames = self._audio.begin(track)
            if plan.action is TrackAction.COPY and not self._audio.copies:
                plan = TrackPlan(TrackAction.TRANSCODE, "source is Opus, but was not before")
        elif plan.action is not TrackAction.NONE:
            changed = self._settings.volume != FULL_VOLUME or self._loudness is not None
            self._audio = SoundPipe(
                track,
                copy=can_copy(track) and not changed,
                volume=self._settings.volume,
                loudness=self._loudness,
                live=self._live,
                begin_us=begin_us,
            )
        self._plans[TrackKind.AUDIO] = plan
        return frames

    def _note(self, packet: Packet, made: list[OutFrame]) -> None:
        self._taken_us[packet.kind] = packet.dts_us
        if made or packet.hidden:
            self._gave_us[packet.kind] = packet.dts_us
            self._lost_then[packet.kind] = self._undecodable(packet.kind)

    def _undecodable(self, kind: TrackKind) -> int:
        pipe = self._video if kind is TrackKind.VIDEO else self._audio
        return pipe.dropped if pipe is not None else self._released.get(kind, 0)


def _counts_of(video: Pipe | None, audio: SoundPipe | None) -> Counts:
    there = [(TrackKind.VIDEO, video), (TrackKind.AUDIO, audio)]
    return Counts(
        dropped={
            DropRule.VIDEO_UNDECODABLE: video.dropped if video else 0,
            DropRule.AUDIO_UNDECODABLE: audio.dropped if audio else 0,
            DropRule.AUDIO_LEFT_OUT: audio.left_out if audio else 0,
            DropRule.OVERLOAD: video.left_out if isinstance(video, H264Encode) else 0,
        },
        decode_s={kind: pipe.decode_s for kind, pipe in there if pipe is not None},
        encode_s={kind: pipe.encode_s for kind, pipe in there if pipe is not None},
    )
