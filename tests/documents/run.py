"""Runs the blocks of a page as a reader would: one after the other, in one folder, with the variables that
earlier blocks set.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.documents.pages import Block

_LONGEST_S = 60.0
#: The folder of a session with programs that blocks find before all others.
PROGRAMS = "programs"
#: How a block in a language is run; the file is its last argument.
_PROGRAMS = {
    "sh": ("bash", "-e", "-o", "pipefail"),
    "bash": ("bash", "-e", "-o", "pipefail"),
    "python": (sys.executable,),
    "js": ("node",),
    "javascript": ("node",),
    "go": ("go", "run"),
    "java": ("java",),
}
_SUFFIXES = {"js": ".mjs", "javascript": ".mjs", "python": ".py", "go": ".go", "java": ".java"}
#: An answer that curl takes for a success.
_REFUSED = re.compile(r'"status": ?"failed"|"Error": ?\{|"error": ?\{')
#: What a shell sets is kept for later blocks.
_KEPT = "set -a\n[ ! -f .variables ] || . ./.variables\n"
_KEEPING = f"{_KEPT}trap 'export -p > .variables' EXIT\n"
#: Programs in other languages get it, too.
_GIVEN = ("bash", "-c", f'{_KEPT}exec "$0" "$@"')


@dataclass
class Session:
    """`replaced`: what pages name that is elsewhere here."""

    folder: Path
    replaced: dict[str, str]
    url: str
    _groups: list[int] = field(default_factory=list)  #: of processes, one for each block

    async def run(self, block: Block) -> None:
        """Raises AssertionError with what the block printed."""
        text = block.text
        for named, here in self.replaced.items():
            text = text.replace(named, here)
        if block.file is not None:
            (self.folder / block.file).write_text(text)
            return
        assert block.language in _PROGRAMS, f"{block.name}: no way to run {block.language or 'text'} is known"
        is_shell = block.language in ("sh", "bash")
        file = self.folder / f"block{block.line}{_SUFFIXES.get(block.language, '.sh')}"
        file.write_text(_KEEPING + text if is_shell else text)
        program = [*_PROGRAMS[block.language], str(file)]
        status, printed = await self._finish(program if is_shell else [*_GIVEN, *program])
        said = f"{block.name} ended with {status}:\n{text}\nIt printed:\n{printed}"
        assert status == 0, said
        assert not _REFUSED.search(printed), f"a call was refused; {said}"

    def owns(self, group: int) -> None:
        """These processes end with the session, too."""
        self._groups.append(group)

    def close(self) -> None:
        """Ends what blocks have left running in the background, for the later ones of the page."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    async def _finish(self, command: list[str]) -> tuple[int, str]:
        # A file: of a pipe the end is seen when what runs in the background has ended, too.
        with tempfile.TemporaryFile() as printed:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )
            self.owns(process.pid)
            status = await asyncio.wait_for(process.wait(), _LONGEST_S)
            printed.seek(0)
            return status, printed.read().decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        folders = (self.folder / PROGRAMS, Path(sys.executable).parent, os.environ["PATH"])
        return os.environ | {"PATH": os.pathsep.join(map(str, folders)), "NODE": self.url}


def missing(block: Block) -> list[str]:
    """What has to be installed for it."""
    return [program for program in block.needs if shutil.which(program) is None]
