"""What the secrets of an app are used for, for the operator (`/api/v1/apps/{app_id}/tokens` and
`…/signatures`). The secrets themselves stay in the node, which shows them once, when they are made.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, Field

from sluice.api.native import Document, operators_router
from sluice.api.operator import Operator
from sluice.core.apps import AccessKey
from sluice.core.errors import NotFound
from sluice.core.ids import ID_PATTERN, AppId
from sluice.store.apps import AppRegistry
from sluice.wire.signature import RequestHead, parse_query, sign
from sluice.wire.token import LONGEST_GRANT_S, grant_for, make

_Id = Annotated[str, Field(pattern=f"^{ID_PATTERN.pattern}$")]
_Line = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=8192)]


def _check_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half of a pair, which JSON can write
        raise ValueError("is no text in UTF-8") from error
    return value


class NewToken(Document):
    room_id: _Id
    user_id: _Id
    publish: bool = True
    subscribe: bool = True
    seconds: Annotated[int, Field(ge=1, le=LONGEST_GRANT_S)] = 86400
    """It is valid for so long."""


class TokenDocument(Document):
    token: str
    expires_at: int


class ToSign(Document):
    """A call of the OpenAPI dialect, which the caller sends himself."""

    method: Literal["GET", "POST"]
    query: _Line
    """As it stands in the address behind the question mark."""
    host: _Line
    content_type: _Line | None = None
    body: Annotated[str, AfterValidator(_check_text)] = ""


class SignedHeaders(Document):
    headers: dict[str, str]
    """To be added to the call."""


def routes(registry: AppRegistry, operator: Operator, clock: Callable[[], float]) -> APIRouter:
    """To be included in the application without a prefix. `clock` tells Unix seconds."""
    api = operators_router(operator, "/apps/{app_id}")

    @api.post("/tokens", summary="Make an RTC token for a user in a room")
    async def make_token(app_id: str, wanted: NewToken) -> TokenDocument:
        rights = {"publish": wanted.publish, "subscribe": wanted.subscribe}
        grant = grant_for(wanted.room_id, wanted.user_id, int(clock()), wanted.seconds, **rights)
        return TokenDocument(token=make(registry.apps.known(app_id), grant), expires_at=grant.expire_at)

    @api.post("/signatures", summary="Sign a call of the OpenAPI with an access key of the app")
    async def sign_call(app_id: str, wanted: ToSign) -> SignedHeaders:
        """With its oldest key that is enabled and needs no session token."""
        key = await _key_of(registry, registry.apps.known(app_id).app_id)
        headers = [("Host", wanted.host)]
        if wanted.content_type is not None:
            headers.append(("Content-Type", wanted.content_type))
        head = RequestHead(wanted.method, "/", parse_query(wanted.query), tuple(headers))
        return SignedHeaders(headers=sign(head, wanted.body.encode(), key, clock()))

    return api


async def _key_of(registry: AppRegistry, app_id: AppId) -> AccessKey:
    for record in await registry.list_keys():
        if record.enabled and app_id in record.key.app_ids and record.key.session_token is None:
            return record.key
    raise NotFound(
        f"the app {app_id} has no access key that is enabled and needs no session token; make one with: "
        f"sluice key create --app {app_id}"
    )
