"""Sessions that play files from a local HTTP server into a frame socket: what they report, and every end."""

import asyncio
import gc
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import av
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from av.codec.context import CodecContext
from av.container import Container
from av.filter import Graph

from sluice.core.lifecycle import Reason
from sluice.core.retry import ROOM_PAUSES_S
from sluice.core.vitals import UNKNOWN
from sluice.media.pacer import Pacer
from sluice.media.source.file import DemuxSource
from sluice.process.control import ControlSession, Done, Finished, Flowing, Lost, Planned, Progress, Sourced
from sluice.process.documents import Hello, KeyFrameRequest, Replaced
from sluice.process.link import KEY_FRAME, FrameType
from tests.integration.clips import make_mp4
from tests.integration.stage import FakeRoom, Stage

pytestmark = pytest.mark.anyio

FRAME_US = 40_000
#: Stands among the reports where a source is closed.
CLOSED = Done(found=True)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    make_mp4(folder / "one.mp4", seconds=1)
    make_mp4(folder / "long.mp4", seconds=3)
    make_mp4(folder / "short.mp4", seconds=0.4)
    make_mp4(folder / "mute.mp4", seconds=0.4, sound=False)
    make_mp4(folder / "hevc.mp4", seconds=0.4, codec="libx265")
    make_mp4(folder / "b.mp4", seconds=1, b_frames=2)
    whole = (folder / "short.mp4").read_bytes()
    media = whole.index(b"mdat") + 4
    (folder / "barren.mp4").write_bytes(whole[:media] + bytes(len(whole) - media))
    (folder / "page.mp4").write_text("<!doctype html><title>no clip</title>" + "<p>nothing</p>" * 500)
    return folder


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The names of the files that were asked for."""
    return []


@pytest.fixture(scope="module")
async def files(anyio_backend: str, clips: Path, asked: list[str]) -> AsyncIterator[str]:
    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.append(request.path.lstrip("/"))
        return await handler(request)

    app = web.Application(middlewares=[note])
    app.router.add_static("/", clips)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
async def room(anyio_backend: str) -> AsyncIterator[FakeRoom]:
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        room = FakeRoom(f"{folder}/room.sock")
        await room.open()
        yield room
        await room.close()


@pytest.fixture
async def stage(room: FakeRoom, executor: ThreadPoolExecutor) -> Stage:
    return Stage(room, executor, ("127.0.0.0/8",))


def source_units(path: Path) -> list[bytes]:
    """The access units of a file as they stand there, behind 4-byte lengths."""
    with av.open(str(path), "r") as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


async def test_a_file_is_played_to_its_end(stage: Stage, files: str, clips: Path) -> None:
    stage.begin(f"{files}/one.mp4")
    assert await stage.end() == ("end_of_stream", "end of stream")
    (plan,) = stage.of(Planned)
    assert plan.plan["video"]["action"] == "copy"
    assert plan.plan["audio"] == {"action": "transcode", "why": "rooms carry Opus, source is AAC"}
    assert len(stage.of(Flowing)) == 1
    assert stage.of(Lost) == []
    room = stage.room
    hello = {"app_id": "app", "room_id": "room", "user_id": "relay", "stream": 0, "run_id": "run_1"}
    assert room.hellos == [Hello.model_validate(hello)]
    video, audio = room.of(FrameType.VIDEO), room.of(FrameType.AUDIO)
    for frame, unit in zip(video, source_units(clips / "one.mp4"), strict=True):
        assert frame.payload.endswith(unit), "the source's bytes, behind SPS and PPS at key frames"
        assert bool(frame.flags & KEY_FRAME) == (frame.payload != unit)
    assert [frame.media_us for frame in video] == [n * FRAME_US for n in range(25)]
    assert 48 <= len(audio) <= 52
    steps = {b.media_us - a.media_us for a, b in pairwise(audio)}
    assert steps == {20_000}
    assert abs(audio[0].media_us) < 45_000, "with the picture"


async def test_what_it_sends_is_counted_for_its_process(stage: Stage, files: str, clips: Path) -> None:
    stage.begin(f"{files}/long.mp4", stream_mode=0, width=80, height=60)
    await stage.end()
    stage.reports.clear()
    stage.begin(f"{files}/missing.mp4", idle_s=0.8)
    await stage.end()
    counted = stage.shop.tally.values
    video, audio = stage.room.of(FrameType.VIDEO), stage.room.of(FrameType.AUDIO)
    assert counted["media_frames"] == {"video": len(video), "audio": len(audio)}
    assert counted["media_sent_bytes"] == {"room": sum(len(f.payload) for f in (*video, *audio))}
    assert counted["media_reconnects"]["source"] >= 1, "of the one that is missing"
    for figure in ("media_decode_seconds", "media_encode_seconds"):
        assert all(0 < counted[figure][kind] < 3 for kind in ("video", "audio"))
    received = stage.shop.dialer.received.total
    assert received >= (clips / "long.mp4").stat().st_size


async def test_a_relay_that_is_paused_is_not_frozen(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/long.mp4", loop=True)
    await stage.until(lambda: any(told.vitals.video is not None for told in stage.of(Progress)))
    before = len(stage.of(Progress))
    assert await stage.session.control(ControlSession(run_id="run_1", paused=True)) is None
    paused = stage.of(Progress)[before:]
    assert paused
    assert all(told.vitals == UNKNOWN for told in paused)
    await stage.session.control(ControlSession(run_id="run_1", paused=False))
    await stage.until(lambda: stage.of(Progress)[-1].vitals.video is not None)
    (signal,) = {told.vitals.video for told in stage.of(Progress)[-1:]}
    assert signal is not None
    assert signal.state == "ok"
    assert {told.facts["container"] for told in stage.of(Sourced)} == {"MP4"}
    stage.session.stop()
    await stage.end()


async def test_it_is_paced_by_the_clock(stage: Stage, files: str) -> None:
    loop = asyncio.get_running_loop()
    stage.begin(f"{files}/one.mp4")
    await stage.until(lambda: len(stage.room.of(FrameType.VIDEO)) >= 1)
    began = loop.time()
    await stage.end()
    assert loop.time() - began > 0.85


async def test_the_end_of_the_process_is_no_stop_by_api(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/short.mp4", loop=True)
    await stage.until(lambda: len(stage.room.of(FrameType.VIDEO)) >= 1)
    stage.session.stop(Reason.SERVER_SHUTDOWN)
    assert await stage.end() == ("server_shutdown", "the server stopped")


async def test_a_loop_goes_on_without_a_gap(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/short.mp4", loop=True)
    await stage.until(lambda: len(stage.room.of(FrameType.VIDEO)) >= 35)
    stage.session.stop()
    assert await stage.end() == ("stopped", "stopped by api")
    video, audio = stage.room.of(FrameType.VIDEO), stage.room.of(FrameType.AUDIO)
    keys = [n for n, frame in enumerate(video) if frame.flags & KEY_FRAME]
    assert keys[:4] == [0, 10, 20, 30], "one pass has ten frames"
    steps = [b.media_us - a.media_us for a, b in pairwise(video)]
    assert all(FRAME_US <= step <= FRAME_US + 50_000 for step in steps)
    assert steps.count(FRAME_US) >= len(steps) - 3, "only where a pass ends may its sound be longer"
    assert {b.media_us - a.media_us for a, b in pairwise(audio)} == {20_000}
    assert max(report.pass_number for report in stage.of(Progress)) >= 2


async def test_a_file_without_sound(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/mute.mp4")
    assert (await stage.end())[0] == "end_of_stream"
    assert len(stage.room.of(FrameType.VIDEO)) == 10
    assert stage.room.of(FrameType.AUDIO) == []


async def test_a_file_goes_on_at_its_position(stage: Stage, files: str, clips: Path) -> None:
    stage.begin(f"{files}/long.mp4", position_us=1_500_000)
    assert (await stage.end())[0] == "end_of_stream"
    video, audio = stage.room.of(FrameType.VIDEO), stage.room.of(FrameType.AUDIO)
    units = source_units(clips / "long.mp4")
    assert video[0].flags & KEY_FRAME
    assert [frame.payload[-40:] for frame in video] == [unit[-40:] for unit in units[25:]]
    # From the key frame at 1 s up to the position they are sent in haste, then at the file's own times.
    lead = [frame.media_us for frame in video if frame.media_us < 1_500_000]
    assert len(lead) == 13
    assert lead == [1_500_000 - n * 1000 for n in range(13, 0, -1)]
    assert [frame.media_us for frame in video[13:]] == [n * FRAME_US for n in range(38, 75)]
    assert 1_450_000 <= audio[0].media_us <= 1_550_000


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("page.mp4", "HTML"),
        ("hevc.mp4", "H.265"),
    ],
)
async def test_what_cannot_be_played_ends_at_once(stage: Stage, files: str, path: str, says: str) -> None:
    stage.begin(f"{files}/{path}")
    reason, text = await stage.end()
    assert reason == "source_unsupported"
    assert says in text
    assert not any(isinstance(report, Lost | Flowing) for report in stage.reports)
    assert stage.room.hellos == []


async def test_an_address_that_is_not_allowed(
    room: FakeRoom, executor: ThreadPoolExecutor, files: str
) -> None:
    stage = Stage(room, executor, ())
    stage.begin(f"{files}/one.mp4")
    reason, text = await stage.end()
    assert (reason, stage.of(Lost)) == ("address_not_allowed", [])
    assert "--allow-networks" in text


@pytest.mark.parametrize(
    ("url", "reason", "says"),
    [
        ("{files}/missing.mp4", "source_refused", "404"),
        ("http://nowhere.invalid/a.mp4", "source_unreachable", "nowhere.invalid cannot be resolved"),
        ("http://127.0.0.1:1/a.mp4", "source_unreachable", "127.0.0.1:1 cannot be reached"),
    ],
)
async def test_what_may_come_is_tried_until_the_idle_time_is_over(
    stage: Stage, files: str, url: str, reason: str, says: str
) -> None:
    stage.begin(url.format(files=files), idle_s=0.8)
    ended, text = await stage.end()
    assert ended == reason
    assert says in text
    assert text.endswith("(given up after 0.8 s)")
    assert len(stage.of(Lost)) == 2, "at once, and again before the pause that would be too long"
    assert stage.of(Flowing) == []


async def test_a_source_is_asked_with_the_headers_of_its_job(stage: Stage, clips: Path) -> None:
    seen: list[str | None] = []

    async def clip(request: web.Request) -> web.StreamResponse:
        seen.extend(request.headers.get(name) for name in ("User-Agent", "Referer", "Authorization"))
        return web.FileResponse(clips / "short.mp4")

    app = web.Application()
    app.router.add_get("/a b", clip)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://u:p@127.0.0.1:{runner.addresses[0][1]}/a b"
    stage.begin(url, user_agent="Player/1", headers={"Referer": "https://site/"})
    assert (await stage.end())[0] == "end_of_stream"
    await runner.cleanup()
    assert seen[:3] == ["Player/1", "https://site/", "Basic dTpw"]


async def test_an_address_that_ran_out_ends_a_stream_of_limited_tries(stage: Stage, clips: Path) -> None:
    """403 from the second pass on: told after the tries of a start, not when the idle time is over."""

    async def clip(request: web.Request) -> web.StreamResponse:
        if stage.of(Flowing):
            raise web.HTTPForbidden
        return web.FileResponse(clips / "long.mp4")

    app = web.Application()
    app.router.add_get("/clip", clip)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/clip"
    stage.begin(url, plays=2, start_tries=3, idle_s=300)
    reason, text = await stage.end()
    await runner.cleanup()
    assert reason == "source_refused"
    assert "403 Forbidden" in text
    assert text.endswith("(given up after 3 tries)")
    assert len(stage.room.of(FrameType.VIDEO)) >= 75, "the first pass was played"


async def test_a_source_that_comes_late_is_played(stage: Stage, files: str, clips: Path) -> None:
    late = clips / "late.mp4"
    stage.begin(f"{files}/late.mp4")
    await stage.until(lambda: bool(stage.of(Lost)))
    late.write_bytes((clips / "short.mp4").read_bytes())
    assert (await stage.end())[0] == "end_of_stream"
    assert len(stage.room.of(FrameType.VIDEO)) == 10


async def test_a_room_that_breaks_off_is_found_again_at_the_position(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/long.mp4")
    await stage.until(lambda: len(stage.room.of(FrameType.VIDEO)) >= 30)
    stage.room.drop()
    await stage.until(lambda: len(stage.of(Flowing)) == 2)
    (lost,) = stage.of(Lost)
    assert lost.reason == "publish_failed"
    assert len(stage.room.hellos) == 2
    again = [n for n, frame in enumerate(stage.room.of(FrameType.VIDEO)) if frame.flags & KEY_FRAME][-1]
    first = stage.room.of(FrameType.VIDEO)[again]
    assert 1_000_000 <= first.media_us < 2_000_000, "it goes on, and begins with a key frame"
    stage.session.stop()
    assert (await stage.end())[0] == "stopped"


async def test_a_room_that_is_not_there_yet_is_waited_for_without_the_source(
    stage: Stage, files: str, asked: list[str]
) -> None:
    await stage.room.close()
    asked.clear()
    stage.begin(f"{files}/short.mp4")
    await stage.until(lambda: bool(stage.of(Lost)))
    before = len(asked)
    await asyncio.wait({stage.running}, timeout=sum(ROOM_PAUSES_S))
    assert len(asked) == before
    assert len(stage.of(Lost)) == 1
    await stage.room.open()
    assert (await stage.end())[0] == "end_of_stream"
    assert len(stage.room.of(FrameType.VIDEO)) == 10


async def test_a_loop_of_sound_that_no_decoder_takes_is_given_up(
    stage: Stage, files: str, asked: list[str]
) -> None:
    asked.clear()
    stage.begin(f"{files}/barren.mp4", loop=True, media_type=1)
    assert await stage.end() == ("source_unsupported", "the source has no media that could be repeated")
    assert stage.room.frames == []
    assert asked.count("barren.mp4") < 10


async def test_another_publisher_in_its_place_is_the_end(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/long.mp4")
    await stage.until(lambda: bool(stage.room.frames))
    stage.room.tell(KeyFrameRequest())  # a copy cannot make one
    stage.room.tell(Replaced())
    assert await stage.end() == ("replaced", "the same user entered the room from elsewhere")


async def test_a_stop_ends_it_wherever_it_is(stage: Stage, files: str) -> None:
    for path, ready in (
        ("long.mp4", lambda: bool(stage.of(Flowing))),
        ("missing.mp4", lambda: bool(stage.of(Lost))),
        ("long.mp4", lambda: True),
    ):
        stage.reports.clear()
        stage.begin(f"{files}/{path}")
        await stage.until(ready)
        stage.session.stop()
        assert await stage.end() == ("stopped", "stopped by api")


class SlowClosing:
    """The closing of a file, on its thread, is held until it is let go; what is then over is reported."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self._go_on = asyncio.Event(), threading.Event()
        loop, close = asyncio.get_running_loop(), DemuxSource.close

        def slow(source: DemuxSource) -> None:
            loop.call_soon_threadsafe(self.begun.set)
            assert self._go_on.wait(20)
            close(source)
            stage.reports.append(CLOSED)

        monkeypatch.setattr(DemuxSource, "close", slow)

    async def let_go(self) -> None:
        for _ in range(20):  # turns of the loop in which a session could end without it
            await asyncio.sleep(0)
        self._go_on.set()


@pytest.mark.parametrize("first", ["it is stopped", "it comes to its end", "it is changed"])
async def test_who_is_stopped_while_it_closes_still_closes_everything(
    first: str, stage: Stage, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = SlowClosing(stage, monkeypatch)
    stage.begin(f"{files}/{'short' if first == 'it comes to its end' else 'long'}.mp4")
    await stage.until(lambda: bool(stage.of(Flowing)))
    if first == "it is stopped":
        stage.session.stop()
    elif first == "it is changed":
        stage.session.update(stage.job.model_copy(update={"url": f"{files}/one.mp4"}))
    await closing.begun.wait()
    stage.session.stop()
    await asyncio.sleep(0)
    stage.session.stop(Reason.SERVER_SHUTDOWN)
    await closing.let_go()
    reason, _ = await stage.end()
    assert reason in ("stopped", "server_shutdown")
    assert CLOSED in stage.reports, "it is over before `Finished`, which is told last"
    await stage.until(lambda: not stage.room.open_links)


@pytest.fixture
async def silent_url(anyio_backend: str) -> AsyncIterator[str]:
    """A server that takes connections and says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/clip.mp4"


async def test_a_new_source_that_says_nothing_is_told(stage: Stage, files: str, silent_url: str) -> None:
    """It may take ten seconds until it is given up: until then nothing leaves, either."""
    stage.begin(f"{files}/long.mp4", loop=True)
    await stage.until(lambda: bool(stage.of(Flowing)))
    loop = asyncio.get_running_loop()
    changed_at = loop.time()
    stage.session.update(stage.job.model_copy(update={"url": silent_url}))
    await stage.until(lambda: bool(stage.of(Lost)))
    assert loop.time() - changed_at < 5
    stage.session.update(stage.job)
    await stage.until(lambda: len(stage.of(Flowing)) == 2)
    stage.session.stop()
    await stage.end()


async def test_a_session_says_which_source_has_ended(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/long.mp4")
    await stage.until(lambda: bool(stage.of(Flowing)))
    second = stage.job.model_copy(update={"url": f"{files}/short.mp4", "source_number": 2})
    stage.session.update(second)
    assert await stage.end() == ("end_of_stream", "end of stream")
    assert [report.source_number for report in stage.of(Finished)] == [2]


async def test_a_new_source_has_the_whole_idle_time(stage: Stage, silent_url: str) -> None:
    stage.begin("http://127.0.0.1:9/clip.mp4", idle_s=2)
    await stage.until(lambda: len(stage.of(Lost)) == 3)  # a second has passed
    loop = asyncio.get_running_loop()
    changed_at = loop.time()
    stage.session.update(stage.job.model_copy(update={"url": silent_url}))
    await stage.end()
    assert loop.time() - changed_at > 1.9


async def test_what_a_session_plays_now_may_be_paused(stage: Stage, files: str) -> None:
    """As the task says that another has changed meanwhile."""
    stage.begin(f"{files}/long.mp4", loop=True)
    await stage.until(lambda: bool(stage.of(Flowing)))
    paused = stage.job.model_copy(update={"paused": True})
    stage.session.update(paused)
    await stage.until(lambda: len(stage.room.hellos) == 2 and stage.room.open_links == 1)
    known = len(stage.room.frames)
    await stage.until(lambda: len(stage.of(Progress)) >= 4)
    assert len(stage.room.frames) == known
    stage.session.update(stage.job)
    await stage.until(lambda: len(stage.of(Flowing)) == 2)
    stage.session.stop()
    await stage.end()


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _threads_and_descriptors() -> list[int]:
    return [sum(1 for _ in Path(f"/proc/self/{what}").iterdir()) for what in ("task", "fd")]


def _of_ffmpeg() -> list[str]:
    """The codecs, filter graphs and containers that there are."""
    kinds = (CodecContext, Graph, Container)
    return [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds)]


@pytest.mark.usefixtures("without_gc")
async def test_sessions_that_ended_leave_no_threads_and_descriptors(
    stage: Stage, files: str, clips: Path
) -> None:
    """However they end, and before the garbage collector comes."""
    make_mp4(clips / "hevc_long.mp4", seconds=5, codec="libx265")
    counts: list[list[int]] = []
    before = _of_ffmpeg()
    for path in ("hevc_long.mp4", "hevc.mp4", "barren.mp4", "missing.mp4") * 5:
        stage.reports.clear()
        stage.begin(f"{files}/{path}", stream_mode=0, idle_s=0.3, normalize=True)
        await stage.until(lambda: bool(stage.of(Flowing)) or stage.running.done())
        if path == "hevc_long.mp4":
            stage.session.stop()
        await stage.end()
        counts.append(_threads_and_descriptors())
        assert _of_ffmpeg() == before
    # The first ones make the threads that all of them use.
    for first, last in zip(counts[8], counts[-1], strict=True):
        assert last <= first + 2, counts


@pytest.mark.usefixtures("without_gc")
async def test_between_two_attempts_there_are_no_codecs(stage: Stage, files: str) -> None:
    """The room is gone for a while: the source is closed, and with it goes what played it."""
    before = _of_ffmpeg()
    stage.begin(f"{files}/hevc.mp4", stream_mode=0, normalize=True, loop=True)
    await stage.until(lambda: bool(stage.of(Flowing)))
    assert len(_of_ffmpeg()) > len(before)
    await stage.room.close()
    stage.room.drop()
    await stage.until(lambda: bool(stage.of(Lost)))
    assert _of_ffmpeg() == before
    stage.session.stop()
    assert (await stage.end())[0] == "stopped"


@pytest.mark.parametrize("shown", [2, 4])
async def test_on_an_overloaded_machine_transcodes_show_fewer_pictures(
    stage: Stage, files: str, shown: int
) -> None:
    stage.relief.shown = shown
    stage.begin(f"{files}/one.mp4", stream_mode=0, width=64, height=64, frame_rate=25)
    assert (await stage.end())[0] == "end_of_stream"
    last = stage.of(Progress)[-1]
    assert last.video_frames == 1 + 25 // shown  # the first is one that somebody waits for
    assert last.dropped["overload"] == 25 - last.video_frames
    assert last.audio_packets >= 49


async def test_copies_have_nothing_to_leave_out(stage: Stage, files: str) -> None:
    stage.relief.shown = 4
    stage.begin(f"{files}/one.mp4")
    await stage.end()
    last = stage.of(Progress)[-1]
    assert (last.video_frames, last.dropped["overload"]) == (25, 0)


async def test_one_paced_session_that_fails_does_not_stop_the_others() -> None:
    loop = asyncio.get_running_loop()
    called: list[str] = []
    done = asyncio.Event()

    def good(now: float) -> float | None:
        called.append("good")
        if called.count("good") == 3:
            done.set()
            return None
        return now

    def bad(now: float) -> float | None:
        called.append("bad")
        raise LookupError("a defect")

    failures: list[Exception] = []
    pacer = Pacer()
    for paced in (good, bad):
        pacer.schedule(loop.time(), paced, failures.append)
    async with asyncio.timeout(5):
        await done.wait()
    assert called == ["good", "bad", "good", "good"]
    assert [type(failure) for failure in failures] == [LookupError]
    assert not pacer.stands_still()
