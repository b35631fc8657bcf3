"""Live HLS from origins with faults: it runs on as if there had been none."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sluice.media.packets import Packet, TrackKind
from sluice.media.source import hls_reload, hls_rendition
from sluice.media.source.hls_fetch import Fetcher
from sluice.media.source.hls_playlist import MediaPlaylist, parse_media
from sluice.media.source.hls_rendition import Rendition
from sluice.net.http import HttpFile
from tests.integration.hls.origin import COUNT, DIALER, PAGE, Origin, Played, Reply, master_of, play
from tests.integration.numbered import FRAME_US, RATE, SECOND
from tests.integration.scripted import ScriptedServer


class Live:
    """A live playlist of the first `period` segments over and over, with a discontinuity where they begin
    again: five segments at first, one more at each reload. `answers` are given once eight are made."""

    def __init__(
        self, name: str = "t", *, tagged: bool = False, period: int = COUNT, answers: list[Any] | None = None
    ) -> None:
        self._name, self._tagged, self._period = name, tagged, period
        self.made = 4
        self.answers = answers or []

    def __call__(self, path: str) -> Reply | None:
        if path != "live.m3u8":
            return None
        if self.made >= 8 and self.answers:
            answer = self.answers.pop(0)
            return self.listed(answer[0]) if isinstance(answer, tuple) else answer
        self.made += 1
        return self.listed(self.made)

    def listed(self, made: int, number: int = 0) -> bytes:
        """With media sequence numbers that begin at `number`."""
        first = max(0, made - 5)
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{number + first}\n"
        if self._tagged:
            text += f"#EXT-X-DISCONTINUITY-SEQUENCE:{max(0, first - 1) // self._period}\n"
        for n in range(first, made):
            text += "#EXT-X-DISCONTINUITY\n" if n and n % self._period == 0 else ""
            text += f"#EXTINF:1.0,\n{self._name}{n % self._period}.{'m4s' if self._name == 'm' else 'ts'}\n"
        return text.encode()


def _with_header(clip: Path, live: Live, name: str) -> Callable[[str], Reply | None]:
    text = (clip / "m.m3u8").read_text().splitlines()
    header = next(line for line in text if line.startswith("#EXT-X-MAP")) if name == "m" else ""

    def made(path: str) -> Reply | None:
        reply = live(path)
        if isinstance(reply, bytes):
            reply = reply.replace(b"#EXTINF", f"{header}\n#EXTINF".encode(), 1)
        return reply

    return made


def _until(seconds: float) -> Callable[[list[Packet]], bool]:
    return lambda packets: packets[-1].dts_us > seconds * SECOND


def _check_runs_on(played: Played, first: int, period: int = COUNT) -> None:
    """Picture by picture, without a step that is not the clip's, and the sound with it."""
    places = played.placed()
    right = [(first * RATE + n) % (period * RATE) for n in range(len(places))]
    assert [number for number, _ in places] == right
    steps = [b - a for (_, a), (_, b) in pairwise(places)]
    assert min(steps) > -FRAME_US
    assert max(steps) < 90_000
    sound = played.of(TrackKind.AUDIO)
    assert max(b - a for a, b in pairwise(sound)) < 90_000
    assert abs(sound[-1] - places[-1][1]) < 300_000


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playlists are asked for again 25 times as often as they say."""
    monkeypatch.setattr(hls_reload, "_LONGEST_TARGET_S", 0.04)
    monkeypatch.setattr(hls_reload, "STALL_S", 1.0)


@pytest.mark.usefixtures("quick")
class TestLive:
    @pytest.mark.parametrize("tagged", [False, True])
    @pytest.mark.parametrize("period", [3, 4])
    def test_runs_outlive_their_discontinuities(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, tagged: bool, period: int
    ) -> None:
        """https://github.com/google/ExoPlayer/issues/1496: a slate over and over, in a window that slides."""
        with Origin(clip, made=Live(tagged=tagged, period=period)).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(16))
        assert played.error is None
        _check_runs_on(played, 2, period)

    @pytest.mark.parametrize(
        "answers",
        [[502], [PAGE], [b""], [404, 502], [(6,)], [(7,), (5,)], [b"#EXTM3U\n"], [lambda _: None]],
        ids=["502", "page", "nothing", "404 and 502", "older", "older ones", "empty", "hung up"],
    )
    def test_a_reload_that_fails_is_asked_for_again(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, answers: list[Any]
    ) -> None:
        """https://github.com/video-dev/hls.js/issues/1225"""
        live = Live(answers=list(answers))
        with Origin(clip, made=live).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(9))
        assert live.answers == []
        assert played.error is None
        _check_runs_on(played, 2)
        assert len(played.notes) == (len(answers) if isinstance(answers[0], int) else 1)

    def test_a_playlist_that_is_gone_is_a_loss_in_the_end(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
    ) -> None:
        live = Live(answers=[503] * 1000)
        with Origin(clip, made=live).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers)
        assert played.error is not None
        assert (played.error.transient, "503 Fault" in str(played.error)) == (True, True)
        assert len(live.answers) > 900

    @pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
    def test_segments_that_are_late_or_lost(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str
    ) -> None:
        late, lost = (f"t{n}.ts" if name == "t" else f"m{n}.m4s" for n in (5, 7))
        replies: dict[str, list[Any]] = {late: [404, 404, (clip / late).read_bytes()], lost: [404]}
        live = Live(name)
        with Origin(clip, replies, _with_header(clip, live, name)).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(7))
        assert played.error is None
        assert sorted({number // RATE for number in played.pictures()})[:6] == [2, 3, 4, 5, 6, 8]
        played.check_places()
        assert played.skipped == 1
        assert lost in played.notes[0]

    @pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
    def test_what_was_listed_is_read_before_the_end_is_certain(
        self,
        clip: Path,
        numbers: dict[str, int],
        executor: ThreadPoolExecutor,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        """Demuxers hold the last picture of a segment until they see more, or the end."""
        monkeypatch.setattr(hls_rendition, "_PATIENCE_S", 0.1)
        came: list[float] = []

        def until(packets: list[Packet]) -> bool:
            came.append(time.monotonic())
            return False

        live = Live(name)
        with Origin(clip, made=_with_header(clip, live, name)).serve() as server:
            live.answers = [(8,)] * 1000
            played = play(server.url("/live.m3u8"), executor, numbers, until)
            ended = time.monotonic()
        assert played.error is not None
        assert "did not grow" in str(played.error)
        assert played.pictures() == list(range(2 * RATE, 8 * RATE))
        played.check_places()
        assert ended - came[-1] > 0.6, "its limit is a second"

    def test_what_is_late_goes_on_where_it_was(
        self,
        clip: Path,
        numbers: dict[str, int],
        executor: ThreadPoolExecutor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(hls_rendition, "_PATIENCE_S", 0.02)
        live = Live(answers=[(8,)] * 3)
        with Origin(clip, made=live).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(9))
        assert live.answers == []
        assert played.error is None
        _check_runs_on(played, 2)

    def test_pictures_that_span_segments_stay_whole(
        self,
        clip: Path,
        numbers: dict[str, int],
        executor: ThreadPoolExecutor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A packager may cut wherever a packet ends (RFC 8216bis 6.2.1: continuity counters go on)."""
        monkeypatch.setattr(hls_rendition, "_PATIENCE_S", 0.02)
        whole = b"".join((clip / f"t{n}.ts").read_bytes() for n in range(COUNT))
        tables = 3 * 188  # what a segment of this clip begins with
        cuts = [0]
        for n in range(COUNT):
            cuts.append(cuts[-1] + len((clip / f"t{n}.ts").read_bytes()))
        moved = [cut - 188 * 4 if 0 < cut < len(whole) else cut for cut in cuts]
        replies: dict[str, list[Any]] = {
            f"t{n}.ts": [whole[:tables] + whole[a:b]] for n, (a, b) in enumerate(pairwise(moved))
        }
        live = Live(answers=[(8,)] * 10)
        with Origin(clip, replies, live).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(7))
        assert live.answers == []
        assert played.error is None
        pictures = played.pictures()
        assert pictures == list(range(pictures[0], pictures[0] + len(pictures)))
        assert len(pictures) > 5 * RATE

    def test_an_encoder_that_begins_anew_is_played_on(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
    ) -> None:
        live, anew = Live(), Live()
        anew.made = 1

        def made(path: str) -> Reply | None:
            if path == "live.m3u8" and live.made >= 8:
                anew.made += 1
                return anew.listed(anew.made)
            reply = live(path)
            # A hundred segments further on.
            return live.listed(live.made, 100) if reply is not None else None

        with Origin(clip, made=made).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(9))
        assert played.error is None
        pictures = played.pictures()
        at = next(n for n, (a, b) in enumerate(pairwise(pictures)) if b != a + 1) + 1
        assert pictures[:at] == list(range(2 * RATE, 2 * RATE + at))
        assert at == 6 * RATE
        assert pictures[at] % RATE == 0
        assert pictures[at] < 2 * RATE
        steps = [b - a for (_, a), (_, b) in pairwise(played.placed())]
        assert min(steps) > -FRAME_US
        assert max(steps) < 90_000
        assert any("began anew" in note for note in played.notes)

    def test_a_variant_that_dies_is_left_for_another(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
    ) -> None:
        live = Live()
        dead = Live(answers=[404] * 1000)

        def made(path: str) -> Reply | None:
            live.made = max(live.made, dead.made)
            if path == "best.m3u8":
                return dead("live.m3u8")
            return live(path)

        with Origin(clip, {"master.m3u8": [master_of("best.m3u8", "live.m3u8")]}, made).serve() as server:
            played = play(server.url("/master.m3u8"), executor, numbers, _until(9))
        assert played.error is None
        _check_runs_on(played, 2)
        assert any("another variant" in note for note in played.notes)

    @pytest.mark.parametrize("stalls", [3, 30])
    def test_sound_that_stalls_comes_back(
        self, clip: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, stalls: int
    ) -> None:
        """Pictures do not wait for it, and it is abreast of them when it is there again: after a standstill,
        and after one so long that it was given up and is no longer listed where it was."""
        monkeypatch.setattr(hls_rendition, "_PATIENCE_S", 0.1)
        monkeypatch.setattr(hls_rendition, "_REVIVAL_S", 0.1)
        monkeypatch.setattr(hls_reload, "STALL_S", 0.5)
        pictures, sounds = Live("v"), Live("a")

        def sound_list() -> bytes:
            sounds.made = pictures.made if not 8 <= pictures.made < 8 + stalls else 8
            return sounds.listed(sounds.made)

        async def run(server: ScriptedServer) -> list[tuple[int, int | None]]:
            loop = asyncio.get_running_loop()
            fetcher = Fetcher(lambda url: HttpFile(url, DIALER, loop))

            def load(reply: Callable[[], Any], name: str) -> Callable[[], MediaPlaylist]:
                return lambda: parse_media(reply().decode(), server.url(f"/{name}.m3u8"))

            def read() -> list[tuple[int, int | None]]:
                video, audio = load(lambda: pictures("live.m3u8"), "v"), load(sound_list, "a")
                main = Rendition(video(), fetcher, video)
                sound = Rendition(audio(), fetcher, audio, leader=main)
                found: list[tuple[int, int | None]] = []
                while len(found) < 12 + stalls:
                    segment = main.peek()
                    assert segment is not None
                    main.take(segment).close()
                    heard = sound.peek()
                    if heard is not None:
                        sound.take(heard).close()
                    found.append((segment.sequence, heard.sequence if heard is not None else None))
                return found

            return await loop.run_in_executor(executor, read)

        with Origin(clip).serve() as server:
            found = asyncio.run(run(server))
        assert [a for a, _ in found] == list(range(2, 14 + stalls)), "no picture is left out"
        silent = [n for n, (_, sound) in enumerate(found) if sound is None]
        assert silent
        assert silent == list(range(silent[0], silent[-1] + 1)), "it stalls once"
        assert found[-1][1] is not None
        assert abs(found[-1][0] - found[-1][1]) <= 3

    def test_numbers_that_leap_are_no_time(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
    ) -> None:
        live = Live()

        def made(path: str) -> Reply | None:
            reply = live(path)
            return live.listed(live.made, 10**15 if live.made > 8 else 0) if reply is not None else None

        with Origin(clip, made=made).serve() as server:
            played = play(server.url("/live.m3u8"), executor, numbers, _until(8))
        assert played.error is None
        assert played.of(TrackKind.VIDEO)[-1] < 20 * SECOND
        steps = [b - a for (_, a), (_, b) in pairwise(played.placed())]
        assert max(steps) < 2 * SECOND
