"""RTC tokens: who may enter which room of an app, and what they may do there (docs/contract/token.md).

    token = "001" + AppId (24) + base64( lp(msg) + lp(sig) )

`verify` checks the bytes as received: writers differ in the order of privileges and the width of the
nonce, so nothing is serialized again. Privileges end one by one, so they are checked at a time:
`claims.may_publish(kinds, now)`.
"""

import base64
import binascii
import hmac
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from sluice.core.apps import App
from sluice.core.errors import AccessRefused, BadInput
from sluice.core.ids import AppId, RoomId, UserId

VERSION = "001"
APP_ID_LENGTH = 24
#: Longer than any token of ids of 128 characters; bounds the work on a stranger's text.
MAX_TOKEN_LENGTH = 4096
#: Tokens that the node and its commands make themselves last no longer.
LONGEST_GRANT_S = 10 * 365 * 86400
_HEAD = struct.Struct("<III")  # nonce, issuedAt, expireAt
_LENGTH = struct.Struct("<H")
_PRIVILEGE = struct.Struct("<HI")
_U32_MAX = 0xFFFFFFFF


class Privilege(IntEnum):
    """Keys of docs/contract/token.md 2; PUBLISH covers the three kinds after it."""

    PUBLISH = 0
    PUBLISH_AUDIO = 1
    PUBLISH_VIDEO = 2
    PUBLISH_DATA = 3
    SUBSCRIBE = 4


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says. Times are Unix seconds, and an end of 0 is never; `privileges` maps keys to ends."""

    app_id: AppId
    room_id: RoomId
    user_id: UserId
    issued_at: int
    expire_at: int
    privileges: Mapping[int, int]

    def may_publish(self, kinds: Iterable[Privilege], now: float) -> bool:
        """Whether each of `kinds` (PUBLISH_AUDIO, PUBLISH_VIDEO, PUBLISH_DATA) may be published (rule 6)."""
        return self._has(Privilege.PUBLISH, now) or all(self._has(kind, now) for kind in kinds)

    def may_subscribe(self, now: float) -> bool:
        return self._has(Privilege.SUBSCRIBE, now)

    def _has(self, privilege: Privilege, now: float) -> bool:
        return privilege in self.privileges and _lasts(self.privileges[privilege], now)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a new token says; PUBLISH among the privileges sets the three kinds too."""

    room_id: str
    user_id: str
    issued_at: int
    expire_at: int
    privileges: Mapping[Privilege, int]


def grant_for(room_id: str, user_id: str, now: int, seconds: int, *, publish: bool, subscribe: bool) -> Grant:
    """A grant that ends, and all it permits with it, `seconds` after `now` (Unix seconds)."""
    rights = {Privilege.PUBLISH: publish, Privilege.SUBSCRIBE: subscribe}
    end = now + seconds
    return Grant(room_id, user_id, now, end, {right: end for right, given in rights.items() if given})


def make(app: App, grant: Grant, nonce: int | None = None) -> str:
    """A token signed with the app's key. Raises BadInput for what a token cannot carry."""
    if len(app.app_id) != APP_ID_LENGTH or not app.app_id.isascii():
        raise BadInput("AppId", f"a token can only carry an AppId of {APP_ID_LENGTH} ASCII characters")
    privileges = {int(key): expire_at for key, expire_at in grant.privileges.items()}
    if Privilege.PUBLISH in privileges:
        for kind in (Privilege.PUBLISH_AUDIO, Privilege.PUBLISH_VIDEO, Privilege.PUBLISH_DATA):
            privileges[kind] = privileges[Privilege.PUBLISH]
    for time in (grant.issued_at, grant.expire_at, *privileges.values()):
        if not 0 <= time <= _U32_MAX:
            raise BadInput("time", f"a token carries Unix seconds from 0 to {_U32_MAX}, not {time}")
    nonce = secrets.randbits(32) if nonce is None else nonce
    message = (
        _HEAD.pack(nonce, grant.issued_at, grant.expire_at)
        + _prefixed(grant.room_id.encode(), "RoomId")
        + _prefixed(grant.user_id.encode(), "UserId")
        + _LENGTH.pack(len(privileges))
        + b"".join(_PRIVILEGE.pack(key, privileges[key]) for key in sorted(privileges))
    )
    blocks = _prefixed(message, "token") + _prefixed(_mac(app, message), "signature")
    token = f"{VERSION}{app.app_id}{base64.b64encode(blocks).decode()}"
    if len(token) > MAX_TOKEN_LENGTH:
        raise BadInput("UserId", "RoomId and UserId are too long for a token")
    return token


def verify(token: str, app: App, room_id: RoomId, user_id: UserId | None, now: float) -> TokenClaims:
    """The claims of a token that is valid at `now` for this app and room, and for `user_id` unless None.

    Raises AccessRefused (`known` is false: the token is not valid here). Does not check privileges.
    """
    app_id, message, signature = _split(token)
    if app_id != app.app_id:
        raise AccessRefused("the token was made for another AppId")
    if not hmac.compare_digest(_mac(app, message), signature):
        raise AccessRefused("the token's signature does not match; sign it with the AppKey of this AppId")
    claims = _read_message(app.app_id, message)
    if not _lasts(claims.expire_at, now):
        raise AccessRefused("the token has expired; make a new one")
    if claims.room_id != room_id:
        raise AccessRefused("the token was made for another RoomId")
    if user_id is not None and claims.user_id != user_id:
        raise AccessRefused("the token was made for another UserId")
    return claims


def _split(token: str) -> tuple[str, bytes, bytes]:
    """AppId, message and signature (rules 1 and 2)."""
    head = len(VERSION) + APP_ID_LENGTH
    if len(token) > MAX_TOKEN_LENGTH:
        raise AccessRefused(f"a token is never longer than {MAX_TOKEN_LENGTH} characters")
    if len(token) <= head or not token.startswith(VERSION):
        raise AccessRefused(f"not an RTC token; one begins with {VERSION} and an AppId of 24 characters")
    try:
        reader = _Reader(base64.b64decode(token[head:], validate=True))
    except (binascii.Error, ValueError) as error:  # ValueError: characters outside ASCII
        raise AccessRefused("not an RTC token; the part after the AppId is not base64") from error
    message, signature = reader.block(), reader.block()
    reader.finish()
    return token[len(VERSION) : head], message, signature


def _read_message(app_id: AppId, message: bytes) -> TokenClaims:
    reader = _Reader(message)
    _nonce, issued_at, expire_at = reader.take(_HEAD)
    try:
        room_id, user_id = reader.block().decode(), reader.block().decode()
    except UnicodeDecodeError as error:
        raise AccessRefused("the token is damaged; an id in it is not UTF-8") from error
    (count,) = reader.take(_LENGTH)
    privileges: dict[int, int] = {}
    for _ in range(count):
        key, end = reader.take(_PRIVILEGE)
        privileges[key] = end
    reader.finish()
    return TokenClaims(app_id, RoomId(room_id), UserId(user_id), issued_at, expire_at, privileges)


class _Reader:
    """Bounds-checked reading; whatever is too short or too long is a damaged token."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self._bytes(layout.size))

    def block(self) -> bytes:
        (length,) = self.take(_LENGTH)
        return self._bytes(length)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise AccessRefused("the token is damaged; bytes follow its end")

    def _bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise AccessRefused("the token is damaged; it is cut off")
        data, self._at = self._data[self._at : end], end
        return data


def _prefixed(data: bytes, field: str) -> bytes:
    if len(data) > 0xFFFF:
        raise BadInput(field, "too long for a token")
    return _LENGTH.pack(len(data)) + data


def _mac(app: App, message: bytes) -> bytes:
    return hmac.digest(app.app_key.encode(), message, "sha256")


def _lasts(expire_at: int, now: float) -> bool:
    return expire_at == 0 or now <= expire_at
