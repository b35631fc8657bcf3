"""How far the connections of one source came: what a probe tells of a source that does not answer."""

import threading
from collections.abc import Sequence
from typing import Any

from sluice.core.addresses import Verdict
from sluice.core.limits import MOST_NOTED_HOSTS
from sluice.core.masking import mask_url

_STEPS = ("nothing", "resolved", "connected", "answered", "received")
_WORDS = (
    "the name of its server was not resolved",
    "the name of its server was resolved, and the connection was not complete",
    "it was connected to, and its answer was not complete",
    "it answered{code}, and nothing came behind that",
    "it answered{code}, and {bytes} bytes came",
)
_NOTHING, _RESOLVED, _CONNECTED, _ANSWERED, _RECEIVED = range(len(_STEPS))


class Way:
    """Is told of each step, from any thread. This one keeps nothing."""

    def judged(self, host: str, verdicts: Sequence[Verdict]) -> None:
        """The name of a server has these addresses."""

    def connected(self) -> None:
        """A connection is there, with TLS if it has that."""

    def answered(self, url: str, status: int | None) -> None:
        """The server of `url` has answered; `status` is that of HTTP."""

    def received(self, count: int) -> None:
        """So many bytes came."""


class NotedWay(Way):
    """Keeps what it is told, a bounded part of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, tuple[Verdict, ...]] = {}
        self._refused: dict[str, Verdict] = {}  #: hosts without an address that is allowed
        self._furthest = _NOTHING
        self._connections = self._bytes = 0
        self._answer: tuple[str, int | None] | None = None

    def judged(self, host: str, verdicts: Sequence[Verdict]) -> None:
        with self._lock:
            if len(self._hosts) < MOST_NOTED_HOSTS or host in self._hosts:
                self._hosts[host] = tuple(verdicts)
            if verdicts and not any(verdict.permitted for verdict in verdicts):
                if len(self._refused) < MOST_NOTED_HOSTS:
                    self._refused[host] = verdicts[0]
            else:
                self._reach(_RESOLVED)

    def connected(self) -> None:
        with self._lock:
            self._connections += 1
            self._reach(_CONNECTED)

    def answered(self, url: str, status: int | None) -> None:
        with self._lock:
            self._answer = mask_url(url), status
            self._reach(_ANSWERED)

    def received(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            self._reach(_RECEIVED)

    def _reach(self, step: int) -> None:
        self._furthest = max(self._furthest, step)

    @property
    def so_far(self) -> str:
        """How far it came, in words."""
        with self._lock:
            _, status = self._answer or (None, None)
            code = f" with status {status}" if status is not None else ""
            return _WORDS[self._furthest].format(code=code, bytes=self._bytes)

    def guard(self) -> dict[str, Any]:
        """What the address guard says of all servers that were asked for, in the form of the native API."""
        with self._lock:
            hosts, refused = list(self._hosts.items()), list(self._refused.items())
        shown = [
            {
                "host": host,
                "allowed": any(verdict.permitted for verdict in verdicts),
                "addresses": [
                    {"address": verdict.address, "allowed": verdict.permitted, "why": verdict.why}
                    for verdict in verdicts
                ],
            }
            for host, verdicts in hosts
        ]
        if refused:
            host, verdict = refused[0]
            return {"allowed": False, "why": f"{host}: {verdict.address} {verdict.why}", "hosts": shown}
        if not hosts:
            return {"allowed": None, "why": "no name of a server was resolved", "hosts": []}
        return {
            "allowed": True,
            "why": "all servers have an address that may be connected to",
            "hosts": shown,
        }

    def reached(self) -> dict[str, Any]:
        """How far it came, in the form of the native API."""
        with self._lock:
            url, status = self._answer or (None, None)
            return {
                "step": _STEPS[self._furthest],
                "connections": self._connections,
                "url": url,
                "status": status,
                "bytes": self._bytes,
            }
