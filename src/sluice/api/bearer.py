"""RTC tokens as bearers of the room's HTTP resources (docs/contract/token.md 3, rule 7a)."""

from collections.abc import Mapping

from starlette.requests import Request

from sluice.core.apps import Apps
from sluice.core.errors import AccessRefused, BadInput, SluiceError
from sluice.core.fairness import TooOften
from sluice.core.ids import AppId, RoomId, UserId, is_valid_id
from sluice.rooms.port import Bans
from sluice.wire.token import Privilege, TokenClaims, verify

#: The kinds of media that people publish, and the privilege for each.
_KINDS: Mapping[str, Privilege] = {"audio": Privilege.PUBLISH_AUDIO, "video": Privilege.PUBLISH_VIDEO}


def path_id(request: Request, name: str) -> str:
    """An id of the path. Raises BadInput for one that breaks the id syntax."""
    value = str(request.path_params[name])
    if not is_valid_id(value):
        raise BadInput(name, "must be 1 to 128 of a-z A-Z 0-9 _ @ - .")
    return value


def watching_user(request: Request, apps: Apps, now: float, *, query: bool = False) -> UserId:
    """The user whose token may subscribe in the app and room of the path.

    With `query` the token may come as ``?token=``. Raises AccessRefused; it is `known` if only the right is
    missing.
    """
    claims = _claims(request, apps, now, query=query)
    if not claims.may_subscribe(now):
        raise AccessRefused("the token does not have the privilege to subscribe (4)", known=True)
    return claims.user_id


def publishing_user(request: Request, apps: Apps, now: float) -> tuple[UserId, tuple[str, ...]]:
    """The user whose token may publish in the app and room of the path, and the kinds that it may publish.
    Raises AccessRefused as `watching_user`."""
    claims = _claims(request, apps, now)
    kinds = tuple(kind for kind, privilege in _KINDS.items() if claims.may_publish((privilege,), now))
    if not kinds:
        raise AccessRefused("the token does not have the privilege to publish (0, or 1 and 2)", known=True)
    return claims.user_id, kinds


def _claims(request: Request, apps: Apps, now: float, *, query: bool = False) -> TokenClaims:
    app = apps.app(path_id(request, "app_id"))
    room_id = RoomId(path_id(request, "room_id"))
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.query_params.get("token", "") if query else ""
    if not token.strip():
        raise AccessRefused("send the header Authorization: Bearer <RTC token of this room>")
    if app is None:
        raise AccessRefused("the token was made for an AppId that is not configured here")
    return verify(token.strip(), app, room_id, None, now)


def owner(request: Request, apps: Apps) -> UserId:
    """The user of a token of the app and room of the path. It may have lapsed: it is enough to end what the
    user has. Raises AccessRefused."""
    return _claims(request, apps, 0.0).user_id


async def refuse_barred(bans: Bans, app_id: AppId, room_id: RoomId, user_id: UserId) -> None:
    """To be called before a user is let in, and again afterwards. Raises AccessRefused."""
    if await bans.barred(app_id, room_id, user_id):
        raise AccessRefused("this user is barred from the room", known=True)


def status_of(error: SluiceError) -> int:
    """The HTTP status of a failure of a room's resource."""
    if isinstance(error, AccessRefused):
        return 403 if error.known else 401
    if isinstance(error, TooOften):
        return 429
    return 400 if isinstance(error, BadInput) else 503
