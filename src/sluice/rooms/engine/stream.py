"""One published stream of a room: packetized once, numbered once, sent to all its viewers.

All viewers see the same SSRCs, sequence numbers and timestamps, so a packet is built once whoever watches
and the packets that are kept answer late joiners and NACKs alike. A stream outlives its publisher: after a
loss the next one goes on with the same numbers, on the clock of this stream.

The clock: microseconds of the process's monotonic clock. The first frame of an attachment is set to now;
everything later follows the media's own time. Sender reports use the same clock for both tracks.

Beside its viewers a stream has subscribers, sessions that push it somewhere. They get access units and Opus
packets as they came, with the time of the stream's clock.

A viewer who comes late begins with the current group of pictures. If that is long or not kept any more, the
publisher is asked for a key frame first. Many publishers make none when asked; then the group must do.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sluice.core.drops import DropCounter, DropRule
from sluice.core.room_documents import AudioReport, VideoReport
from sluice.process.documents import Publisher
from sluice.process.link import KEY_FRAME, PAST
from sluice.rooms.engine.frame import Frame, runs_of
from sluice.rooms.engine.history import History
from sluice.rooms.engine.meter import KeyFrames, Meter, kbps
from sluice.rooms.engine.viewer import Viewer
from sluice.wire.rtp import NalUnit, h264_payloads, nal_units_of
from sluice.wire.sdp_answer import Sources

#: A longer group of pictures is shown to a late viewer only if the publisher makes no key frame when asked.
_LONG_US = 10_500_000
#: The time stamps of a repair lie between two live ones, a tick apart, so it can have so many frames.
_MOST_REPAIR_FRAMES = 1000
#: The distance of the pictures of a group that a subscriber is sent: the least that FLV knows.
_PAST_STEP_US = 1000
#: A larger group is not copied for subscribers.
_MOST_PACKED_BYTES = 64 << 20
_KEY_FRAME_PAUSE_US = 500_000
_STANDS_STILL_US = 1_000_000
#: Assumed distance of two frames where only one is known.
_FRAME_US = 40_000
#: An attachment's clock never begins less than this behind the last frame of the one before.
_RESUME_GAP_US = 20_000
#: How long a publisher beside us (a relay) has to make a key frame, if it can make any.
NEAR_KEY_FRAME_US = 100_000


class Subscriber(Protocol):
    """Payloads are those of a frame link (`process.link`), times are of the stream's clock."""

    def tell(self, publisher: Publisher) -> None: ...

    def send_video(self, payload: bytes, clock_us: int, *, key: bool) -> None: ...

    def send_audio(self, payload: bytes, clock_us: int) -> None: ...

    def send_group(self, frames: Sequence[tuple[bytes, int, int]]) -> None:
        """The current group of pictures (payload, time, flags); its last picture is the stream's newest."""
        ...


@dataclass(slots=True)
class StreamCounts:
    """What all streams of a process count together."""

    drops: DropCounter = field(default_factory=DropCounter)
    key_frames_asked: int = 0
    late_viewers: int = 0  #: that began with a picture of the past


class Stream:
    """`counts` are the process's."""

    def __init__(
        self, cname: str, request_key_frame: Callable[[], None], counts: StreamCounts | None = None
    ) -> None:
        ssrc = random.randrange(1, 1 << 30)
        self.sources = Sources(video=ssrc, video_rtx=ssrc + 1, audio=ssrc + 2, cname=cname)
        self.viewers: list[Viewer] = []
        self.subscribers: list[Subscriber] = []
        self.key_frame_us = NEAR_KEY_FRAME_US  #: how long the publisher has for a key frame
        self._request_key_frame = request_key_frame
        self._counts = counts if counts is not None else StreamCounts()
        self._key_frames = KeyFrames()
        self._octets = self._sound_octets = 0
        self._meter: Meter | None = None  #: of pictures, their bytes, packets of sound, and theirs
        self._asked_key_at = -_KEY_FRAME_PAUSE_US
        self.history = History()
        #: Who waits for a key frame, since when.
        self._waiting: dict[Viewer, int] = {}
        self._wanting: dict[Subscriber, int] = {}
        self._video_sequence = random.randrange(1 << 15)
        self._audio_sequence = random.randrange(1 << 15)
        self._video_base = random.randrange(1 << 32)
        self._audio_base = random.randrange(1 << 32)
        self._number = 0
        self._offset_us: int | None = None
        self._last_clock_us = 0
        self._key_needed = True
        self._newest_at_us = 0
        self._holders = 0

    # --- who needs it ------------------------------------------------------------------------------------

    def hold(self) -> None:
        """A peer or a subscriber needs this stream, connected or not. Each gives it back with `release`."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1

    @property
    def held(self) -> bool:
        return self._holders > 0

    # --- publisher ----------------------------------------------------------------------------------------

    def reset(self, key_frame_us: int = NEAR_KEY_FRAME_US) -> None:
        """A publisher takes the stream, takes it again, or leaves it. The next first frame sets the clock
        anew, and the next video begins with a key frame, because no earlier picture can be a reference."""
        self.key_frame_us = key_frame_us
        self._key_frames = KeyFrames()
        self._offset_us = None
        self.end_pictures()

    def end_pictures(self) -> None:
        """Whoever comes from now on is shown no earlier picture; the next one shown is a key frame."""
        self._key_needed = True
        self.history.give_way()

    def video(self, nal_units: Sequence[NalUnit], media_us: int, key: bool, now_us: int) -> None:
        """One access unit at media time `media_us`; it goes to all viewers that can start or go on with
        it."""
        if self._key_needed and not key:
            self._counts.drops.add(DropRule.NO_KEY_FRAME)
            self.ask_key_frame(now_us)
            return
        payloads = h264_payloads(nal_units)
        if not payloads:
            return
        self._key_needed = False
        self._newest_at_us = now_us
        clock_us = self._clock(media_us, now_us)
        if self.subscribers:
            unit = _with_lengths(nal_units)
            for subscriber in self.subscribers:
                subscriber.send_video(unit, clock_us, key=key)
        frame = self._frame(payloads, clock_us, key)
        self.history.keep(frame)
        self._octets += frame.size
        if key:
            self._key_frames.note(nal_units, clock_us)
            for viewer in self._waiting:
                viewer.begin_live(frame.sequence)
            self._waiting.clear()
            self._wanting.clear()
        ssrc = self.sources.video
        for viewer in self.viewers:
            viewer.send_video(frame, ssrc)

    def audio(self, payload: bytes, media_us: int, now_us: int) -> None:
        """One Opus packet."""
        clock_us = self._clock(media_us, now_us)
        for subscriber in self.subscribers:
            subscriber.send_audio(payload, clock_us)
        timestamp = (self._audio_base + clock_us * 6 // 125) & 0xFFFFFFFF  # 48 kHz
        sequence, ssrc = self._audio_sequence, self.sources.audio
        self._audio_sequence = sequence + 1
        self._sound_octets += len(payload)
        for viewer in self.viewers:
            viewer.send_audio(payload, sequence, timestamp, ssrc)

    def _clock(self, media_us: int, now_us: int) -> int:
        if self._offset_us is None:
            self._offset_us = max(now_us, self._last_clock_us + _RESUME_GAP_US) - media_us
        clock_us = media_us + self._offset_us
        self._last_clock_us = max(self._last_clock_us, clock_us)
        return clock_us

    def _frame(self, payloads: list[bytes], clock_us: int, key: bool) -> Frame:
        lengths = [len(payload) for payload in payloads]
        frame = Frame(
            number=self._number,
            sequence=self._video_sequence,
            timestamp=(self._video_base + clock_us * 9 // 100) & 0xFFFFFFFF,  # 90 kHz
            clock_us=clock_us,
            key=key,
            size=sum(lengths),
            payloads=payloads,
            lengths=lengths,
            runs=runs_of(lengths),
            packed={},
        )
        self._number += 1
        self._video_sequence += len(payloads)
        return frame

    # --- viewers ------------------------------------------------------------------------------------------

    def join(self, viewer: Viewer, now_us: int) -> None:
        """From now on the viewer gets everything, and first the current group, unless that is long."""
        viewer.begin_audio(self._audio_sequence)
        group = self._group()
        if group and _lasts_us(group) <= _LONG_US:
            self._counts.late_viewers += 1
            viewer.begin_with(group, self._rate(group))
        else:
            self._waiting[viewer] = now_us
            self.ask_key_frame(now_us)
        self.viewers.append(viewer)

    def on_timer(self, now_us: int) -> None:
        """To be called a few times a second. Whoever has waited long enough for a key frame gets what is
        kept."""
        counts = self._number, self._octets, self._audio_sequence, self._sound_octets
        if self._meter is None:
            self._meter = Meter(counts, now_us)
        self._meter.look(counts, now_us)
        if not self._waiting and not self._wanting:
            return
        viewers = [viewer for viewer, at_us in self._waiting.items() if now_us - at_us >= self.key_frame_us]
        wanting = [one for one, at_us in self._wanting.items() if now_us - at_us >= self.key_frame_us]
        group = self._group() if viewers or wanting else []
        if not group and now_us - self._newest_at_us <= _STANDS_STILL_US:
            self.ask_key_frame(now_us)
        if not group:
            return
        self._counts.late_viewers += len(viewers)
        for viewer in viewers:
            del self._waiting[viewer]
            viewer.begin_with(group, self._rate(group))
        if wanting and sum(frame.size for frame in group) <= _MOST_PACKED_BYTES:
            frames = _past(group)
            for subscriber in wanting:
                del self._wanting[subscriber]
                subscriber.send_group(frames)

    def leave(self, viewer: Viewer) -> None:
        if viewer in self.viewers:
            self.viewers.remove(viewer)
            self._waiting.pop(viewer, None)

    def subscribe(self, subscriber: Subscriber) -> None:
        """The subscriber gets all that comes from now on, and holds the stream until `unsubscribe`."""
        self.hold()
        self.subscribers.append(subscriber)

    def want_group(self, subscriber: Subscriber, now_us: int) -> None:
        """The subscriber cannot go on without a key frame, or the current group."""
        self._wanting.setdefault(subscriber, now_us)
        self.ask_key_frame(now_us)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self.subscribers.remove(subscriber)
        self._wanting.pop(subscriber, None)
        self.release()

    def ask_key_frame(self, now_us: int) -> None:
        """Asks the publisher, at most every half second."""
        if now_us - self._asked_key_at >= _KEY_FRAME_PAUSE_US:
            self._asked_key_at = now_us
            self._counts.key_frames_asked += 1
            self._request_key_frame()

    def repair(self, viewer: Viewer, now_us: int) -> None:
        """Sends the current group of pictures to the viewer once more, if it is kept whole and not long. It
        does nothing while the source stands still: a browser then asks for a picture because none comes, and
        old ones would put it behind."""
        group = self._group()
        if 0 < len(group) <= _MOST_REPAIR_FRAMES and now_us - self._newest_at_us <= _STANDS_STILL_US:
            viewer.repair(group, self._rate(group), self._video_sequence)

    def pause(self, viewer: Viewer) -> None:
        """The viewer gets no video until it may resume."""
        viewer.pause(self._video_sequence)

    def retransmit(self, viewer: Viewer, number: int, now_us: int) -> bool:
        """Answers a NACK of the viewer for a packet of the video, by the 16-bit number it was sent with.
        False when the viewer has no more for the moment."""
        return viewer.retransmit(number, self.history.find, self._video_sequence, self.sources, now_us)

    @property
    def newest_key(self) -> int:
        """The number of the newest key frame, -1 before the first."""
        return self.history.newest_key

    def timestamps(self, now_us: int) -> tuple[int, int]:
        """RTP times (video, audio) of the moment `now_us`, for sender reports."""
        return (
            (self._video_base + now_us * 9 // 100) & 0xFFFFFFFF,
            (self._audio_base + now_us * 6 // 125) & 0xFFFFFFFF,
        )

    def video_report(self) -> VideoReport:
        profile, level, width, height = self._key_frames.picture()
        frames, octets, *_ = self._per_s
        interval_us = self._key_frames.interval_us
        interval_s = round(interval_us / 1e6, 3) if interval_us is not None else None
        return VideoReport("h264", profile, level, width, height, kbps(octets), round(frames, 1), interval_s)

    def audio_report(self) -> AudioReport:
        *_, packets, octets = self._per_s
        return AudioReport("opus", kbps(octets), round(packets, 1))

    @property
    def _per_s(self) -> tuple[float, ...]:
        return self._meter.per_s if self._meter is not None else (0.0,) * 4

    def _group(self) -> list[Frame]:
        """The frames since the last key frame, empty if they are no longer all there."""
        return [] if self._key_needed else self.history.group()

    @staticmethod
    def _rate(group: list[Frame]) -> float:
        """Packets per second of the video, estimated from what a joiner is sent. Where little is known the
        estimate is high, because a joiner who catches up slower than the stream runs never arrives."""
        seconds = max(_lasts_us(group), _FRAME_US) / 1e6
        return sum(len(frame.payloads) for frame in group) / seconds


def _lasts_us(group: list[Frame]) -> int:
    return group[-1].clock_us - group[0].clock_us


def _with_lengths(nal_units: Sequence[NalUnit]) -> bytes:
    """An access unit as frame links carry it: each NAL unit behind its length in 4 bytes."""
    return b"".join([part for nal in nal_units for part in (len(nal).to_bytes(4, "big"), nal)])


def _past(group: list[Frame]) -> list[tuple[bytes, int, int]]:
    """The group for subscribers, with times so close before the newest that all of it is past at once."""
    frames = []
    for n, frame in enumerate(reversed(group)):
        at_us = group[-1].clock_us - n * _PAST_STEP_US
        flags = PAST | (KEY_FRAME if frame.key else 0)
        frames.append((_with_lengths(nal_units_of(frame.payloads)), at_us, flags))
    return frames[::-1]
