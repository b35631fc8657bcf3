"""Bounds on the memory of a media process: on what FFmpeg takes at once, and on everything together. What is
used no more is given back.

An MP4 of a kilobyte may claim a hundred million samples, for which FFmpeg makes an index of gigabytes. What
goes beyond the second bound is refused by the kernel: FFmpeg and Python say so, and the machine stays usable.
"""

import ctypes
import resource
import threading
from pathlib import Path

import av  # noqa: F401 - loads the library that is looked for

from sluice.core.limits import MOST_ALLOCATION_BYTES

#: Of a thread: all of it counts, however little is used. What is usual, 8 MB, would be all for 500 threads.
_STACK_BYTES = 1 << 20
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


def bound_memory(most_mb: int) -> None:
    """For the whole process with its threads' stacks; not what it shares, maps from files or reserves."""
    threading.stack_size(_STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (most_mb << 20, most_mb << 20))
