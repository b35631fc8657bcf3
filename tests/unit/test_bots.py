"""What bots may do, as pure functions."""

import base64

import pytest

from sluice.core.addresses import is_address
from sluice.core.bots import Bot, Channel, Line, hash_token, new_channel_id, new_token
from sluice.core.ids import AppId, BotId, BotRoomId, ChannelId
from sluice.core.tasks import Dialect

APP, ROOM, OTHER = AppId("a" * 24), BotRoomId("room"), BotRoomId("other")


def test_rooms() -> None:
    assert Bot(BotId(1), "any", APP).may_enter(ROOM)
    some = Bot(BotId(1), "some", APP, rooms=frozenset({ROOM}))
    assert some.may_enter(ROOM)
    assert not some.may_enter(OTHER)


def test_lines() -> None:
    bot = Bot(BotId(1), "bot", APP, Line.VOLC)
    assert bot.line_in(None) is Line.VOLC
    assert bot.line_in(Channel(APP, ChannelId("5"), Line.TRTC)) is Line.TRTC
    assert [line.dialect for line in Line] == [Dialect.BOT_TRTC, Dialect.BOT_VOLC]


def test_where_a_channel_lies() -> None:
    known, unknown = (Channel(APP, ChannelId("5"), Line.TRTC, room) for room in (ROOM, None))
    assert known.lies_in(ROOM)
    assert not known.lies_in(OTHER)
    assert unknown.lies_in(ROOM)


def test_tokens_have_the_vendors_form_and_are_never_the_same() -> None:
    first, second = (new_token(BotId(12), 1_800_000_000.0) for _ in range(2))
    number, at, random = base64.b64decode(first, validate=True).decode().split(";")
    assert (number, at, len(random)) == ("12", "1800000000000000000", 32)
    assert hash_token(first) != hash_token(second)
    assert hash_token(first) == hash_token(first)


def test_channel_ids() -> None:
    made = {new_channel_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(channel_id) == 19 and int(channel_id) < 2**63 for channel_id in made)


@pytest.mark.parametrize(
    ("host", "address"),
    [("10.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("example.com", False), ("1.2.3", False)],
)
def test_what_is_an_address(host: str, address: bool) -> None:
    assert is_address(host) is address
