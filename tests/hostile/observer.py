"""What an operator sees of a node under attack: how long `/healthz` takes, and how much memory it needs.

It runs in a process of its own, which also notes how late the machine lets it run: what a busy machine does
is no fault of the node.
"""

import http.client
import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import psutil

from benchmarks.processes import processes_of_node

_PROBE_PAUSE_S = 0.05
_PROBE_DEADLINE_S = 15.0
_CLOCK_S = 0.02
_MEMORY_PAUSE_S = 0.25
_MB = 1 << 20


@dataclass(slots=True)
class Sight:
    """Longest times in seconds; `failures` are what `/healthz` said or did instead of 200; `most_mb` is the
    most memory (RSS) of each kind of process."""

    health_s: float = 0.0
    late_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    most_mb: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all processes of one kind."""

    mb: float
    descriptors: int
    threads: int


def usage_of(node: psutil.Process) -> dict[str, Usage]:
    """By node, room and media; a process that ends meanwhile is left out."""
    return {
        kind: Usage(
            sum(process.memory_info().rss for process in processes) / _MB,
            sum(process.num_fds() for process in processes),
            sum(process.num_threads() for process in processes),
        )
        for kind, processes in _processes(node).items()
    }


def _processes(node: psutil.Process) -> dict[str, list[psutil.Process]]:
    return {kind: [psutil.Process(pid) for pid in pids] for kind, pids in processes_of_node(node).items()}


class Observer:
    """A context manager. `take` tells what was seen since the last `take`."""

    def __init__(self, url: str, node: psutil.Process) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, url, node.pid), daemon=True)
        self._process.start()
        theirs.close()

    def take(self) -> Sight:
        self._pipe.send(None)
        return cast(Sight, self._pipe.recv())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()


def _run(pipe: "Connection[Any, Any]", url: str, pid: int) -> None:
    watch = _Watch(url, psutil.Process(pid))
    for work in (watch.probe, watch.run_clock, watch.weigh):
        threading.Thread(target=work, daemon=True).start()
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(watch.take())


class _Watch:
    def __init__(self, url: str, node: psutil.Process) -> None:
        self._address = urlsplit(url).netloc
        self._node = node
        self._sight = Sight()
        self._asked_at: float | None = None

    def take(self) -> Sight:
        sight, self._sight = self._sight, Sight()
        if self._asked_at is not None:
            sight.health_s = max(sight.health_s, time.monotonic() - self._asked_at)
        return sight

    def probe(self) -> None:
        """With a connection of its own each time, as a load balancer does."""
        while True:
            self._asked_at = asked_at = time.monotonic()
            failure = self._ask()
            self._asked_at = None
            self._sight.health_s = max(self._sight.health_s, time.monotonic() - asked_at)
            if failure is not None:
                self._sight.failures.append(failure)
            time.sleep(_PROBE_PAUSE_S)

    def _ask(self) -> str | None:
        connection = http.client.HTTPConnection(self._address, timeout=_PROBE_DEADLINE_S)
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()
        return None if status == 200 else str(status)

    def run_clock(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(_CLOCK_S)
            self._sight.late_s = max(self._sight.late_s, time.monotonic() - began - _CLOCK_S)

    def weigh(self) -> None:
        while True:
            time.sleep(_MEMORY_PAUSE_S)
            try:
                found = usage_of(self._node)
            except psutil.Error:  # one of them has just ended
                continue
            most = self._sight.most_mb
            for kind, usage in found.items():
                most[kind] = max(most.get(kind, 0.0), usage.mb)
