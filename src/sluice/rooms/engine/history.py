"""What is kept of a stream's video: the current group of pictures for late viewers, and what NACKs ask for.

The group is kept whole from its key frame on. It is given up when it is longer than a late viewer can be
shown in haste, or when the process needs the memory for others (`settle`). Beside the group, or without one,
the last few seconds stay. Pure.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import islice

from sluice.rooms.engine.frame import Frame

#: Frames of the longest group that is worth keeping: a late viewer is shown it in haste, which takes time.
MOST_GROUP_FRAMES = 3000
#: What stays beside the group.
_MOST_BYTES = 4 << 20
_MOST_US = 10_500_000
#: What stays of a group that had to give way.
_LEAST_US = 2_000_000
#: What a frame and each of its packets cost beside their bytes.
_FRAME_BYTES, _PACKET_BYTES = 1000, 130
#: Frames let go at once, so that the end of a long group costs no viewer a delay.
_MOST_AT_ONCE = 32


class History:
    def __init__(self) -> None:
        self.bytes_kept = 0
        self.newest_key = -1  #: its number, -1 before the first
        self._frames: deque[Frame] = deque()

    def keep(self, frame: Frame) -> None:
        frames = self._frames
        frames.append(frame)
        self.bytes_kept += _cost(frame)
        if frame.key:
            self.newest_key = frame.number
        elif frame.number - self.newest_key >= MOST_GROUP_FRAMES and self._whole:
            self.give_way()
        for _ in range(_MOST_AT_ONCE):
            first = frames[0]
            late = self.bytes_kept > _MOST_BYTES or frame.clock_us - first.clock_us > _MOST_US
            if not late or first.number == self.newest_key or len(frames) == 1:
                break
            self._let_go()

    def group(self) -> list[Frame]:
        """The frames since the newest key frame; empty where they are not all there."""
        if not self._whole:
            return []
        return list(islice(self._frames, self.newest_key - self._frames[0].number, None))

    def find(self, sequence: int) -> tuple[Frame, int] | None:
        """The frame with this packet, and its place in it."""
        at = bisect_right(self._frames, sequence, key=lambda frame: frame.sequence) - 1
        if at < 0:
            return None
        frame = self._frames[at]
        index = sequence - frame.sequence
        return (frame, index) if index < len(frame.payloads) else None

    def give_way(self) -> None:
        """Forgets all frames but the newest, which NACKs may still ask for."""
        while len(self._frames) > 1 and (
            self.bytes_kept > _MOST_BYTES or self._frames[-1].clock_us - self._frames[0].clock_us > _LEAST_US
        ):
            self._let_go()

    @property
    def _whole(self) -> bool:
        return bool(self._frames) and self._frames[0].number <= self.newest_key

    def _let_go(self) -> None:
        self.bytes_kept -= _cost(self._frames.popleft())


def settle(histories: Iterable[History], most_bytes: int) -> int:
    """Lets the largest give way until all together keep at most `most_bytes`; returns how many did."""
    kept = sorted(histories, key=lambda history: history.bytes_kept)
    total, count = sum(history.bytes_kept for history in kept), 0
    while kept and total > most_bytes:
        largest = kept.pop()
        total -= largest.bytes_kept
        largest.give_way()
        total += largest.bytes_kept
        count += 1
    return count


def _cost(frame: Frame) -> int:
    return frame.size + _FRAME_BYTES + _PACKET_BYTES * len(frame.payloads)
