"""Collects what is seen of a session's media as it leaves: what the node is told of it once a second.

Times are seconds of the loop's clock, where none is named.
"""

from sluice.core.vitals import Lags, Level, Look, PictureWatch, SoundWatch, Vitals
from sluice.media.packets import TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.units import Unit
from sluice.process.link import FrameType

#: What is read again sooner is of the same second.
_SOONEST_S = 0.5


class VitalsMeter:
    """Of a relay."""

    def __init__(self) -> None:
        self._pictures, self._sound, self._lags = PictureWatch(), SoundWatch(), Lags()
        self._read_at = 0.0
        self._level: float | None = None
        self._offset_ms: int | None = None
        self._lag_s: float | None = None

    def see(self, seen: Look | Level, now: float) -> bool:
        """What a frame that leaves shows. Returns whether a state is another one now."""
        if isinstance(seen, Look):
            return self._pictures.see(seen, now)
        return self._sound.hear(seen, now)

    def sent(self, frames: list[OutFrame], now: float) -> None:
        now_us, lags = int(now * 1e6), self._lags
        for frame in frames:
            if frame.again:
                continue
            if frame.type is FrameType.VIDEO:
                lags.picture(now_us - frame.media_us)
            else:
                lags.sound(now_us - frame.media_us)

    def read(self, now: float, wall: float, *, arrives: bool, behind_s: float | None) -> Vitals:
        """`wall` is the Unix time of `now`. `arrives`: media leaves as it comes, stamped by the loop's clock.
        `behind_s`: how far a paced live source is behind its edge."""
        if now - self._read_at >= _SOONEST_S:
            self._read_at, self._level = now, self._sound.take_level(now)
            self._offset_ms, self._lag_s = self._lags.offset_ms(), self._lags.mean_s()
            self._lags = Lags()
        delay_s = self._lag_s if arrives else behind_s
        pictures, sound = self._pictures.signal(now), self._sound.signal(now)
        return Vitals(
            video=pictures.moved(wall - now) if pictures is not None else None,
            audio=sound.moved(wall - now) if sound is not None else None,
            level_dbfs=_tenths(self._level),
            av_offset_ms=self._offset_ms,
            delay_s=_tenths(delay_s if delay_s is None else max(0.0, delay_s)),
        )


class PushVitals:
    """Of a push, whose pictures are not looked at."""

    def __init__(self) -> None:
        self._lags = Lags()

    def sent(self, units: list[Unit], now: float) -> None:
        now_us, lags = int(now * 1e6), self._lags
        for unit in units:
            if unit.kind is TrackKind.VIDEO:
                if not unit.past:
                    lags.picture(now_us - unit.at_us)
            elif not unit.made:
                lags.sound(now_us - unit.at_us)

    def read(self, now: float, wall: float, heard: SoundWatch | None) -> Vitals:
        """`heard`: the sound of the stream, which all its pushes share."""
        lags, self._lags = self._lags, Lags()
        sound = heard.signal(now) if heard is not None else None
        return Vitals(
            audio=sound.moved(wall - now) if sound is not None else None,
            level_dbfs=_tenths(heard.take_level(now) if heard is not None else None),
            av_offset_ms=lags.offset_ms(),
        )


def _tenths(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
