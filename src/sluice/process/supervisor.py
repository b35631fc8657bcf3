"""Supervision: starts a child process, hands out its control channel, restarts what dies or hangs.

A `Supervised` owns one child at a time. `on_death` is told of a death at once, `on_ready` of the next life. A
child that keeps dying is started again after growing pauses.

A child that says nothing for a few seconds is silent: nobody knows what it does. `on_silence` is told when
that begins and when it ends. A child that stays silent hangs, and is killed. A node that was late itself (it
was stopped, or its machine was) reads what has come before it says so of a child.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from sluice.core.errors import SluiceError
from sluice.core.figures import DEATHS, Ledger
from sluice.process.channel import REQUEST_DEADLINE_S, Channel, ChannelClosed, ChannelSilent
from sluice.process.control import Message, NotStarted, Ready, Stats
from sluice.process.load import cpu_s
from sluice.process.owned import own, part

log = structlog.get_logger()

#: The pause before a start, by the number of deaths in the last minute; the last one stays.
_RESTART_PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_READY_DEADLINE_S = 30.0
#: A start is given up after so many deaths before the child first serves.
_MOST_DEATHS_AT_START = 3
_STOP_DEADLINE_S = 5.0
_PING_PAUSE_S = 2.0
#: Children tell their figures once a second. So many looks in a row at which nothing more has come say that
#: one is silent: of a node that is late, looks are few.
_LOOK_S = 1.0
_SILENT_LOOKS = 3
#: A child whose event loop does not answer for so long hangs, and is killed; its work goes on in the next
#: one. It is far more than a machine under load takes.
_HANG_S = 15.0
#: The part of a core that a child uses while it hangs; a child that waits for its machine gets less.
_BUSY = 0.6
_LATE_S = 0.1


class StartFailed(SluiceError):
    """A child did not come to serve."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """`module` is run with ``python -m``; `config` must be JSON and free of secrets (it is in argv)."""

    name: str
    module: str
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What its figures are summed with: ``room`` of ``room-0``, ``media`` of ``media-apart-3``."""
        return self.name.partition("-")[0]


class Supervised:
    """One child process and its successors. `channel` is None while there is none."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        on_notice: Callable[["Supervised", Message], None],
        on_ready: Callable[["Supervised"], None],
        on_death: Callable[["Supervised"], None],
        on_silence: Callable[["Supervised", bool], None] = lambda process, silent: None,
        until_next: Callable[[], Awaitable[object]] | None = None,
        spins_s: float | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`until_next` returns when the next life may begin. A child hangs, too, when it does not answer for
        `spins_s` and has a core most of that time. `ledger` gets the figures that it tells."""
        self.spec = spec
        self.channel: Channel | None = None
        self.pid: int | None = None
        self.ready: Ready | None = None
        self.silent = False  #: stays so until it is heard again, or its next life is ready
        self.restarts = 0
        self._began_at = self._heard_at = 0.0  #: this life, and the last message; seconds of the loop
        self._on_notice = on_notice
        self._on_ready = on_ready
        self._on_death = on_death
        self._on_silence = on_silence
        self._until_next, self._spins_s = until_next, spins_s
        self._ledger = ledger if ledger is not None else Ledger()
        self._stopping = False
        self._settled = asyncio.Event()  #: the start: it serves, or `_failure` says why not
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def uptime_s(self) -> float | None:
        """How long the present life has lasted."""
        return None if self.pid is None else asyncio.get_running_loop().time() - self._began_at

    def trouble(self) -> str | None:
        """Why it cannot be asked for anything now; None if it can. One that lives is not called dead because
        it is late."""
        if self.pid is None:
            return "it has died, and is started again"
        if self.ready is None:
            return "it is starting"
        if not self.silent:
            return None
        return f"it has told nothing for {asyncio.get_running_loop().time() - self._heard_at:.0f} s"

    async def start(self) -> None:
        """Returns when the child serves. Raises StartFailed: it cannot, or it does not within 30 s."""
        self._task = own(self._supervise(), f"supervise {self.spec.name}")
        self._task.add_done_callback(lambda _: self._settle("it was ended before it served"))
        try:
            await asyncio.wait_for(self._settled.wait(), _READY_DEADLINE_S)
        except TimeoutError:
            self._settle(f"the process {self.spec.name} did not start within {_READY_DEADLINE_S:g} s")
        if self._failure is not None:
            await self.stop()
            raise StartFailed(self._failure)

    def retire(self) -> None:
        """There is no next life; what lives goes on until `stop`."""
        self._stopping = True

    async def stop(self) -> None:
        """Closes the control channel, which ends the child; kills it if it does not go."""
        self._stopping = True
        if self._task is None:
            return
        if self.channel is not None:
            self.channel.close()
        else:  # between two lives
            self._task.cancel()
        done, _ = await asyncio.wait({self._task}, timeout=_STOP_DEADLINE_S)
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def request(self, message: Message, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        """Raises ChannelClosed when the child is not there or does not answer."""
        if self.channel is None or self.ready is None:
            raise ChannelClosed(f"the process {self.spec.name} is not running")
        return await self.channel.request(message, deadline_s=deadline_s)

    def notify(self, message: Message) -> bool:
        """False when the child is not there."""
        if self.channel is None or self.ready is None:
            return False
        self.channel.notify(message)
        return True

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        deaths: list[float] = []
        while not self._stopping:
            deaths = [at for at in deaths if at > loop.time() - 60]
            await asyncio.sleep(_RESTART_PAUSES_S[min(len(deaths), len(_RESTART_PAUSES_S) - 1)])
            try:
                status = await self._live()
            except OSError as error:  # the machine has no descriptor, process or memory left; later it may
                log.error("child process could not be run", child=self.spec.name, why=str(error))
                status = -1
            except Exception:  # root: this life could not begin, or broke us; the next may not
                log.error("child process could not be run", child=self.spec.name, exc_info=True)
                status = -1
            deaths.append(loop.time())
            if not self._stopping:
                self.restarts += 1
                self._ledger.add(self.spec.name, self.spec.kind, DEATHS)
                log.warning("child process died", child=self.spec.name, status=status, deaths=len(deaths))
            if len(deaths) >= _MOST_DEATHS_AT_START:
                self._settle(
                    f"the process {self.spec.name} died {len(deaths)} times before it served; "
                    "its own lines in the log say why"
                )
            self._on_death(self)
            if self._until_next is not None:
                await self._until_next()

    def _settle(self, failure: str | None) -> None:
        """How the start went: the first that is told counts."""
        if not self._settled.is_set():
            self._failure = failure
            self._settled.set()

    async def _live(self) -> int:
        """One life of the child: returns its exit status."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await self._spawn(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            self.channel = Channel(reader, writer, on_notice=self._take)
            self.pid = process.pid
            self._began_at = self._heard_at = asyncio.get_running_loop().time()
            watches = [
                own(self._watch(self.channel, process), f"ping {self.spec.name}"),
                own(self._listen(self.channel), f"listen to {self.spec.name}"),
            ]
            try:
                await self.channel.run()
            finally:
                for watch in watches:
                    watch.cancel()
            return await asyncio.wait_for(process.wait(), _STOP_DEADLINE_S)
        except TimeoutError:
            log.warning("child process does not end, killed", child=self.spec.name)
            _kill(process)
            return await process.wait()
        finally:
            self.channel = self.ready = self.pid = None
            self._ledger.end(self.spec.name)
            if process.returncode is None:
                _kill(process)
                await process.wait()

    async def _watch(self, channel: Channel, process: asyncio.subprocess.Process) -> None:
        """Kills the child when it hangs; the end of its channel is then the end of this life."""
        while True:
            await asyncio.sleep(_PING_PAUSE_S)
            if self.ready is None:
                continue  # imports and first work may take their time; `start` has a deadline of its own
            try:
                trouble = await self._ping(channel, process.pid)
            except ChannelSilent:
                heard = channel.heard
                await asyncio.sleep(_LATE_S)  # it may be we who were late: what has come is read first
                if channel.heard != heard:
                    continue
                log.error("child process hangs, killed", child=self.spec.name)
                _kill(process)
                return
            except ChannelClosed:
                return  # its end is told elsewhere
            if trouble:
                log.error("child process is not well, killed", child=self.spec.name, why=trouble)
                _kill(process)
                return

    async def _listen(self, channel: Channel) -> None:
        """Says when the child falls silent, and when it is heard again."""
        heard = looks = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            looks = looks + 1 if channel.heard == heard and self.ready is not None else 0
            heard = channel.heard
            if not looks or looks == _SILENT_LOOKS:
                self._note_silence(bool(looks))

    def _note_silence(self, silent: bool) -> None:
        if silent is self.silent or self.ready is None:
            return
        self.silent = silent
        if silent:
            log.warning("child process is silent", child=self.spec.name)
        else:
            log.warning("child process is heard again", child=self.spec.name)
        self._on_silence(self, silent)

    async def _ping(self, channel: Channel, pid: int) -> str:
        """Raises ChannelSilent and ChannelClosed."""
        if self._spins_s is None:
            return await channel.ping(deadline_s=_HANG_S)
        asked, used_s = part(channel.ping(deadline_s=_HANG_S), f"a ping of {self.spec.name}"), cpu_s(pid)
        try:
            await asyncio.wait({asked}, timeout=self._spins_s)
            await asyncio.sleep(_LATE_S)  # it may be we who were late: what has come is read first
            if not asked.done() and cpu_s(pid) - used_s > _BUSY * self._spins_s:
                raise ChannelSilent("the process is busy and does not answer")
            return await asked
        finally:
            asked.cancel()

    async def _spawn(self, control_fd: int) -> asyncio.subprocess.Process:
        config = {
            **self.spec.config,
            "name": self.spec.name,
            "parent": os.getpid(),
            "control_fd": control_fd,
        }
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", self.spec.module, json.dumps(config), pass_fds=(control_fd,)
        )

    def _begin(self) -> None:
        try:
            self._on_ready(self)
        except Exception:  # root of a life that we cannot use: the next may do
            log.error("child process could not be run", child=self.spec.name, exc_info=True)
            if self.channel is not None:
                self.channel.close()

    def _take(self, message: Message) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if isinstance(message, Ready):
            self.ready = message
            self._settle(None)
            self._begin()
            self._note_silence(False)
        elif isinstance(message, NotStarted):
            if self._settled.is_set():  # who waits for the start says it otherwise
                log.error("child process cannot start", child=self.spec.name, why=message.why)
            self._settle(message.why)
        elif isinstance(message, Stats):
            self._ledger.tell(self.spec.name, self.spec.kind, message.totals, message.gauges)
        else:
            self._on_notice(self, message)


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # it ended in the same moment
        process.kill()
