"""The gateway of the dialect: one request from bytes to envelope, the checks in the order of 5.3.

A body is read only after a known access key and a fresh date. A body over the limit is refused while it
arrives, so its signature is never computed. Whatever fails, the answer is an envelope.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from sluice.api.proxies import prefix_of
from sluice.api.volcengine.actions import Action
from sluice.api.volcengine.envelope import Metadata, failure, success
from sluice.api.volcengine.errors import (
    EMPTY_BODY,
    GATEWAY,
    INTERNAL_ERROR,
    NO_PERMISSION,
    NOT_ENABLED,
    SIZE_OVER_LIMIT,
    UNKNOWN_APP_ID,
    UNMARSHAL,
    OpenApiError,
    to_refusal,
)
from sluice.api.volcengine.fields import ReadContext
from sluice.api.volcengine.rates import Rates
from sluice.core.apps import AccessKey, App, Apps, Feature
from sluice.core.errors import SluiceError
from sluice.core.fairness import Rate, network_of
from sluice.core.limits import MOST_LOGGED_REFUSALS
from sluice.wire.signature import Policy, RequestHead, parse_query, read_claim

BODY_LIMIT = 1 << 20  #: bytes (docs/contract/volcengine.md 1)
QUERY_LIMIT = 1 << 16  #: bytes; the servers in front of us may know no limit of their own
_FORM_FIELDS_LIMIT = 1000
_FORM_DEPTH_LIMIT = 4
_FORM = "application/x-www-form-urlencoded"

log = structlog.get_logger(__name__)


class Gateway:
    """The dialect as an ASGI application, for all methods and for all paths that no other route takes: wrong
    ones are answered with an envelope, too. `clock` tells Unix seconds."""

    def __init__(
        self,
        actions: Iterable[Action[Any]],
        apps: Apps,
        clock: Callable[[], float],
        policy: Policy | None = None,
    ) -> None:
        self._actions = {(action.name, version): action for action in actions for version in action.versions}
        self._apps = apps
        self._clock = clock
        self._policy = policy or Policy()
        self._rates = Rates()
        self._lines = Rate(MOST_LOGGED_REFUSALS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        head = _head(scope)
        now = self._clock()
        metadata = Metadata.of(head, now)
        try:
            response = success(metadata, await self._run(head, request, now))
        except ClientDisconnect:
            return
        except SluiceError as error:
            refusal = to_refusal(error)
            caller = network_of(scope["client"][0]) if scope.get("client") else ""
            if refusal.culprit.is_defect or not self._lines.take(caller, now):
                _log_refusal(metadata, refusal, error, scope)
            response = failure(metadata, refusal)
        except Exception:  # the root of a call: the caller gets an envelope, the log the trace
            log.exception("x call", request_id=metadata.request_id, action=metadata.action)
            response = failure(metadata, OpenApiError(INTERNAL_ERROR))
        await response(scope, receive, send)

    async def _run(self, head: RequestHead, request: Request, now: float) -> object:
        """The envelope's Result. Raises SluiceError. The numbers are those of section 5.3."""
        if len(request.scope["query_string"]) > QUERY_LIMIT:
            raise OpenApiError(SIZE_OVER_LIMIT)
        action = self._find_action(head)  # 1, 2
        claim = read_claim(head, self._apps.access_key, now, self._policy)  # 3
        body = await _read_body(request)  # 4
        key = claim.prove(body)  # 3
        data, text = _parameters(action, head, body)  # 4
        self._rates.count(action.name, self._caller(data, key), action.per_second)  # 5
        parameters = action.request.read(data, ReadContext(text, now))  # 6
        app = self._permitted_app(key, parameters.app_id, action.feature)  # 7
        return await action.handle(parameters, app, now)  # 8, 9

    def _find_action(self, head: RequestHead) -> Action[Any]:
        name, version = head.param("Action"), head.param("Version")
        if head.path not in ("", "/"):
            raise OpenApiError(GATEWAY["InvalidActionOrVersion"], name or "", version or "")
        if not name or not version:
            raise OpenApiError(GATEWAY["MissingParameter"], "Version" if name else "Action")
        action = self._actions.get((name, version))
        if action is None:
            raise OpenApiError(GATEWAY["InvalidActionOrVersion"], name, version)
        if head.method != action.method:
            raise OpenApiError(GATEWAY["MethodNotAllowed"], head.method)
        return action

    def _caller(self, data: Mapping[str, object], key: AccessKey) -> str:
        """The caller that is counted: the app, so that all its keys share. A key that names no app which it
        may reach is counted itself, so that nobody uses up the calls of others."""
        app_id = data.get("AppId") or data.get("AppID")  # section 10 has both spellings
        return app_id if isinstance(app_id, str) and app_id in key.app_ids else key.access_key

    def _permitted_app(self, key: AccessKey, app_id: str, feature: Feature | None) -> App:
        app = self._apps.app(app_id)
        if app is None:
            raise OpenApiError(UNKNOWN_APP_ID)
        if app.app_id not in key.app_ids:
            raise OpenApiError(NO_PERMISSION)
        if feature is not None and feature not in app.features:
            raise OpenApiError(NOT_ENABLED)
        return app


def _head(scope: Scope) -> RequestHead:
    query: bytes = scope["query_string"]
    return RequestHead(
        method=scope["method"],
        path=scope["path"],
        params=parse_query(_decode(query)) if len(query) <= QUERY_LIMIT else (),
        headers=tuple((_decode(name), _decode(value)) for name, value in scope["headers"]),
        prefix=prefix_of(scope),
    )


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


async def _read_body(request: Request) -> bytes:
    """The body without its framing. Raises OpenApiError as soon as it exceeds the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise OpenApiError(SIZE_OVER_LIMIT)
    return bytes(body)


def _parameters(action: Action[Any], head: RequestHead, body: bytes) -> tuple[dict[str, object], bool]:
    """The parameters of a call, and whether they are text (a query or a form). Raises OpenApiError."""
    if action.method == "GET" or (action.query_too and not body):
        return _nested(head.params, dots=False), True
    data, text = _parse_body(head, body)
    return ({**_nested(head.params, dots=False), **data} if action.query_too else data), text


def _parse_body(head: RequestHead, body: bytes) -> tuple[dict[str, object], bool]:
    if not body:
        raise OpenApiError(EMPTY_BODY)
    if (head.header("content-type") or "").partition(";")[0].strip().lower() == _FORM:
        if body.count(b"&") >= _FORM_FIELDS_LIMIT:
            raise OpenApiError(UNMARSHAL, f"a form of more than {_FORM_FIELDS_LIMIT} fields")
        return _nested(parse_query(_decode(body)), dots=True), True
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise OpenApiError(UNMARSHAL, str(error)) from error
    if not isinstance(data, dict):
        raise OpenApiError(UNMARSHAL, "not a JSON object")
    return data, False


def _nested(pairs: Iterable[tuple[str, str]], *, dots: bool) -> dict[str, object]:
    """Flat pairs as an object; with `dots`, `Control.StreamUrl` is a field of `Control`. The first wins."""
    data: dict[str, Any] = {}
    for name, value in pairs:
        *parents, leaf = name.split(".", _FORM_DEPTH_LIMIT) if dots else [name]
        fields = data
        for parent in parents:
            fields = fields.setdefault(parent, {})
            if not isinstance(fields, dict):
                raise OpenApiError(UNMARSHAL, f"{parent}: both a value and an object")
        fields.setdefault(leaf, value)
    return data


def _log_refusal(metadata: Metadata, refusal: OpenApiError, error: SluiceError, scope: Scope) -> None:
    caller = scope.get("client")
    fields = {
        "request_id": metadata.request_id,
        "action": metadata.action,
        "code": refusal.row.code,
        "caller": caller[0] if caller else None,
    }
    if refusal.culprit.is_defect:
        log.error("x call", **fields, exc_info=error)
    else:
        log.info("x call", **fields, why=str(error))
