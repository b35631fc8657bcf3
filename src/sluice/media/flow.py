"""Whether a task's media flows, judged for each kind of track by what left. A task is `running` by this.

Pure: time is an argument, in seconds of any steady clock. Only new media that a receiver can decode counts as
sent; repeats, and what cannot be shown, do not.
"""

from collections import deque
from dataclasses import dataclass, field

from sluice.core.lifecycle import Reason
from sluice.media.packets import TrackKind

#: A kind of media is missing when it has not left for this long. Where it always comes in longer steps (a
#: slide every five seconds), it is missing after twice its usual step.
SILENT_S = 2.0
_STEP_S = 0.5
_STEPS = 3
#: Kinds that stopped within this of each other stopped together.
_TOGETHER_S = 0.5
_REASONS = {TrackKind.VIDEO: Reason.PICTURES_STOPPED, TrackKind.AUDIO: Reason.SOUND_STOPPED}


@dataclass(frozen=True, slots=True)
class Fault:
    reason: Reason
    text: str


@dataclass(slots=True)
class _Kind:
    left_at: float
    steps: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS))
    why: str = ""
    seen: bool = False  #: whether some of it has left

    def sent(self, now: float) -> None:
        step = now - self.left_at
        self.left_at, self.why, self.seen = now, "", True
        if step > _STEP_S:
            self.steps.append(step)
        elif self.steps:
            self.steps.clear()

    def is_silent(self, now: float) -> bool:
        usual = min(self.steps) if len(self.steps) == _STEPS else 0.0
        return now - self.left_at > max(SILENT_S, 2 * usual)


class Flow:
    """The kinds of one task. A kind can be missing only between `expect` and `forget`."""

    def __init__(self) -> None:
        self._kinds: dict[TrackKind, _Kind] = {}

    @property
    def begun(self) -> bool:
        """Whether some of any kind has left."""
        return any(known.seen for known in self._kinds.values())

    @property
    def complete(self) -> bool:
        """Whether some of each kind that exists has left."""
        return all(known.seen for known in self._kinds.values())

    def expect(self, kind: TrackKind, now: float) -> None:
        """This kind exists. It is missing if none of it leaves for `SILENT_S` from now."""
        if kind not in self._kinds:
            self._kinds[kind] = _Kind(now)

    def forget(self, kind: TrackKind) -> None:
        self._kinds.pop(kind, None)

    def sent(self, kind: TrackKind, now: float) -> None:
        """New media of this kind left, in a form that can be decoded."""
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = _Kind(now)
        known.sent(now)

    def blame(self, kind: TrackKind, why: str) -> None:
        """Says why this kind does not leave, until some leaves. An empty text clears it."""
        if kind in self._kinds:
            self._kinds[kind].why = why

    def silent(self, now: float) -> list[TrackKind]:
        """The kinds that are missing, with those that stopped at the same time."""
        silent = [kind for kind, known in self._kinds.items() if known.is_silent(now)]
        if not silent:
            return []
        oldest = min(self._kinds[kind].left_at for kind in silent)
        together = [kind for kind, known in self._kinds.items() if known.left_at <= oldest + _TOGETHER_S]
        return list(dict.fromkeys((*silent, *together)))

    def all_silent(self, now: float) -> bool:
        return len(self.silent(now)) == len(self._kinds)

    def fault(self, now: float) -> Fault | None:
        """What is wrong; None while no kind is missing."""
        missing = self.silent(now)
        if not missing:
            return None
        why = "; ".join(
            self._kinds[kind].why for kind in TrackKind if kind in missing and self._kinds[kind].why
        )
        if len(missing) == len(self._kinds):
            return Fault(Reason.SOURCE_INTERRUPTED, why or f"no packet left for {SILENT_S:g} s")
        reason = _REASONS[missing[0]]
        return Fault(reason, f"{reason.text}: {why}" if why else reason.text)
