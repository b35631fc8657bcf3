"""``sluice task control``: what it asks of the node."""

from typing import Any

import pytest
from typer.testing import CliRunner

from sluice import cli as module


class Node:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def native(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((method, path, body))
        return {"id": "run_1", "volume": 30}


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["--pause"], {"pause": True}),
        (["--resume", "--volume", "0"], {"pause": False, "volume": 0}),
        (["--seek", "12.5", "--normalize"], {"seek_s": 12.5, "normalize": True}),
        (["--no-normalize"], {"normalize": False}),
        ([], {}),  # the node says what is missing
    ],
)
def test_control(monkeypatch: pytest.MonkeyPatch, options: list[str], body: dict[str, Any]) -> None:
    node = Node()
    monkeypatch.setattr(module, "node_client", lambda url, data: node)
    result = CliRunner().invoke(module.cli, ["task", "control", "run/1", *options, "--json"])
    assert result.exit_code == 0, result.output
    assert node.calls == [("POST", "/tasks/run%2F1/control", body)]
