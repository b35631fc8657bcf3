"""The gateway of the dialect: one request from bytes to envelope.

Each answer carries the rate headers, so the caller is counted before anything else: a bot by its number, a
caller without a bot's token by its address. No body is read from a caller without a token. The query is never
looked at (docs/contract/heybox.md 1).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from sluice.api.heybox.channels import ChannelHandlers, CreateChannel
from sluice.api.heybox.envelope import failure, success
from sluice.api.heybox.errors import (
    INTERNAL_ERROR,
    INVALID_JSON,
    INVALID_TOKEN,
    NO_SUCH_PATH,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    WRONG_METHOD,
    BotApiError,
    to_refusal,
)
from sluice.api.heybox.fields import Body
from sluice.api.heybox.rates import Quota, Rates
from sluice.api.heybox.streams import Push, Stop, StreamHandlers
from sluice.core.bots import Bot
from sluice.core.errors import SluiceError
from sluice.core.fairness import Rate, network_of
from sluice.core.limits import MOST_LOGGED_REFUSALS
from sluice.store.bots import BotRegistry

#: The beginning of all paths of the dialect.
ROOT = "/chatroom/"
BODY_LIMIT = 1 << 16  #: bytes; the longest address in every field is a fifth of it
_LONGEST_TOKEN = 512
_LONGEST_LOGGED_PATH = 128
_B = TypeVar("_B", bound=Body)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route(Generic[_B]):
    """The body that a path takes, and the handler that answers with the envelope's result."""

    body: type[_B]
    handle: Callable[[_B, Bot], Awaitable[Mapping[str, object]]]


def route_table(streams: StreamHandlers, channels: ChannelHandlers) -> dict[str, Route[Any]]:
    return {
        f"{ROOT}v3/channel/stream/push": Route(Push, streams.push),
        f"{ROOT}v3/channel/stream/stop": Route(Stop, streams.stop),
        f"{ROOT}v3/channel/create": Route(CreateChannel, channels.create),
    }


@dataclass(slots=True)
class _Call:
    request: Request
    now: float
    bot: Bot | None = None
    quota: Quota | None = None

    @property
    def address(self) -> str:
        client = self.request.client
        return client.host if client else ""


class BotGateway:
    """The dialect as an ASGI application, for every method and every path below ROOT. `clock` tells Unix
    seconds."""

    def __init__(
        self, routes: Mapping[str, Route[Any]], bots: BotRegistry, clock: Callable[[], float]
    ) -> None:
        self._routes = routes
        self._bots = bots
        self._clock = clock
        # Two tables, so that a crowd of strangers cannot push the counts of bots out.
        self._rates_of_bots = Rates()
        self._rates_of_strangers = Rates()
        self._lines = Rate(MOST_LOGGED_REFUSALS)

    @property
    def bodies(self) -> dict[str, type[Body]]:
        """What each path takes."""
        return {path: route.body for path, route in self._routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = _Call(Request(scope, receive), self._clock())
        try:
            response = success(await self._run(call))
        except ClientDisconnect:
            return
        except SluiceError as error:
            refusal = to_refusal(error)
            if refusal.culprit.is_defect or not self._lines.take(network_of(call.address), call.now):
                _log_refusal(call, refusal, error)
            response = failure(refusal)
        except Exception:  # the root of a call: the caller gets an envelope, the log the trace
            log.exception("x call", path=_path_of(call))
            response = failure(BotApiError(INTERNAL_ERROR))
        response.headers.update((call.quota or self._count(call)).headers())
        await response(scope, receive, send)

    async def _run(self, call: _Call) -> Mapping[str, object]:
        """The envelope's result. Raises SluiceError."""
        call.bot = await self._find_bot(call.request.headers.get("token", ""))
        call.quota = self._count(call)
        if call.quota.over:
            raise BotApiError(TOO_MANY_REQUESTS)
        route = self._routes.get(call.request.scope["path"])
        if route is None:
            raise BotApiError(NO_SUCH_PATH)
        if call.request.method != "POST":
            raise BotApiError(WRONG_METHOD)
        if call.bot is None:
            raise BotApiError(INVALID_TOKEN)
        return await route.handle(route.body.read(await _read_object(call.request)), call.bot)

    async def _find_bot(self, token: str) -> Bot | None:
        token = token.strip()
        return await self._bots.find_bot(token) if 0 < len(token) <= _LONGEST_TOKEN else None

    def _count(self, call: _Call) -> Quota:
        if call.bot is None:
            return self._rates_of_strangers.count(call.address, call.now)
        return self._rates_of_bots.count(call.bot.bot_id, call.now)


async def _read_object(request: Request) -> dict[str, object]:
    """Raises BotApiError; for a body over the limit as soon as it exceeds it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise BotApiError(TOO_LARGE)
    try:
        data = from_json(bytes(body), allow_inf_nan=False)
    except ValueError as error:
        raise BotApiError(INVALID_JSON, why=str(error)) from error
    if not isinstance(data, dict):
        raise BotApiError(INVALID_JSON, why="not a JSON object")
    return data


def _log_refusal(call: _Call, refusal: BotApiError, error: SluiceError) -> None:
    fields: dict[str, object] = {"path": _path_of(call), "caller": call.address}
    if call.bot is not None:
        fields["bot_id"] = call.bot.bot_id
    if refusal.culprit.is_defect:
        log.error("x call", **fields, exc_info=error)
    else:
        log.info("x call", **fields, code=refusal.row.code, why=refusal.why or str(refusal))


def _path_of(call: _Call) -> str:
    path: str = call.request.scope["path"]
    return path[:_LONGEST_LOGGED_PATH]
