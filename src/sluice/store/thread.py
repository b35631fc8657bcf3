"""The store's thread: transactions are plain functions that run there, and those that wait share a commit.

A shared commit is one BEGIN..COMMIT with a SAVEPOINT around each function, so that a function that raises
undoes only its own work. A caller gets its result only after the COMMIT: what `run` returned is durable.
SQLite runs in WAL mode with synchronous=FULL. If the database loses a whole transaction by itself (disk full,
connection lost), all its functions fail: a savepoint that is gone is an error. While a commit fails for a
reason outside of sluice, the store tries by itself once a second whether it is over.
"""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from sluice.core.errors import Overloaded
from sluice.core.limits import LEAST_FREE_BYTES
from sluice.process.owned import own
from sluice.store.errors import StoreError, StoreTrouble
from sluice.store.migrate import migrate
from sluice.store.trouble import StoreHealth, advice_for, cause_of, failure_of, is_trouble

log = structlog.get_logger()

_T = TypeVar("_T")

#: Functions that may wait or run before `run` refuses more.
CAPACITY = 10_000
#: At most so many functions share a commit; this bounds how long the first waits for the last.
BATCH = 256
#: The key under which a connection keeps the wakeups of its transaction.
WAKEUPS = "sluice.wakeups"
DATABASE_NAME = "sluice.db"
#: For so long a database that another program has locked is waited for; at the end of a node less long.
_BUSY_MS, _HURRIED_MS = 5000, 500
_LOOK_AGAIN_S = 1.0
_TOUCH = text("UPDATE alembic_version SET version_num = version_num")


def sqlite_url(data: Path) -> URL:
    """The embedded database of a data folder."""
    return URL.create("sqlite", database=str(data / DATABASE_NAME))


@dataclass(slots=True)
class _Job:
    """`result` and `error` belong to the thread until the commit, to the event loop afterwards."""

    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        if self.future.done():  # its caller was cancelled
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


def wakeup(conn: Connection, topic: str) -> None:
    """To be called in a transaction: `Store.on_wakeup` gets the topic once the transaction is durable.

    A wakeup may also come from a function that failed; whoever is woken looks for himself.
    """
    conn.info.setdefault(WAKEUPS, set()).add(topic)


class Store:
    """Opens and migrates the database on entering; on leaving, waiting functions are still run."""

    def __init__(self, url: URL | str, *, capacity: int = CAPACITY, batch: int = BATCH) -> None:
        self._url = make_url(url)
        self._capacity = capacity
        self._batch = batch
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._jobs: deque[_Job] = deque()
        self._running = 0
        self._pump: asyncio.Task[None] | None = None
        self._open = False
        self._health = StoreHealth()
        self._watch: asyncio.Task[None] | None = None  #: of a store in trouble
        self._busy_ms = _BUSY_MS
        self.on_wakeup: Callable[[str], None] = lambda topic: None

    async def __aenter__(self) -> Self:
        """Raises StoreError."""
        self._loop = asyncio.get_running_loop()
        try:
            self._engine = await self._loop.run_in_executor(self._thread, _open, self._url)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._watch is not None:
            self._watch.cancel()
        if self._pump is not None:
            await asyncio.wait([self._pump])
        await self._loop.run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=False)

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """What `work` returned, once that is durable. An error of `work` undoes it and is raised here.

        `work` runs even if the caller is cancelled meanwhile. Raises Overloaded when too much waits,
        StoreTrouble when the database could not take it, StoreError when the store is closed.
        """
        if not self._open:
            raise StoreError("the store is closed; start sluice again")
        if len(self._jobs) + self._running >= self._capacity:
            raise Overloaded(f"{self._capacity} changes wait for the database; try again in a few seconds")
        future: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.append(_Job(work, future))
        if self._pump is None:
            self._pump = own(self._drain(), "the pump of the store")
        return await future

    def trouble(self) -> str | None:
        """Why it takes no changes, or soon will not, for people; None when all is well."""
        if self._health.why is not None:
            return f"the store has taken no changes for {self._health.for_s:.0f} s: {self._health.why}"
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            return None
        folder = Path(self._url.database).parent
        free = shutil.disk_usage(folder).free
        return f"the disk of {folder} has {free >> 20} MB left" if free < LEAST_FREE_BYTES else None

    def hurry(self) -> None:
        """The node is ending: from now on a locked database is hardly waited for."""
        self._busy_ms = _HURRIED_MS

    async def _drain(self) -> None:
        try:
            while self._jobs:
                if not self._open and self._health.why is not None:
                    self._give_up()
                else:
                    await self._drain_some()
        finally:
            self._pump = None

    async def _drain_some(self) -> None:
        batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), self._batch))]
        self._running = len(batch)
        wakeups: set[str] = set()
        try:
            wakeups = await self._loop.run_in_executor(
                self._thread, _commit, self._engine, batch, self._busy_ms
            )
        except Exception as error:  # noqa: BLE001 - root of the pump: no caller may wait for ever
            for job in batch:
                job.error = failure_of(error)
            if is_trouble(error):
                self._note_trouble(error)
        self._running = 0
        for job in batch:
            job.settle()
        for topic in wakeups:
            self._wakeup(topic)

    def _note_trouble(self, error: Exception) -> None:
        self._health.failed(error)
        if self._open and (self._watch is None or self._watch.done()):
            self._watch = own(self._look_again(), "the look at a store in trouble", vital=False)

    async def _look_again(self) -> None:
        """Nobody may ask for a change for long, so it is tried with one that changes nothing."""
        while self._health.why is not None:
            await asyncio.sleep(_LOOK_AGAIN_S)
            with suppress(StoreError, Overloaded):
                await self.run(lambda conn: conn.execute(_TOUCH))
                self._health.works()

    def _give_up(self) -> None:
        """It is closed while it takes no changes: what waits is told so at once."""
        while self._jobs:
            job = self._jobs.popleft()
            job.error = StoreTrouble(f"the store takes no changes ({self._health.why}), and is being closed")
            job.settle()

    def _wakeup(self, topic: str) -> None:
        try:
            self.on_wakeup(topic)
        except Exception:  # root of a wakeup: the other wakeups have to arrive nevertheless
            log.error("x wakeup", topic=topic, exc_info=True)


def _commit(engine: Engine, batch: list[_Job], busy_ms: int) -> set[str]:
    """Runs all of `batch` in one transaction; returns its wakeups. Raises if all of it was lost."""
    with engine.connect() as connection:
        # Straight to the driver: SQLAlchemy compiles each savepoint anew, at the cost of two statements.
        driver: Any = connection.connection.driver_connection
        if busy_ms != _BUSY_MS:
            driver.execute(f"PRAGMA busy_timeout={busy_ms}")
        with connection.begin():
            _run_all(driver, connection, batch)
        wakeups: set[str] = connection.info.pop(WAKEUPS, set())
    return wakeups


def _run_all(driver: Any, connection: Connection, batch: list[_Job]) -> None:
    connection.info.pop(WAKEUPS, None)  # of a transaction that was lost
    for job in batch:
        driver.execute("SAVEPOINT job")
        try:
            job.result = job.work(connection)
        except Exception as error:
            if is_trouble(error):  # of all: nothing of this transaction can be kept
                raise
            driver.execute("ROLLBACK TO SAVEPOINT job")
            job.error = error
        driver.execute("RELEASE SAVEPOINT job")


def _open(url: URL) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    what = f"the database {url.database if sqlite else url!r}"
    try:
        if sqlite:
            _make_private_file(Path(url.database or ""))
        engine = create_engine(url)
        if sqlite:
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_immediate)
        migrate(engine, what)
    except (SQLAlchemyError, OSError) as error:
        cause, advice = cause_of(error), advice_for(error)
        raise StoreError(f"{what} cannot be opened: {cause}; {advice}") from error
    return engine


def _make_private_file(path: Path) -> None:
    # The file holds keys and stream URLs. SQLite gives its -wal and -shm files the same rights.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Not the driver but `_begin_immediate` begins transactions (SQLAlchemy, "SQLite transactions").
    connection.isolation_level = None
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails if another process wrote meanwhile.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
