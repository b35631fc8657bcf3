"""Whether what a live source begins with was sent before. Pure: time is an argument, in seconds.

Servers keep a group of pictures for players that come, also when nobody publishes any more: each new attempt
would show it again and count it as media. An attempt that begins with a key frame that was sent before is
therefore held until the source goes on, as it does where somebody publishes a clip over and over.
"""

from collections import deque

from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.frames import OutFrame

#: What is held arrives at once; behind it, a source that lives goes on within this.
_GOES_ON_S = 1.0
#: Key frames that are remembered: more than any server keeps.
_MOST = 64


class Repeats:
    """Of one session, over its attempts."""

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()
        self._sent: deque[int] = deque(maxlen=_MOST)
        self._begun = False  #: a key frame came in this attempt
        self._since: float | None = None  #: what comes is held since then
        self._held: list[OutFrame] = []

    def begin(self) -> None:
        """Another attempt."""
        self._known = frozenset(self._sent)
        self._begun, self._since = False, None
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
        """What is to be sent of these frames, and of those that were held."""
        if self._since is None and not self._held:
            return frames
        self._held += frames
        if self._since is not None and now - self._since < _GOES_ON_S:
            return []
        self._since = None
        released, self._held = self._held, []
        return released
