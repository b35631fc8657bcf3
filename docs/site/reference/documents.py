"""The OpenAPI documents that a node serves, made without a node: routes and actions are only named here."""

import inspect
import pkgutil
from functools import cache
from importlib import import_module
from typing import Any, cast

from fastapi import FastAPI

import sluice.api
from sluice import __version__
from sluice.api.docs import native_document
from sluice.api.heybox import openapi as heybox
from sluice.api.heybox.gateway import route_table
from sluice.api.operator import Operator
from sluice.api.volcengine import openapi as volcengine
from sluice.api.volcengine.actions import Action, action_table

#: Whatever does the work behind the routes.
_NOBODY = cast(Any, None)


class _Anyone:
    """Has every method, which nobody calls."""

    def __getattr__(self, name: str) -> Any:
        return None


def actions() -> tuple[Action[Any], ...]:
    return action_table(_NOBODY, _NOBODY, _NOBODY, _NOBODY)


@cache
def volcengine_document() -> dict[str, Any]:
    return volcengine.document(actions(), __version__)


@cache
def bot_document() -> dict[str, Any]:
    anyone = cast(Any, _Anyone())
    bodies = {path: route.body for path, route in route_table(anyone, anyone).items()}
    return heybox.document(bodies, __version__)


@cache
def native_api() -> dict[str, Any]:
    """All modules `native*`, metrics and health."""
    app = FastAPI(title="sluice", version=__version__)
    for found in pkgutil.iter_modules(sluice.api.__path__):
        if found.name.startswith("native") or found.name in ("metrics", "health"):
            routes = import_module(f"sluice.api.{found.name}").routes
            app.include_router(
                routes(*(_argument(one) for one in inspect.signature(routes).parameters.values()))
            )
    return native_document(app.openapi())


def _argument(parameter: inspect.Parameter) -> Any:
    return Operator("") if parameter.annotation is Operator else _Anyone()
