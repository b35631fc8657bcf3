"""What a media process is told to do for a run: everything it needs, also after a crash in mid-play."""

from sluice.core.lifecycle import State
from sluice.core.push import PushStage
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.core.tasks import PushSpec, RelaySpec, Task
from sluice.process.control import PushJob, RelayJob, StartPush, StartSession
from sluice.tasks.runs import Run

#: What a session is given at least, so that it can try once.
_LEAST_IDLE_S = 1.0


def start_message(
    run: Run, link: str, now: float, headers: RequestHeaders = PLAIN
) -> StartSession | StartPush:
    """`link` is the path of the frame socket of the process that has the room; a relay's source is asked with
    `headers`."""
    if isinstance(run.task.spec, PushSpec):
        return StartPush(job=_push_job(run.task, link))
    return StartSession(job=relay_job(run, link, now, headers))


def relay_job(run: Run, link: str, now: float, headers: RequestHeaders = PLAIN) -> RelayJob:
    task: Task[RelaySpec] = run.task
    return RelayJob(
        run_id=task.id,
        app_id=task.app_id,
        room_id=task.room_id,
        user_id=task.user_id,
        url=task.spec.url,
        media_type=task.spec.media_type,
        stream_mode=task.spec.stream_mode,
        loop=task.spec.loop,
        width=task.spec.width,
        height=task.spec.height,
        frame_rate=task.spec.frame_rate,
        bitrate_kbps=task.spec.bitrate_kbps,
        start_at=task.spec.start_at if task.state is State.SCHEDULED else 0,
        idle_s=max(_LEAST_IDLE_S, task.spec.max_idle_s - run.idle_s(now)),
        link=link,
        position_us=run.position_us,
        pass_number=run.pass_number,
        plays=task.spec.plays,
        volume=task.spec.volume,
        normalize=task.spec.normalize,
        paused=task.state is State.PAUSED,
        start_tries=task.spec.start_tries if task.flowed_at is None else None,
        user_agent=headers.user_agent,
        headers=dict(headers.headers),
    )


def _push_job(task: Task[PushSpec], link: str) -> PushJob:
    tried = task.stage not in (PushStage.NONE, PushStage.WAITING)
    return PushJob(
        run_id=task.id,
        app_id=task.app_id,
        room_id=task.room_id,
        user_id=task.user_id,
        stream=task.spec.stream,
        url=task.spec.url,
        media_type=task.spec.media_type,
        idle_s=task.spec.max_idle_s,
        link=link,
        connected_before=tried or task.state is State.RECOVERING,
    )
