"""What the control path carries: signed calls a second, and how long each takes, with durable commits.

A node of its own process, 10 apps with a key each. Workers, each on a connection of its own, go round and
round: StartRelayStream (scheduled, so that no media is touched), ListRelayStream, the same start again,
StopRelayStream. Each call is signed anew; each app stays below its limit of 150 calls a second and action.

Paced: calls are due at a fixed rate, and each is measured from when it was due, so that a node that falls
behind shows it. Then as fast as it goes.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import psutil

from benchmarks.report import percentile, print_table, write_json
from sluice.client import Client
from sluice.core.apps import AccessKey, App
from sluice.core.ids import AppId
from sluice.store.credentials_file import read_credentials
from sluice.wire.signature import RequestHead, parse_query, sign
from sluice.wire.token import Grant, Privilege, make

_BAR_PER_S, _BAR_P99_MS = 1000.0, 50.0
_APPS = 10
_VERSION = "2023-11-01"
_AHEAD_S = 3600
_DEADLINE_S = 30.0
_ACTIONS = ("StartRelayStream", "ListRelayStream", "StartRelayStream again", "StopRelayStream")


@dataclass(frozen=True, slots=True)
class Tenant:
    """An app and its key."""

    app: App
    key: AccessKey


@dataclass(slots=True)
class Tally:
    """Milliseconds of each call by action, and what was answered with something else than success."""

    took_ms: dict[str, list[float]] = field(default_factory=lambda: {action: [] for action in _ACTIONS})
    failures: list[str] = field(default_factory=list)

    @property
    def all_ms(self) -> list[float]:
        return [ms for times in self.took_ms.values() for ms in times]


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    seconds: float
    tally: Tally
    core_share: float  #: of the node's process alone

    @property
    def per_s(self) -> float:
        return len(self.tally.all_ms) / self.seconds

    @property
    def p99_ms(self) -> float:
        return percentile(self.tally.all_ms, 0.99)


class Worker:
    """One connection that goes round; `every_s` between calls, 0 for as fast as it goes."""

    def __init__(self, url: str, tenant: Tenant, number: int) -> None:
        self._host = urlsplit(url).netloc
        self._tenant = tenant
        self._room = f"room-{number}"
        grant = Grant(self._room, "user", 0, 0, {Privilege.PUBLISH: 0})
        self._token = make(tenant.app, grant)
        self._round = 0

    async def run(self, tally: Tally, begin: float, end: float, every_s: float) -> None:
        host, _, port = self._host.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        due = begin
        while True:
            self._round += 1
            for action in _ACTIONS:
                due = due + every_s if every_s else time.perf_counter()
                if due >= end:
                    writer.close()
                    return
                if (ahead := due - time.perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                writer.write(self._request(action.partition(" ")[0]))
                answer = await _read(reader)
                tally.took_ms[action].append((time.perf_counter() - due) * 1e3)
                if b'"Error"' in answer:
                    tally.failures.append(answer.decode())

    def _request(self, action: str) -> bytes:
        """The bytes of a signed call."""
        query = {"Action": action, "Version": _VERSION}
        identity = {"AppId": self._tenant.app.app_id, "RoomId": self._room}
        body, method = b"", "GET"
        if action == "ListRelayStream":
            query |= identity
        else:
            method = "POST"
            document: dict[str, object] = {**identity, "TaskId": f"task-{self._round}"}
            if action == "StartRelayStream":
                start_at = int(time.time()) + _AHEAD_S
                control = {
                    "StreamUrl": "http://127.0.0.1/clip.mp4",
                    "StreamMode": 1,
                    "StartTimeStamp": start_at,
                }
                document |= {"UserId": "user", "Token": self._token, "Control": control}
            body = json.dumps(document).encode()
        encoded = urlencode(query, quote_via=quote)
        headers = {"Host": self._host, "Content-Type": "application/json"}
        head = RequestHead(method, "/", parse_query(encoded), tuple(headers.items()))
        headers |= sign(head, body, self._tenant.key, time.time())
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} /?{encoded} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.lower().index(b"content-length:") + len(b"content-length:")
    return await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))


@asynccontextmanager
async def _node(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """A node with its data, and its log as it is by default, in `folder`; its address and process id."""
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sluice", "serve", "--data", str(folder / "data")),
            *("--listen", "127.0.0.1:0", "--media-port", "0", "--media-processes", "1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while " serves at " not in (line := (await process.stdout.readline()).decode()):
                if not line:
                    raise RuntimeError("the node ended before it served")
        yield line.split(" serves at ")[1].strip(), process.pid
    finally:
        process.terminate()
        await process.wait()


def _tenants(url: str, folder: Path) -> list[Tenant]:
    credentials = read_credentials(folder / "data")
    key = AccessKey(credentials.access_key, credentials.secret_key, frozenset())
    client = Client(url, key, credentials.admin_token)
    made = [client.native("POST", "/apps", {}) for _ in range(_APPS)]
    return [
        Tenant(
            App(AppId(document["app_id"]), document["app_key"]),
            AccessKey(document["access_key"], document["secret_key"], frozenset()),
        )
        for document in made
    ]


async def _measure(name: str, workers: list[Worker], pid: int, *, rate: float, seconds: float) -> Outcome:
    """`rate` calls a second in all, 0 for as many as there can be."""
    node, tally = psutil.Process(pid), Tally()
    every_s = len(workers) / rate if rate else 0.0
    begin = time.perf_counter() + 0.2
    before = sum(node.cpu_times()[:2])
    await asyncio.gather(
        *(
            # Spread over the time between two calls of a worker: callers do not come in step.
            worker.run(tally, begin + every_s * n / len(workers), begin + seconds, every_s)
            for n, worker in enumerate(workers)
        )
    )
    took = time.perf_counter() - begin
    return Outcome(name, took, tally, (sum(node.cpu_times()[:2]) - before) / took)


async def _run(args: argparse.Namespace) -> list[Outcome]:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-", dir=args.folder) as name:
        folder = Path(name)
        async with _node(folder) as (url, pid):
            tenants = await asyncio.to_thread(_tenants, url, folder)
            workers = [Worker(url, tenants[n % _APPS], n) for n in range(args.workers)]
            await _measure("warm-up", workers, pid, rate=args.rate, seconds=2)
            return [
                await _measure(f"{args.rate:g} a second", workers, pid, rate=args.rate, seconds=args.seconds),
                await _measure("as fast as it goes", workers, pid, rate=0, seconds=args.seconds / 2),
            ]


def _report(outcomes: list[Outcome]) -> bool:
    rows = []
    for outcome in outcomes:
        rows.append(_row(outcome.name, outcome, outcome.tally.all_ms, f"{outcome.core_share:.2f}"))
        rows += [_row(f"  {action}", outcome, times, "") for action, times in outcome.tally.took_ms.items()]
    columns = ("calls", "per second", "p50 ms", "p99 ms", "longest ms", "cores of the node")
    print_table("Signed calls over 10 apps, commits with synchronous=FULL", columns, rows)
    failures = [failure for outcome in outcomes for failure in outcome.tally.failures]
    if failures:
        print(f"{len(failures)} calls failed, the first with {failures[0]}")
    paced = outcomes[0]
    met = paced.per_s >= 0.99 * _BAR_PER_S and paced.p99_ms <= _BAR_P99_MS and not failures
    found = f"{paced.per_s:.0f} calls/s (bar {_BAR_PER_S:g}), p99 {paced.p99_ms:.1f} ms (bar {_BAR_P99_MS:g})"
    print(f"{'ok' if met else 'MISSED'}: {found}; load of the machine {os.getloadavg()[0]:.1f}")
    document = {
        outcome.name: {
            "per_s": round(outcome.per_s, 1),
            "p50_ms": round(percentile(outcome.tally.all_ms, 0.5), 2),
            "p99_ms": round(outcome.p99_ms, 2),
            "core_share": round(outcome.core_share, 3),
        }
        for outcome in outcomes
    }
    write_json("control", {"outcomes": document, "failures": len(failures), "met": met})
    return met


def _row(name: str, outcome: Outcome, times: list[float], share: str) -> tuple[str, ...]:
    figures = (percentile(times, 0.5), percentile(times, 0.99), max(times))
    return (name, f"{len(times) / outcome.seconds:.0f}", *(f"{ms:.1f}" for ms in figures), share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1100.0, help="calls a second in all")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=40, help="connections")
    parser.add_argument("--folder", type=Path, help="where the database is; default: the system's for such")
    sys.exit(0 if _report(asyncio.run(_run(parser.parse_args()))) else 1)


if __name__ == "__main__":
    main()
