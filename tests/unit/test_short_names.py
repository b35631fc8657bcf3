"""Shortened names: a whole one means itself, a beginning the only thing that it fits."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sluice.client import Client, NothingThere
from sluice.exits import Ambiguous, Misuse
from sluice.local_node import LocalNode
from sluice.short_names import app_id, bot_path, chosen, event_path, key_path, of_app, task_path

RUNS = ["run_25a2bb30df0c2c01cd07", "run_25a2ffffffffffffffff", "run_456073d373448aab2664"]
EVENT = "45e5b0e7-d395-4428-8ab6-efae72163d28"
APPS = ["cb8b4acb0cab32acdf93ed9b", "b87ba751e971bd22607faa3b", "b8"]
BOTS = [{"bot_id": 1, "name": "dj"}, {"bot_id": 12, "name": "dj two"}, {"bot_id": 13, "name": "radio"}]
BOTS += [{"bot_id": 14, "name": "radio"}]


class Node:
    """Answers lists as the native API does; `asked` are the paths."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.credentials = SimpleNamespace(app_id=APPS[0])
        self.client = cast(Client, self)

    def native(self, method: str, path: str) -> dict[str, Any]:
        assert method == "GET"
        self.asked.append(path)
        begins = path.partition("begins=")[2].partition("&")[0]
        return {
            "tasks": [{"id": run} for run in RUNS if run.startswith(begins)],
            "callbacks": [{"event_id": EVENT}] if EVENT.startswith(begins) else [],
            "apps": [{"app_id": app} for app in APPS],
            "keys": [{"access_key": f"AKLT{app}"} for app in APPS],
            "bots": BOTS,
        }


@pytest.fixture
def node() -> Any:
    return Node()


def test_a_whole_name_means_itself() -> None:
    assert chosen("app", "b8", APPS) == "b8", "though another one begins so"
    assert chosen("app", "b87", APPS) == APPS[1]


def test_what_fits_nothing_or_several() -> None:
    with pytest.raises(NothingThere, match=r"^there is no app x$"):
        chosen("app", "x", APPS)
    with pytest.raises(Ambiguous, match=rf"^b fits several: b8, {APPS[1]}; write"):
        chosen("app", "b", APPS)
    with pytest.raises(Ambiguous, match=r"a3, a4, …; write"):
        chosen("thing", "a", [f"a{n}" for n in range(9)])
    with pytest.raises(Misuse, match="the name of the app is empty"):
        chosen("app", "", APPS)


def test_tasks_with_and_without_their_prefix(node: Any) -> None:
    assert task_path(node, "456") == task_path(node, "run_4") == f"/tasks/{RUNS[2]}"
    assert node.asked == ["/tasks?begins=run_456&limit=6", "/tasks?begins=run_4&limit=6"]
    with pytest.raises(Ambiguous, match=f"{RUNS[0]}, {RUNS[1]};"):
        task_path(node, "25a2")
    with pytest.raises(Misuse, match="task is empty"):
        task_path(node, "")
    asked = len(node.asked)
    assert task_path(node, "run_" + "0" * 20) == "/tasks/run_" + "0" * 20
    assert task_path(node, "x" * 20 + "/y") == "/tasks/run_" + "x" * 20 + "%2Fy"
    assert len(node.asked) == asked, "a whole one is not looked for"


def test_events_keys_and_apps(node: Any) -> None:
    assert event_path(node, "45e5") == event_path(node, EVENT) == f"/callbacks/{EVENT}"
    assert key_path(node, "AKLTcb") == f"/keys/AKLT{APPS[0]}"
    of = cast(LocalNode, node)
    assert app_id(of, None) == APPS[0]
    assert app_id(of, "b87") == APPS[1]
    assert app_id(of, "f" * 24) == "f" * 24, "the node says that there is none"
    assert (of_app(of, None), of_app(of, "cb")) == ({}, {"app_id": APPS[0]})


def test_bots_by_number_and_by_name(node: Any) -> None:
    assert bot_path(node, "1") == "/bots/1", "a number is whole"
    assert bot_path(node, "dj") == "/bots/1"
    assert bot_path(node, "dj t") == "/bots/12"
    with pytest.raises(Ambiguous, match="the name radio: 13, 14; write the number"):
        bot_path(node, "radio")
