"""Running streams are paused, moved, and made louder, through the native API."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from sluice.client import CallFailed
from tests.acceptance.bots.client import new_channel
from tests.acceptance.bots.conftest import LOUD, QUIET, STEPS_S
from tests.acceptance.bots.listeners import listening
from tests.acceptance.bots.tones import RATE, TOLERANCE_S, Heard
from tests.acceptance.bots.voices import Voices

pytestmark = pytest.mark.anyio

LOUDNESS_DB = 0.5
#: An abrupt change adds 20 to 40 dB more than this, and a ramp of 20 ms at least 10 dB less.
CLICK_DB = -65.0
#: What normalising leaves between two songs, of 20 dB.
ALIKE_DB = 6.0


async def test_a_stream_is_paused_and_goes_on_where_it_was(voices: Voices) -> None:
    async with (
        voices.playing(new_channel(), "loud.mp3") as (_, beside),
        voices.playing(new_channel(), "steps.mp3") as (task_id, listener),
    ):
        run = await voices.run_of(task_id)
        await listener.until_seconds(1.2)
        await voices.node.until_state(run, "running")
        document = await voices.control(run, pause=True)
        assert document["state"] == "paused"
        # What was on its way has come when the other stream's next sound has.
        await beside.until_seconds(0.2)
        count = len(listener.packets)
        await beside.until_seconds(1)
        assert len(listener.packets) == count
        assert (await voices.task(task_id))["state"] == "paused"
        assert abs(count / 50 - document["position_s"]) < 0.1
        await voices.control(run, pause=False)
        await voices.node.until_state(run, "running")
        await listener.until_seconds(1.2)
        heard = listener.heard_joined()
    assert listener.holes() == 0
    assert heard.order == list(range(len(heard.order)))
    print(np.round(heard.positions(), 4))
    assert heard.begins_at(0)


async def test_a_running_stream_is_moved(voices: Voices) -> None:
    async with voices.playing(new_channel(), "steps.mp3") as (task_id, listener):
        run = await voices.run_of(task_id)
        await listener.until_seconds(0.7)
        await voices.node.until_state(run, "running")
        await voices.control(run, seek_s=8.2)
        await listener.until_seconds(1.5)
        document = await voices.node.until(run, lambda document: document["position_s"] > 8.2)
        assert document["position_s"] < STEPS_S
        heard = listener.heard_joined()
        landed = next(heard_run for heard_run in heard.runs if heard_run.step == 16)
        print(heard.order, f"{landed.end_s - landed.begin_s:.4f} s of the tone that it fell into")
        assert heard.order[heard.order.index(16) :][:3] == [16, 17, 18]
        assert abs(landed.end_s - landed.begin_s - 0.3) <= TOLERANCE_S
        with pytest.raises(CallFailed, match="seek_s"):
            await voices.control(run, seek_s=60)
        await listener.until_seconds(0.1)
        assert (await voices.node.task(run))["state"] == "running"
    assert listener.holes() == 0


async def test_a_change_of_volume_does_not_click(voices: Voices) -> None:
    shares = (100, 30, 100, 5, 70, 30)
    async with voices.playing(new_channel(), "loud.mp3") as (task_id, listener):
        run = await voices.run_of(task_id)
        await listener.until_seconds(0.5)
        marks = [len(listener.packets)]
        for volume in shares[1:]:
            assert (await voices.control(run, volume=volume))["volume"] == volume
            await listener.until_seconds(0.4)
            marks.append(len(listener.packets))
        with pytest.raises(CallFailed, match="volume"):
            await voices.control(run, volume=101)
        heard = listener.heard_joined()
    assert listener.holes() == 0
    clicks_db = Heard(heard.samples[RATE // 10 :]).clicks_db()
    levels = [Heard(heard.between(mark / 50 - 0.1, mark / 50)).level() for mark in marks]
    changes_db = [20 * np.log10(b / a) for a, b in pairwise(levels)]
    wanted_db = [20 * np.log10(b / a) for a, b in pairwise(shares)]
    print(f"clicks of {clicks_db:.1f} dB; changes", np.round(changes_db, 2), "wanted", np.round(wanted_db, 2))
    assert np.abs(np.subtract(changes_db, wanted_db)).max() <= LOUDNESS_DB
    assert clicks_db <= CLICK_DB


async def test_quiet_and_loud_become_alike(voices: Voices) -> None:
    async def level(name: str) -> float:
        async with voices.playing(new_channel(), name) as (task_id, listener):
            document = await voices.control(await voices.run_of(task_id), normalize=True)
            assert document["normalize"] is True
            await listener.until_seconds(7)
            return Heard(listener.heard_joined().samples[-RATE:]).level()

    loud, quiet = await asyncio.gather(level("loud.mp3"), level("quiet.mp3"))
    apart_db = 20 * np.log10(loud / quiet)
    print(f"{20 * np.log10(LOUD / QUIET):.1f} dB apart became {apart_db:.1f} dB")
    assert abs(apart_db) <= ALIKE_DB


async def test_a_relay_of_a_file_is_controlled_in_the_same_way(voices: Voices) -> None:
    node, room = voices.node, new_channel()
    async with listening(node, room, "source", voices.tls) as listener:
        run = await node.start(room, f"{voices.shelf.url}/steps.mp4")
        await listener.until_seconds(0.5)
        await node.until_state(run, "running")
        assert (await voices.control(run, pause=True))["state"] == "paused"
        await voices.control(run, pause=False, seek_s=9, volume=30)
        await node.until_state(run, "running")
        while 20 not in listener.heard_joined().order:
            await listener.until_seconds(0.3)
        await node.client_stop(run)
        await node.until_state(run, "ended")
        with pytest.raises(CallFailed, match="no task"):
            await voices.control(run, pause=True)
