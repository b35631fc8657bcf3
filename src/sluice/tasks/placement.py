"""Where sessions run: the media processes of this node, the least loaded first."""

import asyncio
from collections.abc import Callable

from sluice.process.control import Message
from sluice.process.supervisor import ChildSpec, Supervised


class MediaProcesses:
    """`on_notice`, `on_ready` and `on_death` are the tasks' (see tasks.service); set before `start`."""

    def __init__(self, specs: list[ChildSpec]) -> None:
        self.on_notice: Callable[[Supervised, Message], None] = lambda process, message: None
        self.on_ready: Callable[[Supervised], None] = lambda process: None
        self.on_death: Callable[[Supervised], None] = lambda process: None
        self._processes = [
            Supervised(
                spec,
                on_notice=lambda process, message: self.on_notice(process, message),
                on_ready=lambda process: self.on_ready(process),
                on_death=lambda process: self.on_death(process),
            )
            for spec in specs
        ]

    async def start(self) -> None:
        await asyncio.gather(*(process.start() for process in self._processes))

    async def stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes))

    @property
    def processes(self) -> tuple[Supervised, ...]:
        return tuple(self._processes)

    def least_loaded(self, sessions: dict[Supervised, int]) -> Supervised | None:
        """The living process with the fewest sessions, None when none lives."""
        living = [process for process in self._processes if process.ready is not None]
        return min(living, key=lambda process: sessions.get(process, 0), default=None)
