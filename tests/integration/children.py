"""Child processes for the tests of supervision, and a parent that a test can kill.

``python -m tests.integration.children CONFIG`` is a child that answers every ClosePeer with its own pid, and
dies of a Leave; with ``parent`` instead of a configuration it supervises one such child and prints its pid.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from sluice.core.errors import BadInput
from sluice.core.ids import PeerId
from sluice.core.rooms import PeerAnswer
from sluice.process.channel import Channel
from sluice.process.child import run_child
from sluice.process.control import Answer, Leave, Message, Ready, Refused
from sluice.process.supervisor import ChildSpec, Supervised

MODULE = "tests.integration.children"


def spec(**config: object) -> ChildSpec:
    return ChildSpec("child", MODULE, {"log_level": "warning", **config})


async def child(config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def answer(message: Message) -> Message:
        if message.type == "close_peer":
            return Answer(answer=PeerAnswer(PeerId(str(os.getpid())), "", ""))
        return Refused(field="request", why=message.type)

    def take(message: Message) -> None:
        if isinstance(message, Leave):
            os.kill(os.getpid(), signal.SIGKILL)

    channel = Channel(reader, writer, on_notice=take, on_request=answer)
    if config.get("stillborn"):
        return
    if "refuses" in config:
        raise BadInput("media_port", config["refuses"])
    if config.get("silent"):
        await channel.run()
    channel.notify(Ready(media_port=7))
    if config.get("spins"):
        asyncio.get_running_loop().call_later(0.1, _spin)
    await channel.run()
    if config.get("stubborn"):
        await asyncio.Event().wait()


def _spin() -> None:
    while True:
        pass


async def parent() -> None:
    supervised = Supervised(
        spec(stubborn=True),
        on_notice=lambda process, message: None,
        on_ready=lambda process: print(process.pid, flush=True),
        on_death=lambda process: None,
    )
    await supervised.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "parent":
        asyncio.run(parent())
    else:
        run_child(child)
