"""The programs of the page about callbacks, one in each language: they take what a node tells and refuse what
others make up.
"""

import asyncio
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from docs.site.pages import ROOT
from tests.acceptance.node import ServedNode
from tests.documents.pages import blocks_of
from tests.documents.run import Session

pytestmark = pytest.mark.anyio

_PAGE = ROOT / "docs" / "en" / "how-to" / "callbacks.md"
_PROGRAMS = {
    "receiver.py": (sys.executable,),
    "receiver.mjs": ("node",),
    "receiver.go": ("go", "run"),
}
_SECRET = "a secret that stands first, in the middle or last"
_DEADLINE_S = 60
_SIGNED = ("EventType", "EventData", "EventTime", "EventId", "Version", "AppId", "Nonce")
#: An event that another secret signed, and what is no event.
_FORGED = (
    json.dumps({**dict.fromkeys(_SIGNED, "x"), "Signature": "00" * 32}).encode(),
    json.dumps(dict.fromkeys(_SIGNED, "x")).encode(),
    b"no JSON",
    b"[]",
)


def test_each_language_has_a_program() -> None:
    assert {block.file for block in blocks_of(_PAGE) if block.file} == set(_PROGRAMS)


@asynccontextmanager
async def _running(name: str, session: Session) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """The program's address, and what it prints."""
    block = next(block for block in blocks_of(_PAGE) if block.file == name)
    await session.run(block)
    process = await asyncio.create_subprocess_exec(
        *_PROGRAMS[name],
        name,
        cwd=session.folder,
        env=os.environ | {"CALLBACK_SECRET": _SECRET},
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    session.owns(process.pid)
    assert process.stdout is not None
    port = int(session.replaced["9000"])
    async with asyncio.timeout(_DEADLINE_S):
        while not await _listens(port):
            assert process.returncode is None, f"{name} ended"
            await asyncio.sleep(0.05)
    yield f"http://127.0.0.1:{port}/", process.stdout
    session.close()
    await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("name", _PROGRAMS)
async def test_a_program_takes_callbacks_of_a_node_alone(
    name: str, node: ServedNode, session: Session, example_com: str
) -> None:
    if shutil.which(_PROGRAMS[name][0]) is None:
        pytest.skip(f"{_PROGRAMS[name][0]} is not installed")
    business = f"business-{uuid.uuid4().hex[:6]}"
    async with _running(name, session) as (url, printed):
        await node.call(
            "CreateCallback",
            version="2020-12-01",
            BusinessId=business,
            URL=url,
            SecretKey=_SECRET,
            EventList=["RelayStreamStateChanged"],
        )
        for forged in _FORGED:
            assert await _posted(url, forged) == 401
        await _relay(node, business, f"{example_com}clip.mp4")
        _, kind, data = (await asyncio.wait_for(printed.readline(), _DEADLINE_S)).decode().split(" ", 2)
    await node.call("DeleteCallback", version="2020-12-01", BusinessId=business)
    assert kind == "RelayStreamStateChanged"
    assert json.loads(data)["RoomId"] == business


async def _relay(node: ServedNode, business: str, url: str) -> None:
    """Starts it and stops it: two events at least."""
    named = {"RoomId": business, "TaskId": "Told"}
    await node.call(
        "StartRelayStream",
        **named,
        BusinessId=business,
        UserId="clip",
        Token=node.token(business, "clip", publish=True),
        Control={"StreamUrl": url, "StreamMode": 1},
    )
    await node.call("StopRelayStream", **named)


async def _posted(url: str, body: bytes) -> int:
    """What the program answers."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        answer = await asyncio.to_thread(urllib.request.urlopen, request, timeout=_DEADLINE_S)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    with answer:
        return int(answer.status)
