"""What keeps the database from taking changes (a full disk, a lock of another program, …), told once.

Callers get an error with the cause, and nothing of a change that failed is kept. The log has one line when
the trouble begins, with what the operator can do, and one when it is over.
"""

import time

import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

from sluice.store.errors import StoreError, StoreTrouble

log = structlog.get_logger()

#: Primary result codes of SQLite that are no fault of ours (https://sqlite.org/rescode.html), and what can be
#: done about them.
_SPACE = "make room on the disk of the data folder"
_RIGHTS = "look at the rights of the data folder and its files, and at its file system"
_DISK = "look at the disk of the data folder and at the kernel's log"
_ADVICE = {
    5: "another program has locked the database: end it, or wait for it",  # BUSY
    6: "another program has locked the database: end it, or wait for it",  # LOCKED
    7: "give the machine more memory",  # NOMEM
    8: _RIGHTS,  # READONLY
    10: _DISK,  # IOERR
    11: "stop the node and go back to a backup: sluice restore FILE --force",  # CORRUPT
    13: _SPACE,  # FULL
    14: _RIGHTS,  # CANTOPEN
    15: "another program has locked the database: end it, or wait for it",  # PROTOCOL
    # NOTADB
    26: "put it back from a backup (sluice restore FILE --force), or name another folder with --data",
}
_OTHERWISE = "look at the database and the way to it"


def is_trouble(error: Exception) -> bool:
    """Whether the database or the disk is at fault, and not what was asked of it."""
    code = _code(error)
    if code is not None:
        return code in _ADVICE
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def advice_for(error: Exception) -> str:
    code = _code(error)
    return _ADVICE.get(code, _OTHERWISE) if code is not None else _OTHERWISE


def cause_of(error: Exception) -> Exception:
    """The database's own error, which SQLAlchemy wraps."""
    return getattr(error, "orig", None) or error


def failure_of(error: Exception) -> StoreError:
    """What callers are told of a change that was lost by this error."""
    if is_trouble(error):
        failure: StoreError = StoreTrouble(
            f"the store could not do this ({cause_of(error)}); try again in a few seconds"
        )
    else:
        failure = StoreError(f"the database did not take the change: {cause_of(error)}")
    failure.__cause__ = error
    return failure


def _code(error: Exception) -> int | None:
    code = getattr(cause_of(error), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


class StoreHealth:
    """Whether the last change was taken. `why` is None when it was."""

    def __init__(self) -> None:
        self.why: str | None = None
        self._since = 0.0

    @property
    def for_s(self) -> float:
        return time.monotonic() - self._since

    def failed(self, error: Exception) -> None:
        why = str(cause_of(error))
        if self.why is None:
            self._since = time.monotonic()
            log.error("the store takes no changes", why=why, advice=advice_for(error))
        self.why = why

    def works(self) -> None:
        if self.why is not None:
            log.info("the store takes changes again", after_s=round(self.for_s, 1))
        self.why = None
