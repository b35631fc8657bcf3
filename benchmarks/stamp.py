"""A time drawn into pictures: 32 bits of milliseconds and a check of 8, as a row of black and white blocks.

The row is the top of a picture of 16:9 and as wide as it. Blocks are large and apart in brightness, so that
they survive encoding, scaling and black bars; what does not pass the check is no stamp.
"""

import zlib

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_STAMP_BITS, _CHECK_BITS = 32, 8
_BLOCKS = _STAMP_BITS + _CHECK_BITS
_BLACK, _WHITE = 16, 235
_ASPECT = 16 / 9
PERIOD_MS = 1 << _STAMP_BITS

Luma = NDArray[np.uint8]


def strip_height(width: int) -> int:
    """Of the row of blocks, which are squares, in a picture of that width."""
    return width // _BLOCKS


def draw(luma: Luma, time_ms: int) -> None:
    """Over the top of a picture of 16:9 whose width is a multiple of 40."""
    word = _word(time_ms % PERIOD_MS)
    bits = [word >> shift & 1 for shift in reversed(range(_BLOCKS))]
    side = strip_height(luma.shape[1])
    luma[:side] = np.repeat(np.where(bits, _WHITE, _BLACK).astype(np.uint8), side)


def read(strip: Luma) -> int | None:
    """The time in a row of blocks, None when there is none."""
    height, width = strip.shape
    # Of each block its middle: edges are soft after encoding.
    middle = strip[height // 4 : max(height // 4 + 1, 3 * height // 4)]
    side = width / _BLOCKS
    word = 0
    for n in range(_BLOCKS):
        block = middle[:, round((n + 0.25) * side) : round((n + 0.75) * side)]
        word = word << 1 | int(block.mean() > (_BLACK + _WHITE) / 2)
    time_ms = word >> _CHECK_BITS
    return time_ms if _word(time_ms) == word else None


def read_picture(frame: VideoFrame) -> int | None:
    """The time in a planar picture of any size, into which one of 16:9 was fitted."""
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
        : frame.height, : frame.width
    ]
    top = max(0, round((frame.height - frame.width / _ASPECT) / 2))
    return read(luma[top : top + strip_height(frame.width)])


def _word(time_ms: int) -> int:
    check = zlib.crc32(time_ms.to_bytes(_STAMP_BITS // 8, "big")) & ((1 << _CHECK_BITS) - 1)
    return time_ms << _CHECK_BITS | check
