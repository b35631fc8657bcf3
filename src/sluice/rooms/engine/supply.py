"""What a publisher sends, judged for each kind of media: which kinds exist, and what is wrong with one.

A kind (``video``, ``audio``) exists from its first packet on, decodable or not, until the publisher says that
it is over: with RTCP's goodbye, or by `says`, since a browser's page can say nothing in RTP. A kind that
exists is in trouble when nothing usable of it has come for a while; a text says why, for people. Pure: time
is an argument.
"""

from collections.abc import Collection
from typing import Protocol

#: A kind is in trouble when nothing usable of it has come for this long. Where it comes less often (a slide
#: every five seconds), twice its last interval counts instead.
STILL_US = 2_000_000
#: Packets that were on their way when a kind ended do not bring it back.
_LATE_US = 500_000
_STOPPED = {
    "video": "the publisher sends no pictures any more",
    "audio": "the publisher sends no sound any more",
}


class Listener(Protocol):
    """Who is told, of each change once."""

    def flow(self, kind: str) -> None:
        """Media of this kind goes on (again)."""
        ...

    def cease(self, kind: str) -> None:
        """The publisher has ended this kind."""
        ...

    def trouble(self, kind: str, text: str) -> None: ...


class Supply:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._sends: frozenset[str] | None = None  #: as the publisher says; None: it said nothing
        self._arrived_us: dict[str, int] = {}  #: the newest packet of each kind that exists
        self._left_us: dict[str, int] = {}  #: the newest usable media, at first the first packet
        self._step_us: dict[str, int] = {}  #: the interval between the newest usable media and the one before
        self._ended_us: dict[str, int] = {}
        self._flowing: set[str] = set()  #: told, and in no trouble since
        self._troubles: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    def arrived(self, kind: str, now_us: int) -> None:
        """A packet of this kind."""
        if kind not in self._arrived_us:
            if self._sends is not None and kind not in self._sends:
                return
            if now_us - self._ended_us.get(kind, -_LATE_US) < _LATE_US:
                return
            self._left_us[kind] = now_us
        self._arrived_us[kind] = now_us

    def left(self, kind: str, now_us: int) -> None:
        """Usable media of this kind has gone on to the stream."""
        if kind in self._arrived_us:
            self._step_us[kind] = now_us - self._left_us[kind]
            self._left_us[kind] = now_us
            if kind not in self._flowing and kind not in self._refused:
                self._flowing.add(kind)
                self._troubles.pop(kind, None)
                self._listener.flow(kind)

    def refuse(self, kind: str, text: str) -> None:
        """Nothing of this kind is of use to anybody from now on."""
        self._refused[kind] = text
        self._trouble(kind, text)

    def end(self, kind: str, now_us: int) -> None:
        self._ended_us[kind] = now_us
        if self._arrived_us.pop(kind, None) is not None:
            del self._left_us[kind]
            self._step_us.pop(kind, None)
            self._flowing.discard(kind)
            self._troubles.pop(kind, None)
            self._listener.cease(kind)

    def says(self, sends: Collection[str], now_us: int) -> None:
        """The publisher says which kinds it sends from now on."""
        self._sends = frozenset(sends)
        self._ended_us.clear()
        for kind in set(self._arrived_us) - self._sends:
            self.end(kind, now_us)

    def poll(self, now_us: int, why_unusable: str) -> None:
        """To be called a few times a second. `why_unusable`: pictures that come are not."""
        for kind, left_us in self._left_us.items():
            patience_us = max(STILL_US, 2 * self._step_us.get(kind, 0))
            if now_us - left_us > patience_us and kind not in self._refused:
                stopped = now_us - self._arrived_us[kind] > STILL_US
                self._trouble(kind, _STOPPED[kind] if stopped else why_unusable)

    def _trouble(self, kind: str, text: str) -> None:
        if self._troubles.get(kind) != text:
            self._troubles[kind] = text
            self._flowing.discard(kind)
            self._listener.trouble(kind, text)
