"""The courier of one destination: it delivers what is due, notes the outcome, and waits for more.

Couriers share only the slots, so that a dead receiver costs the others nothing. The store is the truth: a
courier asks it what may be tried, and keeps nothing. A receiver that lets a delivery time out is silent:
until it answers it gets one delivery at a time, in a slot that is only for silent receivers.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from sluice.callbacks.forms.form import Form, NobodyRegistered, Post
from sluice.core.callbacks import Registration
from sluice.core.http_url import HttpUrl
from sluice.core.limits import (
    MOST_DELIVERIES_OF_AN_APP,
    MOST_DELIVERIES_TO_A_HOST,
    MOST_DELIVERIES_TO_SILENT,
)
from sluice.core.tasks import Dialect
from sluice.net.post import Poster, PostFailed
from sluice.net.slots import Slots
from sluice.process.owned import own
from sluice.store.errors import StoreTrouble
from sluice.store.outbox import OutboxEntry, give_up, heads, note_delivered, note_failed
from sluice.store.registrations import find_at
from sluice.store.thread import Store

log = structlog.get_logger()

#: Deliveries to this destination at once.
MOST_AT_ONCE = 16
#: The store is asked again after this time at the latest, since clocks jump and wakeups get lost.
_LONGEST_REST_S = 60.0
_PAUSE_AFTER_TROUBLE_S = 1.0
#: After so many failures in a row there is a line in the log.
_FAILURES_TOLD = 3


@dataclass(frozen=True, slots=True)
class Tools:
    """What all couriers work with. `clock` tells Unix seconds."""

    store: Store
    poster: Poster
    slots: Slots
    forms: Mapping[Dialect, Form]
    clock: Callable[[], float]


class Courier:
    def __init__(self, destination: str, tools: Tools) -> None:
        self._destination = destination
        self._tools = tools
        self._woken = asyncio.Event()
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._ended: set[int] = (
            set()
        )  #: ended since the store was last asked, whose answer is out of date for them
        self._silent = False
        self._failures = 0  #: in a row
        self.quiet = asyncio.Event()  #: nothing is being delivered, and nothing is due that could be

    def wake(self) -> None:
        """Something has changed for this destination."""
        self.quiet.clear()
        self._woken.set()

    async def run(self) -> None:
        """Returns when nothing waits any more."""
        try:
            while await self._step():
                pass
        finally:
            self.quiet.set()
            for delivery in self._busy.values():
                delivery.cancel()
            if self._busy:
                await asyncio.wait(self._busy.values())

    async def _step(self) -> bool:
        """Looks at the store, begins what is due, and rests until there may be more. False at the end."""
        self._woken.clear()
        self._ended.clear()
        try:
            registration, entries = await self._tools.store.run(self._look)
        except Exception as error:  # root of a courier: the next look may be better
            if not isinstance(error, StoreTrouble):  # which the store says
                log.exception("callbacks cannot be read", destination=self._destination)
            self.quiet.set()
            await asyncio.sleep(_PAUSE_AFTER_TROUBLE_S)
            return True
        if not entries and not self._busy and not self._woken.is_set():
            return False
        await self._rest(self._begin(registration, entries))
        return True

    def _look(self, conn: Connection) -> tuple[Registration | None, list[OutboxEntry]]:
        # Those that are being delivered are among them.
        return find_at(conn, self._destination), heads(conn, self._destination, 2 * MOST_AT_ONCE)

    def _begin(self, registration: Registration | None, entries: list[OutboxEntry]) -> float:
        """Starts what is due, as far as there is room. Returns the seconds until the next one is due."""
        now = self._tools.clock()
        for entry in entries:
            if entry.id in self._busy or entry.id in self._ended:
                continue
            if len(self._busy) >= (1 if self._silent else MOST_AT_ONCE):
                break  # the end of a delivery wakes us
            if entry.next_at is not None and entry.next_at > now:
                return entry.next_at - now
            self._busy[entry.id] = own(
                self._deliver(entry, registration), f"the delivery of {entry.event_id}", vital=False
            )
        return _LONGEST_REST_S

    async def _rest(self, seconds: float) -> None:
        if not self._busy and not self._woken.is_set():
            self.quiet.set()
        try:
            async with asyncio.timeout(min(seconds, _LONGEST_REST_S)):
                await self._woken.wait()
        except TimeoutError:
            return

    # --- one delivery -------------------------------------------------------------------------------------

    async def _deliver(self, entry: OutboxEntry, registration: Registration | None) -> None:
        try:
            await self._try(entry, registration)
        except Exception as error:  # root of a delivery: what came of it is not noted, so it is tried again
            if not isinstance(error, StoreTrouble):
                log.exception("the end of a callback was not noted", event_id=entry.event_id)
            await asyncio.sleep(_PAUSE_AFTER_TROUBLE_S)
        finally:
            del self._busy[entry.id]
            self._ended.add(entry.id)
            self.wake()

    async def _try(self, entry: OutboxEntry, registration: Registration | None) -> None:
        form = self._tools.forms[entry.dialect]
        began_at = self._tools.clock()
        error, hopeless = "", False
        try:
            post = form.render(entry, registration)
            # In this order: waiting for the slots of silent receivers, or of an app, blocks nobody else.
            shares = {"silent": MOST_DELIVERIES_TO_SILENT} if self._silent else {}
            shares[f"app {entry.app_id}"] = MOST_DELIVERIES_OF_AN_APP
            shares[f"host {_host(post.url)}"] = MOST_DELIVERIES_TO_A_HOST
            async with self._tools.slots.take(shares):
                began_at = self._tools.clock()
                await self._post(post)
        except (NobodyRegistered, PostFailed) as failure:
            error, hopeless = str(failure), not failure.transient
        except Exception:  # a fault of ours is tried again like one of the receiver
            log.exception("a callback could not be made", event_id=entry.event_id)
            error = "internal error; the log of the node tells more"
        ended_at = self._tools.clock()
        if not error:
            await self._tools.store.run(lambda conn: note_delivered(conn, entry, began_at, ended_at))
            return
        first_at = began_at if entry.first_at is None else entry.first_at
        again_at = form.retry.next_at(entry.attempts + 1, first_at, began_at, ended_at)
        if hopeless or again_at is None:
            await self._give_up(entry, began_at, error)
            return
        await self._tools.store.run(lambda conn: note_failed(conn, entry, began_at, error, again_at=again_at))

    async def _post(self, post: Post) -> None:
        """Raises PostFailed. Notes whether the receiver answers; the log has changes, not each try."""
        try:
            await self._tools.poster.post(post.url, post.headers, post.body)
        except PostFailed as failure:
            self._silent = failure.silent
            self._failures += 1
            if self._failures == _FAILURES_TOLD:
                why, host = str(failure), _host(post.url)
                log.warning("callbacks do not arrive", destination=self._destination, host=host, why=why)
            raise
        if self._failures >= _FAILURES_TOLD:
            log.info("callbacks arrive again", destination=self._destination, host=_host(post.url))
        self._silent, self._failures = False, 0

    async def _give_up(self, entry: OutboxEntry, began_at: float, error: str) -> None:
        now = self._tools.clock()
        dead = await self._tools.store.run(lambda conn: give_up(conn, entry, began_at, error, now))
        log.warning("x callback", event_id=entry.event_id, app_id=entry.app_id, why=error, dead=dead)


def _host(url: str) -> str:
    """Name and port, since two services may share an address. Empty for a text that is no address."""
    try:
        return HttpUrl.parse(url).authority
    except ValueError:
        return ""
