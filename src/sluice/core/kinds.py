"""What differs between the kinds of tasks, one row per kind. Pure.

A new kind is a spec in `core.tasks`, a row here, a row in `tasks.jobs` (what its session is told), and a
folder in `media/`.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from sluice.core.callbacks import CallbackEvent, push_events, relay_events
from sluice.core.masking import mask_url
from sluice.core.rooms import StreamIndex
from sluice.core.tasks import Kind, MediaType, PushSpec, RelaySpec, Spec, StreamMode, Task


class TaskEvents(Protocol):
    def __call__(
        self, task: Task[Any], now: float, *, staged: bool = False, resumed: bool = False
    ) -> tuple[CallbackEvent, ...]:
        """What callers are told of the change at `now` that made `task` what it is. `staged`: its stage has
        changed. `resumed`: its media flows again after a pause."""
        ...


@dataclass(frozen=True, slots=True)
class KindRow:
    """`spec` is stored as JSON, with those of its fields that are enumerations as numbers (`enums`)."""

    spec: type[RelaySpec] | type[PushSpec]
    enums: Mapping[str, Callable[[Any], Any]]
    events: TaskEvents
    #: What a task's document shows of its spec and stage.
    shown: Callable[[Task[Any]], dict[str, object]]
    #: Tasks with the same value share work if they run in one process; None: it shares nothing.
    shared_source: Callable[[Task[Any]], Hashable]
    #: Its user enters the room for the task, so that bans of the user count.
    enters_room: bool = False
    #: Why it cannot be controlled; empty: it can.
    uncontrollable: str = ""


def _relay_shown(task: Task[Any]) -> dict[str, object]:
    spec: RelaySpec = task.spec
    return {"source": mask_url(spec.url), "volume": spec.volume, "normalize": spec.normalize}


def _push_shown(task: Task[Any]) -> dict[str, object]:
    return {"target": mask_url(task.spec.url), "stage": task.stage.code}


def _pushed_stream(task: Task[Any]) -> Hashable:
    """Pushes of one stream share one subscription and one encoder."""
    return task.app_id, task.room_id, task.user_id, task.spec.stream


KINDS: dict[Kind, KindRow] = {
    Kind.RELAY: KindRow(
        spec=RelaySpec,
        enums={"media_type": MediaType, "stream_mode": StreamMode},
        events=relay_events,
        shown=_relay_shown,
        shared_source=lambda task: None,
        enters_room=True,
    ),
    Kind.PUSH: KindRow(
        spec=PushSpec,
        enums={"media_type": MediaType, "stream": StreamIndex},
        events=push_events,
        shown=_push_shown,
        shared_source=_pushed_stream,
        uncontrollable="this task is a push, and only relays can be controlled; stop it instead",
    ),
}


def row_of(task: Task[Any]) -> KindRow:
    return KINDS[task.kind]


def read_spec(kind: Kind, stored: Mapping[str, Any]) -> tuple[Spec, tuple[str, ...]]:
    """The spec that was stored, and the names of fields that this release does not know: a newer one wrote
    them, and they are left out. Raises ValueError for a value that has no meaning here, TypeError when a
    field is missing that must be there."""
    row = KINDS[kind]
    names = {field.name for field in fields(row.spec)}
    known = {name: value for name, value in stored.items() if name in names}
    known |= {name: read(known[name]) for name, read in row.enums.items() if name in known}
    return row.spec(**known), tuple(sorted(stored.keys() - names))
