"""Hand-written fakes, one per port, that keep the port's promises in memory."""

from collections.abc import Callable
from dataclasses import replace

from sluice.core.errors import TaskNotFound
from sluice.core.ids import AppId, RoomId, RunId, TaskId, new_run_id
from sluice.core.lifecycle import Reason, State
from sluice.core.tasks import Kind, Task
from sluice.tasks.port import RelayRequest


class FakeTasks:
    """`sluice.tasks.port.Tasks`; a task starts as `starting` and ends when it is stopped."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.runs: list[Task] = []
        #: Raised by the next start, to play a failure.
        self.start_error: Exception | None = None
        self._clock = clock

    async def find_live_relay(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> Task | None:
        identity = (app_id, room_id, task_id)
        return next((task for task in self.runs if task.state.live and _identity(task) == identity), None)

    async def start_relay(self, request: RelayRequest) -> tuple[Task, bool]:
        if self.start_error is not None:
            raise self.start_error
        live = await self.find_live_relay(request.app_id, request.room_id, request.task_id)
        if live is not None:
            return live, False
        task = Task(
            id=new_run_id(),
            kind=Kind.RELAY,
            dialect=request.dialect,
            app_id=request.app_id,
            room_id=request.room_id,
            task_id=request.task_id,
            user_id=request.user_id,
            business_id=request.business_id,
            spec=request.spec,
            state=State.STARTING,
            reason=Reason.NONE,
            reason_text="",
            created_at=self._clock(),
        )
        self.runs.append(task)
        return task, True

    async def stop_relay(self, app_id: AppId, room_id: RoomId, task_id: TaskId) -> None:
        task = await self.find_live_relay(app_id, room_id, task_id)
        if task is None:
            raise TaskNotFound("no live task has this identity")
        await self.stop(task.id)

    async def list_relays(
        self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int, newest_first: bool
    ) -> list[Task]:
        latest = {
            task.task_id: task for task in self.runs if (task.app_id, task.room_id) == (app_id, room_id)
        }
        ordered = sorted(latest.values(), key=self.runs.index, reverse=newest_first)
        return ordered[offset : offset + limit]

    async def list_documents(self, *, limit: int, offset: int) -> list[dict[str, object]]:
        return [_document(task) for task in reversed(self.runs)][offset : offset + limit]

    async def document(self, run_id: RunId) -> dict[str, object]:
        return _document(self._run(run_id))

    async def stop(self, run_id: RunId) -> None:
        task = self._run(run_id)
        if not task.state.live:
            raise TaskNotFound(f"the task {run_id} has ended")
        stopped = replace(task, state=State.ENDED, reason=Reason.STOPPED, ended_at=self._clock())
        self.runs[self.runs.index(task)] = stopped

    def _run(self, run_id: RunId) -> Task:
        for task in self.runs:
            if task.id == run_id:
                return task
        raise TaskNotFound(f"there is no task {run_id}")


def _identity(task: Task) -> tuple[AppId, RoomId, TaskId]:
    return task.app_id, task.room_id, task.task_id


def _document(task: Task) -> dict[str, object]:
    return {"id": task.id, "kind": task.kind.value, "state": task.state.value, "task_id": task.task_id}
