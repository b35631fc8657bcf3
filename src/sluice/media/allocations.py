"""Bounds on the memory and threads of a media process, and the return of memory that is not used any more.

One bound is on each allocation of FFmpeg: an MP4 of a kilobyte may claim a hundred million samples, for
which FFmpeg would make an index of gigabytes. The other is on the whole process: beyond it the kernel refuses
memory, FFmpeg and Python report that, and the machine stays usable.
"""

import ctypes
import gc
import resource
import threading
from pathlib import Path

import av  # noqa: F401 - loads the library that is looked for

from sluice.core.limits import MOST_ALLOCATION_BYTES

#: Stack of a thread. All of it counts against the bound, however little is used: with the usual 8 MB, 500
#: threads would take all that there is.
_STACK_BYTES = 1 << 20
_MAPS = Path("/proc/self/maps")
#: malloc.h. The C library gives each thread a heap of its own, up to eight for each core, and what is freed
#: in one stays there in pieces: after 5,000 sessions 10 MB. Two do, since threads hold a heap briefly.
_ARENA_MAX, _HEAPS = -8, 2


def bound_allocations(most_bytes: int = MOST_ALLOCATION_BYTES) -> None:
    """FFmpeg refuses larger allocations in this process as if memory were lacking (libavutil/mem.h)."""
    library = _libavutil()
    library.av_max_alloc.argtypes, library.av_max_alloc.restype = [ctypes.c_size_t], None
    library.av_max_alloc(most_bytes)


def bound_threads() -> None:
    """FFmpeg makes no threads of its own in this process: it takes the machine for one with a single core
    (libavutil/cpu.h).

    Filter graphs would make one for each core. Ours can be told, but PyAV puts one into each encoder of sound
    that nobody can reach.
    """
    library = _libavutil()
    library.av_cpu_force_count.argtypes, library.av_cpu_force_count.restype = [ctypes.c_int], None
    library.av_cpu_force_count(1)


def _libavutil() -> ctypes.CDLL:
    """The library that PyAV has loaded."""
    loaded = _MAPS.read_text().splitlines()
    return ctypes.CDLL(next(line.split(maxsplit=5)[5] for line in loaded if "libavutil" in line))


def share_heaps() -> None:
    """Threads of this process that are begun from now on share few heaps (mallopt(3)). Another C library than
    glibc may not know that, and is left as it is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _HEAPS)


def freeze_imports() -> None:
    """Tells the collector to pass over what is there now: all that was imported, which stays for good."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Returns freed memory to the machine. The C library would keep it: hundreds of megabytes after a large
    source. What an error held is freed first: its frames hold the source, in cycles that the collector finds
    too late by itself. Takes milliseconds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def bound_memory(most_mb: int) -> None:
    """Bounds the data of this process with the stacks of its threads. Shared memory, mapped files and what is
    only reserved do not count."""
    threading.stack_size(_STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (most_mb << 20, most_mb << 20))
