"""The start of a child process, which dies with its parent and speaks over the inherited control socket.

PR_SET_PDEATHSIG watches the *thread* that forked, so the node spawns from its main thread. The parent may
already be gone when the child asks for that signal, so the child looks at getppid() afterwards.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
import uvloop

from sluice.core.errors import BadInput
from sluice.process.channel import Channel
from sluice.process.control import NotStarted
from sluice.process.logs import configure_logging
from sluice.process.owned import log_stray_errors
from sluice.process.priority import yield_to_others

_PR_SET_PDEATHSIG = 1

#: What a child process runs: its configuration, and the two streams of its control socket.
ChildMain = Callable[[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run_child(main: ChildMain) -> None:
    """Entry point of every child: ``argv`` is the configuration as JSON (see supervisor.Supervised)."""
    config = json.loads(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != config["parent"]:
        return
    # A terminal's Ctrl-C goes to the whole group, as the SIGTERM of systemd and of `timeout` does; the node
    # decides in which order its children end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    yield_to_others(config.get("nice", 0))
    file = config.get("log_file")
    configure_logging(config["log_level"], config.get("log_format"), Path(file) if file else None)
    structlog.contextvars.bind_contextvars(process=config["name"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(_serve(main, config)))


async def _serve(main: ChildMain, config: dict[str, Any]) -> int:
    """Runs the child; its exit status. The node is told of a setting that cannot be used, and says it in one
    line."""
    log_stray_errors()
    control = socket.socket(fileno=config["control_fd"])
    reader, writer = await asyncio.open_connection(sock=control)
    try:
        await main(config, reader, writer)
    except BadInput as error:
        Channel(reader, writer, on_notice=lambda _: None).notify(NotStarted(why=str(error)))
        writer.close()
        await writer.wait_closed()
        return 1
    return 0
