"""Writes what happens in rooms into the outbox, in the order in which it happened.

The changes happen outside the store, so they wait in memory until they are durable: only a few, unless the
store stands still. Beyond CAPACITY they are dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Connection

from sluice.callbacks.presence import Presence
from sluice.core.callbacks import CallbackEvent
from sluice.core.errors import SluiceError
from sluice.core.ids import AppId, RoomId
from sluice.core.rooms import RoomChange
from sluice.process.owned import own
from sluice.store.errors import StoreTrouble
from sluice.store.outbox import enqueue
from sluice.store.thread import Store

log = structlog.get_logger()

CAPACITY = 10_000
_BATCH = 100
_PAUSE_AFTER_TROUBLE_S = 1.0


class RoomEvents:
    """An async context manager that listens to the rooms (rooms.port.RoomListener) while it is open. On
    leaving it tells that everybody left, because the room engine ends with the node."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._presence = Presence()
        self._waiting: deque[CallbackEvent] = deque()
        self._more = asyncio.Event()
        self._dropped = 0
        self._closing = False
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._writer = own(self._write(), "the writer of what happens in rooms")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self.on_loss(lambda app_id, room_id: True)
        if self._writer is not None:
            await self._writer

    def on_change(self, change: RoomChange) -> None:
        self._add(self._presence.handle(change, self._clock()))

    def on_loss(self, lost: Callable[[AppId, RoomId], bool]) -> None:
        """These rooms are gone, with everybody in them."""
        self._add(self._presence.lose(lost, self._clock()))

    def _add(self, events: list[CallbackEvent]) -> None:
        room = max(0, CAPACITY - len(self._waiting))
        if room < len(events):
            self._dropped += len(events) - room
            log.error("what happened in rooms was not told", events=self._dropped, why="too much waits")
        self._waiting.extend(events[:room])
        self._more.set()

    async def _write(self) -> None:
        """Runs until the end. Then it writes what is left, or gives it up when the store fails."""
        while self._waiting or not self._closing:
            await self._more.wait()
            self._more.clear()
            try:
                while self._waiting:
                    await self._write_some()
            except SluiceError as error:
                if self._closing:
                    log.error(
                        "what happened in rooms was not told", events=len(self._waiting), why=str(error)
                    )
                    return
                if not isinstance(error, StoreTrouble):  # which the store says
                    log.error("what happened in rooms cannot be written", why=str(error))
                await asyncio.sleep(_PAUSE_AFTER_TROUBLE_S)
                self._more.set()

    async def _write_some(self) -> None:
        events = [self._waiting[n] for n in range(min(_BATCH, len(self._waiting)))]

        def write(conn: Connection) -> None:
            for event in events:
                enqueue(conn, event)

        await self._store.run(write)
        for _ in events:
            self._waiting.popleft()
