"""Making channels, which fixes their line (docs/contract/heybox.md 3a)."""

import re
from collections.abc import Iterator

import pytest

from sluice.core.tasks import Dialect
from sluice.store import bots as module
from tests.unit.heybox import CREATE, PUSHED, Api, failed, making, ok

CREATED = {"room_id": PUSHED["room_id"], "channel_name": "音乐", "channel_type": 0, "api_type": "volc"}


@pytest.fixture
def api() -> Iterator[Api]:
    yield from making(registered_only=True)


def test_a_channel_is_of_its_line_and_room(api: Api) -> None:
    channel_id = ok(api.send(CREATE, CREATED | {"parent_id": "5", "nonce": "x"}))["channel_id"]
    assert re.fullmatch("[1-9][0-9]{18}", channel_id)
    assert int(channel_id) < 2**63
    assert api.pushed(channel_id=channel_id).dialect is Dialect.BOT_VOLC
    assert failed(api.push(channel_id=channel_id, room_id="another")) == (404, "channel not found")


@pytest.mark.parametrize("line", [{}, {"api_type": None}, {"api_type": "trtc"}])
def test_line_1_where_none_is_told(api: Api, line: dict[str, object]) -> None:
    body = {name: CREATED[name] for name in ("room_id", "channel_name", "channel_type")}
    made = ok(api.send(CREATE, body | line, token=api.guest_token))
    assert api.pushed(**made).dialect is Dialect.BOT_TRTC, "whatever the bot's line is"


@pytest.mark.parametrize("field", ["room_id", "channel_name", "channel_type"])
def test_missing_fields(api: Api, field: str) -> None:
    assert failed(api.send(CREATE, CREATED | {field: None})) == (400, f"missing parameter: {field}")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("room_id", [5, "a b"]),
        ("channel_name", [5, "x" * 129, []]),
        ("channel_type", [1, 2, 3, 4, 5, -1, "0", 0.0, False]),
        ("api_type", ["TRTC", "agora", "", 1]),
    ],
)
def test_fields_out_of_their_rules(api: Api, field: str, values: list[object]) -> None:
    for value in values:
        assert failed(api.send(CREATE, CREATED | {field: value})) == (400, f"invalid parameter: {field}"), (
            value
        )


def test_rooms_of_a_bot(api: Api) -> None:
    ok(api.send(CREATE, CREATED, token=api.guest_token))
    refused = api.send(CREATE, CREATED | {"room_id": "another"}, token=api.guest_token)
    assert failed(refused) == (403, "permission denied")


def test_the_number_of_channels_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHANNELS", 2)
    for _ in range(2):
        ok(api.send(CREATE, CREATED))
    assert failed(api.send(CREATE, CREATED)) == (409, "no capacity")
