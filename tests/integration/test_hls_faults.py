"""HLS from origins with faults: what was lost is left out, the rest is played at its time, and it is told."""

import asyncio
import hashlib
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source import hls_reload, hls_rendition
from sluice.media.source.hls import HlsSource
from sluice.media.source.hls_fetch import Fetcher
from sluice.media.source.hls_playlist import MediaPlaylist, parse_media
from sluice.media.source.hls_rendition import Rendition
from sluice.media.source.table import source_for
from sluice.net.dial import Dialer
from sluice.net.http import HttpFile
from sluice.wire.h264 import H264Error, split_annexb, split_avcc
from tests.integration.scripted import ScriptedServer

_DIALER = Dialer(AddressPolicy(["127.0.0.1/32"]))
RATE, FRAME_US, COUNT = 25, 40_000, 10
SECOND = 1_000_000
KEY, IV = bytes(range(16)), bytes(range(16, 32))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of a second: `t0.ts`, …, `m0.m4s`, … with `init.mp4`, and `v0.ts`, …, `a0.ts`, … apart."""
    folder = tmp_path_factory.mktemp("clip")
    base = folder / "base.mp4"
    inputs = ["-f", "lavfi", "-i", f"mandelbrot=size=160x90:rate={RATE}"]
    inputs += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(COUNT)]
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(RATE), "-sc_threshold", "0"]
    _ffmpeg(*inputs, *x264, "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", base)
    for name, ending, options in (
        ("t", "ts", []),
        ("m", "m4s", ["-hls_segment_type", "fmp4"]),
        ("v", "ts", ["-an"]),
        ("a", "ts", ["-vn"]),
    ):
        names = ["-hls_segment_filename", str(folder / f"{name}%d.{ending}")]
        hls = ["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod"]
        _ffmpeg("-i", base, *hls, *options, *names, folder / f"{name}.m3u8")
    return folder


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)


def _digest(units: list[bytes | memoryview]) -> str:
    """Of what is picture in the units, and not the sets that go with key frames."""
    return hashlib.sha256(b"".join(bytes(u) for u in units if u[0] & 0x1F in (1, 5))).hexdigest()


@pytest.fixture(scope="module")
def numbers(clip: Path) -> dict[str, int]:
    """The pictures of the clip."""
    digests: list[str] = []
    for n in range(COUNT):
        with av.open(str(clip / f"t{n}.ts")) as container:
            packets = container.demux(video=0)
            digests += [_digest(list(split_annexb(bytes(packet)))) for packet in packets if packet.size]
    assert len(digests) == len(set(digests)) == COUNT * RATE
    return {digest: n for n, digest in enumerate(digests)}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls_rendition, "_PAUSES_S", (0.05, 0.1))


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


#: A body, the status of an error, or whatever is done to the connection.
Reply = bytes | int | Callable[[socket.socket], None]


@dataclass
class Origin:
    """Serves a folder; `replies` to a path are given first, one at each request, the last one for good."""

    clip: Path
    replies: dict[str, list[Any]] = field(default_factory=dict)
    made: Callable[[str], Reply | None] = lambda _: None  #: makes playlists
    asked: Counter[str] = field(default_factory=Counter)

    def serve(self) -> ScriptedServer:
        return ScriptedServer(self._answer)

    def _answer(self, request: str, connection: socket.socket) -> None:
        path = request.split()[1].lstrip("/")
        self.asked[path] += 1
        replies = self.replies.get(path, [])
        reply: Any = replies.pop(0) if len(replies) > 1 else replies[0] if replies else None
        if reply is None:
            reply = self.made(path)
        if reply is None:
            file = self.clip / path
            reply = file.read_bytes() if file.exists() else 404
        if callable(reply):
            reply(connection)
        elif isinstance(reply, int):
            connection.sendall(f"HTTP/1.1 {reply} Fault\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            connection.sendall(_head(len(reply)) + reply)


def _head(length: int | None) -> bytes:
    told = "" if length is None else f"Content-Length: {length}\r\n"
    return f"HTTP/1.1 200 OK\r\n{told}\r\n".encode()


@dataclass
class Played:
    numbers: dict[str, int]
    probe: Probe | None = None
    packets: list[Packet] = field(default_factory=list)
    error: SourceError | None = None
    notes: list[str] = field(default_factory=list)
    skipped: int = 0

    def of(self, kind: TrackKind) -> list[int]:
        return [packet.dts_us for packet in self.packets if packet.kind is kind]

    def pictures(self) -> list[int]:
        return [number for number, _ in self.placed()]

    def placed(self) -> list[tuple[int, int]]:
        """The known pictures with their times."""
        found = []
        for packet in self.packets:
            if packet.kind is TrackKind.VIDEO:
                with suppress(H264Error):  # cut off
                    number = self.numbers.get(_digest(list(split_avcc(packet.data, 4))), -1)
                    found.append((number, packet.dts_us))
        return [(number, at_us) for number, at_us in found if number >= 0]

    def check_beginning(self, count: int) -> None:
        """What is read when the source fails may go with it."""
        pictures = self.pictures()
        assert pictures == list(range(len(pictures)))
        assert count - RATE // 2 < len(pictures) <= count

    def check_places(self) -> None:
        """Every picture and the sound are where they are in the clip."""
        places = self.placed()
        assert {at_us - number * FRAME_US for number, at_us in places} == {
            places[0][1] - places[0][0] * FRAME_US
        }
        sound = self.of(TrackKind.AUDIO)
        assert all(b > a for a, b in pairwise(sound))
        assert abs(sound[-1] - self.of(TrackKind.VIDEO)[-1]) < 300_000


def _play(
    url: str,
    executor: ThreadPoolExecutor,
    numbers: dict[str, int],
    until: Callable[[list[Packet]], bool] | None = None,
) -> Played:
    played = Played(numbers)

    def work(source: HlsSource) -> None:
        try:
            played.probe = source.open()
            while more := source.read((played.packets[-1].dts_us if played.packets else 0) + 200_000):
                played.packets += more
                if until is not None and until(played.packets):
                    break
        except SourceError as error:
            played.error = error
        played.notes, played.skipped = source.notes.take(), source.notes.skipped

    async def run() -> None:
        source = await source_for(url, _DIALER, executor)
        assert isinstance(source, HlsSource)
        try:
            await asyncio.get_running_loop().run_in_executor(executor, work, source)
        finally:
            source.abort()
            source.close()

    asyncio.run(run())
    return played


def _encrypted(data: bytes, key: bytes = KEY) -> bytes:
    padding = 16 - len(data) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(IV)).encryptor()
    return encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()


def _breaking_off(data: bytes, *, told: bool) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(_head(len(data) if told else None) + data[: len(data) // 2])


# --- recordings ---------------------------------------------------------------------------------------------

_PAGE = b"<!DOCTYPE html><html>the origin is busy</html>"
#: What is answered for the fourth segment; whether it is lost; words of the note.
_FAULTS: dict[str, tuple[list[Any], bool, str]] = {
    "404": ([404], True, "404 Fault"),
    "410": ([410], True, "410 Fault"),
    "403 once": ([403, None], False, ""),
    "500 always": ([500], True, "500 Fault"),
    "503 twice": ([503, 503, None], False, ""),
    "empty": ([b""], True, "is empty"),
    "page": ([_PAGE], True, "is no media"),
    "noise": ([hashlib.shake_256(b"x").digest(5000)], True, "is no media"),
    "hung up": ([lambda connection: None], True, "does not answer in HTTP"),
    "hung up once": ([lambda connection: None, None], False, ""),
}


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
@pytest.mark.parametrize("fault", _FAULTS)
def test_one_bad_segment_does_not_end_a_recording(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str, fault: str
) -> None:
    replies, lost, words = _FAULTS[fault]
    bad = "t3.ts" if name == "t" else "m3.m4s"
    origin = Origin(clip, {bad: [(clip / bad).read_bytes() if r is None else r for r in replies]})
    with origin.serve() as server:
        played = _play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    missing = set(range(COUNT * RATE)) - set(played.pictures())
    assert missing == (set(range(3 * RATE, 4 * RATE)) if lost else set())
    played.check_places()
    assert played.skipped == lost
    assert len(played.notes) == lost
    assert all(words in note for note in played.notes)


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
@pytest.mark.parametrize("told", [True, False], ids=["shorter than told", "without a length"])
def test_a_segment_that_breaks_off_is_played_as_far_as_it_goes(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str, told: bool
) -> None:
    bad = "t3.ts" if name == "t" else "m3.m4s"
    origin = Origin(clip, {bad: [_breaking_off((clip / bad).read_bytes(), told=told)]})
    with origin.serve() as server:
        played = _play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    pictures = set(played.pictures())
    assert pictures >= set(range(3 * RATE)) | set(range(4 * RATE, COUNT * RATE))
    assert set(range(3 * RATE, 4 * RATE)) - pictures
    played.check_places()


def test_a_segment_that_breaks_off_once_is_asked_for_again(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    data = (clip / "t3.ts").read_bytes()
    with Origin(clip, {"t3.ts": [_breaking_off(data, told=True), data]}).serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
    assert played.notes == []


@pytest.mark.parametrize(
    ("gone", "first", "last"), [([0], RATE, 250), ([9], 0, 225), ([0, 1, 2, 3], 4 * RATE, 250)], ids=str
)
def test_lost_at_the_beginning_or_the_end(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, gone: list[int], first: int, last: int
) -> None:
    with Origin(clip, {f"t{n}.ts": [404] for n in gone}).serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(first, last))
    assert played.skipped == len(gone)


def test_a_gap_is_not_asked_for(clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor) -> None:
    text = (clip / "t.m3u8").read_text()
    for n in (2, 3, 6):
        text = text.replace(f"t{n}.ts", f"#EXT-X-GAP\nt{n}.ts")
    origin = Origin(clip, {"t.m3u8": [text.encode()]})
    with origin.serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    assert played.error is None
    assert sorted({number // RATE for number in played.pictures()}) == [0, 1, 4, 5, 7, 8, 9]
    played.check_places()
    assert not {"t2.ts", "t3.ts", "t6.ts"} & origin.asked.keys()
    assert (played.skipped, len(played.notes)) == (3, 1)
    assert "EXT-X-GAP" in played.notes[0]


def test_nothing_but_gaps_is_nothing(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    text = (clip / "t.m3u8").read_text().replace("#EXTINF", "#EXT-X-GAP\n#EXTINF")
    with Origin(clip, {"t.m3u8": [text.encode()]}).serve() as server:
        error = _play(server.url("/t.m3u8"), executor, numbers).error
    assert error is not None
    assert (error.reason, error.transient) == (Reason.SOURCE_UNSUPPORTED, False)
    assert "nothing but gaps" in str(error)


def test_a_recording_whose_rest_is_gone_does_not_end_as_if_it_were_over(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, {f"t{n}.ts": [404] for n in range(5, COUNT)}).serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    played.check_beginning(5 * RATE)
    assert played.error is not None
    assert (played.error.reason, played.error.transient) == (Reason.SOURCE_REFUSED, True)
    assert "t5.ts" in str(played.error)


def test_a_server_that_fails_is_no_gap(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    """It may answer again: what it holds is not left out for that."""
    with Origin(clip, {f"t{n}.ts": [502] for n in range(4, 8)}).serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    played.check_beginning(4 * RATE)
    assert played.error is not None
    assert "502" in str(played.error)
    assert "t4.ts" in str(played.error)


# --- encryption ---------------------------------------------------------------------------------------------


def _keyed(clip: Path, name: str, key_line: str) -> dict[str, list[Any]]:
    """The clip encrypted, the header not (RFC 8216 4.3.2.4: the key stands behind EXT-X-MAP)."""
    ending = "ts" if name == "t" else "m4s"
    text = (clip / f"{name}.m3u8").read_text()
    text = text.replace("#EXTINF", f"{key_line}\n#EXTINF", 1)
    replies: dict[str, list[Any]] = {f"{name}.m3u8": [text.encode()], "key": [KEY]}
    for n in range(COUNT):
        replies[f"{name}{n}.{ending}"] = [_encrypted((clip / f"{name}{n}.{ending}").read_bytes())]
    return replies


_KEY_LINE = f'#EXT-X-KEY:METHOD=AES-128,URI="key",IV=0x{IV.hex()}'
_NONE_LINE = "#EXT-X-KEY:METHOD=NONE"


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
def test_a_key_that_is_refused_once_and_a_header_before_it(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str
) -> None:
    replies = _keyed(clip, name, _KEY_LINE) | {"key": [403, KEY]}
    with Origin(clip, replies).serve() as server:
        played = _play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))


def test_an_encrypted_header(clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor) -> None:
    replies = _keyed(clip, "m", _KEY_LINE)
    text = (clip / "m.m3u8").read_text().replace("#EXT-X-MAP", f"{_KEY_LINE}\n#EXT-X-MAP")
    header = next(p.name for p in clip.iterdir() if p.name.endswith(".mp4") and p.name != "base.mp4")
    replies |= {"m.m3u8": [text.encode()], header: [_encrypted((clip / header).read_bytes())]}
    with Origin(clip, replies).serve() as server:
        played = _play(server.url("/m.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
def test_a_segment_that_cannot_be_decrypted_is_left_out(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str
) -> None:
    replies = _keyed(clip, name, _KEY_LINE)
    bad = "t3.ts" if name == "t" else "m3.m4s"
    replies[bad] = [_encrypted((clip / bad).read_bytes(), bytes(16))]
    with Origin(clip, replies).serve() as server:
        played = _play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    assert set(played.pictures()) == set(range(COUNT * RATE)) - set(range(3 * RATE, 4 * RATE))
    played.check_places()
    assert "its key is wrong" in played.notes[0]


def test_a_key_that_is_gone_is_told(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, _keyed(clip, "t", _KEY_LINE) | {"key": [403]}).serve() as server:
        error = _play(server.url("/t.m3u8"), executor, numbers).error
    assert error is not None
    assert "403 Fault to http://127.0.0.1" in str(error)
    assert str(error).endswith("/key")


# --- variants -----------------------------------------------------------------------------------------------


def _master(*names: str, more: str = "") -> bytes:
    text = "#EXTM3U\n"
    for n, name in enumerate(names):
        inf = f'#EXT-X-STREAM-INF:BANDWIDTH={9000 - n},CODECS="avc1.42c00b,mp4a.40.2"'
        text += inf + (',AUDIO="s"' if more else "") + f"\n{name}\n"
    return (text + more).encode()


@pytest.mark.parametrize("reply", [404, 503, _PAGE, b"#EXTM3U\n#EXT-X-ENDLIST\n"], ids=lambda r: str(r)[:9])
def test_the_next_best_variant_is_played(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, reply: Reply
) -> None:
    origin = Origin(clip, {"master.m3u8": [_master("best.m3u8", "t.m3u8")], "best.m3u8": [reply]})
    with origin.serve() as server:
        played = _play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    assert len(played.notes) == 1
    assert "another variant of the source is played" in played.notes[0]


def test_without_any_variant_the_best_one_is_told(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    origin = Origin(clip, {"master.m3u8": [_master("best.m3u8", "low.m3u8")], "best.m3u8": [403]})
    with origin.serve() as server:
        error = _play(server.url("/master.m3u8"), executor, numbers).error
    assert error is not None
    assert "403 Fault" in str(error)
    assert "best.m3u8" in str(error)


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
@pytest.mark.parametrize("dead", [0, 4])
def test_a_variant_that_dies_is_left_for_another(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str, dead: int
) -> None:
    best = (clip / f"{name}.m3u8").read_text().replace(f"{name}{dead}.", f"x{dead}.")
    for n in range(dead, COUNT):
        best = best.replace(f"\n{name}{n}.", f"\nx{n}.")
    origin = Origin(
        clip, {"master.m3u8": [_master("best.m3u8", f"{name}.m3u8")], "best.m3u8": [best.encode()]}
    )
    with origin.serve() as server:
        played = _play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    played.check_places()
    assert any("another variant" in note for note in played.notes)


def test_what_is_lost_in_all_variants_is_left_out(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    master = _master("t.m3u8", "copy.m3u8", "third.m3u8")
    text = (clip / "t.m3u8").read_bytes()
    replies: dict[str, list[Any]] = {"master.m3u8": [master], "copy.m3u8": [text], "third.m3u8": [text]}
    with Origin(clip, replies | {f"t{n}.ts": [404] for n in (3, 4, 5, 7)}).serve() as server:
        played = _play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert sorted({n // RATE for n in played.pictures()}) == [0, 1, 2, 6, 8, 9]
    played.check_places()


_SOUND = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="x",DEFAULT=YES,URI="{}"\n'


@pytest.mark.parametrize("reply", [404, _PAGE])
def test_pictures_are_played_without_sound_whose_playlist_is_dead(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, reply: Reply
) -> None:
    master = _master("v.m3u8", more=_SOUND.format("dead.m3u8"))
    with Origin(clip, {"master.m3u8": [master], "dead.m3u8": [reply]}).serve() as server:
        played = _play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    assert played.of(TrackKind.AUDIO) == []
    assert any("the sound is left out" in note for note in played.notes)


def test_sound_that_dies_leaves_the_pictures(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    master = _master("v.m3u8", more=_SOUND.format("a.m3u8"))
    gone: dict[str, list[Any]] = {f"a{n}.ts": [403] for n in range(4, 30)}
    with Origin(clip, {"master.m3u8": [master]} | gone).serve() as server:
        played = _play(server.url("/master.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))
    assert 3 * SECOND < played.of(TrackKind.AUDIO)[-1] < 5 * SECOND
    assert any("the sound is left out for now" in note for note in played.notes)


def test_the_sound_of_a_group_named_later_is_played(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    """https://github.com/grafov/m3u8/issues/221"""
    with Origin(clip, {"master.m3u8": [_master("v.m3u8", more=_SOUND.format("a.m3u8"))]}).serve() as server:
        played = _play(server.url("/master.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
    played.check_places()


# --- types and numbers --------------------------------------------------------------------------------------


def test_a_recording_without_its_end_mark_is_played_once(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    """https://github.com/video-dev/hls.js/issues/668"""
    text = (clip / "t.m3u8").read_text().replace("#EXT-X-ENDLIST\n", "")
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in text
    origin = Origin(clip, {"t.m3u8": [text.encode()]})
    with origin.serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
    assert origin.asked["t.m3u8"] == 1
    assert played.probe is not None
    assert (played.probe.live, played.probe.seekable) == (False, True)


@pytest.mark.parametrize("number", [1764517200000000000, 2**64 - COUNT])
def test_wide_media_sequence_numbers(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, number: int
) -> None:
    text = (clip / "t.m3u8").read_text().replace("#EXT-X-MEDIA-SEQUENCE:0", f"#EXT-X-MEDIA-SEQUENCE:{number}")
    with Origin(clip, {"t.m3u8": [text.encode()]}).serve() as server:
        played = _play(server.url("/t.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))


# --- live ---------------------------------------------------------------------------------------------------


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
            played = _play(server.url("/live.m3u8"), executor, numbers, _until(16))
        assert played.error is None
        _check_runs_on(played, 2, period)

    @pytest.mark.parametrize(
        "answers",
        [[502], [_PAGE], [b""], [404, 502], [(6,)], [(7,), (5,)], [b"#EXTM3U\n"], [lambda _: None]],
        ids=["502", "page", "nothing", "404 and 502", "older", "older ones", "empty", "hung up"],
    )
    def test_a_reload_that_fails_is_asked_for_again(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, answers: list[Any]
    ) -> None:
        """https://github.com/video-dev/hls.js/issues/1225"""
        live = Live(answers=list(answers))
        with Origin(clip, made=live).serve() as server:
            played = _play(server.url("/live.m3u8"), executor, numbers, _until(9))
        assert live.answers == []
        assert played.error is None
        _check_runs_on(played, 2)
        assert len(played.notes) == len(answers) if isinstance(answers[0], int) else 1

    def test_a_playlist_that_is_gone_is_a_loss_in_the_end(
        self, clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
    ) -> None:
        live = Live(answers=[503] * 1000)
        with Origin(clip, made=live).serve() as server:
            played = _play(server.url("/live.m3u8"), executor, numbers)
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
        text = (clip / "m.m3u8").read_text().splitlines()
        header = next(line for line in text if line.startswith("#EXT-X-MAP")) if name == "m" else ""

        def made(path: str) -> Reply | None:
            reply = live(path)
            if isinstance(reply, bytes):
                reply = reply.replace(b"#EXTINF", f"{header}\n#EXTINF".encode(), 1)
            return reply

        with Origin(clip, replies, made).serve() as server:
            played = _play(server.url("/live.m3u8"), executor, numbers, _until(7))
        assert played.error is None
        assert sorted({number // RATE for number in played.pictures()})[:6] == [2, 3, 4, 5, 6, 8]
        played.check_places()
        assert played.skipped == 1
        assert lost in played.notes[0]

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
            played = _play(server.url("/live.m3u8"), executor, numbers, _until(9))
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

        with Origin(clip, {"master.m3u8": [_master("best.m3u8", "live.m3u8")]}, made).serve() as server:
            played = _play(server.url("/master.m3u8"), executor, numbers, _until(9))
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
            fetcher = Fetcher(lambda url: HttpFile(url, _DIALER, loop))

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
            played = _play(server.url("/live.m3u8"), executor, numbers, _until(8))
        assert played.error is None
        assert played.of(TrackKind.VIDEO)[-1] < 20 * SECOND
        steps = [b - a for (_, a), (_, b) in pairwise(played.placed())]
        assert max(steps) < 2 * SECOND


def test_a_master_playlist_of_master_playlists_is_refused(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, {"master.m3u8": [_master("master.m3u8")]}).serve() as server:
        error = _play(server.url("/master.m3u8"), executor, numbers).error
    assert error is not None
    assert (error.reason, error.transient) == (Reason.SOURCE_UNSUPPORTED, False)
    assert "another master playlist" in str(error)
