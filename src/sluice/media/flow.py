"""Whether a task's media flows, judged for each kind by what left: relays and pushes say `running` by this.

Pure: time is an argument, seconds of any steady clock. Only media that is new and that a receiver can decode
is told here; what is repeated, or cannot be shown, is not.
"""

from dataclasses import dataclass

from sluice.core.lifecycle import Reason
from sluice.media.packets import TrackKind

#: `running` is left when a kind of media that exists did not leave for this long.
SILENT_S = 2.0
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

    def expect(self, kind: TrackKind, now: float) -> None:
        """It exists, and has `SILENT_S` from now until it is missed."""
        self._left_at.setdefault(kind, now)

    def forget(self, kind: TrackKind) -> None:
        self._left_at.pop(kind, None)
        self._whys.pop(kind, None)

    def sent(self, kind: TrackKind, now: float) -> None:
        """New media of this kind left, in a form that can be decoded."""
        self._left_at[kind] = now
        self._whys.pop(kind, None)

    def blame(self, kind: TrackKind, why: str) -> None:
        """What keeps it from leaving, for the text; until some leaves again."""
        self._whys[kind] = why

    def fault(self, now: float) -> Fault | None:
        """None while each kind that exists leaves."""
        missing = [kind for kind, at in self._left_at.items() if now - at > SILENT_S]
        if not missing:
            return None
        why = next((self._whys[kind] for kind in missing if kind in self._whys), "")
        if len(missing) == len(self._left_at):
            return Fault(Reason.SOURCE_INTERRUPTED, why or f"no packet left for {SILENT_S:g} s")
        reason = _REASONS[missing[0]]
        return Fault(reason, f"{reason.text}: {why}" if why else reason.text)
