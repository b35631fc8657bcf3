"""How a node ends: asked once, asked twice, and while its database is locked."""

import asyncio
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sluice.client import CallFailed
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.player import playing
from tests.acceptance.test_callbacks import listen, told
from tests.acceptance.test_relay import new_room
from tests.integration.cdn import cdn
from tests.integration.receiver import Got, Receiver, ok
from tests.integration.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.light]

INFO = ("--log-level", "info")


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def troubles(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines(log) if line["level"] in ("warning", "error", "critical")]


async def test_a_clean_stop_logs_no_trouble(tmp_path: Path, files: str) -> None:
    """With a relay, its push, a viewer and callbacks, and a log that was moved away meanwhile."""
    log, old, stderr = tmp_path / "log", tmp_path / "old", tmp_path / "stderr"
    async with cdn() as server, Receiver() as receiver:
        with stderr.open("wb") as errors:
            flags = (*INFO, "--log-file", str(log))
            async with serve_node(tmp_path / "data", *flags, errors=errors) as node:
                await listen(node, receiver, ["RelayStreamStateChanged", "UserJoinRoom", "UserLeaveRoom"])
                async with playing(node.whep_url("room", "source"), node.token("room", "guest")) as player:
                    await node.start("room", f"{files}/long.mp4", Loop=True)
                    await player.until_pictures(1)
                    push = {"RoomId": "room", "TaskId": "push", "Stream": {"UserId": "source"}, "Control": {}}
                    url = f"rtmp://127.0.0.1:{server.port}/app/key"
                    await node.call("StartPushSingleStreamToCDN", **push, PushURL=url)
                    await until(lambda: bool(server.connections) and bool(server.connections[0].video()))
                    log.rename(old)
                    node.process.send_signal(signal.SIGHUP)
                    await until(lambda: log.exists() and "opened again" in log.read_text())
                    node.process.terminate()
                    assert await node.handle.wait() == 0
        left = [got.data["UserId"] for got in receiver.taken if got.event["EventType"] == "UserLeaveRoom"]
        assert sorted(left) == ["guest", "source"], "told before the node ended"
    assert (troubles(old), troubles(log), stderr.read_text()) == ([], [], "")
    assert {"the node serves", "session begins", "push begins"} <= {line["event"] for line in lines(old)}
    assert {"the node is being stopped", "session ends"} <= {line["event"] for line in lines(log)}
    assert lines(log)[-1]["event"] == "the node has stopped"


class Gate:
    """Answers of a receiver that wait while it is shut."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def answer(self, got: Got, request: web.Request) -> web.StreamResponse:
        await self.open.wait()
        return await ok(got, request)


async def held_up(node: ServedNode, gate: Gate, receiver: Receiver, files: str) -> tuple[str, str]:
    """A node that is being stopped, and waits for a callback of a task that has ended; a task that goes on,
    and the room of the other."""
    run = await node.start(new_room(), f"{files}/long.mp4", Loop=True)
    await node.until_state(run, "running")
    other = await node.start(room := new_room(), f"{files}/long.mp4", Loop=True)
    await receiver.until(lambda: told(receiver, room)["relay"] == [1, 2] and not receiver.under_way)
    gate.open.clear()
    await node.client_stop(other)
    await receiver.until(lambda: receiver.under_way == 1)
    node.process.terminate()
    return run, room


async def refusal(node: ServedNode, files: str) -> CallFailed:
    """Of a start, as soon as it is refused."""
    async with asyncio.timeout(20):
        while True:
            try:
                await node.client_stop(await node.start("new", f"{files}/long.mp4"))
            except CallFailed as error:
                return error


async def test_a_node_that_is_stopped_refuses_new_work_and_ends_when_it_is_told_again(
    tmp_path: Path, files: str
) -> None:
    """It waits for a callback. What it left, its next life does."""
    gate = Gate()
    async with Receiver(gate.answer) as receiver:
        async with serve_node(tmp_path / "data") as node:
            await listen(node, receiver, ["RelayStreamStateChanged"])
            run, room = await held_up(node, gate, receiver, files)
            error = await refusal(node, files)
            assert error.document is not None
            refused = error.document["ResponseMetadata"]["Error"]
            assert refused["Code"] == "ServiceUnavailableTemp"
            assert "the node is being stopped and takes no new work" in refused["Message"]
            async with aiohttp.ClientSession() as session:
                headers = {"Authorization": f"Bearer {node.token('room', 'late')}"}
                headers["Content-Type"] = "application/sdp"
                offer = session.post(node.whep_url("room", "source"), headers=headers, data="v=0")
                async with offer as answer:
                    assert (answer.status, "being stopped" in await answer.text()) == (503, True)
            assert (await node.task(run))["state"] == "running"
            children = node.process.children()
            node.process.terminate()
            assert await node.handle.wait() == 128 + signal.SIGTERM
            await until(lambda: not any(child.is_running() for child in children))
        gate.open.set()
        async with serve_node(tmp_path / "data") as node:
            await receiver.until(lambda: told(receiver, room)["relay"] == [1, 2, 3])
            await node.until_state(run, "running")


async def test_a_node_whose_database_is_locked_ends_soon_and_says_why(tmp_path: Path, files: str) -> None:
    log = tmp_path / "log"
    with log.open("wb") as errors:
        async with serve_node(tmp_path / "data", *INFO, errors=errors) as node:
            run = await node.start("room", f"{files}/long.mp4", Loop=True)
            await node.until_state(run, "running")
            with closing(sqlite3.connect(tmp_path / "data" / "sluice.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                node.process.terminate()
                async with asyncio.timeout(15):
                    assert await node.handle.wait() == 0
    why, lost = troubles(log)
    assert (why["event"], why["why"]) == ("the store takes no changes", "database is locked")
    assert lost["event"] == "what happened in rooms was not told"
