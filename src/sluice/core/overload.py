"""What gives way when the machine has too much to do, and when. Pure: time is an argument.

The packets of rooms go first. When an event loop that sends them (or the node's) is late by more than 50 ms
one time in ten, transcodes leave out pictures, which halves what they cost; when that does not help, they
leave out more, and new tasks are refused. What runs goes on. Each step back takes a while, so that the load
does not swing.
"""

#: Of the timers of an event loop so many are looked at: one in ten may be later.
LAG_PART = 0.9
#: An event loop that is later than this delays packets so that people hear it.
LATE_S = 0.05
#: Seconds of being late until the next step, and of being in time until the step back.
_RISE_S, _FALL_S = 4.0, 15.0
#: Which pictures transcodes show at each step: each, every second, every fourth.
_SHOWN = (1, 2, 4)


class Overload:
    def __init__(self) -> None:
        self._step = 0
        self._since: float | None = None  #: when it was late (or in time) for the first time in a row
        self._late = False
        self._lag_s = 0.0

    @property
    def shown(self) -> int:
        """Transcodes show one picture of so many."""
        return _SHOWN[self._step]

    @property
    def refusal(self) -> str:
        """Why new tasks are refused; empty: they are not."""
        if self._step < len(_SHOWN) - 1:
            return ""
        return f"the machine is overloaded (its event loops are up to {self._lag_s * 1000:.0f} ms late)"

    def tell(self, lag_s: float, now: float) -> None:
        """The lag that nine of ten timers stayed below, of the loop that is latest; to be told once a
        second."""
        self._lag_s, late = lag_s, lag_s > LATE_S
        if late and not self._step:  # the lag was looked at for seconds already
            self._step = 1
            self._since = now
        elif self._since is None or late is not self._late:
            self._since = now
        elif now - self._since >= (_RISE_S if late else _FALL_S):
            self._step = min(len(_SHOWN) - 1, self._step + 1) if late else max(0, self._step - 1)
            self._since = now
        self._late = late
