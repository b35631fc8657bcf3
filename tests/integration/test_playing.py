"""How files are played: from any position, several times, louder and softer, with pauses; heard again after
decoding. The sound of the files tells its position (sweep.py)."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from sluice.media.pacer import BEAT_S, Pacer
from sluice.process.control import ControlSession, Flowing, Lost, Planned, Progress, Refused
from sluice.process.link import FrameType, LinkFrame
from tests.integration.clips import make_mp4
from tests.integration.stage import FakeRoom, Stage
from tests.integration.sweep import FORMATS, LEVEL, RATE, Sound, heard, make_sweep, position, quietest, sweep

pytestmark = pytest.mark.anyio

SECONDS = 2.0
PACKET_US = 20_000
MS = RATE // 1000
#: Opus's own delay, which a bare decoder leaves in: of our encoder, and of who made the files.
DELAY, FILE_DELAY = 120, 312
#: LAME makes everything a little softer.
LAME = 0.95
#: Files that tell what their encoder added: all that can be joined to the sample.
EXACT = ["mp3", "m4a", "flac", "wav"]
COPIED = ["ogg", "webm"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    for kind in FORMATS:
        make_sweep(folder / f"sweep.{kind}", kind, SECONDS)
    for kind in ("mp3", "flac", "ogg"):
        make_sweep(folder / f"long.{kind}", kind, 6)
    make_mp4(folder / "picture.mp4", seconds=3)
    return folder


@pytest.fixture(scope="module")
async def files(anyio_backend: str, clips: Path) -> AsyncIterator[str]:
    """Files with Range; under /live/ without a length and an end, slowly."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        await response.prepare(request)
        data = (clips / request.match_info["name"]).read_bytes()
        with contextlib.suppress(ConnectionError):
            while True:
                for at in range(0, len(data), 1000):
                    await response.write(data[at : at + 1000])
                    await asyncio.sleep(0.04)
        return response

    app = web.Application()
    app.router.add_get("/live/{name}", endless)
    app.router.add_static("/", clips)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


Stages = Callable[[], Awaitable[Stage]]


@pytest.fixture
async def stages(anyio_backend: str, executor: ThreadPoolExecutor) -> AsyncIterator[Stages]:
    """Makes stages: sessions play in real time, so those of a test play at once and are judged afterwards."""
    rooms: list[FakeRoom] = []

    async def make() -> Stage:
        room = FakeRoom(f"{folder}/room{len(rooms)}.sock")
        rooms.append(room)
        await room.open()
        return Stage(room, executor, ("127.0.0.0/8",))

    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        yield make
        for room in rooms:
            await room.close()


@pytest.fixture
async def stage(stages: Stages) -> Stage:
    return await stages()


async def played(stage: Stage, url: str, **job: object) -> list[LinkFrame]:
    """All sound of a session that ends well, in an unbroken row."""
    stage.begin(url, **job)
    assert (await stage.end())[0] == "end_of_stream"
    sound = stage.room.of(FrameType.AUDIO)
    assert {b.media_us - a.media_us for a, b in pairwise(sound)} == {PACKET_US}
    assert stage.of(Lost) == []
    return sound


def found(sound: Sound, whole: Sound) -> float:
    """The time of `whole`, in seconds, at which `sound` begins."""
    at, likeness = position(sound, whole)
    assert likeness > 0.8  # a ramp of the volume makes it less like
    return at / RATE


def level(sound: Sound) -> float:
    """In parts of the sweep's own."""
    return float(np.sqrt((sound**2).mean()) / (LEVEL / np.sqrt(2)))


def steps(sound: Sound) -> float:
    """The greatest step between two samples."""
    return float(np.abs(np.diff(sound)).max())


async def test_it_begins_at_its_position(stages: Stages, files: str) -> None:
    async def begun(kind: str, at_s: float) -> list[LinkFrame]:
        return await played(await stages(), f"{files}/sweep.{kind}", position_us=int(at_s * 1e6))

    cases = list(product([*EXACT, *COPIED], [0.137, 1.237]))
    for case, packets in zip(cases, await asyncio.gather(*(begun(*case) for case in cases)), strict=True):
        _check_beginning(packets, *case)


def _check_beginning(packets: list[LinkFrame], kind: str, at_s: float) -> None:
    delay = FILE_DELAY if kind in COPIED else DELAY
    sound = heard(packets)[delay:]
    begins_s = found(sound[100 * MS : 200 * MS], sweep(SECONDS)) - 0.1
    exact = kind in EXACT
    assert begins_s == pytest.approx(at_s, abs=0.001 if exact else 0.0201)
    # The times of the packets are those of the file.
    assert packets[0].media_us / 1e6 == pytest.approx(begins_s - delay / RATE, abs=0.002)  # WebM rounds
    assert len(packets) * PACKET_US / 1e6 == pytest.approx(SECONDS - at_s, abs=0.03)


@pytest.mark.parametrize("kind", ["vbr.mp3", "aac"])
async def test_a_file_without_a_table_is_sought_by_its_frames(stage: Stage, files: str, kind: str) -> None:
    packets = await played(stage, f"{files}/sweep.{kind}", position_us=1_237_000)
    sound = heard(packets)[DELAY:]
    # Such a file does not tell how long its encoder's delay is: it is taken to be the usual one.
    assert found(sound[100 * MS : 200 * MS], sweep(SECONDS)) - 0.1 == pytest.approx(1.237, abs=0.002)


async def test_a_position_behind_the_end_is_the_end(stages: Stages, files: str) -> None:
    async def ended(kind: str, at_s: float) -> None:
        stage = await stages()
        stage.begin(f"{files}/sweep.{kind}", position_us=int(at_s * 1e6))
        reason, text = await stage.end()
        assert reason == "invalid_position"
        assert f"{at_s:g} s" in text
        assert stage.room.frames == []

    await asyncio.gather(*(ended(*case) for case in product(["mp3", "flac", "ogg", "aac"], [2.1, 5000])))


async def test_passes_are_joined_to_the_sample(stages: Stages, files: str) -> None:
    async def repeated(kind: str) -> tuple[Stage, list[LinkFrame]]:
        stage = await stages()
        return stage, await played(stage, f"{files}/sweep.{kind}", plays=3)

    for stage, packets in await asyncio.gather(*map(repeated, EXACT)):
        _check_passes(packets)
        assert stage.of(Progress)[-1].pass_number == 3


def _check_passes(packets: list[LinkFrame]) -> None:
    sound = heard(packets)[DELAY:]
    whole = sweep(SECONDS)
    for n in range(3):
        begin = round(n * SECONDS * RATE)
        for at in (0, len(whole) // 2, len(whole) - 100 * MS):
            piece = sound[begin + at : begin + at + 100 * MS]
            assert found(piece, whole) * RATE == pytest.approx(at, abs=2)
    assert quietest(sound[: round(3 * SECONDS * RATE) - 10 * MS]) > 0.85
    assert len(packets) * PACKET_US == pytest.approx(3 * SECONDS * 1e6, abs=PACKET_US + 1)


async def test_passes_of_a_copy_are_joined_at_a_packet(stages: Stages, files: str) -> None:
    async def repeated(kind: str) -> list[LinkFrame]:
        stage = await stages()
        packets = await played(stage, f"{files}/sweep.{kind}", plays=2)
        assert [report.plan["audio"]["action"] for report in stage.of(Planned)] == ["copy"]
        return packets

    for packets in await asyncio.gather(*map(repeated, COPIED)):
        sound = heard(packets)[FILE_DELAY:]
        assert quietest(sound[: -20 * MS]) > 0.7
        second = found(sound[round(SECONDS * RATE) + 500 * MS :][: 100 * MS], sweep(SECONDS))
        assert second == pytest.approx(0.5, abs=0.02)


async def test_the_volume_is_one_of_the_amplitude(stages: Stages, files: str) -> None:
    async def quiet(kind: str, volume: int) -> list[LinkFrame]:
        return await played(await stages(), f"{files}/sweep.{kind}", volume=volume)

    cases = [("wav", 50), ("m4a", 1), ("ogg", 30), ("flac", 0), ("wav", 100)]
    for (_, volume), packets in zip(
        cases, await asyncio.gather(*(quiet(*case) for case in cases)), strict=True
    ):
        middle = heard(packets)[RATE // 4 : -RATE // 4]
        if volume:
            assert 20 * np.log10(level(middle) / (volume / 100)) == pytest.approx(0, abs=0.3)
        else:
            assert np.abs(middle).max() == 0


async def test_a_volume_that_changes_is_heard_at_once_and_without_a_click(stages: Stages, files: str) -> None:
    async def changed(kind: str) -> tuple[Stage, list[int]]:
        """With the samples that were sent when a change was told."""
        stage = await stages()
        stage.begin(f"{files}/long.{kind}")
        told: list[int] = []
        for count, volume in ((50, 20), (110, 100), (170, 60)):
            await stage.until(lambda count=count: len(stage.room.frames) >= count)  # type: ignore[misc]
            assert await stage.session.control(ControlSession(run_id="run_1", volume=volume)) is None
            told.append(len(stage.room.frames) * 960)
        assert (await stage.end())[0] == "end_of_stream"
        return stage, told

    kinds = ["flac", "ogg"]
    for kind, outcome in zip(kinds, await asyncio.gather(*map(changed, kinds)), strict=True):
        _check_changes(kind, *outcome)


def _check_changes(kind: str, stage: Stage, told: list[int]) -> None:
    room = stage.room
    assert {b.media_us - a.media_us for a, b in pairwise(room.frames)} == {PACKET_US}
    whole, sound = sweep(6), heard(room.frames)[FILE_DELAY if kind == "ogg" else DELAY :]
    for begin, before, after in zip(told, (1, 0.2, 1), (0.2, 1, 0.6), strict=True):
        assert level(sound[begin - 200 * MS : begin]) == pytest.approx(before, rel=0.03)
        assert level(sound[begin + 250 * MS : begin + 400 * MS]) == pytest.approx(after, rel=0.03)
    shift = found(sound[RATE // 2 : RATE], whole) - 0.5
    assert abs(shift) < 0.007
    for at in range(RATE, 5 * RATE, RATE // 10):  # nothing is left out or inserted
        assert found(sound[at : at + 50 * MS], whole) == pytest.approx(at / RATE + shift, abs=0.001)
    assert steps(sound[RATE // 10 :]) < 1.2 * steps(whole)
    actions = [report.plan["audio"]["action"] for report in stage.of(Planned)]
    assert actions == (["transcode"] if kind == "flac" else ["copy", "transcode", "copy", "transcode"])


async def test_a_pause_keeps_the_place(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/sweep.mp3", idle_s=1)
    await stage.until(lambda: len(stage.room.frames) >= 30)
    assert await stage.session.control(ControlSession(run_id="run_1", paused=True)) is None
    reports = len(stage.of(Progress))
    await stage.until(lambda: len(stage.of(Progress)) > reports)
    sent = len(stage.room.frames)  # what was on its way has come
    await stage.until(lambda: len(stage.of(Progress)) > reports + 2)  # longer than its idle time
    assert len(stage.room.frames) == sent
    assert len(stage.room.hellos) == 1
    await stage.session.control(ControlSession(run_id="run_1", paused=False))
    assert (await stage.end())[0] == "end_of_stream"
    assert stage.of(Lost) == []
    assert len(stage.of(Flowing)) == 2
    frames = stage.room.frames
    gaps = [b.media_us - a.media_us for a, b in pairwise(frames) if b.media_us - a.media_us != PACKET_US]
    assert len(gaps) == 1
    assert gaps[0] > 2_000_000, "the clock of the room ran on"
    sound = heard(frames)[DELAY:]
    assert quietest(sound[: round(SECONDS * RATE) - 10 * MS]) > 0.8, "with the next packet"


async def test_a_job_may_begin_paused(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/sweep.mp3", idle_s=1, paused=True)
    await stage.until(lambda: len(stage.of(Progress)) >= 3)
    assert stage.room.frames == []
    assert len(stage.room.hellos) == len(stage.of(Planned)) == 1
    assert stage.of(Lost) == []
    assert stage.of(Flowing) == []
    await stage.session.control(ControlSession(run_id="run_1", paused=False))
    assert (await stage.end())[0] == "end_of_stream"
    assert len(heard(stage.room.frames)) / RATE == pytest.approx(SECONDS, abs=0.03)


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
async def test_it_goes_on_elsewhere_when_told(stage: Stage, files: str, kind: str) -> None:
    stage.begin(f"{files}/long.{kind}")
    room = stage.room
    await stage.until(lambda: len(room.frames) >= 25)
    assert await stage.session.control(ControlSession(run_id="run_1", position_us=4_321_000)) is None
    before = len(room.frames)
    assert (await stage.end())[0] == "end_of_stream"
    assert len(room.frames) * 0.02 == pytest.approx(before * 0.02 + 6 - 4.321, abs=0.05)
    sound, whole = heard(room.frames)[DELAY:], sweep(6)
    after = sound[before * 960 + 100 * MS :][: 100 * MS]
    assert found(after, whole) - 0.1 == pytest.approx(4.321, abs=0.045)
    assert all(b.media_us - a.media_us >= PACKET_US for a, b in pairwise(room.frames))
    assert len(stage.of(Flowing)) == 1
    assert stage.of(Lost) == []
    assert max(report.position_us for report in stage.of(Progress)) > 4_300_000


async def test_a_control_that_is_refused_changes_nothing(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/sweep.mp3", plays=2)
    await stage.until(lambda: len(stage.room.frames) >= 25)
    wish = ControlSession(run_id="run_1", position_us=60_000_000, volume=0)
    refusal = await stage.session.control(wish)
    assert isinstance(refusal, Refused)
    assert refusal.field == "seek_s"
    assert "60 s" in refusal.why
    assert (await stage.end())[0] == "end_of_stream"
    sound = heard(stage.room.frames)[DELAY:]
    assert len(sound) / RATE == pytest.approx(2 * SECONDS, abs=0.03)
    assert quietest(sound[: round(2 * SECONDS * RATE) - 10 * MS]) > 0.85


async def test_live_sources_have_a_volume_and_no_positions(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/live/sweep.mp3", position_us=1_500_000, volume=50)
    await stage.until(lambda: len(stage.room.frames) >= 50)
    session = stage.session
    pause = await session.control(ControlSession(run_id="run_1", paused=True))
    seek = await session.control(ControlSession(run_id="run_1", position_us=0))
    assert isinstance(pause, Refused)
    assert isinstance(seek, Refused)
    assert (pause.field, seek.field) == ("pause", "seek_s")
    assert "live" in pause.why
    assert "live" in seek.why
    assert await session.control(ControlSession(run_id="run_1", volume=0)) is None
    begin = len(stage.room.frames)
    await stage.until(lambda: len(stage.room.frames) >= begin + 50)
    session.stop()
    await stage.end()
    sound = heard(stage.room.frames)
    # It comes a little faster than it is played: what is too much is left out, with a fade.
    assert level(sound[RATE // 4 : RATE // 2]) == pytest.approx(0.5 * LAME, rel=0.1)
    silent = 2 / 32768  # Opus gives silence back with one unit of noise now and then
    assert np.abs(sound[begin * 960 + RATE // 4 :]).max() <= silent


async def test_pictures_are_sought_and_paused_too(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/picture.mp4")
    room = stage.room
    await stage.until(lambda: len(room.of(FrameType.VIDEO)) >= 10)
    assert await stage.session.control(ControlSession(run_id="run_1", position_us=1_200_000)) is None
    await stage.until(lambda: any(r.position_us >= 1_200_000 for r in stage.of(Progress)))
    await stage.session.control(ControlSession(run_id="run_1", paused=True))
    reports = len(stage.of(Progress))
    await stage.until(lambda: len(stage.of(Progress)) > reports)
    sent = len(room.frames)  # what was on its way has come
    await stage.until(lambda: len(stage.of(Progress)) > reports + 1)
    assert len(room.frames) == sent
    await stage.session.control(ControlSession(run_id="run_1", paused=False))
    assert (await stage.end())[0] == "end_of_stream"
    video = [frame.media_us for frame in room.of(FrameType.VIDEO)]
    assert all(b > a for a, b in pairwise(video))
    audio = [frame.media_us for frame in room.of(FrameType.AUDIO)]
    assert all(b - a >= PACKET_US for a, b in pairwise(audio))
    assert abs(video[-1] - audio[-1]) < 100_000


async def test_the_position_is_never_before_the_beginning(stage: Stage, files: str) -> None:
    """A film goes on with the pictures from its last key frame on, which are no progress."""
    stage.begin(f"{files}/picture.mp4", position_us=1_210_000)
    assert (await stage.end())[0] == "end_of_stream"
    assert all(report.position_us >= 1_210_000 for report in stage.of(Progress))


async def test_only_sound_is_played_of_a_film(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/picture.mp4", media_type=1)
    assert (await stage.end())[0] == "end_of_stream"
    (plan,) = stage.of(Planned)
    assert plan.plan["video"] == {"action": "none", "why": "only audio was asked for"}
    assert stage.room.of(FrameType.VIDEO) == []
    assert len(stage.room.frames) * 0.02 == pytest.approx(3, abs=0.06)


@pytest.mark.parametrize("tries", [1, 3])
async def test_a_start_with_few_tries_is_given_up(stage: Stage, files: str, tries: int) -> None:
    stage.begin(f"{files}/nothing.mp3", start_tries=tries, idle_s=60)
    reason, text = await stage.end()
    assert reason == "source_refused"
    assert "404" in text
    assert len(stage.of(Lost)) == tries


async def test_a_source_that_comes_in_time_is_played(stage: Stage, files: str, clips: Path) -> None:
    stage.begin(f"{files}/late.mp3", start_tries=3)
    await stage.until(lambda: len(stage.of(Lost)) == 1)
    (clips / "late.mp3").write_bytes((clips / "sweep.mp3").read_bytes())
    assert (await stage.end())[0] == "end_of_stream"
    assert len(stage.of(Lost)) == 1


async def test_loudness_is_normalised(stage: Stage, files: str) -> None:
    """The sweep has -15 dB, which is -12 LUFS and a little more with each octave."""
    stage.begin(f"{files}/long.ogg", normalize=True)
    assert (await stage.end())[0] == "end_of_stream"
    (plan,) = stage.of(Planned)
    assert plan.plan["audio"]["why"] == "source is Opus, but its loudness is normalised"
    sound = heard(stage.room.frames)
    levels = [20 * np.log10(level(sound[n * RATE : (n + 1) * RATE])) for n in range(2, 5)]
    assert levels == [pytest.approx(-5, abs=1.5)] * 3
    assert quietest(sound[RATE : 5 * RATE]) > 0.4
    assert {b.media_us - a.media_us for a, b in pairwise(stage.room.frames)} == {PACKET_US}


async def test_loudness_may_be_switched_while_it_plays(stage: Stage, files: str) -> None:
    stage.begin(f"{files}/long.flac")
    session, room = stage.session, stage.room
    for count, on in ((50, True), (200, False)):
        await stage.until(lambda count=count: len(room.frames) >= count)  # type: ignore[misc]
        assert await session.control(ControlSession(run_id="run_1", normalize=on)) is None
    assert (await stage.end())[0] == "end_of_stream"
    sound = heard(room.frames)
    assert level(sound[RATE // 2 : RATE]) == pytest.approx(1, rel=0.03)
    assert level(sound[4 * RATE : round(4.2 * RATE)]) < 0.75
    assert steps(sound[RATE // 10 : 5 * RATE]) < 1.3 * steps(sweep(6))
    assert {b.media_us - a.media_us for a, b in pairwise(room.frames)} == {PACKET_US}


async def test_sound_alone_is_sent_in_common_beats() -> None:
    loop, pacer = asyncio.get_running_loop(), Pacer()
    beats: dict[str, list[float]] = {"a": [], "b": []}
    done, failures = asyncio.Event(), list[Exception]()

    def paced(name: str, most: int) -> Callable[[float], bool]:
        def call(beat: float) -> bool:
            beats[name].append(beat)
            if len(beats["b"]) == 10:
                done.set()
            return len(beats[name]) < most

        return call

    pacer.keep_calling(paced("a", 5), failures.append)
    loop.call_later(0.007, lambda: pacer.keep_calling(paced("b", 10), failures.append))
    async with asyncio.timeout(5):
        await done.wait()
    assert (len(beats["a"]), failures) == (5, [])
    assert len(set(beats["a"]) & set(beats["b"])) >= 4
    assert all(round(beat / BEAT_S * 1000) % 1000 == 0 for beat in beats["a"] + beats["b"])
