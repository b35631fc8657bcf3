"""`POST /api/v1/probe`: what a source is and what a relay would make of it, without a task."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field, StrictInt

from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.core.tasks import MediaType, StreamMode
from sluice.core.urls import SOURCE_URL
from sluice.tasks.port import ProbeRequest, Probing

_Pixels = Annotated[StrictInt, Field(ge=16, le=1920)]


class ProbeBody(Document):
    """A source, and how it would be asked to be played."""

    url: Annotated[str, AfterValidator(SOURCE_URL.check)]
    """Address of the source, as StartRelayStream takes it."""
    media_type: Literal[0, 1, 2] = 0
    """0 audio and video, 1 audio only, 2 video only; other tracks are not looked at."""
    stream_mode: Literal[0, 1] | None = None
    """0 transcode, 1 pass H.264 on unchanged; both when left out."""
    width: _Pixels | None = None
    """Of the transcoded picture; the source's when left out."""
    height: _Pixels | None = None
    """Of the transcoded picture; the source's when left out."""
    frame_rate: Annotated[StrictInt, Field(ge=1, le=30)] = 15
    """Of the transcoded picture, at most."""
    bitrate_kbps: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None
    """Of the transcoded picture, at most."""
    app_id: str | None = None
    """The source is asked with the user agent and headers of this app's tasks."""

    def request(self) -> ProbeRequest:
        modes = tuple(StreamMode) if self.stream_mode is None else (StreamMode(self.stream_mode),)
        return ProbeRequest(
            url=self.url,
            media_type=MediaType(self.media_type),
            stream_modes=modes,
            width=self.width,
            height=self.height,
            frame_rate=self.frame_rate,
            bitrate_kbps=self.bitrate_kbps,
            app_id=self.app_id,
        )


class _Answer(BaseModel):
    model_config = {"use_attribute_docstrings": True}


class Failure(_Answer):
    culprit: str
    reason: str
    """One of the reasons of tasks."""
    message: str
    transient: bool
    """Whether another try may help."""


class GuardVerdict(_Answer):
    allowed: bool | None
    """Whether each server has an address that may be connected to; null: no name was resolved."""
    why: str
    hosts: list[dict[str, Any]]
    """The servers that it led to: their addresses, each with a verdict."""


class Reached(_Answer):
    step: Literal["nothing", "resolved", "connected", "answered", "received"]
    connections: int
    url: str | None
    """Where the last answer came from."""
    status: int | None
    """Of HTTP."""
    bytes: int


class Cost(_Answer):
    cores: float
    mb: float


class Mode(_Answer):
    plan: dict[str, Any] | None
    """As a task's document shows it."""
    played: dict[str, Any] | None
    """What viewers would get: codec, size and rates of pictures and sound."""
    cost: Cost | None = None
    """What a task costs on this node, with one viewer."""
    failure: Failure | None
    """Why it cannot be played so."""


class ProbeAnswer(_Answer):
    url: str
    """Without its secrets."""
    guard: GuardVerdict
    reached: Reached
    source: dict[str, Any] | None
    """What the source is: container, tracks, variants of a playlist; null: nothing is known."""
    modes: dict[Literal["transcode", "copy"], Mode]
    notes: list[str]
    """What is left out, or played instead of something else."""
    failure: Failure | None
    """Why the source cannot be looked at, or broke off meanwhile."""
    seconds: float


def routes(probing: Probing, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator)

    @api.post("/probe", summary="What a source is, and what a relay would make of it")
    async def probe(body: ProbeBody) -> ProbeAnswer:
        """Within 5 s, and without a task: what the source is as far as it tells, the plan for both modes, and
        what the address guard says. A source that cannot be played is no error of this call: `failure` says
        why. 503 while several others are being looked at."""
        return ProbeAnswer.model_validate(await probing.probe(body.request()))

    return api
