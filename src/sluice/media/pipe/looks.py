"""Looks at decoded pictures: whether they change, and whether they are black.

A look compares small grey sketches, whose points are means over an area: an encoder's noise, and what it
improves in a picture that stands still, nearly vanish in them, and a pointer that moves does not.
"""

from operator import sub

from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from sluice.core.vitals import Look

#: There are so many looks: so often in media time.
LOOK_US = 450_000
_WIDTH, _HEIGHT = 64, 36
#: Of 256: pictures that differ by less everywhere are the same.
_SAME = 8
#: The points that are dark, and the share of others that a black picture may have (a logo of a station).
_DARK, _MOST_LIT = bytes(range(21)), 0.02
#: A picture that stands still takes hardly any bytes, at times at least; noise of a camera takes some in all
#: pictures. So a picture that was never so small for this long is alive, even if its sketch stays the same.
_NOISE_US = 2_000_000
#: An encoder that improves a picture which stands still makes some pictures of less than so many times the
#: least size.
SMALL = 3
#: And so many bytes for each NAL unit.
SMALL_UNIT = 40
#: Codecs of which the least size is known.
_SIZED = frozenset({"h264", "hevc"})


class Sketcher:
    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def draw(self, frame: VideoFrame) -> bytes:
        """The picture in grey, 64x36, of full range."""
        small = self._reformatter.reformat(
            frame, width=_WIDTH, height=_HEIGHT, format="gray", interpolation=Interpolation.AREA, threads=1
        )
        plane = small.planes[0]
        pixels, line = bytes(plane), plane.line_size
        if line == _WIDTH:
            return pixels
        return b"".join(pixels[at : at + _WIDTH] for at in range(0, line * _HEIGHT, line))


def differ(one: bytes, other: bytes) -> bool:
    """Whether two sketches are of different pictures."""
    return one != other and max(map(abs, map(sub, one, other))) > _SAME


def is_black(sketch: bytes) -> bool:
    return len(sketch.translate(None, _DARK)) <= _MOST_LIT * len(sketch)


def empty_bytes(width: int, height: int) -> int:
    """The most bytes that a picture of H.264 takes in which nothing changes, in one NAL unit."""
    return 24 + width * height // 256 // 128


class FrameLooks:
    """For pictures that are decoded anyway."""

    def __init__(self, codec: str, width: int, height: int) -> None:
        self._small_bytes = SMALL * empty_bytes(width, height)
        self._sized = codec in _SIZED
        self._sketcher = Sketcher()
        self._sketch: bytes | None = None  #: when it changed last
        self._look_us = self._changed_us = self._empty_us = -(1 << 62)
        self._grew = False  #: pictures that need others came

    def note(self, size: int, at_us: int, *, key: bool) -> None:
        """A coded picture of this size comes."""
        if not key:
            self._grew = True
            if size <= self._small_bytes:
                self._empty_us = at_us

    def look(self, frame: VideoFrame, at_us: int) -> Look | None:
        """None where it is too early for another look."""
        if 0 <= at_us - self._look_us < LOOK_US:
            return None
        self._look_us = at_us
        sketch = self._sketcher.draw(frame)
        changed = self._sketch is None or differ(sketch, self._sketch) or self._is_noise(at_us)
        if changed:
            self._sketch, self._changed_us = sketch, at_us
        self._grew = False
        return Look(changed, is_black(sketch))

    def _is_noise(self, at_us: int) -> bool:
        return self._sized and self._grew and at_us - max(self._changed_us, self._empty_us) >= _NOISE_US
