"""HLS recordings from origins with faults: what was lost is left out, the rest keeps its time; it is told."""

import hashlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sluice.core.lifecycle import Reason
from sluice.media.source import hls_rendition
from sluice.media.source.hls_playlist import parse_media
from tests.integration.hls.origin import COUNT, PAGE, Origin, head, play
from tests.integration.numbered import RATE
from tests.integration.scripted import wait_for_close

KEY, IV = bytes(range(16)), bytes(range(16, 32))


def _encrypted(data: bytes, key: bytes = KEY) -> bytes:
    padding = 16 - len(data) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(IV)).encryptor()
    return encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()


def _breaking_off(data: bytes, *, told: bool) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(head(len(data) if told else None) + data[: len(data) // 2])


# --- segments -----------------------------------------------------------------------------------------------

#: What is answered for the fourth segment; whether it is lost; words of the note.
_FAULTS: dict[str, tuple[list[Any], bool, str]] = {
    "404": ([404], True, "404 Fault"),
    "410": ([410], True, "410 Fault"),
    "403 once": ([403, None], False, ""),
    "500 always": ([500], True, "500 Fault"),
    "503 twice": ([503, 503, None], False, ""),
    "empty": ([b""], True, "is empty"),
    "page": ([PAGE], True, "is no media"),
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
        played = play(server.url(f"/{name}.m3u8"), executor, numbers)
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
        played = play(server.url(f"/{name}.m3u8"), executor, numbers)
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
        played = play(server.url("/t.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
    assert played.notes == []


def _stopping(data: bytes, count: int) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head(len(data)) + data[:count])
        wait_for_close(connection)

    return answer


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls_rendition, "_SLOW_S", 0.1)
    monkeypatch.setattr(hls_rendition, "_LEAST_WAIT_S", 0.2)
    monkeypatch.setattr(hls_rendition, "_MOST_WAIT_S", 0.2)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
@pytest.mark.parametrize("again", [False, True], ids=["always", "once"])
@pytest.mark.parametrize("sent", ["nothing", "its head", "half"])
def test_a_segment_whose_server_hangs_is_asked_for_once_more(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str, again: bool, sent: str
) -> None:
    bad = "t3.ts" if name == "t" else "m3.m4s"
    data = (clip / bad).read_bytes()
    hang = (
        wait_for_close if sent == "nothing" else _stopping(data, 0 if sent == "its head" else len(data) // 2)
    )
    origin = Origin(clip, {bad: [hang, data] if again else [hang]})
    with origin.serve() as server:
        played = play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    pictures, lost = set(played.pictures()), set(range(3 * RATE, 4 * RATE))
    assert pictures >= set(range(COUNT * RATE)) - lost
    assert bool(lost - pictures) is not again
    played.check_places()
    assert origin.asked[bad] == 2
    assert len(played.notes) == (not again)


@pytest.mark.usefixtures("short_waits")
def test_a_segment_that_trickles_is_left_out(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hls_rendition, "_MOST_DURATIONS", 0)
    data, over = (clip / "t3.ts").read_bytes(), threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(head(len(data)) + data[: len(data) // 2])
        for n in range(len(data) // 2, len(data)):
            connection.sendall(data[n : n + 1])
            over.wait(0.05)

    with Origin(clip, {"t3.ts": [trickle]}).serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
        over.set()
    assert played.error is None
    pictures, lost = set(played.pictures()), set(range(3 * RATE, 4 * RATE))
    assert pictures >= set(range(COUNT * RATE)) - lost
    assert lost - pictures
    played.check_places()
    assert "did not come within 0.4 s" in played.notes[0]


@pytest.mark.parametrize(("segment_s", "most_s"), [(0, 6), (1, 6), (6, 11), (10, 15), (3600, 16)])
def test_two_waits_for_a_segment_take_little_more_than_it_does(segment_s: int, most_s: float) -> None:
    segment = parse_media(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:{segment_s},\na\n", "http://h/"
    ).segments[0]
    assert 2 * hls_rendition._wait_s(segment) == most_s


@pytest.mark.parametrize(
    ("gone", "first", "last"), [([0], RATE, 250), ([9], 0, 225), ([0, 1, 2, 3], 4 * RATE, 250)], ids=str
)
def test_lost_at_the_beginning_or_the_end(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, gone: list[int], first: int, last: int
) -> None:
    with Origin(clip, {f"t{n}.ts": [404] for n in gone}).serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(first, last))
    assert played.skipped == len(gone)


def test_a_gap_is_not_asked_for(clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor) -> None:
    text = (clip / "t.m3u8").read_text()
    for n in (2, 3, 6):
        text = text.replace(f"t{n}.ts", f"#EXT-X-GAP\nt{n}.ts")
    origin = Origin(clip, {"t.m3u8": [text.encode()]})
    with origin.serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
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
        error = play(server.url("/t.m3u8"), executor, numbers).error
    assert error is not None
    assert (error.reason, error.transient) == (Reason.SOURCE_UNSUPPORTED, False)
    assert "nothing but gaps" in str(error)


def test_a_recording_whose_rest_is_gone_does_not_end_as_if_it_were_over(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, {f"t{n}.ts": [404] for n in range(5, COUNT)}).serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
    played.check_beginning(5 * RATE)
    assert played.error is not None
    assert (played.error.reason, played.error.transient) == (Reason.SOURCE_REFUSED, True)
    assert "t5.ts" in str(played.error)


def test_a_server_that_fails_is_no_gap(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    """It may answer again: what it holds is not left out for that."""
    with Origin(clip, {f"t{n}.ts": [502] for n in range(4, 8)}).serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
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


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
def test_a_key_that_is_refused_once_and_a_header_before_it(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str
) -> None:
    replies = _keyed(clip, name, _KEY_LINE) | {"key": [403, KEY]}
    with Origin(clip, replies).serve() as server:
        played = play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    assert played.pictures() == list(range(COUNT * RATE))


def test_an_encrypted_header(clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor) -> None:
    replies = _keyed(clip, "m", _KEY_LINE)
    text = (clip / "m.m3u8").read_text().replace("#EXT-X-MAP", f"{_KEY_LINE}\n#EXT-X-MAP")
    header = next(p.name for p in clip.iterdir() if p.name.endswith(".mp4") and p.name != "base.mp4")
    replies |= {"m.m3u8": [text.encode()], header: [_encrypted((clip / header).read_bytes())]}
    with Origin(clip, replies).serve() as server:
        played = play(server.url("/m.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))


@pytest.mark.parametrize("name", ["t", "m"], ids=["ts", "fmp4"])
def test_a_segment_that_cannot_be_decrypted_is_left_out(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, name: str
) -> None:
    replies = _keyed(clip, name, _KEY_LINE)
    bad = "t3.ts" if name == "t" else "m3.m4s"
    replies[bad] = [_encrypted((clip / bad).read_bytes(), bytes(16))]
    with Origin(clip, replies).serve() as server:
        played = play(server.url(f"/{name}.m3u8"), executor, numbers)
    assert played.error is None
    assert set(played.pictures()) == set(range(COUNT * RATE)) - set(range(3 * RATE, 4 * RATE))
    played.check_places()
    assert "its key is wrong" in played.notes[0]


def test_a_key_that_is_gone_is_told(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    with Origin(clip, _keyed(clip, "t", _KEY_LINE) | {"key": [403]}).serve() as server:
        error = play(server.url("/t.m3u8"), executor, numbers).error
    assert error is not None
    assert "403 Fault to http://127.0.0.1" in str(error)
    assert str(error).endswith("/key")


# --- types and numbers --------------------------------------------------------------------------------------


def test_a_recording_without_its_end_mark_is_played_once(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor
) -> None:
    """https://github.com/video-dev/hls.js/issues/668"""
    text = (clip / "t.m3u8").read_text().replace("#EXT-X-ENDLIST\n", "")
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in text
    origin = Origin(clip, {"t.m3u8": [text.encode()]})
    with origin.serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
    assert origin.asked["t.m3u8"] == 1
    assert played.probe is not None
    assert (played.probe.live, played.probe.seekable) == (False, True)


@pytest.mark.parametrize("number", [1764517200000000000, 2**64 - COUNT])
def test_wide_media_sequence_numbers(
    clip: Path, numbers: dict[str, int], executor: ThreadPoolExecutor, number: int
) -> None:
    text = (clip / "t.m3u8").read_text().replace("#EXT-X-MEDIA-SEQUENCE:0", f"#EXT-X-MEDIA-SEQUENCE:{number}")
    assert f"#EXT-X-MEDIA-SEQUENCE:{number}\n" in text
    with Origin(clip, {"t.m3u8": [text.encode()]}).serve() as server:
        played = play(server.url("/t.m3u8"), executor, numbers)
    assert played.pictures() == list(range(COUNT * RATE))
