"""What lists look like: whole ids at any width, pushes beside relays, and nothing that a terminal obeys."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice import cli as module
from sluice import cli_tasks, terminal

RUN = "run_" + "5" * 32
RELAY = {
    "id": RUN,
    "kind": "relay",
    "room_id": "room",
    "task_id": "t" * 128,
    "user_id": "音乐",
    "state": "running",
    "reason_text": "",
    "source": "http://example.com/" + "x" * 60,
}
PUSH = {**RELAY, "kind": "push", "user_id": None, "target": "rtmp://cdn/live", "reason_text": "a\x1b[2J\nb"}
del PUSH["source"]


class Node:
    def native(self, method: str, path: str) -> dict[str, Any]:
        return {"tasks": [RELAY, PUSH]}


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_tasks, "reach", lambda url, data: SimpleNamespace(client=Node()))


def test_a_line_for_each_task_and_nothing_is_cut() -> None:
    result = CliRunner().invoke(module.cli, ["task", "list"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    head, relay, push = result.output.splitlines()
    assert head.split() == ["id", "kind", "room_id", "task_id", "user_id", "state", "reason_text", "address"]
    assert relay.split() == [RUN, "relay", "room", "t" * 128, "音乐", "running", RELAY["source"]]
    assert push.split()[-1] == "rtmp://cdn/live"
    assert "\x1b" not in push
    # Letters of two cells move nothing.
    assert head.index("state") == push.index("running") == relay.index("running") + 2


def test_long_ids_of_callers_are_shortened_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "on_terminal", lambda: True)
    _, relay, _ = CliRunner().invoke(module.cli, ["task", "list"]).output.splitlines()
    short = "t" * 15 + "…" + "t" * 8
    assert relay.split() == [RUN, "relay", "room", short, "音乐", "running", RELAY["source"]]
    whole = CliRunner().invoke(module.cli, ["task", "list", "--json"]).output
    assert "t" * 128 in whole


def test_json_is_what_the_node_said() -> None:
    result = CliRunner().invoke(module.cli, ["task", "list", "--json"])
    assert '"address"' not in result.output
    assert '"target": "rtmp://cdn/live"' in result.output
