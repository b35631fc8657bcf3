"""The second job: a signed StartPushSingleStreamToCDN, and a CDN's viewers see and hear the room's user."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from playwright.async_api import Browser, expect

from sluice.wire.flv import parse_video_tag
from sluice.wire.h264 import split_avcc
from tests.acceptance.clips import FRAME_RATE, Clips, make_flashes
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.publishers import chromium_publisher
from tests.acceptance.test_relay import new_room, sse
from tests.acceptance.viewers import source_slices
from tests.integration.broadcast import slice_hashes
from tests.integration.cdn import Cdn, Connection, cdn
from tests.integration.nginx import Nginx
from tests.integration.recording import check, lip_offsets_ms, record, slices_of
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_DEADLINE_S = 45
_POLL_S = 0.05
#: PushStreamState of docs/contract/volcengine.md 9.3.
WAITING, CONNECTING, RECONNECTING, PUBLISHING, PUSHING, STOPPED = range(1, 7)
IDLE_S = 10  #: the least that may be asked for


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "node.log"


@pytest.fixture(scope="module")
async def node(
    anyio_backend: str, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServedNode]:
    """One that says all that it does in `log`."""
    with log.open("wb") as file:
        data = tmp_path_factory.mktemp("node") / "data"
        async with serve_node(data, "--log-level", "debug", errors=file) as served:
            yield served


@pytest.fixture(scope="module")
def flashes(clips: Clips) -> Path:
    return make_flashes(clips.folder / "flashes.mp4", 60)


class Push:
    """A push and what Get… answers of it all the time: each new Status with its PushStreamState."""

    def __init__(self, node: ServedNode, room: str) -> None:
        self.states: list[tuple[int, int]] = []
        self.run = ""
        self._node, self._room = node, room
        self._task_id = f"task-{uuid.uuid4().hex[:8]}"

    async def start(self, user: str, url: str, *, idle_s: int = 60) -> None:
        answer = await self._node.call(
            "StartPushSingleStreamToCDN",
            RoomId=self._room,
            TaskId=self._task_id,
            Stream={"UserId": user},
            PushURL=url,
            Control={"MaxIdleTime": idle_s},
        )
        assert answer["Result"] == "ok"
        self.run = await self._node.run_of(self._task_id)

    async def shown(self) -> dict[str, Any]:
        """PushSingleStreamToCDNTask as it is now."""
        answer = await self._node.call(
            "GetPushSingleStreamToCDNTask", RoomId=self._room, TaskId=self._task_id
        )
        shown: dict[str, Any] = answer["Result"]["PushSingleStreamToCDNTask"]
        state = shown["Status"], shown["PushStreamState"]
        if self.states[-1:] != [state]:
            self.states.append(state)
        return shown

    async def look(self) -> None:
        """Keeps `states`, until it is cancelled."""
        while True:
            await self.shown()
            await asyncio.sleep(_POLL_S)

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _DEADLINE_S
        while not holds(shown := await self.shown()):
            assert time.monotonic() < deadline, f"{shown}, after {self.states}"
            await asyncio.sleep(_POLL_S)
        return shown

    async def until_state(self, state: int) -> None:
        await self.until(lambda shown: shown["PushStreamState"] == state)

    async def until_end(self) -> tuple[int, str]:
        """Status and StopReason."""
        shown = await self.until(lambda shown: shown["EndTime"] > 0)
        assert shown["EndTime"] >= shown["StartTime"]
        return shown["Status"], shown["StopReason"]

    async def stop(self) -> tuple[int, str]:
        await self._node.call("StopPushStreamToCDN", RoomId=self._room, TaskId=self._task_id)
        return await self.until_end()

    def passed(self, *stages: int) -> bool:
        """Whether its PushStreamStates were these in this order while it ran; quick ones may be unseen."""
        wanted = iter(stages)
        return all(state in wanted for status, state in self.states if status == 2)


@asynccontextmanager
async def push_of(
    node: ServedNode, room: str, user: str, url: str, *, idle_s: int = 60
) -> AsyncIterator[Push]:
    """A push that is looked at all the time; stopped in the end if it still runs."""
    push = Push(node, room)
    await push.start(user, url, idle_s=idle_s)
    looking = asyncio.create_task(push.look())
    try:
        yield push
        if (await push.shown())["EndTime"] == 0:
            assert await push.stop() == (3, "StopByAPI")
            assert push.states[-1] == (3, STOPPED)
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


@asynccontextmanager
async def roster(node: ServedNode, room: str) -> AsyncIterator[list[tuple[str, str]]]:
    """What the room tells a guest after they joined: event and user."""
    seen: list[tuple[str, str]] = []

    async def listen(content: aiohttp.StreamReader) -> None:
        async for name, document in sse(content):
            if name != "roster":
                seen.append((name, document["user_id"]))

    url = f"{node.url}/rooms/{node.credentials.app_id}/{room}/events"
    headers = {"Authorization": f"Bearer {node.token(room, 'guest')}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        listening = asyncio.create_task(listen(response.content))
        yield seen
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


def stamps(connection: Connection) -> list[int]:
    return [message.timestamp for message in connection.video()]


def begins_with_a_picture(connection: Connection) -> bool:
    return parse_video_tag(connection.video()[0].body).key


def slices(connection: Connection) -> list[str]:
    return [
        hashed
        for message in connection.video()
        for hashed in slice_hashes(split_avcc(parse_video_tag(message.body).data, 4))
    ]


def is_part_of(part: Sequence[str], whole: list[str]) -> bool:
    first = whole.index(part[0])
    return list(part) == whole[first : first + len(part)]


def loudest(recording: Path) -> float:
    """The largest sample, of 1."""
    with av.open(str(recording)) as container:
        return max(float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0))


def goes_on_evenly(server: Cdn, source: Path) -> None:
    """Nothing is lost of what one push sends, over one connection; only the sender's lateness moves times."""
    (to,) = server.connections
    assert is_part_of(slices(to), source_slices(source))
    assert {b.timestamp - a.timestamp for a, b in pairwise(to.audio())} == {23, 24}
    steps = [b - a for a, b in pairwise(stamps(to))]
    # A relay on a busy machine that is late moves the room's clock once, rather than to hurry.
    assert steps.count(1000 // FRAME_RATE) > 0.95 * len(steps)


def key_frame_times(recording: Path) -> list[float]:
    with av.open(str(recording)) as container:
        video = container.streams.video[0]
        return [
            float(packet.pts * video.time_base)
            for packet in container.demux(video)
            if packet.is_keyframe and packet.pts is not None and video.time_base is not None
        ]


async def test_what_chromium_publishes_on_the_page_plays_at_the_cdn(
    node: ServedNode, browser: Browser, nginx: Nginx, tmp_path: Path
) -> None:
    room, url = new_room(), nginx.rtmp(uuid.uuid4().hex)
    async with roster(node, room) as seen, push_of(node, room, "anna", url) as push:
        await push.until_state(WAITING)
        async with chromium_publisher(browser, node, room, "anna") as page:
            await push.until_state(PUSHING)
            await record(url, tmp_path / "page.flv", 12)
            assert push.passed(WAITING, CONNECTING, PUBLISHING, PUSHING)
            assert await push.stop() == (3, "StopByAPI")
            assert push.states[-1] == (3, STOPPED)
            # The end of the push is none of the publisher's or the room's business.
            await expect(page.locator("figure")).to_have_attribute("data-state", "live")
            assert set(seen) <= {("joined", "anna"), ("published", "anna"), ("media", "anna")}
    await check(tmp_path / "page.flv")
    keys = key_frame_times(tmp_path / "page.flv")
    assert len(keys) >= 2
    assert all(b - a < 5.5 for a, b in pairwise(keys))
    assert loudest(tmp_path / "page.flv") > 0.05


async def test_a_relayed_user_is_pushed_out_as_it_came_in(
    node: ServedNode, files: str, flashes: Path, nginx: Nginx, tmp_path: Path
) -> None:
    room, url = new_room(), nginx.rtmp(uuid.uuid4().hex)
    relay = await node.start(room, f"{files}/{flashes.name}")
    async with push_of(node, room, "source", url) as push:
        await push.until_state(PUSHING)
        await record(url, tmp_path / "relay.flv", 5)
    await node.client_stop(relay)
    await check(tmp_path / "relay.flv")
    assert is_part_of(slices_of(tmp_path / "relay.flv"), source_slices(flashes))
    offsets = lip_offsets_ms(tmp_path / "relay.flv")
    assert len(offsets) >= 2
    assert max(map(abs, offsets)) < 45


async def is_killed_and_comes_back(push: Push, server: Cdn, beside: Cdn) -> None:
    """For 4 s of what goes out beside it."""
    await server.close()
    await push.until_state(RECONNECTING)
    until_then = stamps(beside.connections[0])[-1] + 4000
    await until(lambda: stamps(beside.connections[0])[-1] >= until_then)
    before = len(server.connections)
    await server.open()
    await push.until_state(PUSHING)
    await until(lambda: len(server.connections) > before and bool(server.connections[-1].video()))
    assert begins_with_a_picture(server.connections[-1])
    tries = [RECONNECTING, PUBLISHING] * len(push.states)  # how many there were is for the machine to say
    assert push.passed(WAITING, CONNECTING, PUBLISHING, PUSHING, *tries, PUSHING), push.states


async def is_left_and_found_again(
    push: Push, server: Cdn, browser: Browser, node: ServedNode, room: str
) -> None:
    """The publisher closes the page and opens it again."""
    async with chromium_publisher(browser, node, room, "anna"):
        await push.until_state(PUSHING)
        await until(lambda: len(server.connections[-1].video()) >= FRAME_RATE)
    await push.until_state(WAITING)
    assert server.connections[-1].names[-1] == "deleteStream"
    async with chromium_publisher(browser, node, room, "anna"):
        await push.until_state(PUSHING)
        await until(lambda: len(server.connections) == 2 and bool(server.connections[1].video()))
        assert begins_with_a_picture(server.connections[1])
        assert push.passed(
            *(WAITING, CONNECTING, PUBLISHING, PUSHING), *(WAITING, RECONNECTING, PUBLISHING, PUSHING)
        )


async def is_refused(push: Push, node: ServedNode) -> None:
    """The task says so at the first attempt, and the key is in none of it."""
    await push.until_state(RECONNECTING)
    document = await node.until(push.run, lambda document: "refuses" in document["reason_text"])
    assert document["state"] in ("starting", "recovering")
    assert document["stage"] in ("reconnecting", "publishing")
    assert document["target"].endswith("/live/re***")
    assert "NetStream" in document["reason_text"] or "no:" in document["reason_text"]
    assert "refused-key" not in str(document)


async def test_a_cdn_in_trouble_is_told_and_costs_no_other_push_anything(
    node: ServedNode, browser: Browser, files: str, flashes: Path
) -> None:
    room = new_room()
    async with cdn() as good, cdn() as killed, cdn() as silent, cdn() as refusing, cdn() as left:
        silent.silent, refusing.rejects = True, "NetStream.Publish.BadName"
        relay = await node.start(room, f"{files}/{flashes.name}")
        async with (
            push_of(node, room, "source", good.url()) as steady,
            push_of(node, room, "source", killed.url()) as lost,
            push_of(node, room, "source", silent.url()) as unanswered,
            push_of(node, room, "source", refusing.url("refused-key")) as refused,
            push_of(node, room, "anna", left.url()) as empty,
        ):
            for push in (steady, lost):
                await push.until_state(PUSHING)
            await asyncio.gather(
                is_killed_and_comes_back(lost, killed, good),
                is_left_and_found_again(empty, left, browser, node, room),
                is_refused(refused, node),
            )
            assert unanswered.passed(WAITING, CONNECTING, RECONNECTING)
            assert unanswered.states[-1][1] in (CONNECTING, RECONNECTING)
            assert steady.passed(WAITING, CONNECTING, PUBLISHING, PUSHING)
        await node.client_stop(relay)
    goes_on_evenly(good, flashes)


@pytest.mark.slow
async def test_a_cdn_that_stops_reading_is_lost(node: ServedNode, files: str, flashes: Path) -> None:
    """After 15 s without progress."""
    room = new_room()
    relay = await node.start(room, f"{files}/{flashes.name}")
    async with cdn() as good, cdn() as wedged:
        async with (
            push_of(node, room, "source", good.url()) as steady,
            push_of(node, room, "source", wedged.url()) as lost,
        ):
            for push in (steady, lost):
                await push.until_state(PUSHING)
            wedged.reads.clear()
            await lost.until_state(RECONNECTING)
            document = await node.task(lost.run)
            assert "has taken nothing for 15 s" in document["reason_text"]
            wedged.reads.set()
            await lost.until_state(PUSHING)
            assert steady.passed(WAITING, CONNECTING, PUBLISHING, PUSHING)
        assert begins_with_a_picture(wedged.connections[-1])
        goes_on_evenly(good, flashes)
    await node.client_stop(relay)


async def stays_in_the_room(node: ServedNode, browser: Browser, room: str, url: str) -> tuple[int, str]:
    """How a push ends whose publisher stops publishing, but is there."""
    async with (
        chromium_publisher(browser, node, room, "anna") as page,
        push_of(node, room, "anna", url, idle_s=IDLE_S) as push,
    ):
        await push.until_state(PUSHING)
        await page.click("#stop")
        await push.until_state(WAITING)
        return await push.until_end()


async def leaves_the_room(node: ServedNode, clip: str, room: str, url: str) -> tuple[int, str]:
    relay = await node.start(room, clip)
    async with push_of(node, room, "source", url, idle_s=IDLE_S) as push:
        await push.until_state(PUSHING)
        await node.client_stop(relay)
        await push.until_state(WAITING)
        return await push.until_end()


async def never_comes(node: ServedNode, room: str, url: str) -> tuple[int, str]:
    async with push_of(node, room, "nobody", url, idle_s=IDLE_S) as push:
        shown = await push.until(lambda shown: shown["EndTime"] > 0)
        assert IDLE_S <= (shown["EndTime"] - shown["StartTime"]) / 1000 < 2 * IDLE_S
        assert push.passed(WAITING)
        return await push.until_end()


async def test_without_a_publisher_it_ends_after_the_idle_time(
    node: ServedNode, browser: Browser, files: str, flashes: Path, nginx: Nginx
) -> None:
    room = new_room()
    never, left, stayed = await asyncio.gather(
        never_comes(node, room, nginx.rtmp("never")),
        leaves_the_room(node, f"{files}/{flashes.name}", room, nginx.rtmp("leaves")),
        stays_in_the_room(node, browser, room, nginx.rtmp("stays")),
    )
    assert (never, left, stayed) == ((3, "IdleTimeOut"), (3, "UserDisconnect"), (3, "IdleTimeOut"))


async def test_the_key_of_an_address_is_shown_to_its_owner_alone(
    node: ServedNode, log: Path, files: str, flashes: Path
) -> None:
    """Whatever becomes of the push: it runs, it is refused, its CDN cannot be reached."""
    room = new_room()
    relay = await node.start(room, f"{files}/{flashes.name}")
    async with cdn() as good, cdn() as refusing, cdn() as away:
        refusing.rejects = "NetStream.Publish.BadName"
        await away.close()
        urls = [server.url("st-hidden?auth_key=hidden") for server in (good, refusing, away)]
        async with (
            push_of(node, room, "source", urls[0]) as runs,
            push_of(node, room, "source", urls[1]) as refused,
            push_of(node, room, "source", urls[2]) as unreached,
        ):
            await runs.until_state(PUSHING)
            for push, url in zip((runs, refused, unreached), urls, strict=True):
                assert (await push.shown())["PushURL"] == url
                if push is not runs:
                    await push.until_state(RECONNECTING)
                document = await node.task(push.run)
                assert "/live/st***?auth_key=***" in document["target"]
                assert "hidden" not in str(document)
        documents = await asyncio.to_thread(node.client.native, "GET", "/tasks?limit=1000")
        assert "hidden" not in str(documents)
    await node.client_stop(relay)
    logged = await asyncio.to_thread(log.read_text)
    assert "/live/st***?auth_key=***" in logged
    assert "hidden" not in logged
