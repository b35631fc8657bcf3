"""What a person asks of a task's media: is the picture black or frozen, is it silent, how loud, how late.

All is derived from what left. Times are seconds of any steady clock, given by the caller.
"""

import math
from dataclasses import dataclass
from typing import Literal

#: A picture that does not change, and silence, are named when they last for longer than this.
LASTS_S = 5.0
#: Sound below this is silence.
SILENT_DBFS = -60.0
#: The level of digital silence: half of the least step of 16-bit sound.
LEAST_DBFS = -96.0
#: Of a track of which nothing was seen for so long nothing is known.
_UNKNOWN_S = 2.5

State = Literal["ok", "black", "frozen", "silent"]


@dataclass(frozen=True, slots=True)
class Signal:
    """The state of pictures (ok, black, frozen) or of sound (ok, silent), and since when it is so."""

    state: State
    since: float

    def moved(self, by_s: float) -> "Signal":
        """With a time of another clock, to a tenth of a second."""
        return Signal(self.state, round(self.since + by_s, 1))


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of the picture up to a frame. `black`: None where that is not known."""

    changed: bool
    black: bool | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """The mean square of some sound, 1.0 for a full-scale square wave."""

    mean_square: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is known of the media that leaves a session; None: not known, or there is none of the kind.

    Since when a state holds is in Unix seconds. The level is the RMS of the last second in dBFS (0: a
    full-scale square wave, a full-scale sine has -3). `av_offset_ms`: pictures leave so much later than sound
    of the same media time. `delay_s`: what leaves is so far behind the newest media of a live source.
    """

    video: Signal | None = None
    audio: Signal | None = None
    level_dbfs: float | None = None
    av_offset_ms: int | None = None
    delay_s: float | None = None


UNKNOWN = Vitals()


def dbfs(mean_square: float) -> float:
    return max(LEAST_DBFS, 10 * math.log10(mean_square)) if mean_square > 0 else LEAST_DBFS


_SILENT = 10 ** (SILENT_DBFS / 10)


def is_silent(mean_square: float) -> bool:
    return mean_square < _SILENT


class PictureWatch:
    """Takes the looks at one stream of pictures."""

    def __init__(self) -> None:
        self._seen_at: float | None = None
        self._changed_at = self._lit_at = 0.0  #: when it changed, and was not black, last
        self._state: State = "ok"
        self._since = 0.0

    def see(self, look: Look, now: float) -> bool:
        """Returns whether the state is another one now."""
        begins = self._seen_at is None or now - self._seen_at > _UNKNOWN_S
        self._seen_at = now
        if look.changed or begins:
            self._changed_at = now
        if not look.black or begins:
            self._lit_at = now
        before = self._state
        if now - self._lit_at >= LASTS_S:
            self._state, self._since = "black", self._lit_at
        elif now - self._changed_at >= LASTS_S:
            self._state, self._since = "frozen", self._changed_at
        elif begins or before != "ok":
            self._state, self._since = "ok", now
        return begins or self._state != before

    def signal(self, now: float) -> Signal | None:
        """None while nothing is seen."""
        if self._seen_at is None or now - self._seen_at > _UNKNOWN_S:
            return None
        return Signal(self._state, self._since)


class SoundWatch:
    """Takes the levels of one stream of sound."""

    def __init__(self) -> None:
        self._heard_at: float | None = None
        self._quiet_at: float | None = None  #: since when all was silent that was heard
        self._state: State = "ok"
        self._since = 0.0
        self._sum, self._count = 0.0, 0  #: since the level was taken
        self._level: float | None = None

    def hear(self, level: Level, now: float) -> bool:
        """Returns whether the state is another one now."""
        begins = self._heard_at is None or now - self._heard_at > _UNKNOWN_S
        self._heard_at = now
        self._sum += level.mean_square
        self._count += 1
        if not is_silent(level.mean_square):
            self._quiet_at = None
        elif begins or self._quiet_at is None:
            self._quiet_at = now
        before = self._state
        if self._quiet_at is not None and now - self._quiet_at >= LASTS_S:
            self._state, self._since = "silent", self._quiet_at
        elif begins or before != "ok":
            self._state, self._since = "ok", now
        return begins or self._state != before

    def signal(self, now: float) -> Signal | None:
        """None while nothing is heard."""
        if self._heard_at is None or now - self._heard_at > _UNKNOWN_S:
            return None
        return Signal(self._state, self._since)

    def take_level(self, now: float) -> float | None:
        """The level in dBFS since the last call; the last one where nothing was heard since."""
        if self.signal(now) is None:
            self._level = None
        elif self._count:
            self._level = dbfs(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        return self._level


class Lags:
    """How much later frames leave than their media time, on a clock that begins anywhere."""

    def __init__(self) -> None:
        self._video_us = self._audio_us = 0
        self._pictures = self._sounds = 0

    def picture(self, lag_us: int) -> None:
        self._video_us += lag_us
        self._pictures += 1

    def sound(self, lag_us: int) -> None:
        self._audio_us += lag_us
        self._sounds += 1

    def offset_ms(self) -> int | None:
        """How much later pictures leave than sound; None where one of them does not leave."""
        if not self._pictures or not self._sounds:
            return None
        return round((self._video_us / self._pictures - self._audio_us / self._sounds) / 1000)

    def mean_s(self) -> float | None:
        """Of all frames, on the clock of their media times."""
        count = self._pictures + self._sounds
        return (self._video_us + self._audio_us) / count / 1e6 if count else None
