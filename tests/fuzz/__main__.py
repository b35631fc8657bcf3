"""Fuzzes one target with atheris, or all of them: ``python -m tests.fuzz [target] [seconds]``.

Inputs that reach new code are kept in `.fuzz/<target>`, which is not committed. One that breaks a target is
put into `tests/fuzz/<target>`, and the test of kept inputs fails until it is mended.
"""

import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import atheris
import structlog

from tests.fuzz.clips import clip_seeds

with atheris.instrument_imports(include=["sluice"]):
    from tests.fuzz.table import FOLDER, TARGETS

_CORPUS = FOLDER.parents[1] / ".fuzz"
_SECONDS = 30
#: How much slower instrumented code is than plain code, with room for a machine that does something else.
_SLOWER = 8.0
_HANG_S = 120  #: weighing is slow


def main(arguments: list[str]) -> int:
    # Refusals are logged; nobody reads a million of them.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    match arguments:
        case []:
            return _all(_SECONDS)
        case [seconds] if seconds.isdecimal():
            return _all(int(seconds))
        case [name, *rest] if name in TARGETS and all(text.isdecimal() for text in rest[:1]):
            _fuzz(name, int(rest[0]) if rest else _SECONDS)
            return 0  # unreachable: the fuzzer ends the process
    print(f"usage: scripts/fuzz [target] [seconds]; the targets are {', '.join(TARGETS)}", file=sys.stderr)
    return 2


def _all(seconds: int) -> int:
    broken = [name for name in TARGETS if subprocess.run(_command(name, seconds)).returncode]
    print(f"broken: {', '.join(broken) or 'nothing'}")
    return 1 if broken else 0


def _command(name: str, seconds: int) -> list[str]:
    return [sys.executable, "-m", "tests.fuzz", name, str(seconds)]


def _fuzz(name: str, seconds: int) -> None:
    target, corpus, folder = TARGETS[name], _CORPUS / name, FOLDER / name
    _write(corpus, [*target.seeds(), *clip_seeds(name)])
    folder.mkdir(exist_ok=True)
    print(f"=== {name}, {seconds} s", flush=True)
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        f"-timeout={_HANG_S}",
        f"-artifact_prefix={folder}/",
        "-rss_limit_mb=2048",
        "-verbosity=0",
        "-print_final_stats=1",
        "-close_fd_mask=0",
    ]
    atheris.Setup(
        [sys.argv[0], *flags, str(corpus), str(folder)], lambda data: target.check(data, slower=_SLOWER)
    )
    atheris.Fuzz()


def _write(corpus: Path, seeds: Iterable[bytes]) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
