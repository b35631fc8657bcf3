"""Live HLS from an origin that stalls and comes back: how playing gets to its edge again."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.tasks import RelaySpec, StreamMode
from sluice.media.pacer import Pacer
from sluice.media.packets import TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.relay.playback import Playback
from sluice.media.relay.read_ahead import LiveReadAhead
from sluice.media.source.dash import DashSource
from sluice.media.source.hls import HlsSource
from sluice.media.source.seen import Seen
from sluice.media.source.table import source_for
from sluice.media.worker import Worker
from sluice.net.dial import Dialer
from sluice.process.link import FrameType
from sluice.wire.h264 import split_avcc
from tests.integration.numbered import FRAME_US, RATE, SECOND, digest, ffmpeg, make_clip, numbers_of
from tests.integration.scripted import ScriptedServer

pytestmark = pytest.mark.anyio

#: What a player has before it, and may have, in segments of a second.
TARGET, BOUND = 3, 6
_LENGTH = 30
_DEADLINE_S = 40


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of a second, each from a key frame on; `sound` has its own, cut elsewhere."""
    folder = tmp_path_factory.mktemp("clip")
    base = folder / "base.mp4"
    make_clip(base, _LENGTH)
    for name, options in (
        ("both", ["-hls_time", "1"]),
        ("picture", ["-an", "-hls_time", "1"]),
        ("sound", ["-vn", "-hls_time", "0.7"]),
    ):
        hls = ["-c", "copy", "-f", "hls", "-hls_list_size", "0", "-hls_playlist_type", "vod"]
        ffmpeg("-i", base, *hls, *options, folder / f"{name}.m3u8")
    ffmpeg("-i", base, "-c", "copy", "-f", "dash", "-seg_duration", "1", folder / "dash.mpd")
    return folder


class Origin:
    """Lists of the clip's playlists and its manifest what lies before `made_s`, at most `window` segments."""

    def __init__(self, clip: Path, window: int = 100) -> None:
        self.made_s = 5.0
        self.asked: list[str] = []
        self._clip, self._window = clip, window
        self._server = ScriptedServer(self._answer)

    def url(self, name: str) -> str:
        return self._server.url(f"/{name}.{'mpd' if name == 'dash' else 'm3u8'}")

    def __enter__(self) -> "Origin":
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(None, None, None)

    async def go_on(self, until: Callable[[], bool]) -> None:
        """Makes media in real time, until something holds."""
        loop = asyncio.get_running_loop()
        begun, made_s = loop.time(), self.made_s
        async with asyncio.timeout(_DEADLINE_S):
            while not until():
                await asyncio.sleep(0.02)
                self.made_s = made_s + loop.time() - begun

    def _answer(self, request: str, connection: socket.socket) -> None:
        path = request.split()[1].lstrip("/")
        self.asked.append(path)
        if path == "apart.m3u8":
            body = b'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="x",DEFAULT=YES,URI="sound.m3u8"\n'
            body += b'#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.42c00b,mp4a.40.2",AUDIO="s"\npicture.m3u8\n'
        elif path.endswith(".mpd"):
            body = self._manifest(path).encode()
        elif path.endswith(".m3u8"):
            body = self._playlist(path).encode()
        else:
            body = (self._clip / path).read_bytes()
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def _playlist(self, path: str) -> str:
        lines = (self._clip / path).read_text().splitlines()
        entries = [(line, lines[n + 1]) for n, line in enumerate(lines) if line.startswith("#EXTINF")]
        end_s, listed = 0.0, 0
        for entry, _ in entries:
            end_s += float(entry.partition(":")[2].rstrip(","))
            listed += end_s <= self.made_s
        first = max(0, listed - self._window)
        head = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
        return head + "".join(f"{entry}\n{name}\n" for entry, name in entries[first:listed])

    def _manifest(self, path: str) -> str:
        text = (self._clip / path).read_text()
        text = re.sub(r'mediaPresentationDuration="[^"]*"', "", text)
        live = 'type="dynamic" availabilityStartTime="2026-01-01T00:00:00Z" minimumUpdatePeriod="PT1S"'
        text = text.replace('type="static"', live)

        def listed(found: re.Match[str]) -> str:
            rate, at, kept = int(found[1]), 0, []
            for line in re.findall("<S .*/>", found[3]):
                told = dict(re.findall(r'(\w)="(\d+)"', line))
                for _ in range(int(told.get("r", 0)) + 1):
                    kept.append(f'<S t="{at}" d="{told["d"]}"/>')
                    at += int(told["d"])
                    if at > self.made_s * rate:
                        return found[0].replace(found[3], "".join(kept[:-1]))
            return found[0]

        return re.sub(
            r'timescale="(\d+)"(.*?)<SegmentTimeline>(.*?)</SegmentTimeline>', listed, text, flags=re.S
        )


@pytest.fixture(scope="module")
def numbers(clip: Path) -> dict[str, int]:
    """The pictures of the clip."""
    return numbers_of([clip / f"both{n}.ts" for n in range(_LENGTH)])


async def _open(url: str, executor: ThreadPoolExecutor) -> HlsSource | DashSource:
    source = await source_for(url, Dialer(AddressPolicy(["127.0.0.1/32"])), executor)
    assert isinstance(source, HlsSource | DashSource)
    return source


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


# --- as it is played ----------------------------------------------------------------------------------------


class Screening:
    """Plays an origin in real time and keeps what was sent, pictures by their number in the clip."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.pictures: list[tuple[int, int, bool]] = []  #: number, stamp, key
        self.sounds: list[int] = []  #: stamps
        self.lags: list[int] = []  #: how much later than its stamp says each picture went, microseconds
        self.playback: Playback
        self._numbers = numbers
        self._loop = asyncio.get_running_loop()

    @property
    def shown(self) -> int:
        return self.pictures[-1][0] if self.pictures else -1

    @asynccontextmanager
    async def on(self, url: str, executor: ThreadPoolExecutor) -> AsyncIterator[None]:
        worker = Worker(executor)
        source = await _open(url, executor)
        probe = await worker.call(source.open)
        spec = RelaySpec(url, stream_mode=StreamMode.COPY)
        tracks = Tracks(spec, probe)
        playback = self.playback = Playback(
            LiveReadAhead(source, tracks, Seen()), send=self._take, pacer=Pacer(), worker=worker
        )
        playing = asyncio.create_task(playback.run())
        try:
            yield
        finally:
            playing.cancel()
            source.abort()
            await asyncio.wait({playing})
            await worker.settle()
            await worker.call(source.close)

    def _take(self, frames: list[OutFrame]) -> None:
        now_us = int(self._loop.time() * 1e6)
        for frame in frames:
            if frame.type is FrameType.VIDEO:
                number = self._numbers[digest(split_avcc(frame.payload, 4))]
                self.pictures.append((number, frame.media_us, frame.key))
                self.lags.append(now_us - frame.media_us)
            else:
                self.sounds.append(frame.media_us)

    def check(self) -> None:
        """What holds whatever happened: a clock that keeps to the wall, no picture without its key frame."""
        assert self.pictures[0][2]
        for (a, a_us, _), (b, b_us, key) in pairwise(self.pictures):
            assert b == a + 1 or key
            assert b_us > a_us
        assert all(b - a >= 20_000 for a, b in pairwise(self.sounds))
        # Stamps are the times at which frames were sent, but for what the machine is late.
        assert max(self.lags) - min(self.lags) < 150_000

    def jumps(self) -> list[int]:
        return [b - a - 1 for (a, _, _), (b, _, _) in pairwise(self.pictures) if b != a + 1]


async def _stall(origin: Origin, screening: Screening) -> None:
    """The origin lists nothing new until viewers have seen all there is, for a second."""
    async with asyncio.timeout(_DEADLINE_S):
        last = int(origin.made_s) * RATE
        while screening.shown < last - RATE:
            await asyncio.sleep(0.02)
        asked = len(origin.asked)
        while len(origin.asked) < asked + 2:
            await asyncio.sleep(0.02)


async def test_after_a_long_stall_it_goes_on_at_the_edge(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    screening = Screening(numbers)
    with Origin(clip) as origin:
        async with screening.on(origin.url("both"), executor):
            await origin.go_on(lambda: screening.shown >= (5 - TARGET) * RATE + RATE // 2)
            await _stall(origin, screening)
            origin.made_s += 12
            edge = int(origin.made_s) * RATE
            await origin.go_on(lambda: screening.shown >= edge)
            behind = int(origin.made_s) * RATE - screening.shown
            told_us = screening.playback.behind_us
    screening.check()
    assert told_us is not None
    assert told_us / 1e6 == pytest.approx(behind / RATE, abs=1.5), "as of the last look at the playlist"
    assert [left_out > (12 - BOUND) * RATE for left_out in screening.jumps()] == [True], "one jump"
    assert behind <= (TARGET + 1) * RATE + RATE // 2, "no further behind than one who joins"
    # Nothing is heard of the jump: the only gap is where the origin stalled.
    assert len([b for a, b in pairwise(screening.sounds) if b - a > 60_000]) <= 1


async def test_a_small_delay_is_made_up_by_playing_faster(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    screening = Screening(numbers)
    with Origin(clip) as origin:
        async with screening.on(origin.url("both"), executor):
            await origin.go_on(lambda: screening.shown >= (5 - TARGET) * RATE + RATE // 2)
            await _stall(origin, screening)
            origin.made_s = int(origin.made_s) + BOUND + 0.7
            shown = screening.shown
            await origin.go_on(lambda: screening.shown >= shown + 4 * RATE)
    screening.check()
    assert screening.jumps() == []
    stamps = [stamp for _, stamp, _ in screening.pictures[-2 * RATE :]]
    assert (stamps[-1] - stamps[0]) / (len(stamps) - 1) == pytest.approx(FRAME_US / 1.03, rel=0.002)
    assert {b - a for a, b in pairwise(screening.sounds[-100:])} == {20_000}
    assert abs(screening.sounds[-1] - stamps[-1]) < 200_000


# --- as it is read ------------------------------------------------------------------------------------------


class Reader:
    """Reads a source as far as it is told, without pacing; pictures by their number."""

    def __init__(self, source: HlsSource | DashSource, numbers: dict[str, int]) -> None:
        self.pictures: list[tuple[int, int, bool]] = []
        self.sounds: list[int] = []
        self._source, self._numbers = source, numbers

    def read(self, until_us: int) -> int:
        """Returns the time of the last picture."""
        while not self.pictures or self.pictures[-1][1] < until_us:
            for packet in self._source.read(until_us):
                if packet.kind is TrackKind.VIDEO:
                    number = self._numbers[digest(split_avcc(packet.data, 4))]
                    self.pictures.append((number, packet.pts_us, packet.key))
                else:
                    self.sounds.append(packet.pts_us)
        return self.pictures[-1][1]


@pytest.mark.parametrize("name", ["both", "apart", "dash"])
async def test_all_that_is_left_out_is_left_out_of_both_tracks(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str
) -> None:
    with Origin(clip) as origin:
        source = await _open(origin.url(name), executor)

        def run() -> None:
            source.open()
            reader = Reader(source, numbers)
            at_us = reader.read(500_000)
            edge = source.edge()
            assert edge is not None
            assert edge.target_us == pytest.approx(TARGET * SECOND, abs=50_000)
            assert edge.newest_us == pytest.approx(TARGET * SECOND, abs=500_000)
            assert not source.skip(), "there is nothing ahead"
            origin.made_s = 20
            while not source.skip():  # not before the playlist may be asked for again
                time.sleep(0.02)
            cut = len(reader.pictures)
            heard_us = reader.sounds[-1]
            reader.read(at_us + 1_500_000)
            edge = source.edge()
            assert edge is not None
            assert edge.newest_us - reader.pictures[cut][1] == pytest.approx(TARGET * SECOND, abs=500_000)
            number, begin_us, key = reader.pictures[cut]
            assert (number, key) == ((20 - TARGET) * RATE, True)
            shown = [number for number, _, _ in reader.pictures[cut:]]
            assert shown == list(range(number, number + len(shown)))
            assert begin_us == pytest.approx(heard_us - 100_000, abs=1_000)
            first_us = reader.sounds[reader.sounds.index(heard_us) + 1]
            assert 0 <= first_us - begin_us < 25_000, "with the picture"
            steps = {round((b - a) / 1_000) for a, b in pairwise(reader.sounds) if b > a}
            assert steps <= {21, 22}

        try:
            await asyncio.get_running_loop().run_in_executor(executor, run)
        finally:
            source.abort()
            source.close()


async def test_segments_that_are_gone_are_left_out(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, window=4) as origin:
        source = await _open(origin.url("both"), executor)

        def run() -> None:
            source.open()
            reader = Reader(source, numbers)
            at_us = reader.read(500_000)
            origin.made_s = 20
            reader.read(at_us + 4 * SECOND)
            jumps = [(a, b) for a, b in pairwise(n for n, _, _ in reader.pictures) if b != a + 1]
            ((last, next_),) = jumps
            assert last > 5 * RATE - 5, "but for what the demuxer held"
            assert next_ == (20 - TARGET) * RATE

        try:
            await asyncio.get_running_loop().run_in_executor(executor, run)
        finally:
            source.abort()
            source.close()
