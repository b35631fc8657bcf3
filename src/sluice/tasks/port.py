"""What the HTTP dialects may ask of the tasks; `tasks.service` answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.tasks import Dialect, RelaySpec, Task


@dataclass(frozen=True, slots=True)
class RelayRequest:
    dialect: Dialect
    app_id: AppId
    room_id: RoomId
    task_id: TaskId
    user_id: UserId
    business_id: BusinessId
    spec: RelaySpec


class Tasks(Protocol):
    async def find_live_relay(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> Task | None: ...

    async def start_relay(self, request: RelayRequest) -> tuple[Task, bool]:
        """The live task of this identity, and whether this call made it. Durable when it returns."""
        ...

    async def update_relay(
        self, app_id: AppId, room_id: RoomId, task_id: TaskId, change: Callable[[RelaySpec], RelaySpec]
    ) -> None:
        """Switches the live task to what `change` makes of its spec. Raises TaskNotFound, and what `change`
        raises."""
        ...

    async def stop_relay(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> None:
        """Raises TaskNotFound when no live task has this identity."""
        ...

    async def list_relays(
        self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int, newest_first: bool
    ) -> list[Task]:
        """The latest run of each TaskId in the room, ended ones for 72 h."""
        ...

    async def list_documents(self, *, limit: int, offset: int) -> list[dict[str, object]]:
        """Native task documents (design 6), newest first."""
        ...

    async def document(self, run_id: RunId) -> dict[str, object]:
        """Raises TaskNotFound."""
        ...

    async def stop(self, run_id: RunId) -> None:
        """Raises TaskNotFound when the run is unknown or no longer live."""
        ...
