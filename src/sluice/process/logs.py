"""Logs: one line per change of state, on standard error or in a file, of every process of the node alike.

A line is a constant `event` and fields. A field has one name everywhere (`run_id`, `room_id`, `why`; a house
rule has the list), so that one filter finds all that concerns a task, whoever said it. A log that cannot be
written, on a full disk for example, stops nobody: the line is lost, and the work goes on.
"""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import structlog

from sluice.core.masking import mask_text

CONSOLE, JSON = "console", "json"
_FIRST = ("timestamp", "level", "event")
_STDERR = 2


class Sink(Protocol):
    def write(self, line: bytes) -> None: ...


class StandardError:
    def write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(_STDERR, line)


class LogFile:
    """A file that may be moved away: the next line goes into a new one of the old name. All processes of a
    node append to it; each line is one write."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when it cannot be opened."""
        self._path = path
        self._handle = -1
        self.open()

    def open(self) -> None:
        """Opens the file of this name, whatever was open before. Raises OSError."""
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        before, self._handle = self._handle, handle
        if before >= 0:
            os.close(before)

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            if not self._is_there():
                self.open()
            os.write(self._handle, line)

    def _is_there(self) -> bool:
        try:
            there, ours = self._path.stat(), os.fstat(self._handle)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def configure_logging(level: str, form: str | None = None, file: Path | None = None) -> LogFile | None:
    """`form` is `console` or `json`; None: the console's on a terminal, else JSON. Without a `file` lines go
    to standard error. Returns the file. Raises OSError when it cannot be opened."""
    log_file = LogFile(file) if file is not None else None
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _mask_addresses,
            _renderer(form or default_form(file)),
        ],
        logger_factory=_Factory(log_file or StandardError()),
        cache_logger_on_first_use=True,
    )
    return log_file


def default_form(file: Path | None) -> str:
    return CONSOLE if file is None and sys.stderr.isatty() else JSON


def _renderer(form: str) -> structlog.typing.Processor:
    if form == JSON:
        return _json
    # No pretty traces: they show the values of variables, which may be secrets.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


_as_json = structlog.processors.JSONRenderer()


def _json(logger: Any, method: str, fields: structlog.typing.EventDict) -> str | bytes:
    ordered = {name: fields.pop(name) for name in _FIRST if name in fields}
    return _as_json(logger, method, ordered | dict(fields))


def _mask_addresses(
    logger: Any, method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Masks addresses in texts of libraries and servers. Code that knows that it logs one has masked it."""
    return {name: mask_text(value) if isinstance(value, str) else value for name, value in fields.items()}


class _Lines:
    """What structlog calls a logger: all levels do the same, since they are in the line."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def msg(self, line: str) -> None:
        self._sink.write(line.encode(errors="backslashreplace") + b"\n")

    log = debug = info = warn = warning = err = error = critical = exception = fatal = failure = msg


class _Factory:
    def __init__(self, sink: Sink) -> None:
        self._lines = _Lines(sink)

    def __call__(self, *names: Any) -> _Lines:
        return self._lines
