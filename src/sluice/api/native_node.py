"""The node and its processes for the operator: ``/api/v1/node`` and ``/api/v1/processes``."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from sluice import __version__
from sluice.api.health import FailingPart, Health
from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.core.capacity import Load as CapacityLoad
from sluice.core.figures import (
    CORES,
    DESCRIPTORS,
    LOOP_LAG,
    MEMORY,
    PEERS,
    ROOMS,
    SESSIONS,
    THREADS,
    USERS,
    Ledger,
    Values,
)
from sluice.core.node_figures import TASKS, Readings
from sluice.process.owned import trouble
from sluice.process.supervisor import Supervised

#: What the node is called among its processes.
NODE = "node"


class Load(Document):
    """Cores in use over the last second."""

    loop: float = 0.0
    """By the thread of the event loop, which can use one at most."""
    others: float = 0.0
    """By all other threads."""


class Lag(Document):
    """How late the event loop was in the last 10 s, in seconds."""

    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class ProcessDocument(Document):
    """What a process told last; without it, it has told nothing yet."""

    name: str
    kind: str
    """node, room or media."""
    pid: int | None
    ready: bool
    trouble: str | None
    """Why it is not well."""
    uptime_s: float | None
    restarts: int
    load: Load | None
    lag: Lag | None
    memory_bytes: int | None
    descriptors: int | None
    threads: int | None
    sessions: int | None
    """Relays and pushes, of a media process."""
    peers: int | None
    """Of a room process."""


class ProcessList(Document):
    processes: list[ProcessDocument]


class Capacity(Document):
    """What tasks may use, use or were promised, and what is free; null: there is no limit."""

    cores: float | None
    used_cores: float
    free_cores: float | None
    mb: float | None
    used_mb: float


class NodeDocument(BaseModel):
    version: str
    started_at: float
    """Unix seconds."""
    uptime_s: float
    status: str
    """ok, or failing: as `/readyz`."""
    failing: list[FailingPart]
    cores: int
    """That the node may use."""
    load: Load
    """Of all processes together."""
    capacity: Capacity
    memory_bytes: int
    """Of all processes together."""
    rooms: int
    people: int
    """In rooms; virtual users of relays are not among them."""
    tasks: dict[str, dict[str, int]]
    """Live tasks by kind and state."""


class Inventory:
    """What the documents are made of. `children` are the processes that the node has started, those apart
    among them; `began_at` is when it began itself, in Unix seconds."""

    def __init__(
        self,
        ledger: Ledger,
        children: Callable[[], Iterable[Supervised]],
        tasks: Callable[[], Readings],
        capacity: Callable[[], CapacityLoad],
        health: Health,
        began_at: float,
    ) -> None:
        self._ledger, self._children, self._tasks = ledger, children, tasks
        self._capacity, self._health, self._began_at = capacity, health, began_at

    def processes(self) -> list[ProcessDocument]:
        told = {name: gauges for name, _, gauges in self._ledger.gauges()}
        return [
            self._itself(told.get(NODE, {})),
            *(_process(child, told.get(child.spec.name, {})) for child in self._children()),
        ]

    def _itself(self, gauges: Values) -> ProcessDocument:
        why = trouble()
        return ProcessDocument(
            name=NODE,
            kind=NODE,
            pid=os.getpid(),
            ready=why is None,
            trouble=why,
            uptime_s=self._uptime_s,
            restarts=0,
            **_measured(gauges),
        )

    async def node(self) -> NodeDocument:
        health, told = await self._health.ready(), [gauges for _, _, gauges in self._ledger.gauges()]
        load = {
            thread: round(sum(gauges.get(CORES.name, {}).get(thread, 0) for gauges in told), 3)
            for thread in Load.model_fields
        }
        rooms = _sum(told, ROOMS.name)
        people = sum(gauges.get(USERS.name, {}).get("people", 0) for gauges in told)
        return NodeDocument(
            version=__version__,
            started_at=self._began_at,
            uptime_s=self._uptime_s,
            status=health.status,
            failing=health.failing,
            cores=len(os.sched_getaffinity(0)),
            load=Load(**load),
            capacity=_capacity(self._capacity()),
            memory_bytes=int(_sum(told, MEMORY.name)),
            rooms=int(rooms),
            people=int(people),
            tasks=_by_state(self._tasks()),
        )

    @property
    def _uptime_s(self) -> float:
        return round(max(0.0, time.time() - self._began_at), 1)


def _process(child: Supervised, gauges: Values) -> ProcessDocument:
    uptime_s = child.uptime_s
    return ProcessDocument(
        name=child.spec.name,
        kind=child.spec.kind,
        pid=child.pid,
        ready=child.ready is not None,
        trouble=child.trouble(),
        uptime_s=None if uptime_s is None else round(uptime_s, 1),
        restarts=child.restarts,
        **_measured(gauges),
    )


def _capacity(load: CapacityLoad) -> Capacity:
    return Capacity(
        cores=_rounded(load.capacity_cores),
        used_cores=round(load.used_cores, 3),
        free_cores=_rounded(load.free_cores),
        mb=_rounded(load.capacity_mb),
        used_mb=round(load.used_mb, 1),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _measured(gauges: Values) -> dict[str, Any]:
    whole = {
        "memory_bytes": MEMORY,
        "descriptors": DESCRIPTORS,
        "threads": THREADS,
        "sessions": SESSIONS,
        "peers": PEERS,
    }
    found: dict[str, Any] = {
        field: int(sum(gauges[figure.name].values())) if figure.name in gauges else None
        for field, figure in whole.items()
    }
    for field, model, figure in (("load", Load, CORES), ("lag", Lag, LOOP_LAG)):
        values = gauges.get(figure.name, {})
        shown = {label: round(value, 4) for label, value in values.items() if label in model.model_fields}
        found[field] = model(**shown) if values else None
    return found


def _sum(told: Iterable[Values], figure: str) -> float:
    return sum(gauges.get(figure, {}).get("", 0) for gauges in told)


def _by_state(readings: Readings) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (kind, state, _), count in readings[TASKS].items():
        states = found.setdefault(kind, {})
        states[state] = states.get(state, 0) + int(count)
    return found


def routes(inventory: Inventory, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator)

    @api.get("/node", summary="The node: how it is, what it carries, and what it takes")
    async def show_node() -> NodeDocument:
        return await inventory.node()

    @api.get("/processes", summary="The processes of the node, itself first")
    async def list_processes() -> ProcessList:
        return ProcessList(processes=inventory.processes())

    return api
