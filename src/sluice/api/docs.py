"""``/docs``: a page of our own to read and try the APIs.

The page reads ``/openapi/volcengine.json``, ``/openapi/heybox.json`` and FastAPI's ``/openapi.json``, which
are made when they are first asked for. Behind a path prefix they name it, and the page asks relative to its
own address. It signs calls in the browser with keys that the reader types, keeps them only in memory, and
loads nothing from elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sluice.api.examples import NATIVE
from sluice.api.heybox import openapi as heybox
from sluice.api.heybox.fields import Body
from sluice.api.native import error_rows
from sluice.api.proxies import prefix_of
from sluice.api.volcengine import openapi as volcengine
from sluice.api.volcengine.actions import Action

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(actions: Sequence[Action[Any]], bodies: Mapping[str, type[Body]], version: str) -> list[BaseRoute]:
    """`bodies` are those of the bot API by path."""
    html = files("sluice.api").joinpath("docs.html").read_text()

    async def page(request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return HTMLResponse(html, headers=headers)

    return [
        Route("/docs", page, methods=["GET"]),
        _route("/openapi/volcengine.json", lambda: volcengine.document(actions, version)),
        _route("/openapi/heybox.json", lambda: heybox.document(bodies, version)),
    ]


def native_route(openapi: Callable[[], dict[str, Any]]) -> BaseRoute:
    """The route of the native API's document; `openapi` is FastAPI's function."""

    return _route("/openapi.json", lambda: native_document(openapi()))


def native_document(found: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with examples, and what it says of failures."""
    components = found.get("components", {})
    schemas = {
        name: schema | ({"example": NATIVE[name]} if name in NATIVE else {})
        for name, schema in components.get("schemas", {}).items()
    }
    return found | {"components": components | {"schemas": schemas}, "x-errors": error_rows()}


def _route(path: str, make: Callable[[], dict[str, Any]]) -> BaseRoute:
    made = cache(make)

    async def document(request: Request) -> Response:
        prefix = prefix_of(request.scope)
        return JSONResponse(made() | ({"servers": [{"url": prefix}]} if prefix else {}))

    return Route(path, document, methods=["GET"])
