"""What was told of a bot's streams, read as the contract has it (docs/contract/callbacks.md 6 and 7)."""

import time
from typing import Any

from tests.integration.receiver import Got, Receiver


def events(receiver: Receiver, task_id: str) -> list[Got]:
    """What was told of a task, in either form."""
    return [got for got in receiver.taken if _data(got)["TaskId"] == task_id]


def trtc_told(receiver: Receiver, task_id: str) -> list[tuple[int, int]]:
    """EventType and Status of each event, which must have line 1's form."""
    found = []
    for got in events(receiver, task_id):
        assert _has_headers(got, "trtc")
        assert got.event.keys() == {"EventGroupId", "EventType", "CallbackMsTs", "EventInfo"}
        info = got.event["EventInfo"]
        assert info.keys() == {"EventMsTs", "TaskId", "Status"}
        assert got.event["EventGroupId"] == 7
        for value in (info["EventMsTs"], got.event["CallbackMsTs"]):
            assert isinstance(value, int)
            assert abs(value / 1000 - time.time()) < 600
        found.append((got.event["EventType"], info["Status"]))
    return found


def volc_told(receiver: Receiver, task_id: str) -> list[tuple[int, int]]:
    """Status and Reason of each event, which must have line 2's form."""
    found = []
    for got in events(receiver, task_id):
        assert _has_headers(got, "volc")
        assert got.event.keys() == {"EventId", "EventTime", "EventType", "EventData"}
        assert got.event["EventType"] == "RelayStreamStateChanged"
        assert got.event["EventTime"].endswith("+08:00")
        data = got.event["EventData"]
        names = "RoomId TaskId UserId StreamUrl Status StartTimeStamp Msg Vid Reason"
        assert data.keys() == set(names.split())
        found.append((data["Status"], data["Reason"]))
    return found


def _data(got: Got) -> dict[str, Any]:
    data: dict[str, Any] = got.event.get("EventInfo") or got.event["EventData"]
    return data


def _has_headers(got: Got, kind: str) -> bool:
    return (got.headers["SDK-Type"], got.headers["Content-Type"]) == (kind, "application/json")
