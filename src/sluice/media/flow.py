"""Whether a task's media flows, judged for each kind by what left: relays and pushes say `running` by this.

Pure: time is an argument, seconds of any steady clock. Only media that is new and that a receiver can decode
is told here; what is repeated, or cannot be shown, is not.
"""

from dataclasses import dataclass

from sluice.core.lifecycle import Reason
from sluice.media.packets import TrackKind

#: `running` is left when a kind of media that exists did not leave for this long.
SILENT_S = 2.0
#: Kinds that stopped within this of each other stopped together.
_TOGETHER_S = 0.5
_REASONS = {TrackKind.VIDEO: Reason.PICTURES_STOPPED, TrackKind.AUDIO: Reason.SOUND_STOPPED}


@dataclass(frozen=True, slots=True)
class Fault:
    reason: Reason
    text: str


class Flow:
    """Kinds exist from `expect` to `forget`; before and after, nobody misses them."""

    def __init__(self) -> None:
        self._left_at: dict[TrackKind, float] = {}
        self._whys: dict[TrackKind, str] = {}
        self._unseen: set[TrackKind] = set()  #: expected, and none of it has left since

    @property
    def complete(self) -> bool:
        """Whether some of each kind that exists has left."""
        return not self._unseen

    def expect(self, kind: TrackKind, now: float) -> None:
        """It exists, and has `SILENT_S` from now until it is missed."""
        if kind not in self._left_at:
            self._left_at[kind] = now
            self._unseen.add(kind)

    def forget(self, kind: TrackKind) -> None:
        self._left_at.pop(kind, None)
        self._unseen.discard(kind)
        self._whys.pop(kind, None)

    def sent(self, kind: TrackKind, now: float) -> None:
        """New media of this kind left, in a form that can be decoded."""
        self._left_at[kind] = now
        self._unseen.discard(kind)
        self._whys.pop(kind, None)

    def blame(self, kind: TrackKind, why: str) -> None:
        """What keeps it from leaving, for the text; until some leaves again. An empty text takes it back."""
        self._whys[kind] = why

    def fault(self, now: float) -> Fault | None:
        """None while each kind that exists leaves."""
        oldest = min(self._left_at.values(), default=now)
        if now - oldest <= SILENT_S:
            return None
        gone_at = max(now - SILENT_S, oldest + _TOGETHER_S)
        missing = [kind for kind, at in self._left_at.items() if at < gone_at]
        why = "; ".join(self._whys[kind] for kind in missing if self._whys.get(kind))
        if len(missing) == len(self._left_at):
            return Fault(Reason.SOURCE_INTERRUPTED, why or f"no packet left for {SILENT_S:g} s")
        reason = _REASONS[missing[0]]
        return Fault(reason, f"{reason.text}: {why}" if why else reason.text)
