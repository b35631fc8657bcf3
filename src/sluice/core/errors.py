"""Errors of the core. What follows from an error is decided by three things:

* its class decides the status and the code that a caller is told, in one table of each dialect;
* its culprit decides whether the log shows it as a defect of ours, with the trace;
* `transient` decides whether we try again. The culprit says so, unless an error knows better.

SluiceError
├── BadInput           the caller sent something outside the contract
├── NotFound           the caller named something that does not exist
│   └── TaskNotFound   … a task that is not live
├── NotNow             the thing is in a state in which this cannot be done
├── AccessRefused      a token or key does not allow this
├── SourceError        the source (or the way to it) failed
├── DestinationError   the CDN (or the way to it) failed
├── RoomError          the room's process is not there, or lost something
├── Unavailable        we do not take this now; it is over by itself
│   └── Draining       … since the node is being stopped
└── Overloaded         we have no room for this now
    ├── NoCapacity     … the machine cannot carry this task beside the others
    └── LimitReached   … no more of it is allowed at once
        └── TooManyBans
"""

from enum import Enum

from sluice.core.lifecycle import Reason


class Culprit(Enum):
    """Whose fault an error is: (name, whether another try may help, whether it is a defect of ours)."""

    def __init__(self, code: str, transient: bool, is_defect: bool) -> None:
        self.code = code
        self.transient = transient
        self.is_defect = is_defect

    CALLER = ("caller", False, False)
    SOURCE = ("source", True, False)
    DESTINATION = ("destination", True, False)
    LOAD = ("load", True, False)  #: nobody's: too much at once, or a process that is being started again
    STORE = ("store", True, False)  #: the database, or the disk under it
    US = ("us", True, True)


class SluiceError(Exception):
    """Base; `str(error)` tells a person what happened and what to do."""

    culprit = Culprit.US
    _transient: bool | None = None  #: set by an error that knows better than its culprit

    @property
    def transient(self) -> bool:
        """Whether another try may help."""
        return self.culprit.transient if self._transient is None else self._transient


class BadInput(SluiceError):
    """`field` is the path of the field in the caller's terms, `why` the rule that it broke."""

    culprit = Culprit.CALLER

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class NotFound(SluiceError):
    culprit = Culprit.CALLER


class TaskNotFound(NotFound):
    pass


class NotNow(SluiceError):
    culprit = Culprit.CALLER


class AccessRefused(SluiceError):
    """`known`: the credential is valid but does not give the right (403); else it is invalid (401)."""

    culprit = Culprit.CALLER

    def __init__(self, why: str, *, known: bool = False) -> None:
        super().__init__(why)
        self.known = known


class SourceError(SluiceError):
    """The source failed. `transient` causes are retried until the idle time is used up.

    `denied`: its server understood and says no (403, 404, …), which further tries seldom change.
    """

    culprit = Culprit.SOURCE

    def __init__(self, reason: Reason, text: str, *, transient: bool, denied: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.denied = denied
        self._transient = transient


def unsupported(text: str) -> SourceError:
    """The source is there, but cannot be played; another try gives the same."""
    return SourceError(Reason.SOURCE_UNSUPPORTED, text, transient=False)


def interrupted(text: str) -> SourceError:
    """The source broke off while it was played; another try may help."""
    return SourceError(Reason.SOURCE_INTERRUPTED, text, transient=True)


class DestinationError(SluiceError):
    """The destination of a push failed. `transient` as for SourceError."""

    culprit = Culprit.DESTINATION

    def __init__(self, reason: Reason, text: str, *, transient: bool) -> None:
        super().__init__(text)
        self.reason = reason
        self._transient = transient


class RoomError(SluiceError):
    culprit = Culprit.LOAD


class Unavailable(SluiceError):
    """The text is for callers, too."""

    culprit = Culprit.LOAD


class Draining(Unavailable):
    def __init__(self) -> None:
        super().__init__("the node is being stopped and takes no new work; try again in a few seconds")


class Overloaded(SluiceError):
    culprit = Culprit.LOAD


class NoCapacity(Overloaded):
    """The text says what is needed and what is free."""


class LimitReached(Overloaded):
    culprit = Culprit.CALLER


class TooManyBans(LimitReached):
    """An app may have `most` bans in force at once."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} bans of this app are in force; lift some, or close whole rooms")
        self.most = most
