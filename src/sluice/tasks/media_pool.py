"""Where sessions run: the pool of this node's media processes, and processes apart for the sessions of one
that died (core.blame says who goes there).

The pool stays as it is; those apart are started when they are needed, are bounded in number, and end with
their last session. One is kept in reserve, so that most of those who have just lost their process need not
wait for the start of another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace

import structlog

from sluice.core.figures import Ledger
from sluice.process.channel import ChannelClosed
from sluice.process.control import AskSpeed, Message, Speed
from sluice.process.owned import own
from sluice.process.supervisor import ChildSpec, StartFailed, Supervised

log = structlog.get_logger()

#: The one in reserve is started when so much time has passed without another need: what waits comes first.
_CALM_S = 5.0
_LONGEST_WAIT_S = 3.0
#: A process that works for so long without answering has a session that keeps it from all others.
_SPINS_S = 5.0


class MediaPool:
    """`most_apart` bounds those apart: twenty sessions are divided with six. `on_notice`, `on_ready`,
    `on_death`, `on_silence` and `on_failure` (one apart does not start) are the tasks' (see tasks.service);
    set before `start`. `ledger` gets the figures of the processes."""

    def __init__(self, specs: list[ChildSpec], most_apart: int = 8, ledger: Ledger | None = None) -> None:
        self.on_notice: Callable[[Supervised, Message], None] = lambda process, message: None
        self.on_ready: Callable[[Supervised], None] = lambda process: None
        self.on_death: Callable[[Supervised], None] = lambda process: None
        self.on_silence: Callable[[Supervised, bool], None] = lambda process, silent: None
        self.on_failure: Callable[[Supervised], None] = lambda process: None
        self._ledger = ledger
        self._pool = [self._supervised(spec, self._until_begun) for spec in specs]
        self._model = specs[0]
        self._most_apart = most_apart
        self._apart: list[Supervised] = []
        self._reserve: Supervised | None = None  #: one of those apart that nobody has
        self._made = self._beginning = 0
        self._begun = asyncio.Event()  #: all of those apart
        self._wanted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await asyncio.gather(*(process.start() for process in self._pool))
        self._wanted.set()
        self._keeper = own(self._keep_reserve(), "the reserve of media processes")

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        processes = self.processes
        self._apart.clear()  # the end of one that is starting is no failure
        await asyncio.gather(*(process.stop() for process in processes))

    @property
    def processes(self) -> tuple[Supervised, ...]:
        return (*self._pool, *self._apart)

    @property
    def pool(self) -> tuple[Supervised, ...]:
        """Those that are always there."""
        return tuple(self._pool)

    def least_loaded(
        self, cores: Mapping[Supervised, float], avoided: Collection[Supervised] = ()
    ) -> Supervised | None:
        """The living process of the pool whose sessions take the fewest cores, one that is silent or to be
        avoided only where there is no other; None when none lives."""
        living = [process for process in self._pool if process.ready is not None]
        return min(living, key=lambda one: (one.silent, one in avoided, cores.get(one, 0.0)), default=None)

    async def speed_s(self) -> float | None:
        """The CPU time that one of the processes takes for the fixed piece of work; None if it does not
        say."""
        with suppress(ChannelClosed):
            answer = await self._pool[0].request(AskSpeed())
            if isinstance(answer, Speed):
                return answer.took_s
        return None

    def for_strangers(self) -> Supervised | None:
        """Where a source is looked at that nobody plays yet. It may bring its process down, so best is the
        one in reserve. None when none is ready."""
        reserve = self._reserve
        if reserve is not None and reserve.ready is not None:
            return reserve
        # One that has just died, perhaps of a probe, is waited for: others would die in the same way.
        return None if reserve is not None and reserve.restarts else self.least_loaded({})

    # --- processes apart ----------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more may be taken."""
        return self._most_apart - len(self._apart) + (self._reserve is not None)

    def take_apart(self) -> Supervised | None:
        """A process that has no sessions; it may still be starting. None at the bound."""
        self._wanted.set()
        taken, self._reserve = self._reserve, None
        if taken is None and len(self._apart) < self._most_apart:
            taken = self._begin()
        return taken

    def release(self, process: Supervised) -> bool:
        """One apart ends, with what it still has; False for one of the pool, which does not."""
        if process not in self._apart:
            return False
        self._apart.remove(process)
        if process is self._reserve:  # it does not start: the next need is soon enough for another try
            self._reserve = None
        process.retire()
        own(process.stop(), f"the end of {process.spec.name}", vital=False)
        return True

    def _begin(self) -> Supervised:
        self._made += 1
        process = self._supervised(replace(self._model, name=f"media-apart-{self._made}"))
        self._apart.append(process)
        self._beginning += 1
        self._begun.clear()
        own(self._start(process), f"the start of {process.spec.name}", vital=False)
        return process

    async def _start(self, process: Supervised) -> None:
        try:
            await process.start()
        except StartFailed as error:
            if self.release(process):  # it was not ended meanwhile
                log.error("a media process apart does not start", child=process.spec.name, why=str(error))
                self.on_failure(process)
        finally:
            self._beginning -= 1
            if not self._beginning:
                self._begun.set()

    async def _until_begun(self) -> None:
        """Sessions wait for those apart, and for the pool's next life nobody does."""
        if self._beginning:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._begun.wait(), _LONGEST_WAIT_S)

    async def _keep_reserve(self) -> None:
        while True:
            await self._wanted.wait()
            while self._wanted.is_set():
                self._wanted.clear()
                await asyncio.sleep(_CALM_S)
            if self._reserve is None and len(self._apart) < self._most_apart:
                self._reserve = self._begin()

    def _supervised(
        self, spec: ChildSpec, until_next: Callable[[], Awaitable[object]] | None = None
    ) -> Supervised:
        return Supervised(
            spec,
            on_notice=lambda process, message: self.on_notice(process, message),
            on_ready=lambda process: self.on_ready(process),
            on_death=lambda process: self.on_death(process),
            on_silence=lambda process, silent: self.on_silence(process, silent),
            until_next=until_next,
            spins_s=_SPINS_S,
            ledger=self._ledger,
        )
