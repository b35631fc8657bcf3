"""Reads an open source on a worker thread, and makes frames in session time, which playback paces.

A recording is read in passes, one after the other when it is repeated. A seek goes on at another position. A
live source is followed: when playing falls too far behind its edge, media time runs faster than session time,
or the source leaves something out (core/live_edge.py).
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sluice.core.errors import SourceError, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.live_edge import Edge, Follower, Pace, SessionTime
from sluice.core.plan import Probe, Track
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.source.hls_playlist import Part
from sluice.media.source.seen import Seen
from sluice.media.source.table import FileSource
from sluice.process.link import FrameType

#: Sources in segments are read further ahead, so that a request that fails can be repeated before anyone
#: notices. Both are less than what encoders of sound keep for a new volume.
AHEAD_US, AHEAD_SEGMENTS_US = 500_000, 1_250_000
FIRST_READ_US = 200_000
READ_US = 500_000
#: Sound alone is read in longer chunks, since each takes a call on a worker thread.
READ_SOUND_US = 1_000_000
#: Distance of the pictures that are sent, from a key frame on, before the position where a file goes on.
_PREROLL_US = 1_000
#: Decoders get the sound from so far before the position where it begins: what MP3 needs, and others less.
_LEAD_US = 300_000
#: The least length of a pass of a loop: a file of one picture has no length of its own.
_SHORTEST_PASS_US = 100_000
#: Of what pipes still hold at the end, frames that are older than this are left out.
_MOST_HELD_US = 500_000
#: A loop is given up after so many passes without a frame. Pipes may hold all frames of one short pass.
_MOST_BARREN = 3


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was read at once. `frames` is complete up to the session time `until_us`. `pass_us` is the session
    time at which a new pass begins in it."""

    frames: list[OutFrame]
    until_us: int
    pass_us: int | None = None


@runtime_checkable
class Seekable(Protocol):
    """A read-ahead that can go on at another position."""

    def jump(self, position_us: int, session_us: int, back: int) -> Chunk: ...


class ReadAhead(Protocol):
    jumps: int  #: how often something was left out, to be at the edge of a live source again
    behind_us: int | None  #: how far behind the edge of a live source playing was last; None: not known
    ahead_us: int  #: more is read while less than this is ready to be sent

    def read(self, ready_us: int) -> Chunk | None:
        """The next chunk, None at the end. Blocks. `ready_us` says how much that was read is not sent yet.
        Raises SourceError."""
        ...


@runtime_checkable
class EdgeSource(Protocol):
    """A live FileSource that says where its edge is, so that it can be followed."""

    def edge(self) -> Edge | None:
        """None while it is not known, or when the source has come to its end."""
        ...

    def skip(self) -> bool:
        """Jumps to the key frame at which a player that joins now would begin. Returns False, and changes
        nothing, if that is not ahead. Raises SourceError.

        The times of packets run on. The first is a little before the end of the sound that was read, so that
        the cut can be faded over.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """A live FileSource in parts. Another attempt can go on after the part that was played last."""

    @property
    def played(self) -> Part | None: ...

    def go_on_behind(self, part: Part) -> None: ...


class FileReadAhead:
    """A recording from `begin_us` on, `passes` times to its end or for ever (None). Session time is media
    time in the first pass."""

    def __init__(
        self,
        source: FileSource,
        tracks: Tracks,
        seen: Seen,
        *,
        begin_us: int,
        passes: int | None,
        probe: Probe,
        resumed: bool = False,
    ) -> None:
        """`seen` notes what is read. `resumed`: the frame at `begin_us` was sent last, before this begins."""
        self._source = source
        self._tracks = tracks
        self._note = seen.note
        #: What comes before this in a pass only prepares decoders. Behind a jump nothing is noted any more:
        #: times have a gap there.
        self._noted_us: float = begin_us
        # Sound alone needs nothing more: its chunks are long.
        in_segments = isinstance(source, EdgeSource) and tracks.has_pictures
        self.jumps, self.ahead_us = 0, AHEAD_SEGMENTS_US if in_segments else AHEAD_US
        self.behind_us: int | None = None
        self._left = passes - 1 if passes is not None else None
        self._duration_us = probe.duration_us
        #: Pictures set the length of a pass: encoders pad the sound beyond it.
        self._pass_length_us = probe.video.duration_us if probe.video else None
        self._begin_us = begin_us
        self._horizon_us = begin_us + FIRST_READ_US
        self._base_us = 0  #: session time at which this pass began
        self._over = False
        self._resumed = resumed
        self._sent_until_us: int | None = None  #: session time up to which frames were sent before
        #: Of each track the last decoding time, and its distance from the one before.
        self._ends: dict[TrackKind, tuple[int, int]] = {}
        self._kept: list[Packet] = []  #: packets that come next, and were read already
        self._barren = 0  #: passes in a row that gave no frame
        self._announce_end()

    def read(self, ready_us: int) -> Chunk | None:
        self._tracks.check()
        packets = self._from(self._begin_us) if self._begin_us else self._next()
        if self._begin_us:
            self._sent_until_us = self._base_us + self._begin_us
        self._begin_us = 0
        frames: list[OutFrame] = []
        pass_us: int | None = None
        if not packets:
            if self._over:
                return None
            if self._left == 0:
                self._over = True
                return Chunk(self._in_time(self._tracks.close()), self._base_us + self._horizon_us)
            frames += self._in_time(self._tracks.flush())
            self._next_pass()
            pass_us = self._base_us
            packets = self._source.read(self._horizon_us)
        return self._convert(packets, frames, pass_us)

    def jump(self, position_us: int, session_us: int, back: int) -> Chunk:
        """Goes on at a position of the pass that began `back` passes ago; its session time is `session_us`.
        Raises SourceError: of reading, or INVALID_POSITION, after which reading goes on where it was."""
        try:
            packets = self._from(position_us)
        except SourceError as error:
            if error.reason is Reason.INVALID_POSITION:
                self._go_back()
            raise
        self._ends.clear()
        self._noted_us = math.inf
        self._kept.clear()
        self._over = self._resumed = False
        self._left = self._left + back if self._left is not None else None
        self._base_us, self._horizon_us = session_us - position_us, position_us + FIRST_READ_US
        self._tracks.restart(session_us)
        self._announce_end()
        self._sent_until_us = session_us
        return self._convert(packets, [], None)

    def _convert(self, packets: list[Packet], frames: list[OutFrame], pass_us: int | None) -> Chunk:
        # The end of a pass gives less than was asked for. The next pass has to be read before that is sent.
        until_us = self._base_us + min(self._horizon_us, packets[-1].dts_us if packets else self._horizon_us)
        for packet in packets:
            noted = packet.dts_us >= self._noted_us
            before = self._ends.get(packet.kind, (packet.dts_us, 0))[0]
            self._ends[packet.kind] = (packet.dts_us, packet.dts_us - before)
            packet.shift(self._base_us)
            if noted:
                self._note(packet)
        made = self._tracks.push_all(packets)
        frames += self._without_repeats(made) if self._sent_until_us is not None else made
        if frames:
            self._barren = 0
        self._horizon_us += self._step_us
        return Chunk(frames, until_us, pass_us)

    def _in_time(self, held: list[OutFrame]) -> list[OutFrame]:
        """The frames that pipes still held, without those of a track that ended long before the other."""
        end_us = max((self._base_us + dts_us for dts_us, _ in self._ends.values()), default=0)
        return [frame for frame in held if frame.media_us > end_us - _MOST_HELD_US]

    def _without_repeats(self, made: list[OutFrame]) -> list[OutFrame]:
        """Marks frames that were sent before. Pictures stay, since decoders need them; sound is left out."""
        assert self._sent_until_us is not None  # noqa: S101 - only called then
        last_us = self._sent_until_us - (not self._resumed)
        for frame in made:
            frame.again = frame.media_us <= last_us
        if made and not any(frame.again for frame in made):
            self._sent_until_us = None
        if not self._resumed:
            return made
        return [frame for frame in made if not frame.again or frame.type is FrameType.VIDEO]

    @property
    def _step_us(self) -> int:
        return READ_US if self._tracks.has_pictures else READ_SOUND_US

    def _next(self) -> list[Packet]:
        kept, self._kept = self._kept, []
        return kept or self._source.read(self._horizon_us)

    def _next_pass(self) -> None:
        self._barren += 1
        if not self._ends or self._barren > _MOST_BARREN:
            raise unsupported("the source has no media that could be repeated")
        # Without pictures, the next pass begins at the very sample at which the sound ended.
        begin_us = self._tracks.sound_end_us
        if begin_us is None:
            length_us = self._pass_length_us or max(last + distance for last, distance in self._ends.values())
            begin_us = self._base_us + length_us
        self._base_us = max(begin_us, self._base_us + _SHORTEST_PASS_US)
        if self._left is not None:
            self._left -= 1
        self._ends.clear()
        self._horizon_us = self._step_us
        self._noted_us = 0 if self._noted_us < math.inf else math.inf
        self._source.seek(0)
        self._announce_end()

    def _announce_end(self) -> None:
        if self._left != 0 and self._pass_length_us is not None:
            self._tracks.end_pass_at(self._base_us + self._pass_length_us)

    def _from(self, position_us: int) -> list[Packet]:
        """The first packets for a position in the middle of the file.

        Pictures begin with the last key frame before it. Those before the position get times close together,
        so that viewers' decoders catch up at once. Sound begins a little earlier, for our own decoder.
        """
        self._seek(position_us)
        pictures: list[Packet] = []
        rest: list[Packet] = []
        tracks: dict[TrackKind, Track | None] = {}
        reached = False
        while not reached:
            packets = self._source.read(position_us)
            if not packets:
                raise _behind_the_end(position_us)
            for packet in packets:
                # The track may have come with a packet that is left out.
                tracks[packet.kind] = packet.track = packet.track or tracks.get(packet.kind)
                if packet.kind is TrackKind.VIDEO and packet.dts_us < position_us:
                    if packet.key:
                        pictures.clear()
                    pictures.append(packet)
                elif packet.dts_us >= position_us - _LEAD_US:
                    rest.append(packet)
                reached = reached or packet.dts_us + max(1, packet.duration_us or 0) > position_us
        for n, packet in enumerate(reversed(pictures), 1):
            packet.dts_us = packet.pts_us = position_us - n * _PREROLL_US
        return pictures + rest

    def _seek(self, position_us: int) -> None:
        try:
            self._source.seek(max(0, position_us - _LEAD_US))
        except SourceError as error:
            # FFmpeg does not say whether the position lies behind the end.
            if error.transient or self._duration_us is None or position_us < self._duration_us:
                raise
            raise _behind_the_end(position_us) from error

    def _go_back(self) -> None:
        """Back to the packets that follow those which were read."""
        self._source.seek(max((last for last, _ in self._ends.values()), default=0))
        while (packets := self._source.read(self._horizon_us)) and not self._is_new(packets[-1]):
            pass
        self._kept = [packet for packet in packets if self._is_new(packet)]

    def _is_new(self, packet: Packet) -> bool:
        return packet.kind not in self._ends or packet.dts_us > self._ends[packet.kind][0]


def _behind_the_end(position_us: int) -> SourceError:
    return SourceError(
        Reason.INVALID_POSITION,
        f"the position {position_us / 1e6:g} s lies behind the end of the source",
        transient=False,
    )


class LiveReadAhead:
    """A live source in segments, from where it was joined to its end, paced by its media time."""

    def __init__(self, source: FileSource, tracks: Tracks, seen: Seen) -> None:
        """`seen` notes what is read."""
        self._note = seen.note
        self.jumps, self.ahead_us = 0, AHEAD_SEGMENTS_US
        self.behind_us: int | None = None
        self._source = source
        self._edge = source if isinstance(source, EdgeSource) else None
        self._tracks = tracks
        self._follower, self._time = Follower(), SessionTime()
        self._newest_us = FIRST_READ_US - READ_US  #: media time up to which it was read
        self._over = False

    def read(self, ready_us: int) -> Chunk | None:
        self._tracks.check(live=True)
        if self._edge is not None:
            self._keep_up(self._edge, ready_us)
        until_us = self._newest_us + READ_US
        packets = self._source.read(until_us)
        if packets:
            last_us = packets[-1].dts_us
            had_less = last_us < until_us - READ_US // 2  # there is no more yet
            self._newest_us = max(self._newest_us, last_us) if had_less else max(until_us, last_us)
        for packet in packets:
            self._note(packet)
            packet.dts_us = self._time.at(packet.dts_us)
            packet.pts_us = self._time.at(packet.pts_us)
        frames = self._tracks.push_all(packets)
        if not packets:
            if self._over:
                return None
            self._over = True
            frames = self._tracks.flush()
        return Chunk(frames, self._time.at(self._newest_us))

    def _keep_up(self, source: EdgeSource, ready_us: int) -> None:
        edge, played_us = source.edge(), self._newest_us - ready_us
        self.behind_us = edge.newest_us - played_us if edge is not None else None
        pace = self._follower.step(edge, played_us)
        if pace is Pace.JUMP:
            skipped = source.skip()
            self.jumps += skipped
            pace = Pace.STEADY if skipped else Pace.FASTER
        self._time.turn(self._newest_us, pace)
