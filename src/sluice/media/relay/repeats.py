"""Holds back what a live source begins with when that was sent before. Pure: time is an argument, in seconds.

A server keeps a group of pictures for new players, also when nobody publishes any more. Each new attempt
would show it again, and count it as media. So an attempt that begins with a key frame that was sent before is
held until the source goes on. It does so soon where somebody publishes a clip over and over.
"""

from collections import deque

from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame

#: What a server keeps arrives at once. A source that lives goes on within this.
_GOES_ON_S = 1.0
#: So many key frames are remembered: more than any server keeps.
_MOST = 64


class Repeats:
    """The key frames of one session, over its attempts."""

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()
        self._sent: deque[int] = deque(maxlen=_MOST)
        self._begun = False  #: whether a key frame has come in this attempt
        self._since: float | None = None  #: since when frames are held; None: they are not
        self._held: list[OutFrame] = []
        self.withheld = 0  #: frames that were held, and never sent

    def begin(self) -> None:
        """Another attempt begins."""
        self._known = frozenset(self._sent)
        self._begun, self._since = False, None
        self.withheld += len(self._held)
        self._held.clear()

    def note(self, packets: list[Packet], now: float) -> None:
        for packet in packets:
            if packet.kind is TrackKind.VIDEO and packet.key:
                picture = hash(packet.data)
                if not self._begun:
                    self._since = now if picture in self._known else None
                elif picture not in self._known:
                    self._since = None
                self._begun = True
                self._sent.append(picture)

    def release(self, frames: list[OutFrame], now: float) -> list[OutFrame]:
        """The frames to be sent now: of these, and of those that were held."""
        if self._since is None and not self._held:
            return frames
        self._held += frames
        if self._since is not None and now - self._since < _GOES_ON_S:
            return []
        self._since = None
        released, self._held = self._held, []
        return released
