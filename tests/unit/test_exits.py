"""How commands end: each kind of error has its status, and the help names them all."""

import io
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from sluice import cli, terminal
from sluice.client import BadAddress, CallFailed, NoNode, NothingThere
from sluice.core.errors import BadInput, NotFound
from sluice.exits import Ambiguous, Exit, Misuse, exit_of
from sluice.progress import shown_progress
from sluice.store.errors import BackupError, CredentialsError, FolderError, NoDataFolder


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Misuse("x"), 2),
        (BadAddress("x"), 2),
        (NoNode("x"), 3),
        (NoDataFolder("x"), 3),
        (NothingThere("x"), 4),
        (NotFound("x"), 4),
        (Ambiguous("x"), 4),
        (CallFailed("x"), 1),
        (CredentialsError("x"), 1),
        (FolderError("x"), 1),
        (BackupError("x"), 1),
        (BadInput("listen", "the port is used"), 1),
    ],
)
def test_statuses(error: Exception, status: int) -> None:
    assert exit_of(error) == status


def test_the_help_says_them_all() -> None:
    shown = CliRunner().invoke(cli.cli, ["-h"], env={"COLUMNS": "100"}).output
    assert [status.value for status in Exit] == [0, 1, 2, 3, 4, 130, 141]
    for status in Exit:
        assert f"{status.value:>3}  {status.text}" in shown


def run(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int | str | None:
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "cli", fail)
    monkeypatch.setattr("sluice.cli.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, NoNode("nobody\nis \x1b[2J there")) == 3
    assert capsys.readouterr().err == "sluice: nobody is  [2J there\n"
    assert run(monkeypatch, OSError(28, "No space left on device", "/f")) == 1
    assert capsys.readouterr().err == "sluice: /f: No space left on device\n"
    assert run(monkeypatch, UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates")) == 2
    assert "is no text in UTF-8" in capsys.readouterr().err
    assert run(monkeypatch, SystemExit(1)) == 1


def test_ctrl_c_unwinds_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that files that are half made are taken away."""
    handlers: dict[int, Callable[[int, object], object]] = {}
    monkeypatch.setattr("sluice.cli.signal.signal", handlers.__setitem__)
    monkeypatch.setattr(cli, "cli", lambda: handlers[signal.SIGINT](signal.SIGINT, None))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130


class Pipe:
    """A pipe whose reader has gone, or a terminal."""

    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone
        self.written = ""

    def write(self, text: str) -> int:
        if self.gone:
            raise BrokenPipeError
        self.written += text
        return len(text)

    def isatty(self) -> bool:
        return True


def test_output_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "leave_unread", lambda: sys.exit(Exit.UNREAD))
    monkeypatch.setattr(sys, "stdout", Pipe(gone=True))
    with pytest.raises(SystemExit) as ended:
        terminal.say("line")
    assert ended.value.code == 141


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = Pipe()
    monkeypatch.setattr(sys, "stdout", shown)
    terminal.say("line", terminal.Style.RED)
    assert shown.written == ("\x1b[31mline\x1b[0m\n" if coloured else "line\n")


@pytest.mark.parametrize(("is_terminal", "term"), [(False, "xterm"), (True, "dumb"), (True, "")])
def test_no_bar_where_nobody_would_see_it(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, term: str
) -> None:
    shown = Pipe()
    monkeypatch.setattr(shown, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", term)
    with shown_progress() as tell:
        tell("doing it", 1, 2)
    assert shown.written == ""


def test_a_bar_goes_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with shown_progress() as tell:
        tell("doing it", 1, 2)
    assert "doing it" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[2K"), "the line is empty again"
