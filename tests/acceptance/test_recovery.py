"""A source that is lost for eight seconds and comes back: viewers wait, nobody leaves, and it goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from sluice.client import CallFailed
from tests.acceptance.clips import FRAME_RATE, Clips
from tests.acceptance.node import ServedNode
from tests.acceptance.player import Player, playing
from tests.acceptance.sources import Ffmpeg, flv_server, hls_writer, rtmp_publisher
from tests.acceptance.test_relay import new_room, sse
from tests.integration.nginx import Nginx, free_port
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

OUTAGE_S = 8
SIZE = {"VideoWidth": 320, "VideoHeight": 180, "FrameRate": FRAME_RATE}


@pytest.fixture
def origin(tmp_path: Path, clips: Clips) -> Iterator[Nginx]:
    """A server that may be stopped, with the marked clip in `slow/` and room for `live/`."""
    with Nginx(tmp_path / "origin") as server:
        for folder in ("slow", "live"):
            (server.www / folder).mkdir()
        (server.www / "slow/clip.mp4").symlink_to(clips.marked)
        yield server


class Watched:
    """A relay with a player, and with somebody else in the room who keeps the roster's events."""

    def __init__(self, node: ServedNode, room: str, run: str, player: Player) -> None:
        self.room, self.run, self.player = room, run, player
        self.states: list[str] = []
        self.reasons: list[str] = []
        self.events: list[str] = []
        self._node = node

    async def follow(self) -> None:
        """Notes each state that the task's document shows."""
        while True:
            document = await self._node.task(self.run)
            if document["state"] != "starting" and [document["state"]] != self.states[-1:]:
                self.states.append(document["state"])
            if document["reason_text"] and [document["reason_text"]] != self.reasons[-1:]:
                self.reasons.append(document["reason_text"])
            await asyncio.sleep(0.1)

    async def listen(self) -> None:
        """Notes what the roster tells of the relay's user."""
        node = self._node
        url = f"{node.url}/rooms/{node.credentials.app_id}/{self.room}/events"
        headers = {"Authorization": f"Bearer {node.token(self.room, 'someone')}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers) as got,
        ):
            async for name, document in sse(got.content):
                if name == "roster":
                    self.events += ["present" for user in document["users"] if user["user_id"] == "source"]
                elif document["user_id"] == "source":
                    self.events.append(name)


@asynccontextmanager
async def watched(node: ServedNode, url: str, mode: int) -> AsyncIterator[Watched]:
    room = new_room()
    async with playing(node.whep_url(room, "source"), node.token(room, "guest")) as player:
        run = await node.start(room, url, StreamMode=mode, **SIZE)
        watched = Watched(node, room, run, player)
        following = [asyncio.ensure_future(watched.follow()), asyncio.ensure_future(watched.listen())]
        try:
            yield watched
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            with contextlib.suppress(CallFailed):
                await node.client_stop(run)


async def test_viewers_stay_when_sources_are_killed_and_come_back(
    node: ServedNode, nginx: Nginx, origin: Nginx, clips: Clips
) -> None:
    """All at once, so that it takes one outage: publishers on a server that keeps its players and on one that
    hangs up on them; a server of FLV; and a whole origin of RTMP, an MP4 file and live HLS."""
    clip, port = clips.marked, free_port()
    writer = hls_writer(clip, origin.www / "live/live.m3u8")
    publisher = rtmp_publisher(clip, origin.rtmp("clip"))
    sources: dict[str, tuple[str, int, Ffmpeg | None]] = {
        "kept": (nginx.rtmp("kept"), 1, rtmp_publisher(clip, nginx.rtmp("kept"))),
        "hung up": (nginx.rtmp("hung", "strict"), 0, rtmp_publisher(clip, nginx.rtmp("hung", "strict"))),
        "flv": (f"http://127.0.0.1:{port}/live.flv", 1, flv_server(clip, port)),
        "rtmp": (origin.rtmp("clip"), 1, publisher),
        "mp4": (origin.http("slow/clip.mp4"), 1, None),
        "hls": (origin.http("live/live.m3u8"), 1, None),
    }
    killed = [source for _, _, source in sources.values() if source is not None]
    async with AsyncExitStack() as stack:
        for source in [*killed, writer]:
            await stack.enter_async_context(source)
        await until((origin.www / "live/live3.ts").exists)
        all_watched = {
            name: await stack.enter_async_context(watched(node, url, mode))
            for name, (url, mode, _) in sources.items()
        }
        for one in all_watched.values():
            await one.player.until_pictures(2 * FRAME_RATE)
        origin.stop()
        for source in killed:
            await source.kill()
        await asyncio.sleep(OUTAGE_S)
        origin.start()
        for source in killed:
            await source.start()
        for name, one in all_watched.items():
            await back(one)
            check(name, one)
        check_file(all_watched["mp4"].player)


async def back(one: Watched) -> None:
    """Waits until the task runs and two more seconds of pictures came."""
    await until(lambda: one.states[-2:] == ["recovering", "running"], 60)
    await one.player.until_pictures(len(one.player.pictures) + 2 * FRAME_RATE)


def check(name: str, one: Watched) -> None:
    player = one.player
    print(name, one.states, one.reasons)
    assert one.states == ["running", "recovering", "running"], name
    assert one.events, name
    assert not {"unpublished", "left"} & set(one.events), name
    assert player.states[-1] == "completed", name
    assert not {"disconnected", "failed"} & set(player.states), name
    assert [len(ssrcs) for ssrcs in player.ssrcs()] == [1, 1], name
    for packets in player.packets.values():
        assert all(b.sequence == a.sequence + 1 for a, b in pairwise(packets)), name
        assert all(b.timestamp >= a.timestamp for a, b in pairwise(packets)), name
    outage = max(b.at - a.at for a, b in pairwise(player.packets["video"]))
    print(name, f"{outage:.1f} s without a picture")


def check_file(player: Player) -> None:
    """It goes on where it was: nothing is left out, and at most what leads there from a key frame repeats."""
    numbers = [picture.number for picture in player.pictures]
    jumps = [b - a for a, b in pairwise(numbers) if b != a + 1]
    assert len(jumps) <= 1
    assert all(1 - FRAME_RATE <= jump <= 0 for jump in jumps)
