"""Bounds of a process on what FFmpeg takes: memory for what a file claims, and threads."""

import struct
import subprocess
import sys

_SAMPLES = 30_000_000
#: The index would be of 720 MB.
_MOST_KB = 300_000
_OPEN = r"""
import io, re, sys
import av
from sluice.media.allocations import bound_allocations
bound_allocations()
container = av.open(io.BytesIO(sys.stdin.buffer.read()))
status = open("/proc/self/status").read()  # getrusage counts what the test's own process took before the exec
print(container.streams.video[0].frames, re.search(r"VmHWM:\s+(\d+)", status)[1])
"""
_ENCODE = r"""
import os
import av
from sluice.media.allocations import bound_threads
from sluice.media.pipe.opus_encode import OpusEncode
from sluice.media.pipe.sound_run import SoundRun
bound_threads()
before, encoders = len(os.listdir("/proc/self/task")), []
for _ in range(3):
    encoders.append(OpusEncode(SoundRun(), 1.0))
    encoders[-1].write(bytes(960 * 4))
    assert len(encoders[-1].encode()) == 1
print(before, len(os.listdir("/proc/self/task")))
"""
_THREADS = r"""
import ctypes, threading
from sluice.media.allocations import share_heaps
share_heaps()
library = ctypes.CDLL(None)
library.malloc.restype, library.fdopen.restype = ctypes.c_void_p, ctypes.c_void_p
together = threading.Barrier(8)
def take():
    together.wait()
    assert library.malloc(1000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
out = ctypes.c_void_p(library.fdopen(1, b"w"))
library.malloc_info(0, out)
library.fflush(out)
"""


def box(name: bytes, *body: bytes) -> bytes:
    """ISO/IEC 14496-12 4.2."""
    data = b"".join(body)
    return struct.pack(">I", 8 + len(data)) + name + data


def table(name: bytes, *numbers: int) -> bytes:
    return box(name, struct.pack(f">{1 + len(numbers)}I", 0, *numbers))


def bomb() -> bytes:
    """All samples are as long as each other, so that no table of sizes is needed."""
    entry = box(b"mp4v", bytes(6), b"\0\1", bytes(16), struct.pack(">HH", 320, 180), bytes(50))
    samples = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        table(b"stts", 1, _SAMPLES, 1),
        table(b"stsc", 1, 1, _SAMPLES, 1),
        table(b"stsz", 1000, _SAMPLES),
        table(b"stco", 1, 1000),
    )
    head = table(b"mdhd", 0, 0, 12800, _SAMPLES, 0x55C40000)
    handler = box(b"hdlr", bytes(8), b"vide", bytes(13))
    media = box(b"mdia", head, handler, box(b"minf", table(b"vmhd", 0, 0), samples))
    track = box(b"trak", table(b"tkhd", 0, 0, 1, 0, 0, *[0] * 15), media)
    return box(b"ftyp", b"isom", bytes(4), b"isom") + box(b"moov", table(b"mvhd", *[0] * 24), track)


def test_an_index_that_is_claimed_takes_no_memory() -> None:
    command = [sys.executable, "-c", _OPEN]
    done = subprocess.run(command, input=bomb(), capture_output=True, check=True)
    frames, most_kb = map(int, done.stdout.split())
    assert frames == _SAMPLES, "the file says so"
    assert most_kb < _MOST_KB


def test_encoders_of_sound_have_no_threads() -> None:
    """Not even for the filter graph that PyAV puts into each. (With one core there would be none anyway.)"""
    command = [sys.executable, "-c", _ENCODE]
    before, after = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
    assert after == before


def test_threads_share_few_heaps() -> None:
    output = subprocess.run([sys.executable, "-c", _THREADS], check=True, capture_output=True).stdout
    assert 1 <= output.count(b"<heap nr=") <= 2, output


def test_memory_beyond_the_bound_is_refused() -> None:
    """In a process of its own: it cannot be lifted again."""
    code = (
        "from sluice.media.allocations import bound_memory\n"
        "bound_memory(256)\n"
        "kept = []\n"
        "try:\n"
        "    while len(kept) < 64: kept.append(bytes(16 << 20))\n"
        "except MemoryError: print(len(kept))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 8 <= int(done.stdout) < 16
