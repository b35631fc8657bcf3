"""``sluice app set``: what it asks of the node."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice import cli_apps as module


def _run(monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, list[dict[str, Any]]]:
    bodies: list[dict[str, Any]] = []

    def native(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (method, path) == ("PATCH", "/apps/mine")
        bodies.append(body)
        return {}

    monkeypatch.setattr(module, "load_credentials", lambda data: SimpleNamespace(app_id="mine"))
    monkeypatch.setattr(module, "client_with", lambda url, credentials: SimpleNamespace(native=native))
    return CliRunner().invoke(module.app_cli, ["set", *options]).exit_code, bodies


def test_what_sources_are_asked_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "headers"
    secret.write_text("X-Api-Key: a:b\n\n")
    options = ["--user-agent", "Player/1", "--header", "Referer: https://h/", "--header", f"@{secret}"]
    assert _run(monkeypatch, *options) == (
        0,
        [{"user_agent": "Player/1", "headers": {"Referer": "https://h/", "X-Api-Key": "a:b"}}],
    )
    assert _run(monkeypatch, "--header", "", "--push", "off") == (0, [{"push": False, "headers": {}}])
    assert _run(monkeypatch) == (0, [{}])


@pytest.mark.parametrize("header", ["Referer", "@/no/such/file"])
def test_what_is_no_header(monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    assert _run(monkeypatch, "--header", header) == (2, [])
