"""Notes of a source for people while it plays, such as a segment left out or a switch to another variant.

Each text is told once, and their number is bounded. The reading thread adds notes and counts; any thread
takes them.
"""

from collections import deque
from threading import Lock

_MOST = 20  #: different texts in the life of a source
_LONGEST = 300


class Notes:
    """The notes of one source, and what it left out."""

    def __init__(self) -> None:
        self.skipped = 0  #: segments that were left out, whatever the reason
        self.unusable = 0  #: packets that are damaged, or come before their track can begin
        self._told: set[str] = set()
        self._waiting: deque[str] = deque()
        self._lock = Lock()

    def add(self, text: str) -> None:
        text = text[:_LONGEST]
        with self._lock:
            if text not in self._told and len(self._told) < _MOST:
                self._told.add(text)
                self._waiting.append(text)

    def absorb(self, other: "Notes") -> None:
        """Takes over what another has, of a part of the source."""
        for text in other.take():
            self.add(text)
        self.skipped, other.skipped = self.skipped + other.skipped, 0
        self.unusable, other.unusable = self.unusable + other.unusable, 0

    def take(self) -> list[str]:
        """The notes since the last call."""
        with self._lock:
            texts = list(self._waiting)
            self._waiting.clear()
        return texts
