"""Callbacks of a whole node: registered by a call, told of a relay and its room, not lost with the node."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.node import ServedNode, serve_node
from tests.integration.receiver import Receiver, hang, ok, verify

pytestmark = [pytest.mark.anyio, pytest.mark.light]

SECRET = "callback-secret"
ROOM_EVENTS = ["RoomCreate", "UserJoinRoom", "UserLeaveRoom", "RoomDestroy"]


async def listen(node: ServedNode, receiver: Receiver, events: list[str]) -> None:
    params: dict[str, Any] = {"EventList": events, "SecretKey": SECRET, "URL": receiver.url}
    await node.call("CreateCallback", version="2020-12-01", **params)


def told(receiver: Receiver, room: str) -> dict[str, list[Any]]:
    """What was taken: the numbers of each relay, and the names of the room's events."""
    seen: dict[str, list[Any]] = defaultdict(list)
    for got in receiver.taken:
        assert verify(got.body, SECRET)
        if got.data["RoomId"] == room:
            name = got.event["EventType"]
            of_relay = name == "RelayStreamStateChanged"
            seen["relay" if of_relay else "room"].append(got.data["Status"] if of_relay else name)
    return seen


async def test_a_relay_and_its_room_are_told(node: ServedNode, files: str) -> None:
    async with Receiver() as receiver:
        await listen(node, receiver, ["RelayStreamStateChanged", *ROOM_EVENTS])
        try:
            run = await node.start("told", f"{files}/short.mp4", Loop=True)
            await receiver.until(lambda: told(receiver, "told")["relay"] == [1, 2])
            await node.client_stop(run)
            everything = {"relay": [1, 2, 3], "room": ROOM_EVENTS}
            await receiver.until(lambda: told(receiver, "told") == everything)
        finally:
            await node.call("DeleteCallback", version="2020-12-01")
        last = [got.data for got in receiver.taken if got.event["EventType"] == "RelayStreamStateChanged"][-1]
        assert (last["Vid"], last["Reason"], last["Msg"]) == (run, 0, "stopped by api")
        assert last["StreamUrl"] == f"{files}/short.mp4"


async def test_what_waits_when_the_node_is_killed_is_told_by_its_next_life(
    files: str, tmp_path: Path
) -> None:
    async with Receiver() as receiver:
        async with serve_node(tmp_path) as node:
            await listen(node, receiver, ["RelayStreamStateChanged"])
            run = await node.start("room", f"{files}/short.mp4", Loop=True)
            await receiver.until(lambda: told(receiver, "room")["relay"] == [1, 2])
            receiver.answer = hang
            await node.client_stop(run)
            await receiver.until(lambda: len(receiver.got) == 3)
            node.process.kill()
        receiver.answer = ok
        async with serve_node(tmp_path):
            await receiver.until(lambda: told(receiver, "room")["relay"] == [1, 2, 3])
        assert len({got.body for got in receiver.got[2:]}) == 1
