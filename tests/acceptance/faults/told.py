"""What callers were told through the faults, against what the node's log says that happened."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.integration.receiver import Got, Receiver

_STOPS = {
    "pictures_stopped",
    "sound_stopped",
    "source_interrupted",
    "source_unreachable",
    "source_refused",
    "source_unsupported",
}
_STARTING, _RUNNING, _ENDED = 1, 2, 3
_OVER = ("ended", "failed")


class Changes:
    """The changes of each run, in the order of the node's log; its lives write one log."""

    def __init__(self, log: Path) -> None:
        self._of: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in log.read_text().splitlines():
            fields = json.loads(line)
            if fields["event"] in ("task", "task controlled", "push"):
                self._of[fields["run_id"]].append(fields)

    def of_relay(self, run: str) -> list[int]:
        """Status of each RelayStreamStateChanged (docs/contract/callbacks.md 4). A pause is not told, and so
        not what flows after it."""
        told, resumed = [_STARTING], False
        for change in self._of[run]:
            state = change["state"]
            stopped = state == "recovering" and change.get("reason") in _STOPS
            if stopped or (state == "running" and not resumed):
                told.append(_RUNNING)
            elif state in _OVER:
                told.append(_ENDED)
            resumed = change.get("paused") is False or (resumed and state != "running")
        return told

    def of_bot(self, run: str) -> list[tuple[int, int]]:
        """EventType and Status, line 1."""
        runs = 0
        told: list[tuple[int, int]] = []
        for change in self._of[run]:
            if change["state"] == "running":
                told.append((701, 2 if runs else 0))
                runs += 1
            elif change["state"] in _OVER:
                told.append((702, 0))
        return told

    def of_push(self, run: str) -> list[str]:
        """Names of the events (docs/contract/callbacks.md 5.2)."""
        told: list[str] = []
        for change in self._of[run]:
            state = change.get("state", "")
            if change["event"] == "push" or state == "stopping":
                told.append("TranscodeStateChanged")
            elif state == "running" and "TranscodeStarted" not in told:
                told.append("TranscodeStarted")
            elif state in _OVER:
                told.append("TranscodeStopped")
        return told

    def states(self, run: str) -> list[str]:
        return [change["state"] for change in self._of[run] if change["event"] == "task"]


def once(told: Iterable[Got]) -> Iterator[Got]:
    """What was taken, of what was taken twice the first: a receiver that dies while it answers is told
    again, with the same EventId."""
    seen = set()
    for got in told:
        name = got.event.get("EventId") or got.body
        if name not in seen:
            seen.add(name)
            yield got


def relay_told(receiver: Receiver, run: str) -> list[int]:
    return [data["Status"] for data in _data(receiver) if data.get("Vid") == run]


def push_told(receiver: Receiver, task_id: str) -> list[str]:
    return [data["name"] for data in _data(receiver) if data["TaskId"] == task_id]


def _data(receiver: Receiver) -> Iterator[dict[str, Any]]:
    for got in once(receiver.taken):
        yield json.loads(got.event["EventData"]) | {"name": got.event["EventType"]}


def bot_told(receiver: Receiver, task_id: str) -> list[tuple[int, int]]:
    return [
        (got.event["EventType"], got.event["EventInfo"]["Status"])
        for got in once(receiver.taken)
        if got.event["EventInfo"]["TaskId"] == task_id
    ]
