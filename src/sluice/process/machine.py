"""What this process may use of its machine: cores and memory, of which a container may allow less."""

import os
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OF_US = Path("/proc/self/cgroup")


def usable_cores() -> float:
    """Cores that the scheduler may give to this process (sched_setaffinity(2)), or fewer by the quota of a
    control group that it is in (cpu.max)."""
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _groups():
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, int(quota) / int(period))
    return cores


def usable_mb() -> float:
    """Memory of the machine, or less by the limit of a control group (memory.max)."""
    octets = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for folder in _groups():
        limit = _read(folder / "memory.max")
        if limit.isdigit():
            octets = min(octets, int(limit))
    return octets / (1 << 20)


def _groups() -> list[Path]:
    """The folders of the control groups of this process, and of those around them (cgroups(7), version 2).
    Within a container it sees its own as the root."""
    path = _read(_OF_US).partition("0::/")[2].partition("\n")[0]
    own = _GROUPS / path
    return [own, *(folder for folder in own.parents if folder.is_relative_to(_GROUPS))]


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
