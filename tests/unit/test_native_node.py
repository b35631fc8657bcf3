"""`/api/v1/node` and `/api/v1/processes`: what each process told last, and nothing that it did not tell."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from sluice import cli, cli_node
from sluice.api.health import Check, Health
from sluice.api.native_node import Inventory, routes
from sluice.api.operator import Operator
from sluice.core.capacity import Load as CapacityLoad
from sluice.core.figures import (
    CORES,
    DESCRIPTORS,
    LOOP_LAG,
    MEMORY,
    PEERS,
    ROOMS,
    THREADS,
    USERS,
    Ledger,
    Values,
)
from sluice.core.node_figures import TASKS, Readings
from sluice.process.supervisor import ChildSpec, Supervised
from tests.unit.asgi import Answer, call

DEAD = "it has died, and is started again"
LOAD: Values = {
    CORES.name: {"loop": 0.25, "others": 0.5},
    LOOP_LAG.name: {"p50": 0.001, "p90": 0.0015, "p99": 0.002, "max": 0.01234567},
    MEMORY.name: {"": 50 << 20},
    DESCRIPTORS.name: {"": 20},
    THREADS.name: {"": 3},
}
CARRIED = CapacityLoad(1.5, 0.25, None, 12.34)


@dataclass
class Child:
    """What is shown of a `Supervised`."""

    spec: ChildSpec
    pid: int | None = 42
    ready: bool | None = True
    restarts: int = 0
    uptime_s: float | None = 12.34

    def trouble(self) -> str | None:
        return None if self.ready else DEAD


@pytest.fixture
def app() -> FastAPI:
    ledger = Ledger()
    ledger.tell("node", "node", {}, {**LOAD, ROOMS.name: {"": 2}, USERS.name: {"people": 5, "virtual": 2}})
    ledger.tell("room-0", "room", {}, {**LOAD, PEERS.name: {"": 4}})
    children = [
        Child(ChildSpec("room-0", "")),
        Child(ChildSpec("media-0", ""), pid=None, ready=None, restarts=2, uptime_s=None),
    ]
    tasks: Readings = {TASKS: {("relay", "running", "none"): 2.0, ("relay", "running", "resumed"): 1.0}}
    health = Health([Check("media-0", children[1].trouble)])
    inventory = Inventory(
        ledger, lambda: cast(list[Supervised], children), lambda: tasks, lambda: CARRIED, health, 1000.0
    )
    app = FastAPI()
    app.include_router(routes(inventory, Operator("admin")))
    return app


def get(app: FastAPI, path: str, token: str = "admin") -> Answer:
    return call(app, "GET", path, [("Authorization", f"Bearer {token}")])


@pytest.mark.parametrize("path", ["/api/v1/node", "/api/v1/processes"])
def test_for_the_operator_alone(app: FastAPI, path: str) -> None:
    assert get(app, path, "wrong").status == 401


def test_processes(app: FastAPI) -> None:
    node, room, media = get(app, "/api/v1/processes").json()["processes"]
    assert (node["name"], node["kind"], node["ready"], node["restarts"]) == ("node", "node", True, 0)
    assert node["uptime_s"] > 0
    assert room == {
        "name": "room-0",
        "kind": "room",
        "pid": 42,
        "ready": True,
        "trouble": None,
        "uptime_s": 12.3,
        "restarts": 0,
        "load": {"loop": 0.25, "others": 0.5},
        "lag": {"p50": 0.001, "p99": 0.002, "max": 0.0123},
        "memory_bytes": 50 << 20,
        "descriptors": 20,
        "threads": 3,
        "sessions": None,
        "peers": 4,
    }
    assert (media["ready"], media["trouble"], media["restarts"]) == (False, DEAD, 2)
    assert {media[name] for name in ("pid", "uptime_s", "load", "lag", "memory_bytes", "peers")} == {None}


def test_node(app: FastAPI) -> None:
    document = get(app, "/api/v1/node").json()
    assert document.pop("uptime_s") > 0
    assert document.pop("cores") >= 1
    assert document.pop("version")
    assert document == {
        "started_at": 1000.0,
        "capacity": {"cores": 1.5, "used_cores": 0.25, "free_cores": 1.25, "mb": None, "used_mb": 12.3},
        "status": "failing",
        "failing": [{"part": "media-0", "why": DEAD}],
        "load": {"loop": 0.5, "others": 1.0},
        "memory_bytes": 100 << 20,
        "rooms": 2,
        "people": 5,
        "tasks": {"relay": {"running": 3}},
    }


def test_the_commands(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    class Node:
        def native(self, method: str, path: str) -> Any:
            return get(app, f"/api/v1{path}").json()

    monkeypatch.setattr(cli_node, "reach", lambda url, data: SimpleNamespace(client=Node()))
    listed = CliRunner().invoke(cli.cli, ["process", "list"])
    head, _, room, media = listed.output.splitlines()
    assert head.split()[:2] == ["name", "pid"]
    assert room.split() == ["room-0", "42", "on", "12.3", "0", "0.75", "2", "50", "4"]
    assert media.split() == ["media-0", "off", "2", *DEAD.split()]
    assert '"lag"' in CliRunner().invoke(cli.cli, ["process", "list", "--json"]).output
    shown = CliRunner().invoke(cli.cli, ["node", "show"])
    assert "failing" in shown.output
