"""The sessions of a media process share a frame link, and do not notice each other.

The room's end is the real one (rooms.engine.link) with ends that keep what they get.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sluice.media.pipe.frames import OutFrame
from sluice.media.sink.room import RoomLink, RoomLinks
from sluice.process.link import FrameType, LinkFrame
from sluice.rooms.engine.link import FrameLink, LinkChannel

pytestmark = pytest.mark.anyio


class End:
    def __init__(self, channel: LinkChannel, hello: dict[str, Any]) -> None:
        self.channel = channel
        self.name = str(hello["run_id"])
        self.payloads: list[bytes] = []
        self.gone = False

    def take(self, frame: LinkFrame) -> None:
        if frame.payload == b"broken":
            raise ValueError("broken")
        self.payloads.append(frame.payload)

    def lost(self) -> None:
        self.gone = True


class RoomSide:
    """`links` counts connections, `ends` has the channels' ends by run."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.links = 0
        self.ends: dict[str, End] = {}

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._link, self.path)

    def close(self) -> None:
        self._server.close()

    def _link(self) -> FrameLink:
        self.links += 1
        return FrameLink(self._open_end)

    def _open_end(self, channel: LinkChannel, document: dict[str, Any]) -> End:
        end = End(channel, document["hello"])
        self.ends[end.name] = end
        return end


class MediaSide:
    def __init__(self, path: str) -> None:
        self.opened: list[RoomLink] = []
        self._links = RoomLinks()
        self._path = path

    async def open(self, run_id: str) -> tuple[RoomLink, "asyncio.Future[bool]"]:
        """A channel, and how it ended."""
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        link = await self._links.open(
            self._path, {"run_id": run_id}, on_end=ended.set_result, on_key_frame=lambda: None
        )
        self.opened.append(link)
        return link, ended


@pytest.fixture
async def room(anyio_backend: str) -> AsyncIterator[RoomSide]:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        room = RoomSide(str(Path(folder) / "room.sock"))
        await room.open()
        yield room
        room.close()


@pytest.fixture
async def media(room: RoomSide) -> AsyncIterator[MediaSide]:
    media = MediaSide(room.path)
    yield media
    for link in media.opened:
        link.close()
    await _until(lambda: all(end.gone for end in room.ends.values()))


async def test_all_sessions_share_one_link(room: RoomSide, media: MediaSide) -> None:
    opened = await asyncio.gather(*(media.open(f"run-{n}") for n in range(5)))
    for n, (link, _) in enumerate(opened):
        assert link.send([_sound(b"%d" % n), _sound(b"%d again" % n)])
    await _until(lambda: len(room.ends) == 5 and all(len(end.payloads) == 2 for end in room.ends.values()))
    assert room.links == 1
    for n in range(5):
        assert room.ends[f"run-{n}"].payloads == [b"%d" % n, b"%d again" % n]


async def test_one_that_leaves_takes_nobody_with_it(room: RoomSide, media: MediaSide) -> None:
    (first, first_ended), (second, second_ended) = await media.open("first"), await media.open("second")
    first.send([_sound(b"last words")])
    first.close()
    await _until(lambda: "first" in room.ends and room.ends["first"].gone)
    assert room.ends["first"].payloads == [b"last words"]
    assert second.send([_sound(b"on")])
    await _until(lambda: room.ends["second"].payloads == [b"on"])
    assert not first_ended.done()
    assert not second_ended.done()


async def test_one_that_is_replaced_or_closed_takes_nobody_with_it(room: RoomSide, media: MediaSide) -> None:
    opened = {name: await media.open(name) for name in ("replaced", "closed", "other")}
    await _until(lambda: len(room.ends) == 3)
    room.ends["replaced"].channel.tell({"replaced": True})
    room.ends["replaced"].channel.close()
    room.ends["closed"].channel.close()
    assert await asyncio.wait_for(opened["replaced"][1], 5) is True
    assert await asyncio.wait_for(opened["closed"][1], 5) is False
    await _until(lambda: room.ends["closed"].gone)  # its END was answered
    assert opened["other"][0].send([_sound(b"on")])
    await _until(lambda: room.ends["other"].payloads == [b"on"])


async def test_what_does_not_belong_there_ends_its_channel_alone(room: RoomSide, media: MediaSide) -> None:
    (bad, bad_ended), (good, good_ended) = await media.open("bad"), await media.open("good")
    bad.send([_sound(b"broken"), _sound(b"dropped")])
    assert await asyncio.wait_for(bad_ended, 5) is False
    assert room.ends["bad"].payloads == []
    good.send([_sound(b"on")])
    await _until(lambda: room.ends["good"].payloads == [b"on"])
    assert not good_ended.done()


async def test_a_room_process_that_dies_is_told_to_all(room: RoomSide, media: MediaSide) -> None:
    opened = [await media.open(f"run-{n}") for n in range(3)]
    await _until(lambda: len(room.ends) == 3)
    room.ends["run-0"].channel.write(b"\xff" * 16)  # no frame: the media process cuts the link
    assert await asyncio.wait_for(asyncio.gather(*(ended for _, ended in opened)), 5) == [False] * 3
    assert not opened[0][0].send([_sound(b"lost")])
    link, _ = await media.open("again")
    assert link.send([_sound(b"on")])
    await _until(lambda: "again" in room.ends and room.ends["again"].payloads == [b"on"])
    assert room.links == 2


async def test_a_link_nobody_uses_is_closed(room: RoomSide, media: MediaSide) -> None:
    for n in range(2):
        link, _ = await media.open(f"run-{n}")
        link.close()
        await _until(lambda name=f"run-{n}": name in room.ends and room.ends[name].gone)
    assert room.links == 2


async def test_no_room_process(room: RoomSide) -> None:
    media = MediaSide(f"{room.path}.other")
    with pytest.raises(OSError, match="No such file"):
        await media.open("run")


def _sound(payload: bytes) -> OutFrame:
    return OutFrame(FrameType.AUDIO, 0, payload)


async def _until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.002)
