"""What a task costs in cores and memory, from what is known of it. Pure.

What is not known is assumed, and corrected as soon as its session knows: pictures of 1280x720, or as large as
is asked for if that is more, 25 a second; sound that has to be converted; H.264 that can be copied where
copies are asked for; and one viewer, since somebody is going to watch. The figures of the table
(core.cost_table) are measured by ``scripts/bench cost --write``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sluice.core.cost_table import TABLE, CostTable
from sluice.core.plan import TrackAction
from sluice.core.tasks import Kind, MediaType, PushSpec, RelaySpec, Spec, StreamMode

_USUAL_SIZE, _USUAL_RATE = (1280, 720), 25.0


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a source, and of what is done to its tracks; None: not yet."""

    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    video: TrackAction | None = None
    audio: TrackAction | None = None


NOTHING_KNOWN = Source()


@dataclass(frozen=True, slots=True)
class Cost:
    """Shares of a core: `media` of its media process, `shared` of the room process and the node. `mb`:
    megabytes of memory."""

    media: float = 0.0
    shared: float = 0.0
    mb: float = 0.0

    @property
    def cores(self) -> float:
        return self.media + self.shared

    def document(self) -> dict[str, float]:
        """The form of the native API."""
        return {"cores": round(self.cores, 4), "mb": round(self.mb, 1)}


def estimate(
    spec: Spec, source: Source = NOTHING_KNOWN, *, speed: float = 1.0, table: CostTable = TABLE
) -> Cost:
    """What a task with this spec costs while it plays. `speed` is this machine's (1: the table's)."""
    cost = _COSTS[spec.kind](spec, source, table)
    return Cost(cost.media / speed, cost.shared / speed, cost.mb)


def _relay(spec: RelaySpec, source: Source, table: CostTable) -> Cost:
    video, audio = source.video or _video(spec), source.audio or _audio(spec)
    media, shared, mb = table.session, table.shared_session, table.session_mb
    if audio is not TrackAction.NONE:
        media += table.sound_copied if audio is TrackAction.COPY else table.sound_converted
        shared += table.shared_sound
    if video is TrackAction.NONE:
        return Cost(media, shared, mb)
    width, height, rate = _pictures(spec, source)
    if video is TrackAction.COPY:
        media += rate * (table.picture_copied + width * height * table.pixel_copied)
        shared += rate * (table.shared_picture + width * height * table.shared_pixel)
        return Cost(media, shared, mb + table.copied_mb)
    is_asked = spec.stream_mode is StreamMode.TRANSCODE
    out_rate = min(rate, spec.frame_rate) if is_asked else rate
    out_pixels = (spec.width or width) * (spec.height or height) if is_asked else width * height
    media += width * height * rate * table.pixel_decoded
    media += out_rate * (table.picture_encoded + out_pixels * table.pixel_encoded)
    mb += table.transcoded_mb + (width * height + out_pixels) * table.pixel_mb
    shared += out_rate * (table.shared_picture + out_pixels * table.shared_pixel)
    return Cost(media, shared, mb)


def _video(spec: RelaySpec) -> TrackAction:
    if spec.media_type is MediaType.AUDIO:
        return TrackAction.NONE
    return TrackAction.COPY if spec.stream_mode is StreamMode.COPY else TrackAction.TRANSCODE


def _audio(spec: RelaySpec) -> TrackAction:
    return TrackAction.NONE if spec.media_type is MediaType.VIDEO else TrackAction.TRANSCODE


def _pictures(spec: RelaySpec, source: Source) -> tuple[int, int, float]:
    """Width, height and rate of the source's pictures, as far as they are known."""
    rate = source.frame_rate or _USUAL_RATE
    if source.width and source.height:
        return source.width, source.height, rate
    asked = (spec.width or 0, spec.height or 0)
    width, height = max(_USUAL_SIZE, asked, key=lambda size: size[0] * size[1])
    return width, height, rate


def _push(spec: PushSpec, source: Source, table: CostTable) -> Cost:
    media = table.push
    if spec.media_type is not MediaType.AUDIO:
        media += (source.frame_rate or _USUAL_RATE) * table.push_picture
    return Cost(media, table.shared_push, table.push_mb)


_COSTS: dict[Kind, Callable[[Any, Source, CostTable], Cost]] = {Kind.RELAY: _relay, Kind.PUSH: _push}
