"""What the node knows of a live run beyond its row: where it runs, how far it is, what it does per second."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from sluice.core.blame import NOTHING, Record
from sluice.core.kinds import row_of
from sluice.core.lifecycle import Reason, State
from sluice.core.tasks import Task
from sluice.process.control import Progress
from sluice.process.supervisor import Supervised
from sluice.store.tasks import TaskRecord


@dataclass(slots=True)
class Run:
    task: Task[Any]
    position_us: int = 0
    pass_number: int = 1
    plan: dict[str, Any] | None = None
    process: Supervised | None = None
    apart: Supervised | None = None  #: the only process that it may run in, since others died with it
    record: Record = NOTHING  #: what of that may be its fault
    begun_at: float = 0.0  #: when what it plays was asked for
    accepted: bool = False  #: the process has it
    note: str = ""  #: why it is not running, while it tries
    idle_since: float | None = None  #: when its media stopped, as far as this node saw
    paused_at: float | None = None  #: the idle time stands from then on
    due: bool = False  #: its scheduled start has come
    ending: tuple[Reason, str] | None = None  #: the end that the node has decided on
    stop_by: float | None = None
    restarts: int = 0
    progress: Progress | None = None
    rates: dict[str, float] = field(default_factory=dict)
    progress_at: float = 0.0
    #: Held by who changes how it plays: nobody places it meanwhile, and what its session tells waits.
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take(self, progress: Progress) -> None:
        """Notes how far the session is; rates are per second since the last note."""
        now = time.monotonic()
        before, elapsed = self.progress, now - self.progress_at
        if before is not None and elapsed > 0:
            self.rates = {
                name: round(max(0, getattr(progress, name) - getattr(before, name)) / elapsed, 1)
                for name in ("video_frames", "audio_packets", "bytes_out")
            }
        self.progress, self.progress_at = progress, now
        self.position_us, self.pass_number = progress.position_us, progress.pass_number

    # --- the idle time ------------------------------------------------------------------------------------

    def lose(self, now: float) -> None:
        """Its media has stopped; of a paused one it had."""
        if self.paused_at is None and self.idle_since is None:
            self.idle_since = now

    def pause(self, now: float) -> None:
        self.paused_at = now

    def resume(self, now: float) -> None:
        """The idle time goes on where it stood at the pause; without media from now on."""
        idle_s = self.idle_s(now)
        self.idle_since, self.paused_at = now - idle_s, None

    def idle_s(self, now: float) -> float:
        """Seconds without media, of which those paused are none."""
        if self.idle_since is None:
            return 0.0
        return (now if self.paused_at is None else self.paused_at) - self.idle_since


def document(record: TaskRecord, run: Run | None) -> dict[str, object]:
    """The native task document; `run` is None when the task is no longer live here."""
    task = run.task if run is not None else record.task
    trying = run is not None and task.state in (State.STARTING, State.RECOVERING)
    return {
        "id": task.id,
        "kind": task.kind.value,
        "dialect": task.dialect.value,
        "app_id": task.app_id,
        "room_id": task.room_id,
        "task_id": task.task_id,
        "user_id": task.user_id,
        "state": task.state.value,
        "reason": task.reason.code,
        "reason_text": run.note if run is not None and trying and run.note else task.reason_text,
        **row_of(task).shown(task),
        "plan": run.plan if run is not None else record.plan,
        "position_s": (run.position_us if run is not None else record.position_us) / 1e6,
        "pass": run.pass_number if run is not None else record.pass_number,
        "stats": _stats(run) if run is not None else None,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "expires_at": task.expires_at,
    }


def _stats(run: Run) -> dict[str, object]:
    progress = run.progress
    return {
        "last_second": run.rates,
        "video_frames": progress.video_frames if progress else 0,
        "audio_packets": progress.audio_packets if progress else 0,
        "bytes_out": progress.bytes_out if progress else 0,
        "dropped": progress.dropped if progress else {},
        "restarts": run.restarts,
    }
