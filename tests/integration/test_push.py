"""Pushes to a scripted CDN: what they send, what they report, and every way in which they end or go on."""

import asyncio
import gc
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from av.filter import Graph

from sluice.media import flow
from sluice.media.sink.rtmp import RtmpSink
from sluice.process.control import Flowing, Planned, Progress, StageChanged
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.flv import PacketType, parse_video_tag
from sluice.wire.h264 import AvcConfig, Sps, split_avcc
from sluice.wire.rtmp_chunks import Message
from tests.integration.broadcast import Broadcaster, playing, slice_hashes
from tests.integration.cdn import Cdn, Connection, cdn
from tests.integration.nginx import free_port
from tests.integration.pushing import QUICK, Pushing, pushing
from tests.integration.tls import localhost_tls
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_CONFIG = PacketType.CONFIG


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stage(anyio_backend: str) -> AsyncIterator[Pushing]:
    async with pushing() as stage:
        yield stage


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Cdn]:
    async with cdn() as server:
        yield server


def _state(progress: Progress) -> str | None:
    return progress.vitals.audio.state if progress.vitals.audio is not None else None


def stamps(messages: list[Message]) -> list[int]:
    return [message.timestamp for message in messages]


def slices(connection: Connection) -> list[str]:
    return [
        hashed
        for message in connection.video()
        for hashed in slice_hashes(split_avcc(parse_video_tag(message.body).data, 4))
    ]


def in_order(connection: Connection) -> bool:
    """Each track's times rise, and both are sent in the order of their times."""
    tracks = (connection.video(), connection.audio())
    rising = all(a < b for track in tracks for a, b in pairwise(stamps(track)))
    return rising and stamps(connection.media) == sorted(stamps(connection.media))


class TestMedia:
    async def test_it_tells_of_what_leaves_how_loud_it_is_and_how_pictures_lie_to_sound(
        self, stage: Pushing, server: Cdn
    ) -> None:
        push = stage.begin(server.url("cam"))
        with playing(Broadcaster(stage.room)) as publisher:
            await until(lambda: any(told.vitals.av_offset_ms is not None for told in push.of(Progress)))
            vitals = push.progress.vitals
            assert vitals.audio is not None
            assert vitals.audio.state == "ok"
            assert vitals.level_dbfs is not None
            assert -60 < vitals.level_dbfs < -5, "a beep of 80 ms each second"
            assert vitals.av_offset_ms is not None
            assert abs(vitals.av_offset_ms) < 400, "no more than sound and pictures wait for each other"
            assert vitals.video is None, "pictures of a push are not looked at"
            publisher.audio = False
            publisher.say()
            await until(lambda: _state(push.progress) == "silent")
            assert await push.stop() == ("stopped", "stopped by api")
        counted = stage.tally.values
        assert counted["media_frames"]["video"] == push.progress.video_frames
        assert counted["media_sent_bytes"] == {"cdn": push.progress.bytes_out}
        assert counted["media_encode_seconds"]["audio"] > 0
        assert stage.received > 10_000

    async def test_a_publisher_s_stream_arrives_whole(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url("cam?key=1&x=2"))
        await until(lambda: push.stages == ["waiting"])
        with playing(Broadcaster(stage.room)) as publisher:
            await until(lambda: len(server.connections) == 1 and len(server.connections[0].video()) >= 30)
            assert await push.stop() == ("stopped", "stopped by api")
        (to,) = server.connections
        assert to.names == [
            *("connect", "releaseStream", "FCPublish", "createStream", "publish"),
            *("FCUnpublish", "deleteStream"),
        ]
        assert to.commands[4][3:] == ["cam?key=1&x=2", "live"]
        (metadata,) = to.metadata
        assert (metadata["width"], metadata["height"], metadata["audiosamplerate"]) == (320, 180, 44_100)
        assert [message.type_id for message in to.media[:3]] == [chunks.VIDEO, chunks.AUDIO, chunks.VIDEO]
        assert parse_video_tag(to.video()[0].body).key
        first = publisher.sent.index(slices(to)[0])
        assert slices(to) == publisher.sent[first : first + len(slices(to))]
        assert in_order(to)
        assert (to.video()[0].timestamp, to.audio()[0].timestamp < 50) == (0, True)
        assert {b - a for a, b in pairwise(stamps(to.video()))} == {40}
        assert {b - a for a, b in pairwise(stamps(to.audio()))} == {23, 24}
        assert push.stages == ["waiting", "connecting", "publishing", "pushing"]
        assert (len(push.of(Flowing)), push.lost) == (1, ["waiting_for_publisher"])
        assert [plan.plan["video"]["action"] for plan in push.of(Planned)] == ["copy"]
        (subscribed,) = stage.room.subscriptions
        assert (subscribed.app_id, subscribed.room_id, *subscribed.key) == ("app", "room", "user", 0)

    async def test_key_frames_are_asked_for_at_the_start_and_in_time(
        self, stage: Pushing, server: Cdn
    ) -> None:
        push = stage.begin(server.url(), key_frame_s=1.0)
        with playing(Broadcaster(stage.room)):
            await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 80)
        (to,) = server.connections
        keys = [m.timestamp for m in to.video() if parse_video_tag(m.body).key]
        assert len(keys) >= 3
        assert all(1000 <= b - a < 3000 for a, b in pairwise(keys))
        assert stage.room.key_frame_requests <= len(keys) + 1
        assert push.stages[-1] == "pushing"

    async def test_no_microphone_is_silence(self, stage: Pushing, server: Cdn) -> None:
        publisher = Broadcaster(stage.room)
        publisher.audio = False
        stage.begin(server.url())
        with playing(publisher):
            await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 40)
        (to,) = server.connections
        assert in_order(to)
        assert {b - a for a, b in pairwise(stamps(to.audio()))} == {23, 24}
        assert abs(to.audio()[-1].timestamp - to.video()[-1].timestamp) < 100
        assert all(len(message.body) < 60 for message in to.audio())

    async def test_sound_first_and_pictures_later(self, stage: Pushing, server: Cdn) -> None:
        publisher = Broadcaster(stage.room)
        publisher.video = False
        stage.begin(server.url())
        with playing(publisher):
            await until(lambda: bool(server.connections) and len(server.connections[0].audio()) >= 40)
            publisher.video = True
            publisher.say()
            await until(lambda: len(server.connections[0].video()) >= 30)
        (to,) = server.connections
        assert in_order(to)
        assert ["width" in metadata for metadata in to.metadata] == [False, True]
        first = to.video()[0]
        assert parse_video_tag(first.body).key
        assert first.timestamp > 800
        assert to.video(_CONFIG)[0].timestamp == first.timestamp

    async def test_pictures_and_sound_may_pause(self, stage: Pushing, server: Cdn) -> None:
        publisher = Broadcaster(stage.room)
        push = stage.begin(server.url())
        with playing(publisher):
            await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 20)
            publisher.video = False
            at = len(server.connections[0].audio())
            await until(lambda: len(server.connections[0].audio()) >= at + 40)
            publisher.video, publisher.audio = True, False
            seen = len(server.connections[0].video())
            await until(lambda: len(server.connections[0].video()) >= seen + 30)
            publisher.audio = True
            at = len(server.connections[0].audio())
            await until(lambda: len(server.connections[0].audio()) >= at + 40)
        (to,) = server.connections
        assert in_order(to)
        assert {b - a for a, b in pairwise(stamps(to.audio()))} == {23, 24}, "sound never pauses"
        assert max(b - a for a, b in pairwise(stamps(to.video()))) > 500
        assert push.lost.count("waiting_for_publisher") <= 1

    async def test_another_size_has_another_header(self, stage: Pushing, server: Cdn) -> None:
        publisher = Broadcaster(stage.room)
        stage.begin(server.url())
        with playing(publisher):
            await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 20)
            publisher.size = (640, 360)
            await until(lambda: len(server.connections[0].metadata) == 2)
            await until(lambda: len(server.connections[0].video()) >= 60)
        (to,) = server.connections
        sizes = []
        for message in to.video(_CONFIG):
            sps = Sps.parse(AvcConfig.parse(parse_video_tag(message.body).data).sps[0])
            sizes.append((sps.width, sps.height))
        assert sizes == [(320, 180), (640, 360)]
        assert [(m["width"], m["height"]) for m in to.metadata] == [(320, 180), (640, 360)]
        second = to.video(_CONFIG)[1].timestamp
        assert parse_video_tag(next(m for m in to.video() if m.timestamp >= second).body).key
        assert in_order(to)

    async def test_sound_alone_when_that_is_asked_for(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url(), media_type=1)
        with playing(Broadcaster(stage.room)):
            await until(lambda: bool(server.connections) and len(server.connections[0].audio()) >= 40)
        (to,) = server.connections
        assert {message.type_id for message in to.media} == {chunks.AUDIO}
        assert to.metadata[0].get("videocodecid") is None
        assert push.of(Planned)[0].plan["video"] == {"action": "none", "why": "only audio was asked for"}
        assert stage.room.key_frame_requests == 0

    @pytest.mark.parametrize("hours", [5, 13.25])
    async def test_the_room_s_clock_may_be_old(self, stage: Pushing, server: Cdn, hours: float) -> None:
        """It begins a second before RTMP's times need more bits, and before RTP's wrap."""
        wrap_us = {5: 0xFFFFFF * 1000, 13.25: (1 << 32) * 1_000_000 // 90_000}[hours]
        stage.begin(server.url())
        with playing(Broadcaster(stage.room, start_us=wrap_us // 40_000 * 40_000 - 1_000_000)):
            await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 50)
        (to,) = server.connections
        assert (to.video()[0].timestamp, in_order(to)) == (0, True)
        assert {b - a for a, b in pairwise(stamps(to.video()))} == {40}

    async def test_rtmps(self, anyio_backend: str, tmp_path: Path) -> None:
        inside, trusting = localhost_tls(tmp_path)
        async with cdn(inside) as server, pushing(trusting) as stage:
            push = stage.begin(server.url())
            with playing(Broadcaster(stage.room)):
                await until(lambda: bool(server.connections) and len(server.connections[0].video()) >= 20)
                await push.stop()
            assert "deleteStream" in server.connections[0].names


class TestDestination:
    async def test_one_that_refuses_connections_and_comes(self, stage: Pushing, server: Cdn) -> None:
        await server.close()
        push = stage.begin(server.url())
        with playing(Broadcaster(stage.room)):
            await until(lambda: len(push.lost) >= 3)
            await server.open()
            await until(lambda: push.stages[-1] == "pushing")
        assert push.stages[-3:] == ["reconnecting", "publishing", "pushing"]
        assert push.stages.count("connecting") == 1
        assert set(push.lost) <= {"waiting_for_publisher", "destination_unreachable"}

    async def test_one_that_says_nothing(self, stage: Pushing, server: Cdn) -> None:
        server.silent = True
        push = stage.begin(server.url(), idle_s=1.5)
        with playing(Broadcaster(stage.room)):
            reason, text = await push.end()
        assert reason == "destination_unreachable"
        assert "did not answer to handshake within 0.5 s" in text
        assert text.endswith("(given up after 1.5 s)")
        assert "pushing" not in push.stages
        assert push.of(Flowing) == []

    async def test_one_that_rejects_the_stream(self, stage: Pushing, server: Cdn) -> None:
        server.rejects = "NetStream.Publish.BadName"
        push = stage.begin(server.url("secret-name?key=hidden"), idle_s=1.5)
        with playing(Broadcaster(stage.room)):
            await until(lambda: "destination_refused" in push.lost)
            reason, text = await push.end()
        assert reason == "destination_refused"
        assert "the server refuses: no: ***" in text
        assert not any("secret-name" in str(r) or "hidden" in str(r) for r in push.reports)
        first = push.stages.index("connecting")
        assert push.stages[first : first + 3] == ["connecting", "publishing", "reconnecting"]
        assert len(server.connections) >= 2, "it is tried again"

    async def test_one_that_dies_and_comes_back(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        with playing(Broadcaster(stage.room)):
            await until(lambda: push.stages[-1:] == ["pushing"])
            await until(lambda: len(server.connections[0].video()) >= 30)
            await server.close()
            await until(lambda: len(push.lost) >= 3)
            await server.open()
            await until(lambda: len(server.connections) >= 2 and len(server.connections[-1].video()) >= 20)
        assert "destination_interrupted" in push.lost
        assert push.stages[-3:] == ["reconnecting", "publishing", "pushing"]
        again = server.connections[-1]
        assert again.video()[0].timestamp == 0
        assert parse_video_tag(again.video()[0].body).key
        assert again.metadata
        assert in_order(again)
        assert len(push.of(Flowing)) == 2

    async def test_one_that_stops_reading_costs_only_its_own_push(self, stage: Pushing, server: Cdn) -> None:
        async with cdn() as wedged:
            good = stage.begin(server.url())
            bad = stage.begin(wedged.url())
            with playing(Broadcaster(stage.room, size=(640, 360))):
                await until(lambda: good.stages[-1:] == ["pushing"] == bad.stages[-1:])
                wedged.reads.clear()
                await until(lambda: "destination_interrupted" in bad.lost)
                lost_at = len(server.connections[0].video())
                await until(lambda: len(server.connections[0].video()) >= lost_at + 20)
                wedged.reads.set()
                await until(lambda: bad.stages[-1] == "pushing" and len(wedged.connections) >= 2)
            assert len(stage.room.subscriptions) == 1, "they share what does not depend on the CDN"
        (to,) = server.connections
        assert in_order(to)
        assert {b - a for a, b in pairwise(stamps(to.video()))} == {40}, "nothing is missing"
        assert good.lost in ([], ["waiting_for_publisher"])
        assert any("has taken nothing for 0.8 s" in getattr(report, "text", "") for report in bad.reports)

    async def test_one_that_pauses_briefly_loses_nothing(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room, size=(640, 360))
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            server.reads.clear()
            sent = len(publisher.sent)
            await until(lambda: len(publisher.sent) >= sent + 12)
            server.reads.set()
            seen = len(server.connections[0].video())
            await until(lambda: len(server.connections[0].video()) >= seen + 30)
        (to,) = server.connections
        assert {b - a for a, b in pairwise(stamps(to.video()))} == {40}

    async def test_one_whose_address_is_not_allowed(self, stage: Pushing) -> None:
        push = stage.begin("rtmp://10.0.0.1/live/x")
        with playing(Broadcaster(stage.room)):
            reason, text = await push.end()
        assert reason == "address_not_allowed"
        assert "--allow-networks" in text

    async def test_an_address_of_no_use(self, stage: Pushing) -> None:
        push = stage.begin("rtmp:///live/x")
        with playing(Broadcaster(stage.room)):
            assert await push.end() == (
                "destination_refused",
                "rtmp:///live/x***: RTMP addresses have the form rtmp://host/app/stream",
            )


class TestPublisher:
    async def test_one_that_leaves_and_returns(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room)
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            await until(lambda: len(server.connections[0].video()) >= 10)
        stage.room.say(present=False, video=False, audio=False)
        await until(lambda: push.stages[-1] == "waiting")
        assert server.connections[0].names[-2:] == ["FCUnpublish", "deleteStream"], "a clean end"
        with playing(publisher):
            await until(lambda: push.stages[-1] == "pushing")
            await until(lambda: len(server.connections[1].video()) >= 10)
        assert push.stages[-5:] == ["pushing", "waiting", "reconnecting", "publishing", "pushing"]
        assert push.lost[-1] == "waiting_for_publisher"
        (waiting,) = (told for told in push.of(StageChanged)[1:] if told.stage == "waiting")
        assert (waiting.reason, waiting.text) == (push.lost[-1], "nobody publishes the stream of user")
        assert parse_video_tag(server.connections[1].video()[0].body).key

    async def test_one_that_is_back_at_once_was_never_away(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room)
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            before = list(push.reports)
            for _ in range(3):
                stage.room.say(present=True, video=False, audio=False)
                await asyncio.sleep(QUICK.grace_s / 3)  # the time that a page takes to come back
                publisher.say()
                seen = len(server.connections[0].video())
                await until(lambda: len(server.connections[0].video()) >= seen + 10)  # noqa: B023
        assert [type(r) for r in push.reports if r not in before and r.type != "progress"] == []
        assert len(server.connections) == 1
        assert in_order(server.connections[0])

    @pytest.mark.parametrize(
        ("present", "publishes", "reason"),
        [
            (False, True, "publisher_left"),
            (True, True, "idle_timeout"),
            (True, False, "idle_timeout"),
            (False, False, "idle_timeout"),
        ],
    )
    async def test_one_that_does_not_come_back(
        self, stage: Pushing, server: Cdn, present: bool, publishes: bool, reason: str
    ) -> None:
        push = stage.begin(server.url(), idle_s=0.7)
        if publishes:
            with playing(Broadcaster(stage.room)):
                await until(lambda: push.stages[-1:] == ["pushing"])
                await until(lambda: bool(server.connections[0].video()))
        stage.room.say(present=present, video=False, audio=False)
        ended, text = await push.end()
        assert (ended, "0.7 s" in text) == (reason, True)
        assert push.stages[-1] == "waiting"

    async def test_the_idle_time_counts_only_without_a_publisher(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url(), idle_s=1.0)
        with playing(Broadcaster(stage.room)) as publisher:
            await until(lambda: publisher.media_us >= 2_500_000)
            assert not push.task.done()

    async def test_a_room_that_starts_again(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        with playing(Broadcaster(stage.room, start_us=3_600_000_000)):
            await until(lambda: push.stages[-1:] == ["pushing"])
            await until(lambda: len(server.connections[0].video()) >= 10)
        await stage.room.close()
        await until(lambda: push.stages[-1] == "waiting")
        await stage.room.open()
        with playing(Broadcaster(stage.room)):
            await until(lambda: push.stages[-1] == "pushing")
            await until(lambda: len(server.connections[1].video()) >= 10)
        assert in_order(server.connections[1])
        assert len(stage.room.subscriptions) == 2

    async def test_a_room_that_starts_again_at_once(self, stage: Pushing, server: Cdn) -> None:
        """Its clock is another one; the CDN sees a pause."""
        push = stage.begin(server.url(), limits=type(QUICK)(grace_s=5, rtmp=QUICK.rtmp))
        with playing(Broadcaster(stage.room, start_us=3_600_000_000)):
            await until(lambda: push.stages[-1:] == ["pushing"])
            await until(lambda: len(server.connections[0].video()) >= 10)
        await stage.room.close()
        await stage.room.open()
        seen = len(server.connections[0].video())
        with playing(Broadcaster(stage.room)):
            await until(lambda: len(server.connections[0].video()) >= seen + 20)
        (to,) = server.connections
        assert in_order(to)
        assert {b - a for a, b in pairwise(stamps(to.audio()))} == {23, 24}
        assert push.stages[-1] == "pushing"
        assert max(b - a for a, b in pairwise(stamps(to.video()))) < 3000


class TestStall:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow, "SILENT_S", 0.6)

    @pytest.mark.parametrize(
        ("kinds", "reason"),
        [
            (("video",), "pictures_stopped"),
            (("audio",), "sound_stopped"),
            (("video", "audio"), "source_interrupted"),
        ],
    )
    async def test_a_kind_that_stops_is_told_and_again_when_it_is_back(
        self, stage: Pushing, server: Cdn, kinds: tuple[str, ...], reason: str
    ) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room)
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            lost = len(push.lost)
            for kind in kinds:
                setattr(publisher, kind, False)
            await until(lambda: push.stages[-1] == "stalled")
            assert push.lost[lost:] == [reason]
            assert push.of(StageChanged)[-1].reason == reason
            heard = len(server.connections[0].audio())
            await until(lambda: len(server.connections[0].audio()) >= heard + 20)
            assert push.stages[-1] == "stalled", "silence is no sound"
            for kind in kinds:
                setattr(publisher, kind, True)
            await until(lambda: push.stages[-1] == "pushing")
            await until(lambda: len(push.of(Flowing)) == 2)
            for kind in kinds:
                setattr(publisher, kind, False)
            await until(lambda: push.stages[-1] == "stalled")
        stage.room.say(present=False, video=False, audio=False)
        await until(lambda: push.stages[-1] == "waiting")
        assert push.stages[-2:] == ["stalled", "waiting"], "who leaves is not pushed meanwhile"
        assert len(server.connections) == 1

    async def test_what_is_turned_off_on_purpose_is_not_missed(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room)
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            publisher.video = False
            publisher.say()
            heard = len(server.connections[0].audio())
            await until(lambda: len(server.connections[0].audio()) >= heard + 60)
        assert "stalled" not in push.stages

    async def test_pictures_that_never_come_are_told_with_the_room_s_reason(
        self, stage: Pushing, server: Cdn
    ) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room)
        publisher.video = False
        why = "its key frames come without parameter sets"
        publisher.say = partial(  # type: ignore[method-assign]
            stage.room.say, present=True, video=True, audio=True, video_wrong=why
        )
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["stalled"])
            (told,) = (stage for stage in push.of(StageChanged) if stage.stage == "stalled")
            assert told.text == f"pictures have stopped, the sound goes on: {why}"
            assert push.of(Flowing) == []
            assert push.stages[-3:] == ["connecting", "publishing", "stalled"]

    async def test_nothing_to_push_for_the_idle_time_ends_it(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url(), idle_s=1.5)
        publisher = Broadcaster(stage.room)
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            publisher.video = publisher.audio = False
            reason, text = await push.end()
        assert reason == "idle_timeout"
        assert text == "nothing could be pushed for 1.5 s: no packet left for 0.6 s"


class TestStop:
    async def test_it_ends_wherever_it_is(self, stage: Pushing, server: Cdn) -> None:
        async with cdn() as silent:
            silent.silent = True
            waiting = stage.begin(server.url())
            await until(lambda: waiting.stages == ["waiting"])
            assert await waiting.stop() == ("stopped", "stopped by api")
            at_once = stage.begin(server.url())
            assert await at_once.stop() == ("stopped", "stopped by api")
            with playing(Broadcaster(stage.room)):
                connecting = stage.begin(silent.url())
                await until(lambda: connecting.stages[-1:] == ["connecting"])
                assert await connecting.stop() == ("stopped", "stopped by api")
                pausing = stage.begin(f"rtmp://127.0.0.1:{free_port()}/live/x")
                await until(lambda: len(pausing.lost) >= 3)
                assert await pausing.stop() == ("stopped", "stopped by api")
                wedged = stage.begin(server.url())
                await until(lambda: wedged.stages[-1:] == ["pushing"])
                server.reads.clear()
                assert await wedged.stop() == ("stopped", "stopped by api")

    async def test_what_was_sent_arrives(self, stage: Pushing, server: Cdn) -> None:
        push = stage.begin(server.url())
        publisher = Broadcaster(stage.room, size=(640, 360))
        with playing(publisher):
            await until(lambda: push.stages[-1:] == ["pushing"])
            await until(lambda: len(server.connections[0].video()) >= 5)
            server.reads.clear()
            sent = len(publisher.sent)
            await until(lambda: len(publisher.sent) >= sent + 5)
            ending = asyncio.create_task(push.stop())
            await asyncio.sleep(0)
            server.reads.set()
            await ending
        (to,) = server.connections
        assert to.names[-1] == "deleteStream"
        assert to.closed or await _closes(to)
        assert push.stages[-1] == "pushing"

    async def test_while_it_closes_the_connection_is_still_closed(
        self, stage: Pushing, server: Cdn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody publishes any more, so the server is told; meanwhile the push is stopped."""
        close, closing, closed = RtmpSink.close, asyncio.Event(), list[RtmpSink]()

        async def noted(sink: RtmpSink) -> None:
            closing.set()
            await close(sink)
            closed.append(sink)

        monkeypatch.setattr(RtmpSink, "close", noted)
        push = stage.begin(server.url())
        with playing(Broadcaster(stage.room)):
            await until(lambda: push.stages[-1:] == ["pushing"])
        server.reads.clear()  # it hears no goodbye
        stage.room.say(present=False, video=False, audio=False)
        await closing.wait()
        assert await push.stop() == ("stopped", "stopped by api")
        assert len(closed) == 1, "before `Finished` is told"
        server.reads.set()
        await until(lambda: server.connections[0].closed)

    async def test_the_encoder_ends_with_the_last_push(self, stage: Pushing, server: Cdn) -> None:
        """At once, not when the garbage collector comes."""
        gc.collect()
        gc.disable()
        try:
            with playing(Broadcaster(stage.room)) as publisher:
                await until(lambda: len(publisher.sent) > 5)  # it has an encoder of its own
                before = _graphs()
                push = stage.begin(server.url())
                await until(lambda: push.stages[-1:] == ["pushing"])
                assert len(_graphs()) > len(before)
                await push.stop()
                assert len(_graphs()) == len(before)
        finally:
            gc.enable()

    async def test_the_tap_ends_with_the_last_push(self, stage: Pushing, server: Cdn) -> None:
        first, second = stage.begin(server.url("a")), stage.begin(server.url("b"))
        await until(lambda: first.stages == second.stages == ["waiting"])
        await until(lambda: stage.room.subscribers == 1)
        await first.stop()
        assert stage.room.subscribers == 1
        await second.stop()
        await until(lambda: stage.room.subscribers == 0)


def _graphs() -> list[object]:
    """The filter graphs that there are: the conversion of sound has some."""
    return [thing for thing in gc.get_objects() if isinstance(thing, Graph)]


async def _closes(connection: Connection) -> bool:
    await until(lambda: connection.closed)
    return True
