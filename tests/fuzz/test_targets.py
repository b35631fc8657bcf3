"""Inputs that broke something once do so no more; the slow tests look for others."""

import subprocess
import sys

import pytest

from tests.fuzz.table import FOLDER, TARGETS, kept

_SECONDS = 30


@pytest.mark.parametrize("name", list(TARGETS))
def test_kept_inputs_and_seeds(name: str) -> None:
    target = TARGETS[name]
    for data in (b"", *target.seeds(), *(path.read_bytes() for path in kept(name))):
        target.check(data)
        target.weigh(data)


def test_every_folder_is_that_of_a_target() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} - {"__pycache__"} <= set(TARGETS)


@pytest.mark.slow
@pytest.mark.timeout(_SECONDS + 90)
@pytest.mark.parametrize("name", list(TARGETS))
def test_half_a_minute_finds_nothing(name: str) -> None:
    pytest.importorskip("atheris", reason="scripts/setup fuzz installs it")
    command = [sys.executable, "-m", "tests.fuzz", name, str(_SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=FOLDER.parents[1])
    assert done.returncode == 0, done.stderr[-4000:]
