"""What a source has to tell people about itself while it plays: a segment left out, another variant taken.

Each text is told once, and not without end. Written by the thread that reads; read from any.
"""

from collections import deque
from threading import Lock

_MOST = 20  #: different texts in the life of a source
_LONGEST = 300


class Notes:
    def __init__(self) -> None:
        self.skipped = 0  #: segments that were left out, whatever the reason
        self._told: set[str] = set()
        self._waiting: deque[str] = deque()
        self._lock = Lock()

    def add(self, text: str) -> None:
        text = text[:_LONGEST]
        with self._lock:
            if text not in self._told and len(self._told) < _MOST:
                self._told.add(text)
                self._waiting.append(text)

    def take(self) -> list[str]:
        """What is new since the last time."""
        with self._lock:
            texts = list(self._waiting)
            self._waiting.clear()
        return texts
