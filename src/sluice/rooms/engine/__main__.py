"""The room process: one UDP port for its peers, and one unix socket for the sessions that publish into its
rooms or subscribe to them.

Configuration (see process.supervisor.ChildSpec): host, port, public_ips, link, most_kept_mb,
seats (the fields of SeatLimits).

Whatever runs here has an owner. `run` ends with the first of its tasks that ends, and with its error; then
the process is started again. It is also started again when its timer stands still. What goes wrong with one
peer, room or session ends that one alone (see `engine`).
"""

import asyncio
import datetime
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice.core.drops import DropCounter
from sluice.core.fairness import PEER_SEATS, SeatLimits
from sluice.core.limits import DATAGRAMS_PER_WAKEUP, SPARE_DESCRIPTORS, WAKEUP_S
from sluice.process.channel import Channel
from sluice.process.child import run_child
from sluice.process.control import (
    AskRoom,
    AskRooms,
    AskRoster,
    AskViewers,
    ClosePeer,
    Done,
    Enter,
    Expel,
    HoldUser,
    Leave,
    Message,
    PatchPeer,
    PeerSends,
    Publish,
    Ready,
    Refused,
    Retire,
    Watch,
)
from sluice.process.owned import own, watch
from sluice.process.ports import binding
from sluice.process.stats import tell_stats
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.rooms.engine.engine import Engine
from sluice.rooms.engine.link import FrameLink
from sluice.rooms.engine.socket import MediaSocket

MOST_KEPT_MB = 256
_TIMER_S = 0.1
_STILL_S = 5.0
_DRAIN_S = 0.002


class RoomProcess:
    """Ties the engine to the loop: wait, take one step of the engine, repeat."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Raises BadInput for a port that cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._link_path: str = config["link"]
        Path(self._link_path).unlink(missing_ok=True)  # of the process before this one
        self._drops = DropCounter()
        most_sockets = _allow_many_sockets()
        with binding("media_port", "UDP", config["host"], config["port"]):
            self._socket = MediaSocket(
                config["host"],
                config["port"],
                watch=lambda path: self._loop.add_reader(path.fileno(), self._on_readable, path),
                unwatch=lambda path: self._loop.remove_reader(path.fileno()),
                most_paths=max(0, most_sockets - SPARE_DESCRIPTORS),
                drops=self._drops,
            )
        self._backlog = asyncio.Event()
        self._ticked_at = time.monotonic()
        addresses = config["public_ips"] or [config["host"]]
        self._engine = Engine(
            self._socket,
            DtlsIdentity(datetime.datetime.now(datetime.UTC)),
            [(address, self._socket.port) for address in addresses],
            emit=lambda change: self._channel.notify(change),
            start_drain=self._backlog.set,
            drops=self._drops,
            most_kept_bytes=config.get("most_kept_mb", MOST_KEPT_MB) << 20,
            seats=SeatLimits(*config["seats"]) if "seats" in config else PEER_SEATS,
        )
        self._channel: Channel
        self._answers: dict[type[Message], Callable[[Any], Message]] = {
            Watch: self._engine.watch,
            Publish: self._engine.publish,
            PatchPeer: self._engine.patch_peer,
            PeerSends: self._engine.peer_sends,
            ClosePeer: self._engine.close_peer,
            Enter: self._engine.enter,
            AskRoster: self._engine.roster,
            AskRooms: self._engine.census.rooms,
            AskRoom: self._engine.census.room,
            AskViewers: self._engine.census.viewers,
            Expel: self._engine.expel,
            Retire: self._retire,
        }

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._channel = Channel(reader, writer, on_notice=self._on_notice, on_request=self._on_request)
        server = await self._loop.create_unix_server(
            lambda: FrameLink(self._engine.open_end), self._link_path
        )
        self._loop.add_reader(self._socket.socket.fileno(), self._on_readable, self._socket.socket)
        self._channel.notify(Ready(media_port=self._socket.port))
        tasks = [
            own(self._channel.run(), "control channel"),
            own(self._tick(), "timer of the rooms"),
            own(self._drain(), "backlogs of viewers"),
            tell_stats(self._channel.notify, self._engine.census.figures, self._drops),
        ]
        watch("timer of the rooms", lambda: time.monotonic() - self._ticked_at > _STILL_S)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in tasks:
                task.cancel()
            server.close()
            self._engine.close()
            self._loop.remove_reader(self._socket.socket.fileno())
            self._socket.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TIMER_S)
            self._engine.on_timer()
            self._ticked_at = time.monotonic()

    async def _drain(self) -> None:
        """Sends from backlogs, while there are any."""
        while True:
            await self._backlog.wait()
            last, more = time.monotonic(), True
            while more:
                await asyncio.sleep(_DRAIN_S)
                now = time.monotonic()
                more, last = self._engine.drain(now - last), now
            self._backlog.clear()

    def _on_readable(self, readable: socket.socket) -> None:
        until = time.monotonic() + WAKEUP_S
        for n in range(DATAGRAMS_PER_WAKEUP):
            if n and time.monotonic() > until:
                return  # the others have their turn
            try:
                data, address = readable.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier send; the peer's consent time-out decides
            self._engine.on_datagram(data, address)
            if readable.fileno() < 0:
                return  # that datagram ended the peer, and its path with it

    def _on_notice(self, message: Message) -> None:
        if isinstance(message, Leave):
            self._engine.leave(message)
        elif isinstance(message, HoldUser):
            self._engine.hold(message)
        elif isinstance(message, Retire):
            self._engine.retire(message)

    async def _on_request(self, message: Message) -> Message:
        handle = self._answers.get(type(message))
        if handle is None:
            return Refused(field="request", why=f"a room process does not answer {message.type}")
        answer = handle(message)
        if isinstance(answer, Refused):
            self._engine.census.refuse(answer)
        return answer

    def _retire(self, request: Retire) -> Done:
        self._engine.retire(request)
        return Done(found=True)


def _allow_many_sockets() -> int:
    """Raises the limit of descriptors as far as the system allows, since each peer has a socket; the new
    limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


async def _main(config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await RoomProcess(config).run(reader, writer)


if __name__ == "__main__":
    run_child(_main)
