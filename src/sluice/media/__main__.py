"""The media process: runs the sessions that the node places here.

Configuration (see process.supervisor.ChildSpec): allow_networks, most_mb.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import av.logging
import structlog

from sluice.core.addresses import AddressPolicy
from sluice.core.figures import BYTES_IN, CALLS_WAITING, SESSIONS, THREADS_BUSY, Values
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_MEDIA_MB, MOST_OPENING_THREADS, MOST_PLAYING_THREADS
from sluice.core.tasks import Kind
from sluice.media.allocations import (
    bound_allocations,
    bound_memory,
    bound_threads,
    freeze_imports,
    give_back,
    share_heaps,
)
from sluice.media.context import MediaContext
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import Pacer
from sluice.media.probe import Probes
from sluice.media.push.session import pushes
from sluice.media.relay.session import relays
from sluice.media.session import Controllable, Session
from sluice.media.speed import measure_speed
from sluice.media.threads import Threads
from sluice.net.dial import Dialer
from sluice.process.channel import Channel
from sluice.process.child import run_child
from sluice.process.control import (
    Accepted,
    AskSpeed,
    ControlSession,
    Done,
    Finished,
    Message,
    ProbeJob,
    PushJob,
    Ready,
    Refused,
    RelayJob,
    Relieve,
    Speed,
    StartPush,
    StartSession,
    StopSession,
    UpdateSession,
)
from sluice.process.owned import own, watch
from sluice.process.stats import tell_stats

log = structlog.get_logger()

#: Which message begins a session, and what makes such sessions. A new kind is a folder beside `relay` and
#: `push`, and a row here.
_KINDS: dict[type[Any], Callable[[MediaContext], Callable[[Any], Session]]] = {
    StartSession: relays,
    StartPush: pushes,
}
#: From the end of a session or probe to the giving back of its memory, and of that of others which end
#: meanwhile.
_GIVE_BACK_S = 2.0


class MediaProcess:
    def __init__(
        self, config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._channel = Channel(
            reader, writer, on_notice=self._on_notice, on_request=self._on_request, beside=(ProbeJob,)
        )
        self._sessions: dict[str, tuple[Session, asyncio.Task[None]]] = {}
        self._pools = {
            "playing": Threads(MOST_PLAYING_THREADS, "playing"),
            "opening": Threads(MOST_OPENING_THREADS, "opening"),
        }
        self._context = MediaContext(
            dialer=Dialer(AddressPolicy(config["allow_networks"])),
            links=FrameLinks(),
            pacer=Pacer(),
            executor=self._pools["playing"],
            opening=self._pools["opening"],
            report=self._channel.notify,
        )
        self._make = {message: kind(self._context) for message, kind in _KINDS.items()}
        self._probes = Probes(self._context, self._give_back_soon)
        self._most_mb = _most_mb(config)
        self._giving_back: asyncio.TimerHandle | None = None
        watch("the pacer", self._context.pacer.stands_still)

    async def run(self) -> None:
        self._channel.notify(Ready())
        tell_stats(self._channel.notify, self._figures, self._context.drops)
        await self._channel.run()
        for session, _ in list(self._sessions.values()):
            session.stop(Reason.SERVER_SHUTDOWN)
        if self._sessions:
            await asyncio.wait([task for _, task in self._sessions.values()], timeout=2)

    def _figures(self) -> tuple[Values, Values]:
        context = self._context
        received = {"source": context.dialer.received.total, "room": context.links.received}
        kinds = Counter(session.kind for session, _ in self._sessions.values())
        return {**context.tally.values, BYTES_IN.name: received}, {
            SESSIONS.name: {kind.value: kinds[kind] for kind in Kind},
            THREADS_BUSY.name: {name: pool.busy for name, pool in self._pools.items()},
            CALLS_WAITING.name: {name: pool.waiting for name, pool in self._pools.items()},
        }

    def _on_notice(self, message: Message) -> None:
        if (make := self._make.get(type(message))) is not None:
            self._start(message.job, make)  # type: ignore[union-attr]  # whatever begins a session has one
        elif isinstance(message, UpdateSession):
            session = self._session(message.job.run_id)
            if isinstance(session, Controllable):
                session.update(message.job)
        elif isinstance(message, Relieve):
            self._context.relief.shown = message.shown
        elif isinstance(message, StopSession) and (session := self._session(message.run_id)) is not None:
            session.stop()

    async def _on_request(self, message: Message) -> Message:
        if isinstance(message, ProbeJob):
            return await self._probes.answer(message)
        if isinstance(message, AskSpeed):
            loop = asyncio.get_running_loop()
            return Speed(took_s=await loop.run_in_executor(self._context.opening, measure_speed))
        if not isinstance(message, ControlSession):
            return Refused(field="request", why=f"a media process does not answer {message.type}")
        session = self._session(message.run_id)
        if not isinstance(session, Controllable):
            return Done(found=False)
        return await session.control(message) or Done(found=True)

    def _session(self, run_id: str) -> Session | None:
        session, _ = self._sessions.get(run_id, (None, None))
        return session

    def _start(self, job: RelayJob | PushJob, make: Callable[[Any], Session]) -> None:
        run_id = job.run_id
        if run_id in self._sessions:
            return
        self._channel.notify(Accepted(run_id=run_id))
        session = make(job)
        task = own(session.run(), run_id, vital=False)
        self._sessions[run_id] = (session, task)
        task.add_done_callback(lambda task: self._end(run_id, task))

    def _end(self, run_id: str, task: asyncio.Task[None]) -> None:
        """The session has reported its end, unless an error ended it."""
        session, _ = self._sessions.pop(run_id)
        self._give_back_soon()
        if task.cancelled() or (error := task.exception()) is None:
            return
        reason, text = Reason.INTERNAL_ERROR, Reason.INTERNAL_ERROR.text
        if isinstance(error, MemoryError):
            if self._sessions:  # one of them took it: the node finds out which, so that the others go on
                log.error("x media process", why="no memory is left", most_mb=self._most_mb)
                os._exit(1)
            reason = Reason.SOURCE_UNSUPPORTED
            text = f"it needs more than the {self._most_mb} MB of memory that a media process may have"
        session.stop(reason)
        self._channel.notify(Finished(run_id=run_id, reason=reason.code, text=text))

    def _give_back_soon(self) -> None:
        if self._giving_back is None:
            loop = asyncio.get_running_loop()
            self._giving_back = loop.call_later(_GIVE_BACK_S, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        self._context.executor.submit(give_back)


def _most_mb(config: dict[str, Any]) -> int:
    return int(config.get("most_mb", MOST_MEDIA_MB))


async def _main(config: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # FFmpeg's own messages would take the interpreter lock from its threads and name no session.
    av.logging.set_level(None)
    share_heaps()
    bound_allocations()
    bound_threads()
    bound_memory(_most_mb(config))
    freeze_imports()
    await MediaProcess(config, reader, writer).run()


if __name__ == "__main__":
    run_child(_main)
