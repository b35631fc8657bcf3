"""Errors of the core, each with a culprit that decides status, retry and log level.

SluiceError
├── BadInput           the caller sent something outside the contract
├── NotFound           the caller named something that there is not
│   └── TaskNotFound   … a task that is not live
├── NotNow             what the caller asked for does not fit the state that the thing is in
├── AccessRefused      a token or key does not allow this
├── SourceError        the source (or the way to it) failed; transient or permanent
├── DestinationError   the CDN (or the way to it) failed; transient or permanent
├── RoomError          the room refused or lost something
└── Overloaded         we have no room for this now
    └── LimitReached   … no more of it is allowed at once
        └── TooManyBans
"""

from enum import Enum

from sluice.core.lifecycle import Reason


class Culprit(Enum):
    CALLER = "caller"
    SOURCE = "source"
    DESTINATION = "destination"
    US = "us"


class SluiceError(Exception):
    """Base; `str(error)` tells a person what happened and what to do."""

    culprit = Culprit.US


class BadInput(SluiceError):
    """`field` is the path of the field in the caller's terms, `why` the rule it broke."""

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
    """`known` tells a valid credential without the right (403) from an invalid one (401)."""

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
        self.transient = transient
        self.denied = denied


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
        self.transient = transient


class RoomError(SluiceError):
    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Overloaded(SluiceError):
    pass


class LimitReached(Overloaded):
    culprit = Culprit.CALLER


class TooManyBans(LimitReached):
    """An app may have `most` bans in force at once."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} bans of this app are in force; lift some, or close whole rooms")
        self.most = most
