"""What bots may not do, and how they learn of it."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.bots.client import CREATE, PUSH, ROOM, STOP, Bot, create_bot, new_channel, push_body
from tests.acceptance.bots.conftest import LOOP_S
from tests.acceptance.bots.voices import Voices
from tests.acceptance.node import serve_node

pytestmark = [pytest.mark.anyio, pytest.mark.light]

GOOD = push_body("1234567890123456789", "http://127.0.0.1:1/song.mp3")
CHANNEL = {"room_id": ROOM, "channel_name": "music", "channel_type": 0}
LIMIT = 300
REQUIRED = ("room_id", "channel_id", "stream_url", "operator")
#: Values that a field of push cannot have.
WRONG: dict[str, list[Any]] = {
    "volume": [-1, 101, "30", 30.5, True],
    "seek_second": [-1, "3", 1.5],
    "repeat_num": [0, -2, 1001, "1"],
    "operator": [0, -1, "8829829"],
    "room_id": [3886418517665415168],
    "stream_url": ["song.mp3", "ftp://example.com/song.mp3", "http://10.0.0.1/song.mp3", 7],
    "callback_url": ["nonsense", "ftp://example.com/"],
}
Case = tuple[str, dict[str, Any] | bytes, tuple[int, str]]


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != field}


BAD: list[Case] = [
    *((PUSH, body, (400, "invalid json")) for body in (b"{", b"", b"[]", b'"text"', b"\xff\xfe")),
    *((PUSH, without(field), (400, f"missing parameter: {field}")) for field in REQUIRED),
    *((PUSH, {**GOOD, field: None}, (400, f"missing parameter: {field}")) for field in REQUIRED),
    *(
        (PUSH, {**GOOD, field: value}, (400, f"invalid parameter: {field}"))
        for field, values in WRONG.items()
        for value in values
    ),
    *(
        (PUSH, {**GOOD, "repeat_num": -1, "max_duration": value}, (400, "invalid parameter: max_duration"))
        for value in (0, 10_081, "5")
    ),
    (STOP, {}, (400, "missing parameter: task_id")),
    (STOP, {"task_id": None}, (400, "missing parameter: task_id")),
    (STOP, {"task_id": "AAAA"}, (404, "task not found")),
    (CREATE, {**CHANNEL, "channel_type": 1}, (400, "invalid parameter: channel_type")),
    (CREATE, {**CHANNEL, "api_type": "other"}, (400, "invalid parameter: api_type")),
    (CREATE, {**CHANNEL, "channel_name": None}, (400, "missing parameter: channel_name")),
]


async def count_tasks(voices: Voices) -> int:
    document = await asyncio.to_thread(voices.node.client.native, "GET", "/tasks?limit=1000")
    return len(document["tasks"])


async def test_bad_input_is_refused_with_what_is_wrong(voices: Voices) -> None:
    before = await count_tasks(voices)
    answers = await asyncio.gather(*(voices.bot.post(path, body) for path, body, _ in BAD))
    for (path, body, expected), answer in zip(BAD, answers, strict=True):
        assert (answer.status, answer.failure) == (200, expected), f"{path} {body!r}"
        assert answer.headers["X-RateLimit-Limit"] == str(LIMIT)
    assert await count_tasks(voices) == before
    for path in (f"{PUSH}/more", "/chatroom/v3/nothing"):
        answer = await voices.bot.post(path, GOOD)
        assert (answer.status, answer.failure[0]) == (404, 404)


async def test_who_may_not_is_refused(voices: Voices) -> None:
    for token in ("", "nonsense", base64.b64encode(b"1;2;3").decode(), voices.bot.token[:-4]):
        for path, body in ((PUSH, GOOD), (STOP, {"task_id": "AAAA"}), (CREATE, CHANNEL)):
            answer = await voices.bot.post(path, body, token)
            assert (answer.status, answer.failure) == (200, (401, "invalid token"))
    bound = await voices.new_bot("--rooms", "1,2")
    for path, body in ((PUSH, GOOD), (CREATE, CHANNEL)):
        assert (await bound.post(path, body)).failure == (403, "permission denied")
    assert (await bound.post(CREATE, {**CHANNEL, "room_id": "2"})).document["status"] == "ok"


async def test_no_source_lies_in_a_private_network(voices: Voices, tmp_path: Path) -> None:
    """Whoever writes the address is told at once; what a name stands for shows when it is resolved."""
    async with serve_node(tmp_path, "--allow-networks", "192.0.2.0/24") as node:
        bot = Bot(voices.http, node.url, await create_bot(node, tmp_path), voices.tls)
        for address in ("127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"):
            answer = await bot.post(PUSH, push_body(new_channel(), f"http://{address}/song.mp3"))
            assert answer.failure == (400, "invalid parameter: stream_url")
        run = await node.run_of(await bot.push(new_channel(), "http://localhost/song.mp3"))
        assert (await node.until_state(run, "failed"))["reason"] == "address_not_allowed"


async def test_line_2_plays_once_or_for_ever(voices: Voices) -> None:
    channel = await voices.bot.create_channel("volc")
    answer = await voices.bot.post(PUSH, {**GOOD, "channel_id": channel, "repeat_num": 2})
    assert answer.failure == (400, "invalid parameter: repeat_num")
    async with voices.playing(channel, "loop.mp3", repeat_num=-1) as (_, listener):
        await listener.until_seconds(LOOP_S + 0.7)
        assert listener.heard().order[:7] == [0, 1, 2, 3, 4, 5, 0]


async def test_a_bot_has_300_calls_a_minute(voices: Voices) -> None:
    bot = await voices.new_bot()
    first = await bot.stop("AAAA")
    assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("300", "299")
    assert first.headers["X-RateLimit-Bucket"] == ""
    answers = [first]
    while len(answers) < LIMIT:
        answers += await asyncio.gather(*(bot.stop("AAAA") for _ in range(13)))
    left = sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in answers)
    assert left == list(range(LIMIT))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["X-RateLimit-Reset"] for answer in answers}) == 1
    over = await bot.post(PUSH, push_body(new_channel(), "http://127.0.0.1:1/song.mp3"))
    assert (over.status, over.failure) == (429, (429, "too many requests"))
    assert over.headers["X-RateLimit-Remaining"] == "0"
    assert 0 < float(over.headers["X-RateLimit-Reset-After"]) <= 60
    assert 0 < int(over.headers["Retry-After"]) <= 60
    assert (await voices.bot.stop("AAAA")).status == 200
