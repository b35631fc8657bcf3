"""The native document of a task: its row, and what this node knows of it while it is live."""

from dataclasses import asdict

from sluice.core.kinds import row_of
from sluice.core.lifecycle import State
from sluice.core.room_documents import ViewersReport
from sluice.core.run import Run
from sluice.core.run_events import Counts
from sluice.core.vitals import Vitals
from sluice.store.tasks import TaskRecord


def document(record: TaskRecord, run: Run | None, viewers: ViewersReport | None) -> dict[str, object]:
    """The native task document; `run` is None when the task is no longer live here, `viewers` where nobody
    knows what they report."""
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
        "source_facts": run.facts if run is not None else None,
        "position_s": (run.position_us if run is not None else record.position_us) / 1e6,
        "pass": run.pass_number if run is not None else record.pass_number,
        "stats": _stats(run) if run is not None else None,
        "viewers": asdict(viewers) if viewers is not None else None,
        "signal": _signal(run.vitals) if run is not None else None,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "expires_at": task.expires_at,
    }


def _stats(run: Run) -> dict[str, object]:
    counts = run.counts or Counts()
    return {
        "last_second": run.rates,
        "video_frames": counts.video_frames,
        "audio_packets": counts.audio_packets,
        "bytes_out": counts.bytes_out,
        "dropped": counts.dropped,
        "level_dbfs": run.vitals.level_dbfs,
        "av_offset_ms": run.vitals.av_offset_ms,
        "delay_s": run.vitals.delay_s,
        "reconnects": counts.reconnects,
        "restarts": run.restarts,
    }


def _signal(vitals: Vitals) -> dict[str, object]:
    """What is seen and heard of it, and since when."""
    video, audio = vitals.video, vitals.audio
    return {
        "video": video.state if video is not None else None,
        "video_since": video.since if video is not None else None,
        "audio": audio.state if audio is not None else None,
        "audio_since": audio.since if audio is not None else None,
    }
