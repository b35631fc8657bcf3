"""Which actions there are: one table of name, method, versions, model and handler (volcengine.md section 2).

A new action is a row here, and a model and a handler beside `relay` or `push`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sluice.api.volcengine.fields import Request
from sluice.api.volcengine.push import (
    GetPushSingleStreamToCDNTask,
    PushHandlers,
    StartPushSingleStreamToCDN,
    StopPushStreamToCDN,
)
from sluice.api.volcengine.relay import (
    ListRelayStream,
    RelayHandlers,
    StartRelayStream,
    StopRelayStream,
    UpdateRelayStream,
)
from sluice.core.apps import App
from sluice.tasks.port import Tasks

M = TypeVar("M", bound=Request)

_RELAY_VERSIONS = ("2020-12-01", "2023-11-01")
_PUSH_VERSIONS = ("2020-12-01", "2023-06-01", "2023-11-01")


@dataclass(frozen=True, slots=True)
class Action(Generic[M]):
    """POST actions take their parameters from the body, GET actions from the query."""

    name: str
    method: str
    versions: tuple[str, ...]
    model: type[M]
    handle: Callable[[M, App, float], Awaitable[object]]


def action_table(tasks: Tasks) -> tuple[Action[Any], ...]:
    relay, push = RelayHandlers(tasks), PushHandlers(tasks)
    return (
        Action("StartRelayStream", "POST", _RELAY_VERSIONS, StartRelayStream, relay.start),
        Action("UpdateRelayStream", "POST", _RELAY_VERSIONS, UpdateRelayStream, relay.update),
        Action("StopRelayStream", "POST", _RELAY_VERSIONS, StopRelayStream, relay.stop),
        Action("ListRelayStream", "GET", _RELAY_VERSIONS, ListRelayStream, relay.list),
        Action("StartPushSingleStreamToCDN", "POST", _PUSH_VERSIONS, StartPushSingleStreamToCDN, push.start),
        Action("StopPushStreamToCDN", "POST", _PUSH_VERSIONS, StopPushStreamToCDN, push.stop),
        Action("GetPushSingleStreamToCDNTask", "GET", _PUSH_VERSIONS, GetPushSingleStreamToCDNTask, push.get),
    )
