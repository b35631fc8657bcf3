"""What waits for a CDN that takes less than comes: bounded, and when full it loses whole groups of pictures.

Dropped is everything before the newest key frame; where there is none, all pictures up to the next one and
the older half of the sound. So what is sent decodes, and a slow CDN is never far behind. Pure.
"""

from collections import deque

from sluice.media.packets import TrackKind
from sluice.media.units import Unit

MOST_US = 5_000_000
MOST_BYTES = 16 << 20


class Backlog:
    def __init__(self) -> None:
        self.dropped = 0  #: units
        self.needs_key_frame = False  #: pictures are dropped until one comes
        self._units: deque[Unit] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._units)

    def add(self, units: list[Unit]) -> None:
        for unit in units:
            if unit.kind is TrackKind.VIDEO and self.needs_key_frame and not unit.key:
                self.dropped += 1
                continue
            if unit.key:
                self.needs_key_frame = False
            self._units.append(unit)
            self._bytes += _cost(unit)
        if self._units and (
            self._bytes > MOST_BYTES or self._units[-1].at_us - self._units[0].at_us > MOST_US
        ):
            self._shed()

    def take(self, most_bytes: int) -> list[Unit]:
        """The oldest units, at least one if there is any, of about `most_bytes`."""
        taken: list[Unit] = []
        while self._units and most_bytes > 0:
            unit = self._units.popleft()
            self._bytes -= _cost(unit)
            most_bytes -= len(unit.body)
            taken.append(unit)
        return taken

    def _shed(self) -> None:
        units = list(self._units)
        newest_key = max((n for n, unit in enumerate(units) if unit.key), default=0)
        if newest_key:
            kept = units[newest_key:]
        else:
            self.needs_key_frame = self.needs_key_frame or any(u.kind is TrackKind.VIDEO for u in units)
            sound = [unit for unit in units if unit.kind is TrackKind.AUDIO]
            kept = sound[len(sound) // 2 :]
        self.dropped += len(units) - len(kept)
        self._units = deque(kept)
        self._bytes = sum(map(_cost, kept))


def _cost(unit: Unit) -> int:
    """What the past costs is bounded where it comes from."""
    return 0 if unit.past else len(unit.body)
