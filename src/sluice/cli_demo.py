"""``sluice demo``: something to see and hear without a source of one's own."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sluice.exits import Exit
from sluice.local_node import DataOption, settings_with
from sluice.terminal import JsonOption


def demo(
    check: Annotated[bool, typer.Option("--check", help="Watch it, print figures, exit 0 or 1.")] = False,
    data: DataOption = None,
    listen: Annotated[str, typer.Option(help="HTTP address.")] = "127.0.0.1:0",
    as_json: JsonOption = False,
) -> None:
    """Plays a sample clip into a room of a node of its own, and says where to see and hear it."""
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        flags = {"data": data or Path(folder), "listen": listen, "media_port": 0, "log_level": "warning"}
        settings = settings_with(flags)
        from sluice.demo_run import run_demo  # FFmpeg and the whole node are needed here alone

        if not run_demo(settings, check=check, as_json=as_json):
            sys.exit(Exit.FAILED)
