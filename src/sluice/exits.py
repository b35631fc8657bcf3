"""How commands end: the exit statuses, which scripts may rely on, and which error gives which."""

from enum import IntEnum

from sluice.client import BadAddress, NoNode, NothingThere
from sluice.core.errors import NotFound, SluiceError
from sluice.store.errors import NoDataFolder


class Misuse(SluiceError):
    """The command line, a setting, or a file that they name is wrong."""


class Ambiguous(SluiceError):
    """The beginning of a name fits several."""


class Exit(IntEnum):
    def __new__(cls, number: int, text: str) -> "Exit":
        made = int.__new__(cls, number)
        made._value_ = number
        return made

    def __init__(self, number: int, text: str) -> None:
        self.text = text

    OK = 0, "done"
    FAILED = 1, "refused or failed; or found bad by doctor, probe, demo --check"
    MISUSE = 2, "the command line, a setting or a file that it names is wrong"
    NO_NODE = 3, "no node is there or answers"
    NOT_FOUND = 4, "what was named does not exist, or a shortened name fits several"
    INTERRUPTED = 130, "ended by Ctrl-C"
    UNREAD = 141, "nobody reads the output any more"


#: The first class that fits decides.
_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (Misuse, Exit.MISUSE),
    (BadAddress, Exit.MISUSE),
    (NoNode, Exit.NO_NODE),
    (NoDataFolder, Exit.NO_NODE),
    (NothingThere, Exit.NOT_FOUND),
    (Ambiguous, Exit.NOT_FOUND),
    (NotFound, Exit.NOT_FOUND),
)


def exit_of(error: Exception) -> Exit:
    return next((status for kind, status in _EXITS if isinstance(error, kind)), Exit.FAILED)


def table() -> str:
    """For people, a line for each."""
    return "\n".join(f"{status.value:>3}  {status.text}" for status in Exit)
