"""The lifecycle of a task: one table, from which code, database guards and the diagram all come.

`advance(state, event)` is the only way from one state to the next. Guarded updates of the store take
their ``WHERE state IN (…)`` from `states_before`; the diagram in ARCHITECTURE.md is `mermaid()`.
"""

from enum import Enum


class State(Enum):
    SCHEDULED = "scheduled"
    STARTING = "starting"
    RUNNING = "running"
    RECOVERING = "recovering"
    PAUSED = "paused"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"

    @property
    def live(self) -> bool:
        return self not in (State.ENDED, State.FAILED)


class Event(Enum):
    DUE = "due"  #: its start time has come
    FLOWING = "flowing"  #: packets leave
    LOST = "lost"  #: no packet left for 2 s, the source or the process behind it is gone
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"  #: the caller asks for the end
    FINISH = "finish"  #: an end that was asked for or is in the nature of the source
    FAIL = "fail"  #: an end that nobody wanted


class Reason(Enum):
    """Why a task ended or recovers: (code, text for people)."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text

    NONE = ("none", "")
    STOPPED = ("stopped", "stopped by api")
    END_OF_STREAM = ("end_of_stream", "end of stream")
    SOURCE_UNREACHABLE = ("source_unreachable", "the source cannot be reached")
    SOURCE_REFUSED = ("source_refused", "the source answers with an error")
    SOURCE_UNSUPPORTED = ("source_unsupported", "the source cannot be played as asked")
    SOURCE_INTERRUPTED = ("source_interrupted", "the source was lost and did not come back")
    IDLE_TIMEOUT = ("idle_timeout", "no media arrived in time")
    LIFETIME_EXCEEDED = ("lifetime_exceeded", "the task reached its maximum lifetime")
    TOKEN_REJECTED = ("token_rejected", "the room refused the token")
    PUBLISH_FAILED = ("publish_failed", "publishing into the room failed")
    REPLACED = ("replaced", "the same user entered the room from elsewhere")
    REMOVED = ("removed", "the user was removed from the room")
    INTERNAL_ERROR = ("internal_error", "internal error")
    SERVER_SHUTDOWN = ("server_shutdown", "the server stopped")
    ADDRESS_NOT_ALLOWED = ("address_not_allowed", "the address is not allowed")
    MEDIA_CRASH = ("media_crash", "its media process died twice with no other task in it")
    PROCESS_SILENT = ("process_silent", "one of its processes does not answer")
    NO_CAPACITY = ("no_capacity", "no capacity is left for this task")
    INVALID_POSITION = ("invalid_position", "the position lies behind the end of the source")
    WAITING_FOR_PUBLISHER = ("waiting_for_publisher", "nobody publishes the stream")
    PUBLISHER_LEFT = ("publisher_left", "the publisher left the room and did not come back")
    DESTINATION_UNREACHABLE = ("destination_unreachable", "the destination cannot be reached")
    DESTINATION_REFUSED = ("destination_refused", "the destination refuses the stream")
    DESTINATION_INTERRUPTED = ("destination_interrupted", "the destination was lost")
    PICTURES_STOPPED = ("pictures_stopped", "pictures have stopped, the sound goes on")
    SOUND_STOPPED = ("sound_stopped", "the sound has stopped, pictures go on")
    RESUMED = ("resumed", "resumed after a pause")

    @classmethod
    def of(cls, code: str) -> "Reason":
        return _REASON_BY_CODE[code]

    @property
    def outcome(self) -> Event:
        """FINISH for ends that were asked for or natural, FAIL for the others."""
        return Event.FINISH if self in _NATURAL_ENDS else Event.FAIL

    @property
    def of_source(self) -> bool:
        """Whether it lies in what is played: another source need not end so."""
        return self in _ENDS_OF_SOURCES


_REASON_BY_CODE = {reason.code: reason for reason in Reason}
_NATURAL_ENDS = frozenset(
    {
        Reason.STOPPED,
        Reason.END_OF_STREAM,
        Reason.LIFETIME_EXCEEDED,
        Reason.IDLE_TIMEOUT,
        Reason.PUBLISHER_LEFT,
        Reason.REMOVED,
        Reason.SERVER_SHUTDOWN,
    }
)

_ENDS_OF_SOURCES = frozenset(
    {
        Reason.END_OF_STREAM,
        Reason.SOURCE_UNREACHABLE,
        Reason.SOURCE_REFUSED,
        Reason.SOURCE_UNSUPPORTED,
        Reason.SOURCE_INTERRUPTED,
        Reason.IDLE_TIMEOUT,
        Reason.INTERNAL_ERROR,
        Reason.ADDRESS_NOT_ALLOWED,
        Reason.MEDIA_CRASH,
        Reason.INVALID_POSITION,
    }
)

_S, _E = State, Event
TABLE: dict[tuple[State, Event], State] = {
    (_S.SCHEDULED, _E.DUE): _S.STARTING,
    (_S.SCHEDULED, _E.STOP): _S.STOPPING,
    (_S.SCHEDULED, _E.FAIL): _S.FAILED,
    (_S.STARTING, _E.FLOWING): _S.RUNNING,
    (_S.STARTING, _E.STOP): _S.STOPPING,
    (_S.STARTING, _E.FINISH): _S.ENDED,
    (_S.STARTING, _E.FAIL): _S.FAILED,
    (_S.RUNNING, _E.LOST): _S.RECOVERING,
    (_S.RUNNING, _E.PAUSE): _S.PAUSED,
    (_S.RUNNING, _E.STOP): _S.STOPPING,
    (_S.RUNNING, _E.FINISH): _S.ENDED,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.RECOVERING, _E.FLOWING): _S.RUNNING,
    (_S.RECOVERING, _E.PAUSE): _S.PAUSED,
    (_S.RECOVERING, _E.STOP): _S.STOPPING,
    (_S.RECOVERING, _E.FINISH): _S.ENDED,
    (_S.RECOVERING, _E.FAIL): _S.FAILED,
    (_S.PAUSED, _E.RESUME): _S.RECOVERING,
    (_S.PAUSED, _E.STOP): _S.STOPPING,
    (_S.PAUSED, _E.FINISH): _S.ENDED,
    (_S.PAUSED, _E.FAIL): _S.FAILED,
    (_S.STOPPING, _E.FINISH): _S.ENDED,
    (_S.STOPPING, _E.FAIL): _S.ENDED,
}


class IllegalTransition(Exception):
    """This event cannot happen in this state; names both."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a task that is {state.value} cannot take the event {event.value}")
        self.state = state
        self.event = event


def advance(state: State, event: Event) -> State:
    """The state after `event`. Raises IllegalTransition."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def states_before(event: Event) -> tuple[State, ...]:
    """The states in which `event` may happen, for the guard of an update."""
    return tuple(state for state, possible in TABLE if possible is event)


def mermaid() -> str:
    """The table as a Mermaid state diagram, one line per pair of states, in the order of the table."""
    labels: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TABLE.items():
        labels.setdefault((before, after), []).append(event.value)
    lines = ["stateDiagram-v2", "    [*] --> scheduled", "    [*] --> starting"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in labels.items()]
    lines += ["    ended --> [*]", "    failed --> [*]"]
    return "\n".join(lines)
