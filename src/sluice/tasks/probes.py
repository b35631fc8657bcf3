"""Looks at sources without playing them: a media process is asked, and nothing is kept."""

from collections.abc import Mapping
from typing import Any

from sluice.core.apps import Apps
from sluice.core.errors import BadInput, Overloaded
from sluice.core.limits import LONGEST_PROBE_S
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.process.channel import ChannelClosed
from sluice.process.control import Probed, ProbeJob, Refused
from sluice.tasks.capacity import NodeCapacity, source_of
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.port import ProbeRequest

#: A process answers in time; a busy one is waited for a little longer.
_GRACE_S = 3.0


class SourceProbes:
    """Implements tasks.port.Probing."""

    def __init__(self, media: MediaPool, apps: Apps, capacity: NodeCapacity) -> None:
        """`apps` say what sources are asked with, `capacity` what a task costs on this machine."""
        self._media, self._apps, self._capacity = media, apps, capacity

    async def probe(self, request: ProbeRequest) -> dict[str, Any]:
        headers = self._headers(request.app_id)
        job = ProbeJob(
            url=request.url,
            media_type=request.media_type,
            stream_modes=request.stream_modes,
            width=request.width,
            height=request.height,
            frame_rate=request.frame_rate,
            bitrate_kbps=request.bitrate_kbps,
            user_agent=headers.user_agent,
            headers=dict(headers.headers),
        )
        process = self._media.for_strangers()
        if process is None:
            raise Overloaded("no media process is ready; try again in a second")
        try:
            answer = await process.request(job, deadline_s=LONGEST_PROBE_S + _GRACE_S)
        except ChannelClosed as error:
            why = f"the media process did not tell of the source: {error}"
            raise Overloaded(f"{why}; try again, and if it ends so again, the source is to blame") from error
        if isinstance(answer, Probed):
            return answer.document | {"modes": self._with_costs(request, answer.document)}
        raise Overloaded(answer.why if isinstance(answer, Refused) else "the source was not looked at")

    def _with_costs(self, request: ProbeRequest, document: Mapping[str, Any]) -> dict[str, Any]:
        """The modes of the answer, each with what a task would cost that plays the source so."""
        modes = dict(document["modes"])
        for stream_mode in request.stream_modes:
            name = stream_mode.name.lower()
            spec, cost = request.spec(stream_mode), None
            if modes[name]["plan"] is not None:
                known = source_of(modes[name]["plan"], document["source"])
                cost = self._capacity.cost(spec, known).document()
            modes[name] = modes[name] | {"cost": cost}
        return modes

    def _headers(self, app_id: str | None) -> RequestHeaders:
        if app_id is None:
            return PLAIN
        app = self._apps.app(app_id)
        if app is None:
            raise BadInput("app_id", "there is no such app")
        return app.source_headers
