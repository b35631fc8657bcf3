"""What processes cost: CPU time of all their threads, and memory, as the kernel counts them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Modules by which the processes of a node are told apart, as `python -m` is given them.
_KINDS = {"sluice": "node", "sluice.media": "media", "sluice.rooms.engine": "room"}


def cpu_clock(pid: int) -> int:
    """The clock of the CPU time of all threads of a process (clock_getcpuclockid of the C library)."""
    return (~pid << 3) | 2


def cpu_ns(pids: Iterable[int]) -> int:
    """User and system time in nanoseconds. Raises OSError when one of the processes is gone."""
    return sum(time.clock_gettime_ns(cpu_clock(pid)) for pid in pids)


@dataclass(frozen=True, slots=True)
class Memory:
    """In MB. RSS counts pages that processes share once for each, PSS once in all."""

    rss: float
    pss: float

    def growth(self, before: "Memory", count: int) -> "Memory":
        """For each of `count`."""
        return Memory((self.rss - before.rss) / count, (self.pss - before.pss) / count)


NO_MEMORY = Memory(0, 0)


def memory(pids: Iterable[int]) -> Memory:
    """Raises OSError when one of the processes is gone."""
    sums = {"Rss:": 0, "Pss:": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(" ")
            if name in sums:
                sums[name] += int(rest.split()[0])
    return Memory(sums["Rss:"] / 1024, sums["Pss:"] / 1024)


def processes_of_node(node: psutil.Process) -> dict[str, list[int]]:
    """The ids of a node's process and of all below it, by what they are; `other` for helpers."""
    found: dict[str, list[int]] = {}
    for process in (node, *node.children(recursive=True)):
        command = process.cmdline()
        kind = next((kind for module, kind in _KINDS.items() if module in command), "other")
        found.setdefault(kind, []).append(process.pid)
    return found


@asynccontextmanager
async def running(commands: Iterable[list[str]]) -> AsyncIterator[list[int]]:
    """Programs that run while the context is open; their ids."""
    processes: list[asyncio.subprocess.Process] = []
    quiet = asyncio.subprocess.DEVNULL
    try:
        for command in commands:
            processes.append(await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet))
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
