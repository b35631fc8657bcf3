"""``/docs``: a page of our own to read and try both APIs.

The page reads ``/openapi/volcengine.json`` and FastAPI's ``/openapi.json``. Behind a path prefix both name
it, and the page asks relative to its own address. It signs calls in the browser with keys that the reader
types, keeps them only in memory, and loads nothing from elsewhere.
"""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sluice.api.proxies import prefix_of
from sluice.api.volcengine.actions import Action
from sluice.api.volcengine.openapi import document

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(actions: Sequence[Action[Any]], version: str) -> list[BaseRoute]:
    html = files("sluice.api").joinpath("docs.html").read_text()
    volcengine = document(actions, version)

    async def page(request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(html, headers=headers)

    async def volcengine_document(request: Request) -> Response:
        return _placed(volcengine, request)

    return [
        Route("/docs", page, methods=["GET"]),
        Route("/openapi/volcengine.json", volcengine_document, methods=["GET"]),
    ]


def native_route(openapi: Callable[[], dict[str, Any]]) -> BaseRoute:
    """The route of the native API's document; `openapi` is FastAPI's function."""

    async def native_document(request: Request) -> Response:
        return _placed(openapi(), request)

    return Route("/openapi.json", native_document, methods=["GET"])


def _placed(document: dict[str, Any], request: Request) -> Response:
    prefix = prefix_of(request.scope)
    return JSONResponse(document | ({"servers": [{"url": prefix}]} if prefix else {}))
