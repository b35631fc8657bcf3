"""``sluice task control``: what it asks of the node."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice import cli as module
from sluice import cli_tasks

RUN = "run_" + "5" * 20


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
    monkeypatch.setattr(cli_tasks, "reach", lambda url, data: SimpleNamespace(client=node))
    result = CliRunner().invoke(module.cli, ["task", "control", RUN, *options, "--json"])
    assert result.exit_code == 0, result.output
    assert node.calls == [("POST", f"/tasks/{RUN}/control", body)]
