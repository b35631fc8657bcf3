"""Push and stop: every field's rules, lines, rights, and whose a stream is (docs/contract/heybox.md 2, 3,
5)."""

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluice.core.apps import Feature
from sluice.core.bots import Channel, Line, StreamLimits
from sluice.core.ids import BotRoomId, ChannelId
from sluice.core.lifecycle import State
from sluice.core.tasks import LIFETIME_S, Dialect, MediaType, RelaySpec
from tests.unit.heybox import APP, NOW, PUSH, PUSHED, STOP, Api, failed, making, ok

ROOM, CHANNEL = BotRoomId(PUSHED["room_id"]), ChannelId(PUSHED["channel_id"])
DENIED, NO_CHANNEL, NO_TASK = (403, "permission denied"), (404, "channel not found"), (404, "task not found")


@pytest.fixture
def api() -> Iterator[Api]:
    yield from making()


def register(api: Api, line: Line, room_id: BotRoomId | None = None) -> None:
    asyncio.run(api.bots.save_channel(Channel(APP.app_id, CHANNEL, line, room_id)))


def invalid(field: str) -> tuple[int, str]:
    return 400, f"invalid parameter: {field}"


# --- fields -------------------------------------------------------------------------------------------------


def test_the_documented_example(api: Api) -> None:
    task = api.pushed(
        volume=30,
        callback_url="https://yourdomain.com/callback",
        seek_second=10,
        repeat_num=2,
        max_duration=233,
    )
    assert task.spec == RelaySpec(
        "https://example.com/audio.mp3",
        media_type=MediaType.AUDIO,
        stream_mode=task.spec.stream_mode,
        plays=2,
        begin_s=10,
        volume=30,
        max_idle_s=300,
        lifetime_s=None,
        callback_url="https://yourdomain.com/callback",
        start_tries=3,
    )
    assert (task.app_id, task.room_id, task.dialect) == (APP.app_id, PUSHED["channel_id"], Dialect.BOT_TRTC)
    assert (task.bot_id, task.business_id) == (api.bot.bot_id, "")


def test_null_is_absent_and_unknown_fields_are_ignored(api: Api) -> None:
    optional = ("volume", "callback_url", "seek_second", "repeat_num", "max_duration")
    spec = api.pushed(**dict.fromkeys(optional), nonce=5, x=None).spec
    assert spec == api.pushed().spec
    assert (spec.volume, spec.callback_url, spec.begin_s, spec.plays, spec.loop) == (100, "", 0, 1, False)


def test_the_task_id_is_96_random_bytes_and_names_the_virtual_user(api: Api) -> None:
    first, second = api.pushed(), api.pushed()
    for task in (first, second):
        secret = base64.b64decode(task.task_id, validate=True)
        assert (len(secret), len(task.task_id)) == (96, 128)
        assert task.user_id == f"bot-{api.bot.bot_id}-{secret[:4].hex()}"
    assert first.task_id != second.task_id, "the same request twice is two tasks"
    assert first.user_id != second.user_id


@pytest.mark.parametrize("field", list(PUSHED))
def test_missing_fields(api: Api, field: str) -> None:
    expected = (400, f"missing parameter: {field}")
    assert failed(api.send(PUSH, {name: PUSHED[name] for name in PUSHED if name != field})) == expected
    assert failed(api.push(**{field: None})) == expected
    if field != "operator":
        assert failed(api.push(**{field: ""})) == expected
    assert failed(api.push(**{field: None}, volume=101)) == expected, "what is missing is told first"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("room_id", [5, "a b", "x" * 129, ["x"], "ü"]),
        ("channel_id", [3886418645352636424, "a/b", "x" * 129, {}]),
        (
            "stream_url",
            [5, "audio.mp3", "ftp://h/a", "file:///etc/passwd", "https://", "http://h:0/", "http://[h/"],
        ),
        (
            "stream_url",
            [
                "http://h/a\nb",
                "http:// h/a",
                "http://h/" + "x" * 4096,
                "concat:http://h/a",
            ],
        ),
        ("operator", [0, -1, "8829829", 1.5, True, 2**63, [1]]),
        ("volume", [-1, 101, "30", 30.0, 29.5, True, [], 10**30]),
        (
            "callback_url",
            ["yourdomain.com/callback", "ftp://h/", "http://", "http://h/ a", 5, "http://h:99999/"],
        ),
        ("seek_second", [-1, 1.0, "1", False, 2**31]),
        ("repeat_num", [0, -2, 1001, "1", 1.0, True, 10**30]),
    ],
)
def test_fields_out_of_their_rules(api: Api, field: str, values: list[object]) -> None:
    for value in values:
        assert failed(api.push(None, **{field: value})) == invalid(field), value
    assert not api.tasks.runs


@pytest.mark.parametrize(
    ("field", "name", "values"),
    [
        ("operator", None, [1, 2**63 - 1]),
        ("volume", "volume", [0, 1, 100]),
        ("seek_second", "begin_s", [0, 1, 86_400]),
        ("repeat_num", "plays", [1, 2, 1000]),
    ],
)
def test_fields_at_the_ends_of_their_ranges(
    api: Api, field: str, name: str | None, values: list[int]
) -> None:
    for value in values:
        spec = api.pushed(None, **{field: value}).spec
        assert name is None or getattr(spec, name) == value


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"volume": 101}, "volume (must be 0 to 100)"),
        ({"volume": "30"}, "volume (must be a valid integer)"),
        ({"repeat_num": 0}, "repeat_num (must be 1 to 1000, or -1 for ever)"),
        ({"repeat_num": -1, "max_duration": 0}, "max_duration (must be 1 to 10080 minutes)"),
        ({"seek_second": -1}, "seek_second (must be 0 or more seconds)"),
        ({"operator": 0}, "operator (must be a positive integer of 64 bits)"),
        ({"room_id": 5}, "room_id (must be a valid string)"),
        ({"stream_url": "http://10.0.0.1/a"}, "stream_url (10.0.0.1 has no public address)"),
    ],
)
def test_the_rule_that_was_broken_is_told(api: Api, wrong: dict[str, Any], rule: str) -> None:
    assert api.push(**wrong).json()["msg"] == f"invalid parameter: {rule}"


def test_the_first_wrong_field_is_named(api: Api) -> None:
    assert failed(api.push(repeat_num=0, volume=-1)) == invalid("volume")


def test_no_callback_address_is_no_callback(api: Api) -> None:
    assert api.pushed(callback_url="").spec.callback_url == ""


# --- plays and lifetimes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 10_081, "5", 1.5, True, [], 10**30])
def test_max_duration_counts_for_endless_plays_alone(api: Api, value: object) -> None:
    assert failed(api.push(repeat_num=-1, max_duration=value)) == invalid("max_duration")
    for repeat_num in (None, 1, 5):
        spec = api.pushed(repeat_num=repeat_num, max_duration=value).spec
        assert spec.lifetime_s is None


@pytest.mark.parametrize(("minutes", "lifetime_s"), [(1, 60), (10_080, 604_800), (None, None)])
def test_endless_plays_on_line_1(api: Api, minutes: int | None, lifetime_s: int | None) -> None:
    spec = api.pushed(repeat_num=-1, max_duration=minutes).spec
    assert (spec.loop, spec.lifetime_s) == (True, lifetime_s)


def test_line_2_plays_once_or_for_ever(api: Api) -> None:
    for once in ({}, {"repeat_num": None}, {"repeat_num": 1}, {"repeat_num": 1, "max_duration": -5}):
        task = api.pushed(api.guest_token, **once)
        assert (task.dialect, task.spec.loop, task.spec.plays) == (Dialect.BOT_VOLC, False, 1)
        assert task.spec.lifetime_s == LIFETIME_S
    endless = api.pushed(api.guest_token, repeat_num=-1).spec
    assert (endless.loop, endless.lifetime_s) == (True, LIFETIME_S)
    assert api.pushed(api.guest_token, repeat_num=-1, max_duration=5).spec.lifetime_s == 300
    for repeat_num in (2, 1000, 0, -2):
        assert failed(api.push(api.guest_token, repeat_num=repeat_num)) == invalid("repeat_num")


def test_the_line_is_the_channels(api: Api) -> None:
    register(api, Line.VOLC)
    assert api.pushed().dialect is Dialect.BOT_VOLC
    assert failed(api.push(repeat_num=2)) == invalid("repeat_num")
    register(api, Line.TRTC)
    assert api.pushed(api.guest_token, repeat_num=2).dialect is Dialect.BOT_TRTC
    assert api.pushed(channel_id="elsewhere").dialect is Dialect.BOT_TRTC


# --- rights -------------------------------------------------------------------------------------------------


def test_rooms_of_a_bot(api: Api) -> None:
    api.pushed(api.guest_token)
    assert failed(api.push(api.guest_token, room_id="another")) == DENIED
    api.pushed(room_id="another")


def test_naming_another_room_does_not_open_a_channel(api: Api) -> None:
    register(api, Line.VOLC, BotRoomId("another"))
    assert failed(api.push(api.guest_token)) == NO_CHANNEL
    api.pushed(room_id="another")
    assert failed(api.push(api.guest_token, room_id="another")) == DENIED


def test_an_app_without_relays(api: Api) -> None:
    api.apps.replace([replace(APP, features=frozenset({Feature.PUSH}))], [])
    assert failed(api.push()) == DENIED
    api.apps.replace([], [])
    assert failed(api.push()) == DENIED
    api.apps.replace([APP], [])
    api.pushed()


def test_addresses_that_are_not_public(api: Api) -> None:
    for host in ("10.0.0.1", "[::1]", "[fe80::1%25eth0]", "169.254.169.254", "[::ffff:10.0.0.1]", "0.0.0.0"):
        assert failed(api.push(stream_url=f"http://{host}/a.mp3")) == invalid("stream_url"), host
    for host in (
        "127.0.0.1:8000",
        "93.184.216.34",
        "localhost",
    ):  # opened; public; judged when it is resolved
        api.pushed(stream_url=f"rtmp://{host}/live/a")


def test_registered_channels_alone() -> None:
    for api in making(registered_only=True):
        assert failed(api.push()) == NO_CHANNEL
        assert failed(api.push(api.guest_token, room_id="another")) == DENIED, "before it tells what there is"
        register(api, Line.TRTC, ROOM)
        api.pushed()
        assert failed(api.push(room_id="another")) == NO_CHANNEL


def test_the_limits_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    for api in making(limits=StreamLimits(2, 7)):
        asked: list[Any] = []
        start = api.tasks.start

        async def noted(request: Any) -> Any:
            asked.append(request)  # noqa: B023 - of this round
            return await start(request)  # noqa: B023

        monkeypatch.setattr(api.tasks, "start", noted)
        api.pushed()
        assert asked[0].limits == StreamLimits(2, 7)


# --- stop ---------------------------------------------------------------------------------------------------


def test_stop(api: Api) -> None:
    first, second = api.pushed(), api.pushed()
    assert ok(api.send(STOP, {"task_id": first.task_id, "more": None})) == {}
    assert [task.state for task in api.tasks.runs] == [State.ENDED, State.STARTING]
    assert ok(api.send(STOP, {"task_id": first.task_id})) == {}, "again, after its end"
    assert api.tasks.runs[1].task_id == second.task_id


def test_a_stream_is_unknown_to_other_bots(api: Api) -> None:
    task = api.pushed()
    for token, task_id in (
        (api.guest_token, task.task_id),
        (api.token, task.task_id[:-1]),
        (api.token, task.id),
    ):
        assert failed(api.send(STOP, {"task_id": task_id}, token=token)) == NO_TASK
    assert api.tasks.runs[0].state.live


@pytest.mark.parametrize("body", [{}, {"task_id": None}, {"task_id": ""}])
def test_stop_needs_a_task(api: Api, body: dict[str, object]) -> None:
    assert failed(api.send(STOP, body)) == (400, "missing parameter: task_id")


@pytest.mark.parametrize("value", [5, ["x"], {}, True])
def test_a_task_id_is_a_text(api: Api, value: object) -> None:
    assert failed(api.send(STOP, {"task_id": value})) == invalid("task_id")


def test_times_are_those_of_the_clock(api: Api) -> None:
    assert api.pushed().created_at == NOW
