"""How loud sound is made that shall be as loud as all other: a gain that follows its measured loudness.

What is followed is the integrated loudness of EBU R 128, of all that was heard so far: it settles, and the
gain with it, so that quiet passages stay quiet. Only at the beginning, when little is known, it moves fast.
"""

#: What streaming services play at, in LUFS; −23 of the recommendation is for programmes with wide dynamics.
TARGET_LUFS = -16.0
#: More would raise noise, or what was meant to be soft.
MOST_DB, LEAST_DB = 12.0, -24.0
#: The gate of the measurement: nothing was heard yet.
_SILENCE_LUFS = -69.0
_FAST_S, _FAST_DB_PER_S, _DB_PER_S = 4.0, 6.0, 0.5


class LoudnessGain:
    """`db` is the gain now; switched off, it goes to none."""

    def __init__(self) -> None:
        self.db = 0.0
        self.on = True
        self._heard_s = 0.0

    def step(self, seconds: float, integrated_lufs: float) -> float:
        """The gain in dB after so much more sound, with what was measured up to its end."""
        wanted = 0.0
        if self.on and integrated_lufs > _SILENCE_LUFS:
            self._heard_s += seconds
            wanted = min(MOST_DB, max(LEAST_DB, TARGET_LUFS - integrated_lufs))
        elif self.on:
            wanted = self.db
        most = seconds * (_FAST_DB_PER_S if self._heard_s < _FAST_S or not self.on else _DB_PER_S)
        self.db += min(most, max(-most, wanted - self.db))
        return self.db
