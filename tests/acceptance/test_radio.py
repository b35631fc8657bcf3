"""Radio: sound without an end from a Shoutcast server, also when it falls silent without hanging up."""

import pytest

from tests.acceptance.clips import Clips
from tests.acceptance.node import ServedNode
from tests.acceptance.player import playing
from tests.acceptance.sources import radio
from tests.acceptance.test_relay import new_room

pytestmark = pytest.mark.anyio

_SECOND = 50  #: packets


async def test_a_shoutcast_station_is_heard(node: ServedNode, clips: Clips) -> None:
    room = new_room()
    url, token = node.whep_url(room, "source"), node.token(room, "guest")
    async with radio(clips.marked) as station, playing(url, token) as player:
        run = await node.start(room, station.url)
        await player.until(lambda: len(player.beeps()) >= 2)
        assert player.longest_silence_s(after_s=0.5) == 0
        document = await node.until_state(run, "running")
        assert [document["plan"][kind]["action"] for kind in ("video", "audio")] == ["none", "transcode"]
        await node.client_stop(run)
        await node.until_state(run, "ended")
    (request,) = station.requests
    assert "icy-metadata" not in request.lower(), "titles would lie in the midst of the sound"


@pytest.mark.slow
async def test_a_station_that_falls_silent_is_waited_for_and_then_called_again(
    node: ServedNode, clips: Clips
) -> None:
    room = new_room()
    url, token = node.whep_url(room, "source"), node.token(room, "guest")
    async with radio(clips.marked) as station, playing(url, token) as player:
        run = await node.start(room, station.url)
        await player.until(lambda: len(player.packets["audio"]) >= 2 * _SECOND)
        station.sounding.clear()
        document = await node.until_state(run, "recovering")
        assert document["reason_text"] == "no packet left for 2 s"
        document = await node.until(run, lambda document: len(station.requests) > 1)
        assert document["state"] == "recovering"
        assert "nothing came for 10 s" in document["reason_text"]
        assert station.url.removesuffix("/;") in document["reason_text"]
        heard = len(player.packets["audio"])
        station.sounding.set()
        await node.until_state(run, "running")
        await player.until(lambda: len(player.packets["audio"]) >= heard + 2 * _SECOND)
        assert player.ssrcs() == [set(), {player.packets["audio"][0].ssrc}]
        await node.client_stop(run)
        await node.until_state(run, "ended")
