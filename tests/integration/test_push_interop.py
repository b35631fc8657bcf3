"""Pushes to servers of others: what nginx-rtmp plays on, what ffmpeg takes, and what our own client pulls."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.tasks import MediaType
from sluice.media.packets import Packet, TrackKind
from sluice.media.push.session import PushLimits
from sluice.media.sink.rtmp import RtmpLimits
from sluice.media.source.rtmp import RtmpSource
from sluice.net.dial import Dialer
from sluice.process.control import Accepted, Finished, Message, PushJob, StageChanged, StartPush, StopSession
from sluice.process.supervisor import ChildSpec, Supervised
from sluice.wire.flv import parse_video_tag
from sluice.wire.h264 import split_avcc
from tests.integration.broadcast import SECOND_US, Broadcaster, playing, slice_hashes
from tests.integration.cdn import cdn
from tests.integration.nginx import Nginx, free_port
from tests.integration.pushing import Pushing, Reporter, pushing
from tests.integration.recording import check, lip_offsets_ms, record, run, slices_of
from tests.integration.room import APP, ROOM, USER, Publisher, room_server
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture
async def stage(anyio_backend: str) -> AsyncIterator[Pushing]:
    async with pushing() as stage:
        yield stage


async def pushed(push: Reporter) -> None:
    await until(lambda: push.stages[-1:] == ["pushing"])


class TestNginx:
    async def test_what_it_plays_on(self, stage: Pushing, nginx: Nginx, tmp_path: Path) -> None:
        push = stage.begin(nginx.rtmp("whole?key=1"), key_frame_s=1.0)
        with playing(Broadcaster(stage.room)) as publisher:
            await pushed(push)
            await record(nginx.rtmp("whole"), tmp_path / "whole.flv", 5)
        await check(tmp_path / "whole.flv")
        played = slices_of(tmp_path / "whole.flv")
        first = publisher.sent.index(played[0])
        assert played == publisher.sent[first : first + len(played)]
        offsets = lip_offsets_ms(tmp_path / "whole.flv")
        assert len(offsets) >= 2
        assert max(map(abs, offsets)) < 45

    @pytest.mark.parametrize("first_ms", [0xFFFFFF - 2500, (1 << 32) - 2500], ids=["4 h 40 m", "49.7 d"])
    async def test_times_that_need_more_bits(
        self, stage: Pushing, nginx: Nginx, tmp_path: Path, first_ms: int
    ) -> None:
        limits = PushLimits(rtmp=RtmpLimits(first_ms=first_ms))
        start_us = (1 << 32) * 1_000_000 // 90_000 // SECOND_US * SECOND_US  # 13.25 h
        push = stage.begin(nginx.rtmp(f"old-{first_ms}"), limits, key_frame_s=1.0)
        with playing(Broadcaster(stage.room, start_us=start_us)):
            await pushed(push)
            ours = asyncio.create_task(pull(nginx.rtmp(f"old-{first_ms}"), 100))
            await record(nginx.rtmp(f"old-{first_ms}"), tmp_path / "old.flv", 5)
            packets = await ours
        await check(tmp_path / "old.flv")
        video = [packet.dts_us for packet in packets if packet.kind is TrackKind.VIDEO]
        assert {b - a for a, b in pairwise(video)} == {40_000}
        assert max(map(abs, lip_offsets_ms(tmp_path / "old.flv"))) < 45

    async def test_another_size_in_the_middle(self, stage: Pushing, nginx: Nginx, tmp_path: Path) -> None:
        push = stage.begin(nginx.rtmp("sizes"), key_frame_s=1.0)
        with playing(Broadcaster(stage.room)) as publisher:
            await pushed(push)
            recording = asyncio.create_task(record(nginx.rtmp("sizes"), tmp_path / "sizes.flv", 5))
            at_us = publisher.media_us
            await until(lambda: publisher.media_us > at_us + 3 * SECOND_US)
            publisher.size = (640, 360)
            await recording
        await check(tmp_path / "sizes.flv")
        with av.open(str(tmp_path / "sizes.flv")) as container:
            sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
        assert list(dict.fromkeys(sizes)) == [(320, 180), (640, 360)]

    async def test_silence_and_sound_alone(self, stage: Pushing, nginx: Nginx, tmp_path: Path) -> None:
        silent = stage.begin(nginx.rtmp("silent"), key_frame_s=1.0)
        alone = stage.begin(nginx.rtmp("alone"), media_type=1)
        publisher = Broadcaster(stage.room)
        publisher.audio = False
        with playing(publisher):
            await pushed(silent)
            await pushed(alone)
            recorded = record(nginx.rtmp("silent"), tmp_path / "silent.flv", 4)
            await asyncio.gather(recorded, record(nginx.rtmp("alone"), tmp_path / "alone.flv", 2))
        await check(tmp_path / "silent.flv")
        with av.open(str(tmp_path / "alone.flv")) as container:
            assert [stream.type for stream in container.streams] == ["audio"]

    async def test_it_refuses_a_second_publisher(self, stage: Pushing, nginx: Nginx) -> None:
        first = stage.begin(nginx.rtmp("taken"))
        with playing(Broadcaster(stage.room)):
            await pushed(first)
            second = stage.begin(nginx.rtmp("taken"), idle_s=2.0)
            reason, text = await second.end()
            assert reason == "destination_refused"
            assert "taken" not in text
            assert first.stages[-1] == "pushing"


async def pull(url: str, pictures: int) -> list[Packet]:
    """So many pictures and their sound, with our own client."""
    source = RtmpSource(url, Dialer(AddressPolicy(["127.0.0.0/8"])))
    packets: list[Packet] = []
    try:
        probe = await source.open()
        assert probe.video is not None
        assert probe.audio is not None
        assert (probe.video.codec, probe.audio.codec, probe.audio.sample_rate) == ("h264", "aac", 44_100)
        while sum(packet.kind is TrackKind.VIDEO for packet in packets) < pictures:
            packets += await source.read()
    finally:
        await source.close()
    return packets


async def test_our_own_client_pulls_what_was_pushed(stage: Pushing, nginx: Nginx) -> None:
    push = stage.begin(nginx.rtmp("ours"), key_frame_s=1.0)
    with playing(Broadcaster(stage.room)) as publisher:
        await pushed(push)
        packets = await pull(nginx.rtmp("ours"), 50)
    slices = [
        hashlib.sha256(unit).hexdigest()
        for packet in packets
        if packet.kind is TrackKind.VIDEO
        for unit in split_avcc(packet.data, 4)
        if unit[0] & 0x1F in (1, 5)
    ]
    first = publisher.sent.index(slices[0])
    assert slices == publisher.sent[first : first + len(slices)]


async def test_ffmpeg_as_the_server(stage: Pushing, tmp_path: Path) -> None:
    recording = tmp_path / "taken.flv"
    url = f"rtmp://127.0.0.1:{free_port()}/live/x"
    taking = asyncio.create_task(
        # "fatal": at every end of a publisher, its own too, it complains of an input error.
        run("ffmpeg", "-nostdin", "-v", "fatal", "-listen", "1", "-i", url, "-c", "copy", str(recording))
    )
    push = stage.begin(url, key_frame_s=1.0)
    with playing(Broadcaster(stage.room)) as publisher:
        await pushed(push)
        at_us = publisher.media_us
        await until(lambda: publisher.media_us > at_us + 4 * SECOND_US)
        await push.stop()
    await taking
    await check(recording)
    played = slices_of(recording)
    first = publisher.sent.index(played[0])
    assert played == publisher.sent[first : first + len(played)]
    offsets = lip_offsets_ms(recording)
    assert len(offsets) >= 2
    assert max(map(abs, offsets)) < 45


async def test_a_media_process_pushes(stage: Pushing, nginx: Nginx, tmp_path: Path) -> None:
    """The whole process, as the node starts it."""
    told: list[Message] = []
    config = {"allow_networks": ["127.0.0.0/8"], "log_level": "warning"}
    process = Supervised(
        ChildSpec("media", "sluice.media", config),
        on_notice=lambda process, message: told.append(message),
        on_ready=lambda process: None,
        on_death=lambda process: None,
    )
    await process.start()
    job = PushJob(
        run_id="run_1",
        app_id="app",
        room_id="room",
        user_id="user",
        stream=0,
        url=nginx.rtmp("process"),
        media_type=MediaType.AUDIO_VIDEO,
        idle_s=10,
        link=stage.room.path,
    )
    try:
        with playing(Broadcaster(stage.room)):
            process.notify(StartPush(job=job))
            await until(lambda: any(isinstance(m, StageChanged) and m.stage == "pushing" for m in told))
            process.notify(StopSession(run_id="run_1"))
            await until(lambda: isinstance(told[-1], Finished))
    finally:
        await process.stop()
    assert isinstance(told[0], Accepted)
    assert told[-1] == Finished(run_id="run_1", reason="stopped", text="stopped by api")


async def test_a_relayed_stream_goes_out_as_it_came_in(stage: Pushing) -> None:
    """Through the real room process: the very slices of the source, in the times of one clock."""
    async with room_server() as rooms, cdn() as server:
        push = stage.begin(server.url(), link=rooms.link, app_id=APP, room_id=ROOM, user_id=USER)
        source = Publisher(rooms.link, "run_0")
        await source.connect()
        playing = asyncio.create_task(source.play())
        await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 80)
        playing.cancel()
        await push.stop()
        source.link.close()
    (to,) = server.connections
    sent = [
        hashed
        for message in to.video()
        for hashed in slice_hashes(split_avcc(parse_video_tag(message.body).data, 4))
    ]
    first = source.sent.index(sent[0])
    assert sent == source.sent[first : first + len(sent)]
    steps = [b.timestamp - a.timestamp for a, b in pairwise(to.video())]
    past = steps.count(1)  # pictures of the group in which it began, as close together as FLV allows
    assert steps == [1] * past + [40] * (len(steps) - past)
    assert past < 50
