"""What ``sluice serve`` does: a node until a signal ends it, and what its first lines say."""

import asyncio
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import structlog
import uvloop

from sluice import __version__
from sluice.app import Node, run_node, wait_for_signal
from sluice.config import Settings
from sluice.process.logs import LogFile, configure_logging
from sluice.process.owned import log_stray_errors
from sluice.store.credentials_file import FILE_NAME
from sluice.terminal import flush, print_document, say

log = structlog.get_logger()


def serve_until_stopped(settings: Settings) -> None:
    """Raises SluiceError and OSError when the node cannot start."""
    opened = configure_logging(settings.log.level, settings.log.form, settings.log.file)
    structlog.contextvars.bind_contextvars(process="node")
    uvloop.run(_serve(settings, opened))


async def _serve(settings: Settings, log_file: LogFile | None) -> None:
    log_stray_errors()
    stopped = wait_for_signal()
    _heed_hangup(log_file, stopped)
    async with run_node(settings) as node:
        if node.first_start:
            _show_credentials(node, settings.data)
        if node.metrics_url is not None:
            say(f"Metrics for Prometheus at {node.metrics_url}")
        say(f"sluice {__version__} serves at {node.url}")
        flush()
        await stopped
        await node.drain()


def _heed_hangup(log_file: LogFile | None, stopped: "asyncio.Future[None]") -> None:
    """SIGHUP opens the log again. A terminal says with it that it is gone, which ends the node."""

    def open_again() -> None:
        if log_file is not None:
            log_file.open()
            log.info("the log was opened again")
        elif sys.stderr.isatty() and not stopped.done():
            stopped.set_result(None)

    if log_file is not None or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, open_again)


def _show_credentials(node: Node, data: Path) -> None:
    """Prints the secrets only on a terminal: other outputs are kept, and read by others."""
    if not sys.stdout.isatty():
        say(f"First start: the app {node.credentials.app_id}; its keys stand in {data / FILE_NAME}")
        return
    say("First start: one app and its keys")
    print_document(asdict(node.credentials), as_json=False)
    say(f"They are shown this once and stand in {data / FILE_NAME}.")
