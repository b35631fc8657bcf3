"""Bounds the sample tables of an MP4 before FFmpeg makes an index of them (ISO/IEC 14496-12). No IO.

Twenty bytes can claim any number of samples of one size, for each of any number of tracks, and FFmpeg takes
24 bytes of memory for each sample. The bound on one allocation (media/allocations.py) holds for each track;
this one holds for all tracks together.
"""

import re

from sluice.core.budget import Budget
from sluice.core.errors import unsupported
from sluice.core.limits import MOST_EDITS, MOST_SAMPLES, MOST_TRACKS

#: Boxes that contain boxes, for FFmpeg's demuxer.
_CONTAINERS = frozenset(
    b"moov trak mdia minf stbl moof traf mvex edts dinf udta tref sinf schi wave ilst iprp ipco".split(b" ")
)
#: Bytes that are needed of a box: size and type (16 with a large size), version and flags, three fields.
_HEAD_BYTES = 16 + 4 + 3 * 4
#: FFmpeg also reads boxes behind the fields of a sample entry, where sample tables could hide.
_ENTRY, _ENTRY_BYTES, _HIDDEN = b"stsd", 64 << 10, re.compile(rb"stsz|stz2")
#: Without another index, FFmpeg takes one out of boxes that should be skipped, if they begin like an index.
_INDEX, _DISGUISES, _BEGINS_INDEX = b"moov", (b"free", b"hoov"), (b"mvhd", b"cmov")
#: How many samples FFmpeg makes one packet of, in audio tracks whose samples last one tick each (PCM).
_MERGED = 1024


class Mp4Claims:
    """Takes the bytes as FFmpeg reads them, wherever it jumps to."""

    def __init__(self) -> None:
        self._samples = Budget(MOST_SAMPLES, f"the MP4 claims more than {MOST_SAMPLES} samples")
        self._tracks = Budget(MOST_TRACKS, f"the MP4 has more than {MOST_TRACKS} tracks")
        self._edits = Budget(MOST_EDITS, f"the MP4 has more than {MOST_EDITS} edits")
        self._at = 0  #: where the next box begins
        self._around = [(b"", 1 << 64)]  #: the boxes around it, and where they end
        self._carry = b""  #: what has come of its head
        self._has_index = False  #: FFmpeg skips a further moov: streams repeat it with each piece
        self._claimed = 0  #: samples of the current track
        self._is_sound = self._ticks = False  #: current track: audio; samples of one tick each

    def feed(self, at: int, data: bytes) -> None:
        """`at`: position of `data` in the file. Raises SourceError (permanent) where too much is claimed."""
        # A sample takes at least one byte: a stream of fragments may claim one more for each byte it sends.
        self._samples.left = min(MOST_SAMPLES, self._samples.left + len(data))
        if self._carry and at == self._at + len(self._carry):
            at, data = self._at, self._carry + data
        self._carry = b""
        while at <= self._at < at + len(data):
            box = data[self._at - at :][:_ENTRY_BYTES]
            if len(box) < (_ENTRY_BYTES if box[4:8] == _ENTRY else _HEAD_BYTES) and not self._is_short(box):
                self._carry = box
                return
            self._take(box)

    def _is_short(self, box: bytes) -> bool:
        """Whether the box is short, and all of it is there."""
        size = int.from_bytes(box[:4], "big")
        return len(box) >= 8 and 8 <= size <= len(box)

    def _take(self, box: bytes) -> None:
        size, name, head = int.from_bytes(box[:4], "big"), box[4:8], 8
        if size == 1:
            size, head = int.from_bytes(box[8:16], "big"), 16
        outer = self._around[-1][1]
        end = min(self._at + max(size, head), outer) if size else outer
        self._look(name, box[head : end - self._at])
        disguised = name in _DISGUISES and box[head + 4 : head + 8] in _BEGINS_INDEX
        passed_over = self._has_index and len(self._around) == 1 and (disguised or name == _INDEX)
        if (disguised or name in _CONTAINERS) and not passed_over:
            self._around.append((name, end))
            end = self._at + head
        self._at = end
        while len(self._around) > 1 and self._at >= self._around[-1][1]:
            over, _ = self._around.pop()
            self._has_index |= over == _INDEX and len(self._around) == 1
            if over == b"trak":
                merged = self._is_sound and self._ticks
                self._samples.spend(self._claimed // _MERGED if merged else self._claimed)

    def _look(self, name: bytes, body: bytes) -> None:
        first, second, third = (int.from_bytes(body[at : at + 4], "big") for at in (4, 8, 12))
        if name == b"trak":
            self._tracks.spend()
            self._claimed, self._is_sound, self._ticks = 0, False, False
        elif name == b"hdlr":
            self._is_sound = body[8:12] == b"soun"
        elif name == b"stts":
            self._ticks = (first, third) == (1, 1)
        elif name in (b"stsz", b"stz2"):
            self._claimed = second
        elif name == b"elst":
            self._edits.spend(first)
        elif name == b"trun":
            self._samples.spend(first)
        elif name == _ENTRY and _HIDDEN.search(body):
            raise unsupported("the MP4 hides tables of samples where there should be none")
        elif name == b"cmov":
            raise unsupported("the head of the MP4 is compressed, which is not unpacked")
