"""What a media process is told to do for a run: everything it needs, also after a crash in mid-play."""

from collections.abc import Callable
from dataclasses import dataclass

from sluice.core.lifecycle import State
from sluice.core.push import PushStage
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.core.rooms import LinkAddress
from sluice.core.run import Run
from sluice.core.tasks import Kind, PushSpec, RelaySpec, Task
from sluice.process.control import Message, PushJob, RelayJob, StartPush, StartSession, UpdateSession

#: What a session is given at least, so that it can try once.
_LEAST_IDLE_S = 1.0


def start_message(run: Run, link: LinkAddress, now: float, headers: RequestHeaders = PLAIN) -> Message:
    """`link` is where the room is reached; a relay's source is asked with `headers`."""
    return _SESSIONS[run.task.kind].start(run, link, now, headers)


def update_message(
    run: Run, link: LinkAddress, now: float, headers: RequestHeaders = PLAIN
) -> Message | None:
    """What a session is told that shall play what the task says now; None: such sessions cannot. Arguments as
    for `start_message`."""
    update = _SESSIONS[run.task.kind].update
    return None if update is None else update(run, link, now, headers)


def _relay_job(run: Run, link: LinkAddress, now: float, headers: RequestHeaders = PLAIN) -> RelayJob:
    task: Task[RelaySpec] = run.task
    return RelayJob(
        run_id=task.id,
        app_id=task.app_id,
        room_id=task.room_id,
        user_id=task.user_id,
        url=task.spec.url,
        source_number=run.source_number,
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


def _push_job(run: Run, link: LinkAddress) -> PushJob:
    task: Task[PushSpec] = run.task
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
        connected_before=tried or task.flowed_at is not None,
    )


_Message = Callable[[Run, LinkAddress, float, RequestHeaders], Message]


@dataclass(frozen=True, slots=True)
class _SessionRow:
    """The messages to the sessions of one kind of task."""

    start: _Message
    update: _Message | None = None


_SESSIONS: dict[Kind, _SessionRow] = {
    Kind.RELAY: _SessionRow(
        start=lambda run, link, now, headers: StartSession(job=_relay_job(run, link, now, headers)),
        update=lambda run, link, now, headers: UpdateSession(job=_relay_job(run, link, now, headers)),
    ),
    Kind.PUSH: _SessionRow(start=lambda run, link, now, headers: StartPush(job=_push_job(run, link))),
}
