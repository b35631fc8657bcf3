"""What bots are told of their streams, in the forms of both lines."""

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.bots.client import Bot, create_bot, new_channel
from tests.acceptance.bots.told import events, trtc_told, volc_told
from tests.acceptance.bots.voices import Voices
from tests.acceptance.node import serve_node
from tests.integration.receiver import Receiver

pytestmark = [pytest.mark.anyio, pytest.mark.light]

#: A file and where it begins, and why it ends: one to its end, and three that cannot start.
SOURCES: list[tuple[str, int | None, str]] = [
    ("steps.ogg", 11, "end_of_stream"),
    ("gone.mp3", None, "source_refused"),
    ("page.mp3", None, "source_unsupported"),
    ("loop.mp3", 60, "invalid_position"),
]


async def push_all(voices: Voices, bot: Bot, tell: dict[str, Any]) -> list[str]:
    url = voices.shelf.url
    return [
        await bot.push(new_channel(), f"{url}/{name}", seek_second=second, **tell)
        for name, second, _ in SOURCES
    ]


async def until_told(receiver: Receiver, counts: dict[str, int]) -> None:
    """Until of each task so many events came."""

    def told() -> dict[str, int]:
        return {task_id: len(events(receiver, task_id)) for task_id in counts}

    try:
        await receiver.until(lambda: told() == counts)
    except TimeoutError:
        raise AssertionError(f"told were {list(told().values())}, not {list(counts.values())}") from None


async def test_line_1_is_told_in_its_form(voices: Voices) -> None:
    async with Receiver() as receiver:
        tell: dict[str, Any] = {"callback_url": receiver.url}
        asked = len(voices.shelf.times("/gone.mp3"))
        async with voices.playing(new_channel(), "steps.mp3", **tell) as (stopped, _):
            await receiver.until(lambda: trtc_told(receiver, stopped) == [(701, 0)])
        others = await push_all(voices, voices.bot, tell)
        await until_told(receiver, dict(zip([stopped, *others], (2, 2, 1, 1, 1), strict=True)))
        began, failed = [stopped, others[0]], others[1:]
        assert [trtc_told(receiver, task_id) for task_id in began] == [[(701, 0), (702, 0)]] * 2
        assert [trtc_told(receiver, task_id) for task_id in failed] == [[(701, 1)]] * 3
    reasons = [(await voices.task(task_id))["reason"] for task_id in others]
    assert reasons == [reason for _, _, reason in SOURCES]
    first, second, third = voices.shelf.times("/gone.mp3")[asked:]
    assert second - first > 0.9
    assert third - first > 2.9


async def test_line_2_is_told_in_its_form(voices: Voices) -> None:
    """By the line of a channel, and by the line of a bot."""
    bot, made = await voices.new_bot("--line", "volc"), await voices.bot.create_channel("volc")
    async with Receiver() as receiver:
        tell: dict[str, Any] = {"callback_url": receiver.url}
        async with voices.playing(made, "steps.mp3", repeat_num=1, **tell) as (stopped, _):
            await receiver.until(lambda: volc_told(receiver, stopped) == [(1, 0), (2, 0)])
        others = await push_all(voices, bot, tell)
        await until_told(receiver, dict(zip([stopped, *others], (3, 3, 2, 2, 2), strict=True)))
    began, failed = [stopped, others[0]], others[1:]
    assert [volc_told(receiver, task_id) for task_id in began] == [[(1, 0), (2, 0), (3, 0)]] * 2
    failures = [[(1, 0), (3, number)] for number in (1002, 1003, 1016)]
    assert [volc_told(receiver, task_id) for task_id in failed] == failures
    last = [events(receiver, task_id)[-1].event["EventData"] for task_id in began]
    assert [data["Msg"] for data in last] == ["stopped by api", "end of stream"]
    assert last[0]["RoomId"] == made
    assert last[0]["UserId"] == (await voices.task(stopped))["user_id"]
    assert last[1]["StreamUrl"] == f"{voices.shelf.url}/steps.ogg"


async def test_a_stream_outlives_its_node(voices: Voices, tmp_path: Path) -> None:
    """The bot is told, and stops it in the node's next life."""
    begun, again, ended = (701, 0), (701, 2), (702, 0)
    async with Receiver() as receiver:

        async def until(told: list[tuple[int, int]]) -> None:
            # A node that is killed before it notes what it has told tells it again.
            await receiver.until(lambda: list(dict.fromkeys(trtc_told(receiver, task_id))) == told)

        async with serve_node(tmp_path) as node:
            bot = Bot(voices.http, node.url, await create_bot(node, tmp_path), voices.tls)
            url = f"{voices.shelf.url}/loop.mp3"
            task_id = await bot.push(new_channel(), url, repeat_num=-1, callback_url=receiver.url)
            await until([begun])
            node.process.kill()
        async with serve_node(tmp_path) as node:
            await until([begun, again])
            bot = Bot(voices.http, node.url, bot.token, voices.tls)
            assert (await bot.stop(task_id)).document["status"] == "ok"
            await until([begun, again, ended])
