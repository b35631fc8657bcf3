"""A node as people start it, and the calls that the tests make."""

import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import psutil

from sluice.client import Client
from sluice.core.apps import AccessKey, App
from sluice.store.credentials_file import Credentials, read_credentials
from sluice.wire.token import Grant, Privilege, make

_DEADLINE_S = 30.0
_POLL_S = 0.1


@dataclass
class ServedNode:
    """`process` is the node's; rooms and media are its children. `handle` tells how it ended. `data` is its
    folder. Metrics need no token at `metrics_url`."""

    url: str
    credentials: Credentials
    client: Client
    process: psutil.Process
    handle: asyncio.subprocess.Process
    data: Path
    metrics_url: str | None = None

    def token(self, room: str, user: str, *, publish: bool = False, subscribe: bool = True) -> str:
        now = int(time.time())
        wanted = {Privilege.PUBLISH: publish, Privilege.SUBSCRIBE: subscribe}
        grant = Grant(room, user, now, now + 3600, {key: 0 for key, given in wanted.items() if given})
        return make(App(self.credentials.app_id, self.credentials.app_key), grant)

    def page_url(self, room: str, user: str = "", *, publish: bool = False) -> str:
        token = self.token(room, user or f"viewer-{uuid.uuid4().hex[:6]}", publish=publish)
        fragment = urlencode({"app": self.credentials.app_id, "room": room, "token": token})
        return f"{self.url}/room#{fragment}"

    def whep_url(self, room: str, user: str) -> str:
        return f"{self.url}/whep/{self.credentials.app_id}/{room}/{user}"

    async def call(self, action: str, **params: Any) -> dict[str, Any]:
        """Raises CallFailed with the envelope of a refusal."""
        version = params.pop("version", "2023-11-01")
        document = {"AppId": self.credentials.app_id, **params}
        return await asyncio.to_thread(self.client.call, action, version, document, time.time())

    async def start(self, room: str, url: str, *, max_idle: int = 60, **control: Any) -> str:
        """Starts a relay in mode 1; the id of its run."""
        task_id = f"task-{uuid.uuid4().hex[:8]}"
        await self.call(
            "StartRelayStream",
            RoomId=room,
            TaskId=task_id,
            UserId="source",
            Token=self.token(room, "source", publish=True, subscribe=False),
            MaxIdleTime=max_idle,
            Control={"StreamUrl": url, "StreamMode": 1, **control},
        )
        return await self.run_of(task_id)

    async def run_of(self, task_id: str) -> str:
        documents = await asyncio.to_thread(self.client.native, "GET", "/tasks?limit=1000")
        return next(str(task["id"]) for task in documents["tasks"] if task["task_id"] == task_id)

    async def task(self, run_id: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.client.native, "GET", f"/tasks/{run_id}")

    async def client_stop(self, run_id: str) -> None:
        await asyncio.to_thread(self.client.native, "POST", f"/tasks/{run_id}/stop")

    async def until(self, run_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The task's document as soon as it is as wanted; the last one seen is in the error."""
        deadline = time.monotonic() + _DEADLINE_S
        while not wanted(document := await self.task(run_id)):
            assert time.monotonic() < deadline, f"the task is {document}"
            await asyncio.sleep(_POLL_S)
        return document

    async def until_state(self, run_id: str, state: str) -> dict[str, Any]:
        return await self.until(run_id, lambda document: document["state"] == state)

    def children(self, module: str) -> list[psutil.Process]:
        """Those that live."""
        found = []
        for child in self.process.children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one, too
                if module in child.cmdline():
                    found.append(child)
        return found


@asynccontextmanager
async def serve_node(data: Path, *flags: str, errors: IO[bytes] | None = None) -> AsyncIterator[ServedNode]:
    """`sluice serve` on free loopback ports with a data folder of its own; `errors` gets its log. It takes as
    many tasks as are asked for, unless a flag says otherwise: tests run on machines of any size."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sluice", "serve", "--data", str(data), "--listen", "127.0.0.1:0"),
        *("--media-port", "0", "--allow-networks", "127.0.0.0/8", "--log-level", "warning"),
        *("--capacity", "off", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
    )
    assert process.stdout is not None
    try:
        url, metrics_url = await asyncio.wait_for(_urls(process.stdout), _DEADLINE_S)
        credentials = read_credentials(data)
        key = AccessKey(credentials.access_key, credentials.secret_key, frozenset())
        client = Client(url, key, credentials.admin_token)
        node = psutil.Process(process.pid)
        yield ServedNode(url, credentials, client, node, process, data, metrics_url)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), _DEADLINE_S)


async def _urls(output: asyncio.StreamReader) -> tuple[str, str | None]:
    """The node's, and that of its metrics."""
    metrics_url = None
    while line := await output.readline():
        text = line.decode()
        if text.startswith("Metrics "):
            metrics_url = text.split(" at ")[1].strip()
        if " serves at " in text:
            return text.split(" serves at ")[1].strip(), metrics_url
    raise AssertionError("the node ended before it served")
