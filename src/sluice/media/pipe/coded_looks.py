"""Looks at pictures of H.264 that are passed on as they are. The stream is not decoded.

While something moves, no picture is empty: that is seen by its size. While some are empty, one picture of
each half a second is decoded: the largest, and the key frame before it. It is put on whatever was decoded
before, since only what it changes counts: an encoder that improves a picture that stands still changes
little. Key frames are compared with each other where all that lies between them is known.
"""

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from sluice.core.errors import SourceError
from sluice.core.vitals import Look
from sluice.media.pipe.decoder import open_decoder
from sluice.media.pipe.looks import LOOK_US, SMALL, SMALL_UNIT, Sketcher, differ, empty_bytes, is_black
from sluice.media.stopwatch import Stopwatch

#: A picture is suspected to stand still when a coded one was nearly empty within this.
_SUSPECT_US = 2_500_000
#: A picture is empty if it takes up to so much more bytes than the smallest one.
_EMPTY, _EMPTY_BYTES = 1.15, 2
#: So many pictures that are not empty are decoded for a look; of more, the largest one.
_MOST_DECODED = 3


class CodedLooks:
    """Takes the pictures of one track in order."""

    def __init__(self, extradata: bytes, width: int, height: int) -> None:
        self.decoding = Stopwatch()
        self.suspicious = False  #: the next look may take the time of decoding
        self._small_bytes = SMALL * empty_bytes(width, height)
        self.extradata = extradata
        self._decoder: VideoCodecContext | None = None
        self._broken = False
        self._sketcher = Sketcher()
        self._sketch: bytes | None = None  #: of what was decoded last
        self._known = False  #: that is what is shown
        self._key = b""  #: the last key frame, while it is not decoded
        self._comparable = False  #: with `_sketch`
        self._missed = False  #: pictures behind the key frame were not looked at
        self._least = 1 << 62  #: the size of the smallest picture
        self._filled = 0  #: pictures since the last look that are not empty
        self._first: list[bytes] = []  #: the first of them
        self._largest = b""  #: and the largest
        self._others = 0  #: pictures since the last look that are no key frames
        self._look_us = self._empty_us = -(1 << 62)

    def look(self, data: bytes, size: int, units: int, at_us: int, *, key: bool) -> Look | None:
        """Takes a picture of `size` bytes in so many NAL units, without filler. None where it is too early
        for another look."""
        if key:
            self._key, self._comparable, self._missed = data, self._known, False
            self._filled, self._first, self._largest = 0, [], b""
        else:
            self._others += 1
            if size < self._least:
                self._least = size
            if size <= self._small_bytes + units * SMALL_UNIT:
                self._empty_us, self.suspicious = at_us, not self._broken
            if size > _EMPTY * self._least + _EMPTY_BYTES:
                self._filled += 1
                if self._filled <= _MOST_DECODED:
                    self._first.append(data)
                if size > len(self._largest):
                    self._largest = data
        if 0 <= at_us - self._look_us < LOOK_US:
            return None
        begins, self._look_us = self._look_us < 0, at_us
        stands = at_us - self._empty_us <= _SUSPECT_US or not self._others
        self.suspicious = stands and not begins and not self._broken
        seen = self._compare() if self.suspicious else self._trust()
        self._filled, self._first, self._largest, self._others = 0, [], b"", 0
        return seen

    def _trust(self) -> Look:
        """It moves, by its sizes."""
        self._missed = self._missed or bool(self._largest)
        self._known = False
        return Look(changed=True)

    def _compare(self) -> Look:
        changed = False
        try:
            if self._key:
                before = self._sketch
                self._decode(self._key)
                changed = self._comparable and differ(before or b"", self._sketch or b"")
                self._known, self._key = not self._missed, b""
            for data in self._first if self._filled <= _MOST_DECODED else [self._largest]:
                before = self._sketch
                self._decode(data)
                changed = changed or differ(before or b"", self._sketch or b"")
        except (av.FFmpegError, SourceError):
            self._broken = True
            return Look(changed=True)
        black = is_black(self._sketch) if self._known and self._sketch else None
        return Look(changed, black)

    def _decode(self, data: bytes) -> None:
        if self._decoder is None:
            self._decoder = open_decoder("h264", self.extradata, VideoCodecContext)
            self._decoder.flags |= Flags.low_delay
        for frame in self.decoding.time(self._decoder.decode, av.Packet(data)):
            self._sketch = self._sketcher.draw(frame)
