"""RTC tokens: the vector, each rule of docs/contract/token.md 3, and round trips."""

import base64
import hmac
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.apps import App
from sluice.core.errors import AccessRefused, BadInput
from sluice.core.ids import AppId, RoomId, UserId
from sluice.wire.token import Grant, Privilege, TokenClaims, make, verify

APP = App(AppId("123456781234567812345678"), "test-app-key")
ROOM, USER = RoomId("room1"), UserId("user1")
ISSUED, PUBLISH_END, END = 1700000000, 1700003600, 1700007200
GRANT = Grant("room1", "user1", ISSUED, END, {Privilege.PUBLISH: PUBLISH_END, Privilege.SUBSCRIBE: 0})
VECTOR = (Path(__file__).parent.parent / "data" / "token_vector.txt").read_text().splitlines()[2]
KINDS = (Privilege.PUBLISH_AUDIO, Privilege.PUBLISH_VIDEO)


def check(token: str, now: float = ISSUED) -> TokenClaims:
    return verify(token, APP, ROOM, USER, now)


def packed(message: bytes, signature: bytes | None = None, tail: bytes = b"") -> str:
    """A token around any message, signed well unless `signature` is given."""
    if signature is None:
        signature = hmac.digest(b"test-app-key", message, "sha256")
    blocks = struct.pack("<H", len(message)) + message + struct.pack("<H", len(signature)) + signature
    return f"001{APP.app_id}{base64.b64encode(blocks + tail).decode()}"


def message_of(token: str) -> bytes:
    return base64.b64decode(token[27:])[2:-34]


def test_vector() -> None:
    assert make(APP, GRANT, nonce=1234567) == VECTOR
    claims = check(VECTOR)
    privileges = {0: PUBLISH_END, 1: PUBLISH_END, 2: PUBLISH_END, 3: PUBLISH_END, 4: 0}
    assert claims == TokenClaims(APP.app_id, ROOM, USER, ISSUED, END, privileges)


def test_nonce_differs() -> None:
    assert make(APP, GRANT) != make(APP, GRANT)


def test_any_user_of_the_room() -> None:
    assert verify(VECTOR, APP, ROOM, None, ISSUED).user_id == USER


def test_expiry() -> None:
    assert check(VECTOR, END).expire_at == END
    with pytest.raises(AccessRefused, match="expired"):
        check(VECTOR, END + 1)
    assert check(VECTOR, ISSUED - 10_000).issued_at == ISSUED  # rule 7
    forever = make(APP, Grant("room1", "user1", ISSUED, 0, {}))
    assert check(forever, 2**40).expire_at == 0


def test_privileges_lapse_by_themselves() -> None:
    claims = check(VECTOR)
    assert claims.may_publish(KINDS, PUBLISH_END)
    assert not claims.may_publish(KINDS, PUBLISH_END + 1)
    assert claims.may_subscribe(PUBLISH_END + 1)


@pytest.mark.parametrize(
    ("privileges", "audio", "video", "both"),
    [
        ({}, False, False, False),
        ({Privilege.PUBLISH: 0}, True, True, True),
        ({Privilege.PUBLISH_AUDIO: 0}, True, False, False),
        ({Privilege.PUBLISH_AUDIO: 0, Privilege.PUBLISH_VIDEO: ISSUED}, True, True, True),
        ({Privilege.PUBLISH_AUDIO: 0, Privilege.PUBLISH_VIDEO: ISSUED - 1}, True, False, False),
        ({Privilege.SUBSCRIBE: 0}, False, False, False),
    ],
)
def test_kinds(privileges: dict[Privilege, int], audio: bool, video: bool, both: bool) -> None:
    claims = check(make(APP, Grant("room1", "user1", ISSUED, END, privileges)))
    assert claims.may_publish([Privilege.PUBLISH_AUDIO], ISSUED) is audio
    assert claims.may_publish([Privilege.PUBLISH_VIDEO], ISSUED) is video
    assert claims.may_publish(KINDS, ISSUED) is both
    assert claims.may_subscribe(ISSUED) is (Privilege.SUBSCRIBE in privileges)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not an RTC token"),
        ("001661e543cf80", "not an RTC token"),
        ("002" + VECTOR[3:], "not an RTC token"),
        (VECTOR[:27], "not an RTC token"),
        (VECTOR[:27] + "*" + VECTOR[28:], "not base64"),
        (VECTOR[:27] + "é", "not base64"),
        (VECTOR[:-2], "not base64"),
        (VECTOR[:-4], "cut off"),
        (VECTOR[:27] + "AA==", "cut off"),
        ("001876543218765432187654321" + VECTOR[27:], "another AppId"),
        (packed(message_of(VECTOR), tail=b"x"), "bytes follow"),
        (packed(message_of(VECTOR) + b"x"), "bytes follow"),
        (packed(message_of(VECTOR)[:-1]), "cut off"),
        (packed(b""), "cut off"),
        (packed(message_of(VECTOR), signature=bytes(32)), "signature does not match"),
        (packed(message_of(VECTOR), signature=b""), "signature does not match"),
        (packed(message_of(VECTOR).replace(b"user1", b"\xffser1")), "not UTF-8"),
        (make(APP, Grant("room2", "user1", ISSUED, END, {})), "another RoomId"),
        (make(APP, Grant("", "user1", ISSUED, END, {})), "another RoomId"),
        (make(APP, Grant("room1", "user2", ISSUED, END, {})), "another UserId"),
        (make(App(APP.app_id, "other key"), GRANT), "signature does not match"),
        (VECTOR + "A" * 5000, "never longer"),
    ],
)
def test_refused(token: str, why: str) -> None:
    with pytest.raises(AccessRefused, match=why) as caught:
        check(token)
    assert not caught.value.known


def test_every_changed_byte_is_noticed() -> None:
    raw = base64.b64decode(VECTOR[27:])
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(AccessRefused):
            check(VECTOR[:27] + base64.b64encode(changed).decode())


@pytest.mark.parametrize(
    ("app_id", "grant", "field"),
    [
        ("short", GRANT, "AppId"),
        ("é" * 24, GRANT, "AppId"),
        (APP.app_id, Grant("room1", "user1", -1, END, {}), "time"),
        (APP.app_id, Grant("room1", "user1", 0, 2**32, {}), "time"),
        (APP.app_id, Grant("room1", "user1", 0, END, {Privilege.SUBSCRIBE: 2**32}), "time"),
        (APP.app_id, Grant("r" * 70_000, "user1", 0, END, {}), "RoomId"),
        (APP.app_id, Grant("room1", "u" * 5000, 0, END, {}), "UserId"),
    ],
)
def test_cannot_be_made(app_id: str, grant: Grant, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        make(App(AppId(app_id), "key"), grant)
    assert caught.value.field == field


_times = st.integers(0, 2**32 - 1)


@given(
    room=st.text(max_size=100),
    user=st.text(max_size=100),
    issued=_times,
    privileges=st.dictionaries(st.sampled_from([p for p in Privilege if p is not Privilege.PUBLISH]), _times),
)
def test_round_trip(room: str, user: str, issued: int, privileges: dict[Privilege, int]) -> None:
    token = make(APP, Grant(room, user, issued, 0, privileges))
    claims = verify(token, APP, RoomId(room), UserId(user), 0)
    expected = {int(key): end for key, end in privileges.items()}
    assert claims == TokenClaims(APP.app_id, RoomId(room), UserId(user), issued, 0, expected)


@given(
    st.one_of(
        st.text(max_size=200),
        st.binary(max_size=100).map(packed),
        st.text(max_size=50).map(VECTOR[:60].__add__),
    )
)
def test_any_text_is_refused_and_nothing_else(token: str) -> None:
    with pytest.raises(AccessRefused):
        check(token)
