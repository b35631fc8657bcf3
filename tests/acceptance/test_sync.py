"""Sound and picture at the viewer, measured with flashes and beeps, before and after a loss."""

import statistics
from contextlib import AsyncExitStack

import pytest

from tests.acceptance.clips import FRAME_RATE, PERIOD_S, Clips
from tests.acceptance.node import ServedNode
from tests.acceptance.player import Player, playing
from tests.acceptance.sources import rtmp_publisher
from tests.acceptance.test_relay import new_room
from tests.integration.nginx import Nginx

pytestmark = pytest.mark.anyio

APART_S = 0.045
#: This holds five flashes at least, of which the first and the last may be left out.
ENOUGH_S, ENOUGH = PERIOD_S + 2, 3
SIZE = {"VideoWidth": 320, "VideoHeight": 180, "FrameRate": FRAME_RATE}


async def test_beeps_are_heard_with_their_flashes(
    node: ServedNode, files: str, nginx: Nginx, clips: Clips
) -> None:
    """A file and a live source in both modes, and the live source once more after it was away."""
    live = nginx.rtmp("sync", "strict")
    publisher = rtmp_publisher(clips.marked, live)
    urls = {"mp4": f"{files}/{clips.marked.name}", "rtmp": live}
    players: dict[str, Player] = {}
    runs: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(publisher)
        for name, mode in ((name, mode) for name in urls for mode in (0, 1)):
            room = new_room()
            token = node.token(room, "guest")
            player = await stack.enter_async_context(playing(node.whep_url(room, "source"), token))
            run = await node.start(room, urls[name], StreamMode=mode, **SIZE)
            stack.push_async_callback(node.client_stop, run)
            players[f"{name}, mode {mode}"], runs[f"{name}, mode {mode}"] = player, run
        await enough(players)
        lost = {name: player for name, player in players.items() if name.startswith("rtmp")}
        await publisher.kill()
        for name in lost:
            await node.until_state(runs[name], "recovering")
        await publisher.start()
        await enough(lost)
        for name, player in lost.items():
            assert [len(ssrcs) for ssrcs in player.ssrcs()] == [1, 1], name


async def enough(players: dict[str, Player]) -> None:
    """Waits for flashes from now on, and measures them."""
    for player in players.values():
        player.forget()
    for player in players.values():
        await player.until_pictures(ENOUGH_S * FRAME_RATE)
    for name, player in players.items():
        offsets = player.offsets()
        median, worst = statistics.median(offsets), max(offsets, key=abs)
        print(f"{name}: {len(offsets)} flashes, median {median * 1000:+.1f} ms, worst {worst * 1000:+.1f} ms")
        assert len(offsets) >= ENOUGH, name
        assert abs(worst) <= APART_S, name
