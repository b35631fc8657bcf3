"""Lines of the log: their form, where they go, and what they never show."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sluice.process.logs import LogFile, StandardError, configure_logging, default_form


@pytest.fixture(autouse=True)
def kept_configuration() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_json_has_one_object_a_line_and_masks_addresses(tmp_path: Path) -> None:
    configure_logging("info", "json", tmp_path / "log")
    log = structlog.get_logger()
    log.debug("too quiet")
    log.info("task", why="from http://user:secret@host/live?token=secret\nsecond line", run_id="run_1")
    try:
        raise ValueError("http://user:secret@host/")
    except ValueError:
        log.exception("x call")
    text = (tmp_path / "log").read_text()
    assert "secret" not in text
    first, second = map(json.loads, text.splitlines())
    assert list(first)[:3] == ["timestamp", "level", "event"]
    assert (first["level"], first["event"], first["run_id"]) == ("info", "task", "run_1")
    assert "ValueError: http://***@host/" in second["exception"]


def test_the_console_s_form_is_for_people(tmp_path: Path) -> None:
    configure_logging("info", "console", tmp_path / "log")
    structlog.get_logger().warning("task", run_id="run_1")
    line = (tmp_path / "log").read_text()
    assert "warning" in line
    assert "run_id=run_1" in line
    assert not line.startswith("{")
    assert default_form(tmp_path / "log") == "json"


def test_a_file_that_is_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    file.write(b"one\n")
    path.rename(tmp_path / "old")
    file.write(b"two\n")
    file.open()
    file.write(b"three\n")
    assert (tmp_path / "old").read_text() == "one\n"
    assert path.read_text() == "two\nthree\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LogFile(tmp_path / "log")

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sluice.process.logs.os.write", full)
    file.write(b"lost\n")
    StandardError().write(b"lost\n")
    assert (tmp_path / "log").read_text() == ""
