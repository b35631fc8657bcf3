"""A bound on what FFmpeg takes of memory at once, and giving back what nobody uses any more.

An MP4 of a kilobyte may claim a hundred million samples, for which FFmpeg makes an index of gigabytes.
"""

import ctypes
from pathlib import Path

import av  # noqa: F401 - loads the library that is looked for

from sluice.core.limits import MOST_ALLOCATION_BYTES

_MAPS = Path("/proc/self/maps")


def bound_allocations(most_bytes: int = MOST_ALLOCATION_BYTES) -> None:
    """For the whole process: FFmpeg treats what would be larger as lack of memory (libavutil/mem.h)."""
    loaded = _MAPS.read_text().splitlines()
    library = ctypes.CDLL(next(line.split(maxsplit=5)[5] for line in loaded if "libavutil" in line))
    library.av_max_alloc.argtypes, library.av_max_alloc.restype = [ctypes.c_size_t], None
    library.av_max_alloc(most_bytes)


def give_back() -> None:
    """What was freed, to the machine: the C library keeps it otherwise, hundreds of megabytes of a large
    source. Takes milliseconds; other threads run meanwhile."""
    ctypes.CDLL(None).malloc_trim(0)
