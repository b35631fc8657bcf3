"""The callbacks of this node: the registrations, and a courier for each destination with waiting events.

A destination is a registration, or an address that came with tasks. An event is in the outbox before it is
delivered, so a crash loses none. One that was being sent in a crash is sent again, with the same EventId.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Connection

from sluice.callbacks.courier import Courier, Tools
from sluice.callbacks.forms.form import Form
from sluice.core.callbacks import URL_DESTINATIONS, CallbackNotFound, Registration
from sluice.core.errors import SluiceError
from sluice.core.ids import AppId, BusinessId
from sluice.core.limits import MOST_DELIVERIES
from sluice.core.masking import mask_url
from sluice.core.node_figures import CALLBACKS, OLDEST_CALLBACK, Counts, Readings
from sluice.core.tasks import Dialect
from sluice.net.post import Poster
from sluice.net.slots import Slots
from sluice.process.asked import Asked
from sluice.process.owned import own
from sluice.store import registrations
from sluice.store.errors import StoreTrouble
from sluice.store.outbox import (
    DEAD,
    DELIVERED,
    PENDING,
    OutboxEntry,
    count_waiting,
    find_entry,
    list_entries,
    pending_destinations,
    purge,
    replay,
)
from sluice.store.thread import Store

log = structlog.get_logger()

_SWEEP_S = 60.0
#: Couriers of addresses that came with tasks, of which callers may name as many as they like. The couriers of
#: registrations are bounded by the number of registrations.
MOST_OF_TASKS = 1000
_KEEP_S = {DELIVERED: 3600.0, DEAD: 7 * 86400.0}
_PURGE_AT_ONCE = 500
#: How old the figures of the outbox may be, which the store has to count, and how long they are waited for.
_COUNTED_EVERY_S = 5.0
_LONGEST_COUNT_S = 2.0


class CallbackService:
    """Implements callbacks.port.Callbacks. An async context manager: it delivers while it is open."""

    def __init__(
        self,
        store: Store,
        poster: Poster,
        forms: Mapping[Dialect, Form],
        clock: Callable[[], float],
        configured: Iterable[Registration] = (),
        keep_s: float | None = None,
        counts: Counts | None = None,
    ) -> None:
        """`configured` are the registrations of the configuration. Settled events are kept for `keep_s`;
        None: delivered ones for an hour, dead ones for a week."""
        self._store = store
        self._clock = clock
        self._configured = tuple(configured)
        self._keep_s = _KEEP_S if keep_s is None else dict.fromkeys(_KEEP_S, keep_s)
        self._tools = Tools(store, poster, Slots(MOST_DELIVERIES), forms, clock, counts or Counts())
        self._waiting_events = Asked(
            lambda: store.run(count_waiting),
            "the figures of the outbox",
            fresh_s=_COUNTED_EVERY_S,
            patience_s=_LONGEST_COUNT_S,
        )
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None]]] = {}
        self._of_tasks = 0  #: couriers of addresses that came with tasks
        self._waiting = False  #: a courier of such an address was not begun
        self._look = asyncio.Event()  #: set when the sweeper shall look at once
        self._sweeper: asyncio.Task[None] | None = None
        self._flush_until: float | None = None  #: loop time

    async def __aenter__(self) -> Self:
        """Goes on with the events that the last run of the node left. Raises BadInput, StoreError."""
        now = self._clock()
        await self._store.run(lambda conn: registrations.take_config(conn, self._configured, now))
        self._store.on_wakeup = self._wake
        self._sweeper = own(self._sweep(), "the sweeper of callbacks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._flush()  # what happened while the node was ending
        self._store.on_wakeup = lambda topic: None
        work = [task for _, task in self._couriers.values()]
        if self._sweeper is not None:
            work.append(self._sweeper)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    async def flush(self, most_s: float) -> None:
        """Returns when all is delivered that can be at present, or after this time. What is left of it may be
        used at the end, for what happens until then."""
        self._flush_until = asyncio.get_running_loop().time() + most_s
        await self._flush()

    async def _flush(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._flush_until or 0.0):
                while busy := [one for one, _ in self._couriers.values() if not one.quiet.is_set()]:
                    await asyncio.gather(*(courier.quiet.wait() for courier in busy))

    # --- port ---------------------------------------------------------------------------------------------

    async def create(self, registration: Registration) -> None:
        await self._store.run(lambda conn: registrations.create(conn, registration))

    async def change(self, registration: Registration) -> None:
        await self._store.run(lambda conn: registrations.change(conn, registration))

    async def remove(self, app_id: AppId, business_id: BusinessId) -> None:
        await self._store.run(lambda conn: registrations.remove(conn, app_id, business_id))

    async def registrations(self, app_id: AppId) -> list[Registration]:
        return await self._store.run(lambda conn: registrations.list_of(conn, app_id))

    async def list_documents(
        self, status: str | None, *, limit: int, offset: int, begins: str = "", app_id: AppId | None = None
    ) -> list[dict[str, object]]:
        def read(conn: Connection) -> list[dict[str, object]]:
            entries = list_entries(conn, status, limit=limit, offset=offset, begins=begins, app_id=app_id)
            destinations = {entry.destination for entry in entries}
            receivers = {name: registrations.find_at(conn, name) for name in destinations}
            return [_document(entry, receivers[entry.destination]) for entry in entries]

        return await self._store.run(read)

    async def document(self, event_id: str) -> dict[str, object]:
        return await self._store.run(lambda conn: _told(conn, event_id, find_entry(conn, event_id)))

    async def replay(self, event_id: str) -> dict[str, object]:
        now = self._clock()
        return await self._store.run(lambda conn: _told(conn, event_id, replay(conn, event_id, now)))

    async def figures(self) -> Readings:
        """What waits; nothing when the store does not say it in time."""
        try:
            found = await self._waiting_events()
        except (SluiceError, TimeoutError):
            return {}
        age_s = 0.0 if found.oldest_at is None else max(0.0, self._clock() - found.oldest_at)
        return {
            CALLBACKS: {(PENDING,): found.pending, (DEAD,): found.dead},
            OLDEST_CALLBACK: {(): age_s},
        }

    # --- inside -------------------------------------------------------------------------------------------

    def _wake(self, destination: str) -> None:
        known = self._couriers.get(destination)
        if known is not None and not known[1].done():
            known[0].wake()
            return
        if destination.startswith(URL_DESTINATIONS):
            if self._of_tasks >= MOST_OF_TASKS:
                self._waiting = True  # the end of another makes the sweeper find it
                return
            self._of_tasks += 1
        courier = Courier(destination, self._tools)
        task = own(courier.run(), f"the courier to {destination}", vital=False)
        self._couriers[destination] = courier, task
        task.add_done_callback(lambda task: self._on_end(destination, task))

    def _on_end(self, destination: str, task: asyncio.Task[None]) -> None:
        if self._couriers[destination][1] is task:
            del self._couriers[destination]
        if destination.startswith(URL_DESTINATIONS):
            self._of_tasks -= 1
            if self._waiting:
                self._look.set()

    async def _sweep(self) -> None:
        """Finds rows without a wakeup (of the node's last run, of another node), and deletes old ones."""
        while True:
            self._look.clear()
            self._waiting = False
            try:
                for destination in await self._store.run(pending_destinations):
                    self._wake(destination)
                await self._purge()
            except StoreTrouble:
                pass  # the store says it
            except Exception:  # root of the sweeper: the next look may be better
                log.exception("callbacks cannot be read")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_S):
                    await self._look.wait()

    async def _purge(self) -> None:
        for status, keep_s in self._keep_s.items():
            before = self._clock() - keep_s
            while await self._purge_some(status, before) == _PURGE_AT_ONCE:
                pass

    async def _purge_some(self, status: str, before: float) -> int:
        return await self._store.run(lambda conn: purge(conn, status, before, limit=_PURGE_AT_ONCE))


def _told(conn: Connection, event_id: str, entry: OutboxEntry | None) -> dict[str, object]:
    """The native document of the event that was looked for. Raises CallbackNotFound."""
    if entry is None:
        raise CallbackNotFound(f"there is no event {event_id}; delivered ones are kept for a time")
    return _document(entry, registrations.find_at(conn, entry.destination))


def _document(entry: OutboxEntry, receiver: Registration | None) -> dict[str, object]:
    """The native document. `order` is shared by the events that are told in order."""
    url = entry.data.get("callback_url") if receiver is None else receiver.url
    return {
        "event_id": entry.event_id,
        "app_id": entry.app_id,
        "event": entry.kind.value,
        "room_id": entry.data.get("room_id"),
        "task_id": entry.data.get("task_id"),
        "user_id": entry.data.get("user_id"),
        "state": entry.status,
        "url": None if url is None else mask_url(url),
        "order": entry.order_key,
        "attempts": entry.attempts,
        "last_error": entry.last_error,
        "created_at": entry.created_at,
        "first_at": entry.first_at,
        "next_at": entry.next_at,
        "settled_at": entry.settled_at,
    }
