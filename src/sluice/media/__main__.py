"""The media process: runs the sessions that the node places here.

Configuration (see process.supervisor.ChildSpec): allow_networks, most_mb.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import av.logging
import structlog

from sluice.core.addresses import AddressPolicy
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_MEDIA_MB, MOST_OPENING_THREADS, MOST_PLAYING_THREADS
from sluice.media.allocations import bound_allocations, bound_memory, give_back
from sluice.media.context import MediaContext
from sluice.media.pacer import Pacer
from sluice.media.push.session import Push
from sluice.media.push.tap import Taps
from sluice.media.relay.session import Session
from sluice.media.sink.room import RoomLinks
from sluice.media.threads import Threads
from sluice.net.dial import Dialer
from sluice.process.channel import Channel
from sluice.process.child import run_child
from sluice.process.control import (
    Accepted,
    ControlSession,
    Done,
    Finished,
    Message,
    Ready,
    Refused,
    StartPush,
    StartSession,
    StopSession,
    UpdateSession,
)
from sluice.process.owned import own, watch

log = structlog.get_logger()

#: From the end of a session to giving back its memory, and that of others that end then.
_GIVE_BACK_S = 2.0


class MediaProcess:
    def __init__(
        self, config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._channel = Channel(reader, writer, on_notice=self._on_notice, on_request=self._on_request)
        self._sessions: dict[str, tuple[Session | Push, asyncio.Task[None]]] = {}
        self._context = MediaContext(
            dialer=Dialer(AddressPolicy(config["allow_networks"])),
            links=RoomLinks(),
            pacer=Pacer(),
            executor=Threads(MOST_PLAYING_THREADS, "playing"),
            opening=Threads(MOST_OPENING_THREADS, "opening"),
            report=self._channel.notify,
        )
        self._most_mb = _most_mb(config)
        self._taps = Taps(self._context.pacer)
        self._giving_back: asyncio.TimerHandle | None = None
        watch("the pacer", self._context.pacer.stands_still)

    async def run(self) -> None:
        self._channel.notify(Ready())
        await self._channel.run()
        for session, _ in list(self._sessions.values()):
            session.stop(Reason.SERVER_SHUTDOWN)
        if self._sessions:
            await asyncio.wait([task for _, task in self._sessions.values()], timeout=2)

    def _on_notice(self, message: Message) -> None:
        if isinstance(message, StartSession):
            self._start(message.job.run_id, lambda: Session(message.job, self._context))
        elif isinstance(message, StartPush):
            self._start(message.job.run_id, lambda: Push(message.job, self._context, self._taps))
        elif isinstance(message, UpdateSession) and message.job.run_id in self._sessions:
            session, _ = self._sessions[message.job.run_id]
            if isinstance(session, Session):
                session.update(message.job)
        elif isinstance(message, StopSession) and message.run_id in self._sessions:
            self._sessions[message.run_id][0].stop()

    async def _on_request(self, message: Message) -> Message:
        if not isinstance(message, ControlSession):
            return Refused(field="request", why=f"a media process does not answer {message.type}")
        session, _ = self._sessions.get(message.run_id, (None, None))
        if not isinstance(session, Session):
            return Done(found=False)
        return await session.control(message) or Done(found=True)

    def _start(self, run_id: str, make: Callable[[], Session | Push]) -> None:
        if run_id in self._sessions:
            return
        self._channel.notify(Accepted(run_id=run_id))
        session = make()
        task = own(session.run(), run_id, vital=False)
        self._sessions[run_id] = (session, task)
        task.add_done_callback(lambda task: self._end(run_id, task))

    def _end(self, run_id: str, task: asyncio.Task[None]) -> None:
        """It has reported its end, unless it broke."""
        session, _ = self._sessions.pop(run_id)
        if self._giving_back is None:
            loop = asyncio.get_running_loop()
            self._giving_back = loop.call_later(_GIVE_BACK_S, self._give_back)
        if task.cancelled() or (error := task.exception()) is None:
            return
        reason, text = Reason.INTERNAL_ERROR, Reason.INTERNAL_ERROR.text
        if isinstance(error, MemoryError):
            if self._sessions:  # somebody took it, and not all are to pay: the node divides them
                log.error("x media process", why="no memory is left", most_mb=self._most_mb)
                os._exit(1)
            reason = Reason.SOURCE_UNSUPPORTED
            text = f"it needs more than the {self._most_mb} MB of memory that a media process may have"
        session.stop(reason)
        self._channel.notify(Finished(run_id=run_id, reason=reason.code, text=text))

    def _give_back(self) -> None:
        self._giving_back = None
        self._context.executor.submit(give_back)


def _most_mb(config: dict[str, Any]) -> int:
    return int(config.get("most_mb", MOST_MEDIA_MB))


async def _main(config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # FFmpeg's own messages would take the interpreter lock from its threads and name no session.
    av.logging.set_level(None)
    bound_allocations()
    bound_memory(_most_mb(config))
    await MediaProcess(config, reader, writer).run()


if __name__ == "__main__":
    run_child(_main)
