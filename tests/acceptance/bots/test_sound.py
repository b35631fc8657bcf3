"""What bots ask for is what is heard: positions, loudness, passes, formats. All streams of a test at once."""

import asyncio
import base64
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.acceptance.bots.client import new_channel
from tests.acceptance.bots.conftest import LOOP_S
from tests.acceptance.bots.listeners import listening
from tests.acceptance.bots.told import trtc_told
from tests.acceptance.bots.tones import STEP_S, TOLERANCE_S, Heard
from tests.acceptance.bots.voices import Voices
from tests.acceptance.sources import Ffmpeg, radio
from tests.integration.nginx import Nginx
from tests.integration.receiver import Receiver

pytestmark = pytest.mark.anyio

LOUDNESS_DB = 0.5
SEAM_S = 0.02
PASS = list(range(round(LOOP_S / STEP_S)))  #: the tones of loop.*


async def hear(voices: Voices, name: str, seconds: float, **options: Any) -> Heard:
    async with voices.playing(new_channel(), name, **options) as (_, listener):
        await listener.until_seconds(seconds)
        assert listener.holes() == 0, name
        return listener.heard()


async def test_a_seek_lands_where_it_was_asked(voices: Voices) -> None:
    asked = [("mp3", 3), ("mp3", 7), ("m4a", 5), ("flac", 4), ("ogg", 6), ("wav", 2), ("mp4", 8), ("mp3", 0)]
    all_heard = await asyncio.gather(
        *(hear(voices, f"steps.{kind}", 2.2, seek_second=second) for kind, second in asked)
    )
    heard_at = {case: heard.positions() for case, heard in zip(asked, all_heard, strict=True)}
    for case, positions in heard_at.items():
        print(case, np.round(positions, 4))
    assert [case for case, heard in zip(asked, all_heard, strict=True) if not heard.begins_at(case[1])] == []


async def test_volume_is_a_share_of_the_amplitude(voices: Voices) -> None:
    cases = [("steps.mp3", None), ("steps.mp3", 30), ("steps.mp3", 0), ("steps.ogg", None), ("steps.ogg", 30)]
    full, low, none, copied, recoded = await asyncio.gather(
        *(hear(voices, name, 2.2, volume=volume) for name, volume in cases)
    )
    for whole, part in ((full, low), (copied, recoded)):
        levels = part.levels()
        assert len(levels) >= 3
        for step, level in levels.items():
            change_db = 20 * np.log10(level / whole.levels()[step])
            assert abs(change_db - 20 * np.log10(0.3)) <= LOUDNESS_DB, f"tone {step}: {change_db:.2f} dB"
    assert none.order == []
    assert none.level() < 3e-4


#: File, what is asked of it, and the tones that are heard.
PASSES: list[tuple[str, dict[str, int], list[int]]] = [
    ("loop.mp3", {"repeat_num": 2}, PASS * 2),
    ("loop.m4a", {"repeat_num": 2}, PASS * 2),
    ("loop.ogg", {"repeat_num": 2}, PASS * 2),
    ("loop.wav", {"repeat_num": 2}, PASS * 2),
    ("loop.mp3", {"repeat_num": 3, "seek_second": 1, "volume": 50}, PASS[2:] + PASS * 2),
    ("loop.mp3", {}, PASS),
    ("loop.m3u", {}, PASS * 3),
    ("loop.m3u", {"seek_second": 4}, PASS[2:] + PASS),
    # Without an endless repetition it has no meaning, in or out of its range.
    ("loop.ogg", {"repeat_num": 1, "max_duration": 0}, PASS),
]


async def test_passes_follow_each_other_without_a_gap_and_their_end_is_told(voices: Voices) -> None:
    async with Receiver() as receiver:

        async def play(name: str, options: dict[str, int]) -> tuple[Heard, dict[str, Any]]:
            tell: dict[str, Any] = {"callback_url": receiver.url, **options}
            async with voices.playing(new_channel(), name, **tell) as (task_id, listener):
                await receiver.until(lambda: trtc_told(receiver, task_id) == [(701, 0), (702, 0)])
                assert listener.holes() == 0, name
                return listener.heard(), await voices.task(task_id)

        results = await asyncio.gather(*(play(name, options) for name, options, _ in PASSES))
    wrong: list[str] = []
    for (name, options, order), (heard, document) in zip(PASSES, results, strict=True):
        begins = [run.begin_s for run in heard.runs if run.step is not None]
        late = [begin_s - n * STEP_S for n, begin_s in enumerate(begins)][1:]
        silence_s = heard.longest_silence_s()
        what = f"{name} {options}: {1000 * silence_s:.0f} ms of silence, late by {np.round(late, 4)}"
        print(what)
        assert heard.order == order, what
        assert (document["state"], document["reason"]) == ("ended", "end_of_stream"), what
        assert document["pass"] == options.get("repeat_num", 1), what
        even = all(abs(late_s) <= TOLERANCE_S for late_s in late)
        # The last packet is whole.
        whole = abs(heard.seconds - len(order) * STEP_S) <= 2 * TOLERANCE_S
        if not (even and whole and silence_s <= SEAM_S):
            wrong.append(f"{what}, {heard.seconds:.3f} s long")
    assert wrong == []


async def test_everything_that_sounds_is_heard(voices: Voices, tmp_path: Path) -> None:
    files = dict.fromkeys(("mp3", "m4a", "flac", "wav", "m3u8", "mp4"), "transcode") | {"ogg": "copy"}

    async def check_file(kind: str, action: str) -> None:
        async with voices.playing(new_channel(), f"steps.{kind}") as (task_id, listener):
            await listener.until_seconds(1.7)
            plan = (await voices.task(task_id))["plan"]
            assert listener.heard().order[:4] == [0, 1, 2, 3], kind
        assert plan["audio"]["action"] == action, kind
        assert plan["video"]["action"] == "none", kind
        assert plan["video"]["why"], kind

    async def check_live(url: str) -> None:
        channel = new_channel()
        task_id = await voices.bot.push(channel, url)
        user = (await voices.task(task_id))["user_id"]
        async with listening(voices.node, channel, user, voices.tls) as listener:
            await listener.until_seconds(1.7)
            assert len(set(listener.heard().order)) >= 3, url
            await voices.bot.stop(task_id)

    clip = voices.shelf.folder / "steps.mp4"
    with Nginx(tmp_path / "nginx") as nginx:
        rtmp = nginx.rtmp("steps")
        publish = ("-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy", "-f", "flv", rtmp)
        async with radio(clip) as station, Ffmpeg(*publish):
            live = (check_live(url) for url in (station.url, rtmp))
            await asyncio.gather(*(check_file(*case) for case in files.items()), *live)


async def test_each_push_is_a_stream_of_its_own(voices: Voices) -> None:
    other, channel = await voices.new_bot(), new_channel()
    async with AsyncExitStack() as stack:
        players = [await stack.enter_async_context(voices.playing(channel, "loud.mp3")) for _ in range(2)]
        (first, one), (second, two) = players
        await asyncio.gather(one.until_seconds(0.5), two.until_seconds(0.5))
        assert [len(base64.b64decode(task_id, validate=True)) for task_id in (first, second)] == [96, 96]
        documents = [await voices.task(task_id) for task_id in (first, second)]
        assert len({document["user_id"] for document in documents}) == 2
        assert {document["room_id"] for document in documents} == {channel}
        assert (await other.stop(first)).failure == (404, "task not found")
        await one.until_seconds(0.5)
        for _ in range(2):
            assert (await voices.bot.stop(first)).document == {"msg": "", "result": {}, "status": "ok"}
        await voices.node.until_state(documents[0]["id"], "ended")
        count = len(one.packets)
        await two.until_seconds(0.5)
        assert len(one.packets) == count
        assert (await voices.task(second))["state"] == "running"


async def test_an_endless_stream_has_its_longest_life(voices: Voices) -> None:
    options: dict[str, Any] = {"repeat_num": -1, "max_duration": 1}
    async with voices.playing(new_channel(), "loop.mp3", **options) as (task_id, listener):
        await listener.until_seconds(LOOP_S + 0.7)
        assert listener.heard().order[:7] == [*PASS, 0]
        document = await voices.node.until(await voices.run_of(task_id), lambda task: task["pass"] == 2)
    assert document["state"] == "running"
    assert 59 <= document["expires_at"] - document["created_at"] <= 70
