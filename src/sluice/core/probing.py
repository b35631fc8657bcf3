"""What a probe tells besides the facts of a source: what a relay would make of it, or why it cannot. Pure."""

from typing import Any

from sluice.core.errors import SourceError
from sluice.core.plan import (
    OPUS_BITRATE_BPS,
    OPUS_CHANNELS,
    OPUS_SAMPLE_RATE,
    Plan,
    Probe,
    TrackAction,
    TrackSettings,
    VideoTarget,
    VideoTrack,
    make_plan,
)
from sluice.core.source_facts import SourceFacts


def failure_document(error: SourceError) -> dict[str, Any]:
    """In the form of the native API. `transient`: another try may help."""
    return {
        "culprit": error.culprit.code,
        "reason": error.reason.code,
        "message": str(error),
        "transient": error.transient,
    }


def mode_document(settings: TrackSettings, probe: Probe | None, facts: SourceFacts) -> dict[str, Any]:
    """The plan as a task's document shows it, and what viewers would get; or why there is none. `facts` are
    of the same source. `probe`: None where nothing of it is known."""
    plan, failure = None, None
    if probe is not None:
        try:
            plan = make_plan(settings, probe)
        except SourceError as error:
            failure = failure_document(error)
    played = _played(plan, probe, facts) if plan is not None and probe is not None else None
    return {"plan": plan.document() if plan is not None else None, "played": played, "failure": failure}


def _played(plan: Plan, probe: Probe, facts: SourceFacts) -> dict[str, Any]:
    video, audio = None, None
    if plan.target is not None and probe.video is not None:
        video = _encoded(plan.target, probe.video, facts)
    elif plan.video.action is TrackAction.COPY and facts.video is not None:
        video = _of(facts.video.document(), "codec", "width", "height", "frame_rate", "bitrate_kbps")
    if plan.audio.action is TrackAction.TRANSCODE:
        audio = {
            "codec": "opus",
            "sample_rate": OPUS_SAMPLE_RATE,
            "channels": OPUS_CHANNELS,
            "bitrate_kbps": OPUS_BITRATE_BPS // 1000,
        }
    elif plan.audio.action is TrackAction.COPY and facts.audio is not None:
        audio = _of(facts.audio.document(), "codec", "sample_rate", "channels", "bitrate_kbps")
    return {"video": video, "audio": audio}


def _encoded(target: VideoTarget, track: VideoTrack, facts: SourceFacts) -> dict[str, Any]:
    """`bitrate_kbps` is a bound; None: there is none. The frame rate of the source is the most there is."""
    width, height = target.box(track.upright)
    told = facts.video.frame_rate if facts.video is not None else None
    rates = [float(rate) for rate in (target.frame_rate, told) if rate is not None]
    return {
        "codec": "h264",
        "width": width,
        "height": height,
        "frame_rate": round(min(rates), 3) if rates else None,
        "bitrate_kbps": target.bitrate_kbps,
    }


def _of(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names}
