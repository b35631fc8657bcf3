"""`/healthz` and `/readyz`, for everybody: whether the node lives, and whether it takes new work.

Each part of the node is one `Check`, which the composition root names. A part that is not well makes the
answer 503, with its name and why, and nothing of tasks. Both answer within seconds, whatever hangs.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from sluice.api.native import NativeRoute
from sluice.core.node_figures import PART_OK, Readings

#: A look that takes longer is not waited for.
_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """`look` says why the part is not well, in words for people; None: it is."""

    part: str
    look: Callable[[], Awaitable[str | None] | str | None]


class FailingPart(BaseModel):
    part: str
    why: str


class HealthDocument(BaseModel):
    status: Literal["ok", "failing"]
    failing: list[FailingPart]


class Health:
    """`live`: without these the node does not do what it has taken on. `welcome`: without these it should get
    nothing new, too."""

    def __init__(self, live: Sequence[Check], welcome: Sequence[Check] = ()) -> None:
        self._live, self._welcome = tuple(live), tuple(welcome)

    async def live(self) -> HealthDocument:
        return _document(await _look_at(self._live))

    async def ready(self) -> HealthDocument:
        return _document(await _look_at((*self._live, *self._welcome)))

    async def figures(self) -> Readings:
        probes = {"healthz": self._live, "readyz": self._welcome}
        return {
            PART_OK: {
                (part, probe): float(why is None)
                for probe, checks in probes.items()
                for part, why in (await _look_at(checks)).items()
            }
        }


async def _look_at(checks: Sequence[Check]) -> Mapping[str, str | None]:
    reasons = await asyncio.gather(*(_look(check) for check in checks))
    return dict(zip((check.part for check in checks), reasons, strict=True))


async def _look(check: Check) -> str | None:
    found = check.look()
    if not inspect.isawaitable(found):
        return found
    try:
        return await asyncio.wait_for(found, _PATIENCE_S)
    except TimeoutError:
        return f"it has not answered for {_PATIENCE_S:g} s"


def _document(found: Mapping[str, str | None]) -> HealthDocument:
    failing = [FailingPart(part=part, why=why) for part, why in found.items() if why is not None]
    return HealthDocument(status="failing" if failing else "ok", failing=failing)


def routes(health: Health) -> APIRouter:
    """To be included in the application without a prefix."""
    failing: dict[int | str, dict[str, Any]] = {
        503: {"model": HealthDocument, "description": "A part is not well; `failing` names it"}
    }
    api = APIRouter(route_class=NativeRoute, responses=failing)

    @api.get("/healthz", summary="Whether the node lives")
    async def healthz(response: Response) -> HealthDocument:
        """503 while the node itself or one of its processes is not well. Processes are started again within
        seconds: start the node again only when this lasts, say for half a minute."""
        return _answered(await health.live(), response)

    @api.get("/readyz", summary="Whether new work is welcome")
    async def readyz(response: Response) -> HealthDocument:
        """503 where `/healthz` is, and while new work should go elsewhere."""
        return _answered(await health.ready(), response)

    # Balancers ask with HEAD, too; the server leaves out the body.
    for path, answer in (("/healthz", healthz), ("/readyz", readyz)):
        api.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
    return api


def _answered(document: HealthDocument, response: Response) -> HealthDocument:
    response.headers["Cache-Control"] = "no-store"
    if document.failing:
        response.status_code = 503
    return document
