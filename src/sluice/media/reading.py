"""From an open source to frames in session time, on a worker thread: what playback paces.

A recording is read in passes, one behind the other when it is repeated. A live source is followed: when
playing falls too far behind its edge, media time runs faster than session time, or the source leaves
something out (core/live_edge.py).
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.live_edge import Edge, Follower, Pace, SessionTime
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.source.table import FileSource

FIRST_READ_US = 200_000
READ_US = 500_000
#: Distance of the frames that lead from a key frame to the position where a file goes on.
_PREROLL_US = 1_000
#: No pass of a loop counts as shorter; a file of one picture has no length of its own.
_SHORTEST_PASS_US = 100_000
#: Passes of a loop without a frame before it is given up. More than one: pipes may hold all of a short one.
_MOST_BARREN = 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was read: frames, the session time up to which that is all, and where a pass begins in it."""

    frames: list[OutFrame]
    until_us: int
    pass_us: int | None = None


class Reading(Protocol):
    jumps: int  #: how often something was left out, to be at the edge of a live source again

    def read(self, ready_us: int) -> Stretch | None:
        """The next stretch, None at the end; `ready_us` of what was read are not sent yet. Blocks.
        Raises SourceError."""
        ...


@runtime_checkable
class EdgeSource(Protocol):
    """What a live FileSource tells, so that it can be followed."""

    def edge(self) -> Edge | None:
        """None while it is not known, or when the source has come to its end."""
        ...

    def skip(self) -> bool:
        """Goes on at a key frame where one who joins now begins, and leaves out what comes before. Its
        times run on from a little before the end of the sound that was read, which is faded over. False, and
        nothing happens, where that is not ahead. Raises SourceError."""
        ...


class FileReading:
    """A recording from `position_us` on, to its end or for ever; `loop_length_us`: of its picture, if
    known."""

    def __init__(
        self,
        source: FileSource,
        tracks: Tracks,
        *,
        position_us: int,
        loop: bool,
        loop_length_us: int | None,
    ) -> None:
        self._source = source
        self._tracks = tracks
        self.jumps = 0
        self._loop = loop
        #: The picture sets the rhythm of a loop; encoders pad the sound beyond it.
        self._pass_length_us = loop_length_us
        self._start_us = position_us
        self._horizon_us = position_us + FIRST_READ_US
        self._base_us = 0  #: session time at which this pass began
        self._over = False
        self._ends: dict[TrackKind, tuple[int, int]] = {}  #: last decoding time and its distance per track
        self._barren = 0  #: passes that gave no frame, since the last one that did
        self._announce_end()

    def read(self, ready_us: int) -> Stretch | None:
        packets = self._preroll() if self._start_us else self._source.read(self._horizon_us)
        self._start_us = 0
        frames: list[OutFrame] = []
        pass_us: int | None = None
        if not packets:
            if self._over:
                return None
            frames += self._tracks.flush()
            if not self._loop:
                self._over = True
                return Stretch(frames, self._base_us + self._horizon_us)
            self._next_pass()
            pass_us = self._base_us
            packets = self._source.read(self._horizon_us)
        for packet in packets:
            before = self._ends.get(packet.kind, (packet.dts_us, 0))[0]
            self._ends[packet.kind] = (packet.dts_us, packet.dts_us - before)
            packet.dts_us += self._base_us
            packet.pts_us += self._base_us
            frames += self._tracks.push(packet)
        if frames:
            self._barren = 0
        until_us = self._base_us + self._horizon_us
        self._horizon_us += READ_US
        return Stretch(frames, until_us, pass_us)

    def _next_pass(self) -> None:
        self._barren += 1
        if not self._ends or self._barren > _MOST_BARREN:
            raise SourceError(
                Reason.SOURCE_UNSUPPORTED, "the source has no media that could be repeated", transient=False
            )
        length_us = self._pass_length_us or max(last + distance for last, distance in self._ends.values())
        self._base_us += max(length_us, _SHORTEST_PASS_US)
        self._ends.clear()
        self._horizon_us = READ_US
        self._source.seek(0)
        self._announce_end()

    def _announce_end(self) -> None:
        if self._loop and self._pass_length_us is not None:
            self._tracks.end_pass_at(self._base_us + self._pass_length_us)

    def _preroll(self) -> list[Packet]:
        """Goes on in mid-file: the video from its last key frame on is sent in haste, so that decoders
        stand where the file does; sound begins at the position."""
        position_us = self._start_us
        self._source.seek(position_us)
        lead: list[Packet] = []
        rest: list[Packet] = []
        while not rest and (packets := self._source.read(position_us)):
            for packet in packets:
                if packet.dts_us >= position_us:
                    rest.append(packet)
                elif packet.kind is TrackKind.VIDEO:
                    if packet.key:
                        lead.clear()
                    lead.append(packet)
        for n, packet in enumerate(reversed(lead), 1):
            packet.dts_us = packet.pts_us = position_us - n * _PREROLL_US
        return lead + rest


class LiveReading:
    """A live source that is paced by media time, from where it was joined to its end."""

    def __init__(self, source: FileSource, tracks: Tracks) -> None:
        self.jumps = 0
        self._source = source
        self._edge = source if isinstance(source, EdgeSource) else None
        self._tracks = tracks
        self._follower, self._time = Follower(), SessionTime()
        self._newest_us = FIRST_READ_US - READ_US  #: the newest packet that was read
        self._over = False

    def read(self, ready_us: int) -> Stretch | None:
        if self._edge is not None:
            self._keep_up(self._edge, ready_us)
        packets = self._source.read(self._newest_us + READ_US)
        frames: list[OutFrame] = []
        for packet in packets:
            self._newest_us = max(self._newest_us, packet.dts_us)
            packet.dts_us = self._time.at(packet.dts_us)
            packet.pts_us = self._time.at(packet.pts_us)
            frames += self._tracks.push(packet)
        if not packets:
            if self._over:
                return None
            self._over = True
            frames = self._tracks.flush()
        return Stretch(frames, self._time.at(self._newest_us))

    def _keep_up(self, source: EdgeSource, ready_us: int) -> None:
        pace = self._follower.step(source.edge(), self._newest_us - ready_us)
        if pace is Pace.JUMP:
            skipped = source.skip()
            self.jumps += skipped
            pace = Pace.STEADY if skipped else Pace.FASTER
        self._time.turn(self._newest_us, pace)
