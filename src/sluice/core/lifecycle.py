"""The lifecycle of a task: one table, from which code, database guards and the diagram all come.

`advance(state, event)` is the only way from one state to the next. Guarded updates of the store take
their ``WHERE state IN (…)`` from `states_before`; the diagram in ARCHITECTURE.md is `mermaid()`.
The numbers that dialects show for states and reasons stand here too, once.
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
    """Why a task ended or recovers: (name, number of docs/contract/callbacks.md 5.1, text for people)."""

    def __init__(self, code: str, number: int, text: str) -> None:
        self.code = code
        self.number = number
        self.text = text

    NONE = ("none", 0, "")
    STOPPED = ("stopped", 0, "stopped by api")
    END_OF_STREAM = ("end_of_stream", 0, "end of stream")
    SOURCE_UNREACHABLE = ("source_unreachable", 1001, "the source cannot be reached")
    SOURCE_REFUSED = ("source_refused", 1002, "the source answers with an error")
    SOURCE_UNSUPPORTED = ("source_unsupported", 1003, "the source cannot be played as asked")
    SOURCE_INTERRUPTED = ("source_interrupted", 1004, "the source was lost and did not come back")
    IDLE_TIMEOUT = ("idle_timeout", 1005, "no media arrived in time")
    LIFETIME_EXCEEDED = ("lifetime_exceeded", 1006, "the task reached its maximum lifetime")
    TOKEN_REJECTED = ("token_rejected", 1007, "the room refused the token")
    PUBLISH_FAILED = ("publish_failed", 1008, "publishing into the room failed")
    REPLACED = ("replaced", 1009, "the same user entered the room from elsewhere")
    REMOVED = ("removed", 1010, "the user was removed from the room")
    INTERNAL_ERROR = ("internal_error", 1011, "internal error")
    SERVER_SHUTDOWN = ("server_shutdown", 1012, "the server stopped")
    ADDRESS_NOT_ALLOWED = ("address_not_allowed", 1013, "the address is not allowed")
    MEDIA_CRASH = ("media_crash", 1014, "its media process died twice with no other task in it")
    NO_CAPACITY = ("no_capacity", 1015, "no capacity is left for this task")
    INVALID_POSITION = ("invalid_position", 1016, "the position lies behind the end of the source")
    WAITING_FOR_PUBLISHER = ("waiting_for_publisher", 1017, "nobody publishes the stream")
    PUBLISHER_LEFT = ("publisher_left", 1018, "the publisher left the room and did not come back")
    DESTINATION_UNREACHABLE = ("destination_unreachable", 1019, "the destination cannot be reached")
    DESTINATION_REFUSED = ("destination_refused", 1020, "the destination refuses the stream")
    DESTINATION_INTERRUPTED = ("destination_interrupted", 1021, "the destination was lost")
    PICTURES_STOPPED = ("pictures_stopped", 1022, "pictures have stopped, the sound goes on")
    SOUND_STOPPED = ("sound_stopped", 1023, "the sound has stopped, pictures go on")
    RESUMED = ("resumed", 0, "resumed after a pause")

    @classmethod
    def of(cls, code: str) -> "Reason":
        return _REASON_BY_CODE[code]

    @property
    def outcome(self) -> Event:
        """FINISH for ends that were asked for or natural, FAIL for the others."""
        return Event.FINISH if self in _NATURAL_ENDS else Event.FAIL


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


#: Status of a relay task in ListRelayStream and RelayStreamStateChanged (1 starting, 2 running, 3 ended).
RELAY_STATUS: dict[State, int] = {
    State.SCHEDULED: 1,
    State.STARTING: 1,
    State.RUNNING: 2,
    State.RECOVERING: 2,
    State.PAUSED: 2,
    State.STOPPING: 2,
    State.ENDED: 3,
    State.FAILED: 3,
}


def mermaid() -> str:
    """The table as a Mermaid state diagram, one line per pair of states, in the order of the table."""
    labels: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TABLE.items():
        labels.setdefault((before, after), []).append(event.value)
    lines = ["stateDiagram-v2", "    [*] --> scheduled", "    [*] --> starting"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in labels.items()]
    lines += ["    ended --> [*]", "    failed --> [*]"]
    return "\n".join(lines)
