"""What benchmarks of a whole node share: viewers over WHEP, and the programs that stand beside it.

The node itself is started as the acceptance tests do it, as a process of its own.
"""

import asyncio
import subprocess

import aiohttp

from benchmarks.peers import Receivers
from tests.acceptance.node import ServedNode

HOST = "127.0.0.1"
#: The user that `ServedNode.start` publishes as.
SOURCE = "source"
_CONNECT_DEADLINE_S = 30.0


async def watch(node: ServedNode, receivers: Receivers, number: int, room: str) -> None:
    """Receiver `number` joins the room to watch its source, whether that is there or not."""
    headers = {
        "Authorization": f"Bearer {node.token(room, f'viewer-{number}')}",
        "Content-Type": "application/sdp",
    }
    url = node.whep_url(room, SOURCE)
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=receivers.offers[number], headers=headers) as response,
    ):
        answer = await response.text()
        if response.status != 201:
            raise RuntimeError(f"a viewer was refused with {response.status}: {answer}")
    receivers.connect(number, answer)


async def until_connected(receivers: Receivers, count: int) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(_CONNECT_DEADLINE_S):
        while receivers.count().connected < count:
            await asyncio.sleep(0.02)


def ffmpeg_version() -> str:
    """The first line of what the system's ffmpeg says of itself, without the copyright."""
    output = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout
    return output.split(" Copyright")[0]
