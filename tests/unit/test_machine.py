"""What a container allows of its machine, as the files of control groups say it."""

import os
from pathlib import Path

import pytest

from sluice.process import machine


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tree of control groups; this process is in ``a/b``."""
    own = tmp_path / "cgroup"
    own.write_text("0::/a/b\n")
    tree = tmp_path / "fs"
    (tree / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(machine, "_GROUPS", tree)
    monkeypatch.setattr(machine, "_OF_US", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 4 << 18, "SC_PAGE_SIZE": 4096}.__getitem__)
    return tree


def test_without_limits_it_is_all_of_the_machine(groups: Path) -> None:
    assert (machine.usable_cores(), machine.usable_mb()) == (8, 4096)
    (groups / "a/b/cpu.max").write_text("max 100000\n")
    (groups / "a/b/memory.max").write_text("max\n")
    assert (machine.usable_cores(), machine.usable_mb()) == (8, 4096)


def test_the_tightest_group_counts(groups: Path) -> None:
    (groups / "a/b/cpu.max").write_text("400000 100000\n")
    (groups / "a/cpu.max").write_text("150000 100000\n")
    (groups / "a/memory.max").write_text(f"{512 << 20}\n")
    assert (machine.usable_cores(), machine.usable_mb()) == (1.5, 512)


def test_a_container_sees_its_own_group_as_the_root(groups: Path) -> None:
    machine._OF_US.write_text("0::/\n")
    (groups / "cpu.max").write_text("200000 100000\n")
    assert machine.usable_cores() == 2
    machine._OF_US.unlink()  # an older system
    assert machine.usable_cores() == 2
