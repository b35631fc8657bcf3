"""``sluice app set``: what it asks of the node."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice import cli_apps as module
from sluice.exits import Misuse


def _run(monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, list[dict[str, Any]]]:
    bodies: list[dict[str, Any]] = []

    def native(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert (method, path) == ("PATCH", "/apps/mine")
        bodies.append(body)
        return {}

    node = SimpleNamespace(client=SimpleNamespace(native=native), credentials=SimpleNamespace(app_id="mine"))
    monkeypatch.setattr(module, "reach", lambda url, data: node)
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


@pytest.mark.parametrize(
    ("header", "why"), [("Referer", "--header: write 'Name: value'"), ("@/no/such/file", "/no/such/file: ")]
)
def test_what_is_no_header(monkeypatch: pytest.MonkeyPatch, header: str, why: str) -> None:
    monkeypatch.setattr(module, "reach", lambda url, data: pytest.fail("it was sent"))
    with pytest.raises(Misuse, match=f"^{why}"):
        module.app_set(header=[header])
