"""Both OpenAPI documents against a node: what their schemas make is answered as they say, never with 500."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sluice.core.apps import AccessKey
from sluice.wire.signature import RequestHead, parse_query, sign
from tests.acceptance.node import ServedNode, serve_node

pytestmark = [pytest.mark.anyio, pytest.mark.light]

_SETTINGS = settings(
    max_examples=50,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ROOM, USER = "fuzz", "user"


@pytest.fixture(scope="module")
async def node(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedNode]:
    """A node of its own: what is made here stays."""
    async with serve_node(tmp_path_factory.mktemp("fuzzed") / "data") as served:
        yield served


class Signed(AuthBase):
    """Signs what is about to be sent."""

    def __init__(self, key: AccessKey) -> None:
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        _, _, rest = str(request.url).partition("://")
        host, _, target = rest.partition("/")
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        assert isinstance(body, bytes)
        query = parse_query(target.partition("?")[2])
        head = RequestHead(str(request.method), "/", query, (("Host", host),))
        request.headers.update({"Host": host, **sign(head, body, self._key, time.time())})
        return request


class Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def explore(schema: BaseSchema, auth: AuthBase, seen: Callable[[str, Response], None]) -> None:
    """Calls every operation with what its schemas make; `seen` gets its name and each answer."""
    with requests.Session() as session:
        session.auth = auth

        def call(case: Any) -> None:
            response = case.call(session=session)
            case.validate_response(response, checks=_CHECKS)
            seen(case.operation.label, response)

        for operation in schema.get_all_operations():
            assert isinstance(operation, Ok), operation
            _SETTINGS(given(case=operation.ok().as_strategy())(call))()


def test_the_dialect(node: ServedNode) -> None:
    schema = schemathesis.openapi.from_url(f"{node.url}/openapi/volcengine.json")
    token = node.token(ROOM, USER, publish=True)
    known = {"AppId": node.credentials.app_id, "RoomId": ROOM, "UserId": USER, "Token": token}

    @schema.hook
    def map_query(context: Any, query: Any) -> Any:
        return {**query, "AppId": known["AppId"]} if query and "AppId" in query else query

    @schema.hook
    def map_body(context: Any, body: Any) -> Any:
        """Every other body is of an app that there is, with a token that fits and an address that may be."""
        if not isinstance(body, dict) or len(str(body)) % 2:
            return body
        body = {**body, **{name: value for name, value in known.items() if name in body}}
        if isinstance(body.get("Control"), dict) and "StreamUrl" in body["Control"]:
            playable = {"StreamUrl": "http://127.0.0.1:9/clip.mp4", "StreamMode": 1}
            body["Control"] = {**body["Control"], **playable}
        if "PushURL" in body:
            body["PushURL"] = "rtmp://127.0.0.1:9/live/key"
        return body

    codes: dict[str, Counter[str]] = {}

    def seen(name: str, response: Response) -> None:
        error = response.json()["ResponseMetadata"].get("Error", {"Code": "ok"})
        codes.setdefault(name, Counter())[error["Code"]] += 1
        assert response.status_code != 401, response.text

    key = AccessKey(node.credentials.access_key, node.credentials.secret_key, frozenset())
    explore(schema, Signed(key), seen)
    assert len(codes) == len(schema.raw_schema["paths"]) == 13
    done = {name for name, found in codes.items() if found["ok"]}
    assert {"POST /?Action=StartRelayStream", "POST /?Action=StartPushSingleStreamToCDN"} <= done, codes


def test_the_native_api(node: ServedNode) -> None:
    schema = schemathesis.openapi.from_url(f"{node.url}/openapi.json")
    statuses: dict[str, set[int]] = {}
    explore(
        schema,
        Bearer(node.credentials.admin_token),
        lambda name, response: statuses.setdefault(name, set()).add(response.status_code),
    )
    paths = schema.raw_schema["paths"].items()
    operations = {f"{method.upper()} {path}" for path, methods in paths for method in methods}
    assert set(statuses) == operations
    assert all(found - {401, 403} for found in statuses.values()), statuses
