"""The native API: tasks for the operator and his programs (`/api/v1/tasks`).

Bearer of `/api/v1` is the admin token. Every failure is `{"error": {"code", "message"}}`; the class of an
error of the core decides code and status, in one table. The documents are those of `tasks.port`.
Other resources are siblings (`native_apps`, `native_bots`, `native_callbacks`, `native_node`, …).
"""

import math
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from sluice.api.operator import Operator
from sluice.core.callbacks import CallbackNotFound, NotRegistered, RegistrationRefused
from sluice.core.errors import (
    AccessRefused,
    BadInput,
    NotFound,
    NotNow,
    Overloaded,
    RoomError,
    SluiceError,
    Unavailable,
)
from sluice.core.fairness import TooOften
from sluice.core.ids import AppId, RunId
from sluice.core.limits import MOST_NATIVE_BODY_BYTES
from sluice.core.tasks import FULL_VOLUME, PlaybackChange
from sluice.tasks.port import Tasks

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    code: str
    message: str


class ErrorBody(BaseModel):
    error: ErrorDetail


class Document(BaseModel):
    """A body or an answer of the operator's resources; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


#: Which rows of a list are asked for.
OfApp = Annotated[str | None, Query(max_length=128, description="Only those of this app.")]
Begins = Annotated[
    str, Query(pattern=r"^[a-zA-Z0-9_\-]{0,64}$", description="Only those whose ids begin so.")
]


class TaskList(BaseModel):
    """A page of task documents, newest first."""

    tasks: list[dict[str, Any]]


#: No recording is longer; a position in microseconds fits into 64 bits.
_LONGEST_S = 10 * 365 * 86400


class ControlBody(Document):
    """How a relay shall play from now on; what is left out stays as it is. All of it happens, or nothing."""

    pause: StrictBool | None = None
    """Whether it stands still. Its user stays in the room, and its lifetime runs on. Not for live sources."""
    seek_s: Annotated[float, Field(ge=0, le=_LONGEST_S, allow_inf_nan=False, strict=True)] | None = None
    """Position to go on at, in the pass that it is in. Not for live sources."""
    volume: Annotated[StrictInt, Field(ge=0, le=FULL_VOLUME)] | None = None
    """Percent of the amplitude; 100 is as the source has it."""
    normalize: StrictBool | None = None
    """Whether the loudness is made even (EBU R 128)."""

    def control(self) -> PlaybackChange:
        """Raises BadInput when it says nothing."""
        position_us = None if self.seek_s is None else round(self.seek_s * 1e6)
        control = PlaybackChange(self.pause, position_us, self.volume, self.normalize)
        if control == PlaybackChange():
            raise BadInput("body", "give at least one of pause, seek_s, volume and normalize")
        return control


#: The first class that fits decides; the texts are for the documents.
_STATUS: tuple[tuple[type[SluiceError], int, str], ...] = (
    (BadInput, 400, "a parameter breaks a rule; the message names both"),
    (AccessRefused, 401, "the admin token is missing or wrong"),
    (NotFound, 404, "what the path or body names does not exist; of tasks: TaskNotFound"),
    (CallbackNotFound, 404, "there is no such event"),
    (NotRegistered, 404, "there is no such registration"),
    (NotNow, 409, "not in the state that it is in"),
    (RegistrationRefused, 409, "somebody is registered already, or sluice.toml says who is"),
    (TooOften, 429, "too many wrong admin tokens; Retry-After says when to come back"),
    (Overloaded, 503, "there is no room for more: NoCapacity, LimitReached"),
    (Unavailable, 503, "not now; Retry-After says when to come back. While the node is stopped: Draining"),
    (RoomError, 503, "a room process is away, and comes back by itself"),
    (SluiceError, 500, "a defect; the log of the node tells more"),
)


def error_rows() -> list[dict[str, Any]]:
    """Codes and statuses, for the documents. A code is the name of a class, or of one below it."""
    return [{"code": kind.__name__, "status": status, "message": text} for kind, status, text in _STATUS]


#: When a caller may try again what is not possible at present.
_SOON_S = "5"
#: How operations describe failures in the OpenAPI document.
FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The call failed; the message says what to do"}
}


class NativeRoute(APIRoute):
    """Checks the operator before a body is read. Turns the errors of the core, and FastAPI's about
    parameters, into the error document."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        operators = [
            found.dependency for found in self.dependencies if isinstance(found.dependency, Operator)
        ]

        async def translated(request: Request) -> Response:
            try:
                for operator in operators:
                    operator.check(request)
                return await handle(await _with_body(request))
            except HTTPException as error:  # the body cannot be read
                return _failure(BadInput("body", str(error.detail)))
            except RequestValidationError as error:
                first = error.errors()[0]
                return _failure(BadInput(str(first["loc"][-1]), first["msg"].removeprefix("Value error, ")))
            except SluiceError as error:
                return _failure(error)

        return translated


async def _with_body(request: Request) -> Request:
    """The request with its body, which is read here. Raises BadInput for a body over the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_NATIVE_BODY_BYTES:
            raise BadInput("body", f"must have {MOST_NATIVE_BODY_BYTES} bytes at most")

    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return Request(request.scope, receive)


def operators_router(operator: Operator, path: str = "") -> APIRouter:
    """A router below ``/api/v1`` whose routes only the operator may use; the application includes it without
    a prefix."""
    return APIRouter(
        prefix=f"/api/v1{path}", route_class=NativeRoute, dependencies=operator.only, responses=FAILURES
    )


def routes(tasks: Tasks, operator: Operator) -> APIRouter:
    """To be included in the application without a prefix."""
    api = operators_router(operator, "/tasks")

    @api.get("", summary="All tasks, newest first")
    async def list_tasks(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        app_id: OfApp = None,
        begins: Begins = "",
    ) -> TaskList:
        of_app = None if app_id is None else AppId(app_id)
        found = await tasks.list_documents(limit=limit, offset=offset, begins=begins, app_id=of_app)
        return TaskList(tasks=found)

    @api.get("/{id}", summary="One task")
    async def show_task(id: str) -> dict[str, Any]:
        return await tasks.document(RunId(id))

    @api.post("/{id}/stop", summary="Stop a task")
    async def stop_task(id: str) -> dict[str, Any]:
        """The task as it is after the order; its end may take a moment more."""
        await tasks.stop(RunId(id))
        return await tasks.document(RunId(id))

    @api.post("/{id}/control", summary="Pause, resume, seek, set volume and loudness of a relay")
    async def control_task(id: str, body: ControlBody) -> dict[str, Any]:
        """The task with the change in effect. What it cannot take in its state is refused with 409, what its
        source cannot do with 400."""
        await tasks.control(RunId(id), body.control())
        return await tasks.document(RunId(id))

    return api


def _failure(error: SluiceError) -> JSONResponse:
    status = next(status for kind, status, _ in _STATUS if isinstance(error, kind))
    if error.culprit.is_defect:
        log.error("x call", code=type(error).__name__, exc_info=error)
    if isinstance(error, AccessRefused) and error.known:
        status = 403
    message = str(error) if status != 500 else "internal error; the log of the node tells more"
    document = ErrorBody(error=ErrorDetail(code=type(error).__name__, message=message)).model_dump()
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = _SOON_S
    elif isinstance(error, TooOften):
        headers["Retry-After"] = str(math.ceil(error.wait_s))
    return JSONResponse(document, status_code=status, headers=headers)
