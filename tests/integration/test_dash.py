"""MPEG-DASH from nginx, written by ffmpeg: recorded and live, and what manifests may not make us do."""

import asyncio
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source import hls_reload
from sluice.media.source.dash import DashSource
from sluice.media.source.sniff import SniffedFile
from sluice.media.source.table import source_for
from sluice.net.dial import Dialer
from sluice.net.http import HttpFile, HttpTimeouts
from tests.integration.nginx import Nginx
from tests.integration.scripted import ScriptedServer, wait_for_close

_DIALER = Dialer(AddressPolicy(["127.0.0.1/32"]))
_SECONDS, _RATE = 6, 25
_INPUTS = ["-f", "lavfi", "-i", f"testsrc=size=320x240:rate={_RATE}"]
_INPUTS += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"]
_CODECS = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p"]
_CODECS += ["-c:a", "aac", "-ac", "2"]
_DASH = ["-f", "dash", "-seg_duration", "1"]
_DEADLINE_S = 20

Until = Callable[[list[Packet]], bool]


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Serves `base.mp4`, the same as `vod/index.mpd`, and each of its tracks as a file."""
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        base = server.www / "base.mp4"
        _ffmpeg(*_INPUTS, "-t", str(_SECONDS), *_CODECS, base)
        (server.www / "vod").mkdir()
        _ffmpeg("-i", base, "-c", "copy", *_DASH, server.www / "vod/index.mpd")
        _ffmpeg("-i", base, "-c", "copy", "-an", server.www / "v.mp4")
        _ffmpeg("-i", base, "-c", "copy", "-vn", server.www / "a.m4a")
        yield server


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@dataclass
class Played:
    probe: Probe
    packets: list[Packet]
    error: SourceError | None
    notes: list[str]

    def of(self, kind: TrackKind) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind is kind]

    def pictures(self) -> list[bytes]:
        return [packet.data for packet in self.of(TrackKind.VIDEO)]

    def check_steps(self) -> None:
        """Pictures follow each other at their rate, and sound without a gap or a jump back."""
        video, audio = ([packet.dts_us for packet in self.of(kind)] for kind in TrackKind)
        assert abs(video[0]) < 100_000
        assert abs(audio[0]) < 100_000
        assert {b - a for a, b in pairwise(video)} == {1_000_000 // _RATE}
        assert all(0 < b - a < 60_000 for a, b in pairwise(audio))


def _play(url: str, executor: ThreadPoolExecutor, until: Until | None = None, seek_us: int = 0) -> Played:
    """Opens and reads to the end, the first error, or until `until` says so. Errors of opening are raised."""

    def work(source: DashSource) -> Played:
        probe = source.open()
        if seek_us:
            source.read(1_000_000)
            source.seek(seek_us)
        packets: list[Packet] = []
        try:
            while more := source.read((packets[-1].dts_us if packets else 0) + 200_000):
                packets += more
                if until is not None and until(packets):
                    break
        except SourceError as error:
            return Played(probe, packets, error, source.notes.take())
        return Played(probe, packets, None, source.notes.take())

    async def run() -> Played:
        source = await source_for(url, _DIALER, executor)
        assert isinstance(source, DashSource)
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work, source)
        finally:
            source.close()

    return asyncio.run(run())


def _pictures_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def _manifest(inside: str, attributes: str = 'type="static" mediaPresentationDuration="PT6S"') -> str:
    return f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" {attributes}>{inside}</MPD>'


_FILES = (
    '<AdaptationSet mimeType="video/mp4"><Representation id="v"><BaseURL>{}</BaseURL></Representation>'
    '</AdaptationSet><AdaptationSet mimeType="audio/mp4"><Representation id="a"><BaseURL>{}</BaseURL>'
    "</Representation></AdaptationSet>"
)


# --- recordings ---------------------------------------------------------------------------------------------


def test_only_the_best_representation_is_asked_for(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    folder = nginx.www / "many"
    folder.mkdir()
    sizes = ["-s:v:0", "160x120", "-b:v:0", "50k", "-s:v:1", "640x480", "-b:v:1", "500k"]
    sizes += ["-s:v:2", "320x240", "-b:v:2", "200k"]
    maps = ["-map", "0:v", "-map", "0:v", "-map", "0:v", "-map", "0:a"]
    sets = ["-adaptation_sets", "id=0,streams=v id=1,streams=a"]
    _ffmpeg("-i", nginx.www / "base.mp4", *maps, *_CODECS, *sizes, *_DASH, *sets, folder / "index.mpd")
    for number in (0, 2):
        for segment in folder.glob(f"*-stream{number}*"):
            segment.unlink()
    played = _play(nginx.http("many/index.mpd"), executor)
    assert played.probe.video is not None
    assert (played.probe.video.width, played.probe.video.height) == (640, 480)
    assert played.error is None
    played.check_steps()


@pytest.mark.parametrize("seek_us", [0, 4_500_000])
def test_files_of_the_on_demand_profile(nginx: Nginx, executor: ThreadPoolExecutor, seek_us: int) -> None:
    text = _manifest(f"<Period>{_FILES.format('v.mp4', 'a.m4a')}</Period>")
    (nginx.www / "files.mpd").write_text(text)
    played = _play(nginx.http("files.mpd"), executor, seek_us=seek_us)
    assert (played.probe.duration_us, played.probe.seekable) == (6_000_000, True)
    pictures = _pictures_of(nginx.www / "base.mp4")
    assert played.pictures() == pictures[seek_us // 1_000_000 * _RATE :]
    for kind in TrackKind:
        assert seek_us - 600_000 < played.of(kind)[0].dts_us <= seek_us
        assert played.of(kind)[-1].dts_us > 5_900_000


def test_a_file_with_both_tracks(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    one = '<AdaptationSet mimeType="video/mp4"><Representation id="v"><BaseURL>base.mp4</BaseURL>'
    text = _manifest(f"<Period>{one}</Representation></AdaptationSet></Period>")
    (nginx.www / "one.mpd").write_text(text)
    played = _play(nginx.http("one.mpd"), executor)
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")
    played.check_steps()


def test_periods_are_played_one_behind_the_other(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    text = (nginx.www / "vod/index.mpd").read_text()
    period = text[text.index("<Period") : text.index("</MPD>")].replace('start="PT0.0S"', 'duration="PT6S"')
    base = f"<BaseURL>{nginx.http('vod/')}</BaseURL>"
    (nginx.www / "twice.mpd").write_text(_manifest(base + period * 2, 'type="static"'))
    played = _play(nginx.http("twice.mpd"), executor)
    assert played.probe.duration_us == 12_000_000
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4") * 2
    video = [packet.dts_us for packet in played.of(TrackKind.VIDEO)]
    assert {b - a for a, b in pairwise(video)} == {40_000}
    again = _play(nginx.http("twice.mpd"), executor, seek_us=8_000_000)
    assert again.of(TrackKind.VIDEO)[0].dts_us == 8_000_000


def test_addresses_count_from_where_the_manifest_was_found(
    nginx: Nginx, executor: ThreadPoolExecutor
) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        location = nginx.http("vod/index.mpd")
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode())

    with ScriptedServer(answer) as server:
        played = _play(server.url("/somewhere.mpd"), executor)
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")


def test_a_missing_segment_is_left_out(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    folder = nginx.www / "holes"
    folder.mkdir()
    _ffmpeg("-i", nginx.www / "base.mp4", "-c", "copy", *_DASH, folder / "index.mpd")
    (folder / "chunk-stream0-00004.m4s").unlink()
    played = _play(nginx.http("holes/index.mpd"), executor)
    assert played.error is None
    pictures = _pictures_of(nginx.www / "base.mp4")
    assert played.pictures() == pictures[: 3 * _RATE] + pictures[4 * _RATE :]
    video = [packet.dts_us for packet in played.of(TrackKind.VIDEO)]
    assert [round((b - a) / 1_000_000, 2) for a, b in pairwise(video) if b - a > 40_000] == [1.04]
    assert len(played.notes) == 1
    assert "404 Not Found" in played.notes[0]
    assert "chunk-stream0-00004.m4s" in played.notes[0]


def test_the_last_segment_that_was_only_counted_may_be_missing(
    nginx: Nginx, executor: ThreadPoolExecutor
) -> None:
    folder = nginx.www / "counted"
    folder.mkdir()
    by_number = [*_DASH, "-use_timeline", "0"]
    _ffmpeg("-i", nginx.www / "base.mp4", "-c", "copy", *by_number, folder / "index.mpd")
    text = (folder / "index.mpd").read_text()
    (folder / "index.mpd").write_text(text.replace('Duration="PT6.0S"', 'Duration="PT6.4S"'))
    played = _play(nginx.http("counted/index.mpd"), executor)
    assert played.error is None
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")


def _segmented(bases: str, *representations: str, sound: str = "1") -> str:
    """Six segments of a second from the first of `bases` that answers, of the best representation that is
    there; each is a stream's number in the file names."""
    sets = "".join(
        f'<AdaptationSet mimeType="{kind}/mp4" startWithSAP="1"><SegmentTemplate duration="1" '
        'initialization="init-stream$RepresentationID$.m4s" '
        'media="chunk-stream$RepresentationID$-$Number%05d$.m4s"/>'
        + "".join(f'<Representation id="{n}" bandwidth="{9 - at}"/>' for at, n in enumerate(numbers))
        + "</AdaptationSet>"
        for kind, numbers in (("video", representations), ("audio", (sound,)))
    )
    return _manifest(f"{bases}<Period>{sets}</Period>")


@pytest.mark.parametrize(
    ("bases", "representations"),
    [
        ("<BaseURL>gone/</BaseURL><BaseURL>vod/</BaseURL>", ["0"]),
        ("<BaseURL>http://127.0.0.1:1/</BaseURL><BaseURL>vod/</BaseURL>", ["0"]),
        ("<BaseURL> </BaseURL><BaseURL>vod/</BaseURL>", ["0"]),
        ("<BaseURL>vod/</BaseURL>", ["gone", "0"]),
        ("<BaseURL>vod/</BaseURL>", ["gone", "lost", "0"]),
    ],
    ids=["place", "server", "empty", "representation", "two representations"],
)
def test_where_one_fails_another_is_asked(
    nginx: Nginx, executor: ThreadPoolExecutor, bases: str, representations: list[str]
) -> None:
    (nginx.www / "another.mpd").write_text(_segmented(bases, *representations))
    played = _play(nginx.http("another.mpd"), executor)
    assert played.error is None
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")
    played.check_steps()


def test_a_representation_that_dies_is_left_for_another(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    folder = nginx.www / "dies"
    shutil.copytree(nginx.www / "vod", folder)
    for path in list(folder.glob("*stream0*")):
        if not path.name.endswith(("4.m4s", "5.m4s", "6.m4s")):
            shutil.copy(path, folder / path.name.replace("stream0", "stream7"))
    (nginx.www / "dies.mpd").write_text(_segmented("<BaseURL>dies/</BaseURL>", "7", "0"))
    played = _play(nginx.http("dies.mpd"), executor)
    assert played.error is None
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")
    played.check_steps()
    assert any("another variant" in note for note in played.notes)


def test_without_an_initialization_the_pictures_are_played_alone(
    nginx: Nginx, executor: ThreadPoolExecutor
) -> None:
    (nginx.www / "alone.mpd").write_text(_segmented("<BaseURL>vod/</BaseURL>", "0", sound="gone"))
    played = _play(nginx.http("alone.mpd"), executor)
    assert played.error is None
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")
    assert played.of(TrackKind.AUDIO) == []
    assert "init-streamgone.m4s" in played.notes[0]


# --- live ---------------------------------------------------------------------------------------------------


@contextmanager
def _writer(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A live presentation in real time, four segments long, as soon as it is that long."""
    folder.mkdir()
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re", *_INPUTS, *_CODECS, *_DASH]
    command += ["-window_size", "4", "-extra_window_size", "3", *options]
    process = subprocess.Popen([*command, str(folder / "live.mpd")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _DEADLINE_S
        while not (folder / "chunk-stream0-00004.m4s").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("timeline", ["1", "0"], ids=["timeline", "clock"])
def test_live_is_joined_behind_its_edge_and_ends_as_it_says(
    nginx: Nginx, executor: ThreadPoolExecutor, timeline: str
) -> None:
    with _writer(nginx.www / f"live{timeline}", "-use_timeline", timeline) as process:
        stopped = threading.Event()

        def enough(packets: list[Packet]) -> bool:
            # More than the window that was there at first.
            if packets[-1].dts_us > 6_000_000 and not stopped.is_set():
                stopped.set()
                process.terminate()  # ffmpeg then writes a manifest of a recording
            return False

        played = _play(nginx.http(f"live{timeline}/live.mpd"), executor, enough)
    assert (played.probe.live, played.probe.seekable, played.probe.duration_us) == (True, False, None)
    assert played.error is None
    assert played.of(TrackKind.VIDEO)[0].key
    played.check_steps()


def _stopped(nginx: Nginx, name: str, delay: str = "", inside: str = "") -> str:
    """A live presentation of six segments of a second that stands still; its address."""
    asked = f'suggestedPresentationDelay="{delay}"' if delay else ""
    text = (nginx.www / "vod/index.mpd").read_text().replace('type="static"', f'type="dynamic" {asked}')
    (nginx.www / f"vod/{name}").write_text(text.replace("<Period", f"{inside}<Period"))
    return nginx.http(f"vod/{name}")


@pytest.mark.parametrize(
    ("delay", "first"),
    [("PT5S", 2), ("", 4), ("PT1S", 5), ("PT1H", 1)],
    ids=["asked", "three segments", "at least two", "all there is"],
)
def test_live_is_joined_at_a_distance(
    nginx: Nginx, executor: ThreadPoolExecutor, delay: str, first: int
) -> None:
    played = _play(_stopped(nginx, "distance.mpd", delay), executor, lambda _: True)
    assert played.pictures()[0] in (nginx.www / f"vod/chunk-stream0-0000{first}.m4s").read_bytes()
    assert abs(played.of(TrackKind.VIDEO)[0].dts_us) < 1_000
    assert played.of(TrackKind.AUDIO)[0].dts_us > -30_000


def test_live_that_stops_growing_is_lost(
    nginx: Nginx, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hls_reload, "STALL_S", 1.0)
    played = _play(_stopped(nginx, "stops.mpd"), executor)
    assert played.error is not None
    assert (played.error.reason, played.error.transient) == (Reason.SOURCE_INTERRUPTED, True)
    assert "did not grow" in str(played.error)
    assert len(played.pictures()) > 2 * _RATE


def test_waiting_at_the_edge_can_be_aborted(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        source = await source_for(_stopped(nginx, "waits.mpd"), _DIALER, executor)
        assert isinstance(source, DashSource)
        try:
            await loop.run_in_executor(executor, source.open)
            reading = loop.run_in_executor(executor, source.read, 1_000_000_000)
            done, _ = await asyncio.wait({reading}, timeout=0.5)
            assert not done
            begun = time.monotonic()
            source.abort()
            assert await reading  # what was read before is given first
            with pytest.raises(SourceError, match="aborted"):
                await loop.run_in_executor(executor, source.read, 1_000_000_000)
            return time.monotonic() - begun
        finally:
            source.close()

    assert asyncio.run(run()) < 1


def test_live_that_begins_anew_is_played_on(
    nginx: Nginx, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hls_reload, "STALL_S", 1.0)
    first = _stopped(nginx, "anew.mpd")
    path = nginx.www / "vod/anew.mpd"
    before = path.read_text()

    def begin_anew(packets: list[Packet]) -> bool:
        path.write_text(before.replace("<MPD ", '<MPD availabilityStartTime="2026-01-01T00:00:00Z" ', 1))
        return False

    played = _play(first, executor, begin_anew)
    # The last three seconds of both, but for what is read when it fails.
    right = _pictures_of(nginx.www / "base.mp4")[3 * _RATE :] * 2
    count = len(played.pictures())
    assert played.pictures() == right[:count]
    assert count > 5.5 * _RATE
    assert max(b - a for a, b in pairwise(p.dts_us for p in played.of(TrackKind.VIDEO))) < 60_000
    assert "began anew" in played.notes[0]
    assert "did not grow" in str(played.error)


def _by_clock(base: str, *, ahead_s: float, inside: str = "") -> str:
    """The manifest of a live presentation whose six segments are there by now, by the clock of a server that
    is so much ahead of ours."""
    began = datetime.fromtimestamp(time.time() + ahead_s - 6.5, UTC).isoformat()
    sets = "".join(
        f'<AdaptationSet mimeType="{kind}/mp4"><Representation id="{n}"><SegmentTemplate duration="1" '
        f'initialization="init-stream{n}.m4s" media="chunk-stream{n}-$Number%05d$.m4s"/></Representation>'
        "</AdaptationSet>"
        for n, kind in enumerate(("video", "audio"))
    )
    inside = f'<BaseURL>{base}</BaseURL>{inside}<Period start="PT0S">{sets}</Period>'
    return _manifest(inside, f'type="dynamic" availabilityStartTime="{began}"')


def test_a_late_segment_is_waited_for_and_a_missing_one_is_a_loss(
    nginx: Nginx, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hls_reload, "STALL_S", 1.0)
    text = ""

    def answer(request: str, connection: socket.socket) -> None:
        path = request.split()[1][1:]
        file = nginx.www / "vod" / path
        late = path == "chunk-stream0-00006.m4s" and sum(path in asked for asked in server.requests) < 3
        body = text.encode() if path == "live.mpd" else file.read_bytes() if file.exists() else b""
        status = "404 Not Found" if late or not body else "200 OK"
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    with ScriptedServer(answer) as server:
        text = _by_clock(server.url(), ahead_s=0)
        played = _play(server.url("/live.mpd"), executor)
    assert played.pictures()[-1] in (nginx.www / "vod/chunk-stream0-00006.m4s").read_bytes()
    played.check_steps()
    assert played.error is not None
    assert (played.error.reason, played.error.transient) == (Reason.SOURCE_INTERRUPTED, True)
    assert "00007.m4s was not there for 3 s" in str(played.error)


@pytest.mark.parametrize("scheme", ["direct:2014", "http-iso:2014", "http-xsdate:2014"])
def test_the_server_may_tell_its_clock(nginx: Nginx, executor: ThreadPoolExecutor, scheme: str) -> None:
    now = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
    (nginx.www / "now.txt").write_text(f"{now}\n")
    value = now if scheme.startswith("direct") else nginx.http("now.txt")
    clocks = '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:ntp:2014" value="ntp.example"/>'
    # One that we may not ask is passed over.
    clocks += '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="http://127.0.0.2/now"/>'
    clocks += f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:{scheme}" value="{value}"/>'
    path = nginx.www / "clock.mpd"
    path.write_text(_by_clock(nginx.http("vod/"), ahead_s=3600, inside=clocks))
    played = _play(nginx.http("clock.mpd"), executor, lambda _: True)
    assert played.pictures()[0] in (nginx.www / "vod/chunk-stream0-00004.m4s").read_bytes()


@pytest.mark.parametrize(("clock", "age"), [("", 0), ("", 500), ("http-head:2014", 0)])
def test_else_the_date_of_its_answers_is_its_clock(
    nginx: Nginx, executor: ThreadPoolExecutor, clock: str, age: int
) -> None:
    """A segment that is not there yet by its clock would not be there for an hour."""
    text = ""

    def answer(request: str, connection: socket.socket) -> None:
        path = request.split()[1][1:]
        body = text.encode() if path == "live.mpd" else (nginx.www / "vod" / path).read_bytes()
        hour_s = 0 if clock and path == "live.mpd" else 3600
        date = format_datetime(datetime.fromtimestamp(time.time() + hour_s - age, UTC), usegmt=True)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nDate: {date}\r\nAge: {age}\r\n\r\n"
        connection.sendall(head.encode() + body)

    with ScriptedServer(answer) as server:
        timing = f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:{clock}" value="{server.url("/index.mpd")}"/>'
        text = _by_clock(server.url(), ahead_s=3600, inside=timing if clock else "")
        played = _play(server.url("/live.mpd"), executor, lambda _: True)
    assert played.pictures()[0] in (nginx.www / "vod/chunk-stream0-00004.m4s").read_bytes()


@pytest.mark.parametrize("fault", ["older", "502", "page", "cut"])
def test_a_manifest_that_cannot_be_read_again_for_once(
    nginx: Nginx, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(hls_reload, "_LONGEST_TARGET_S", 0.1)
    vod = (nginx.www / "vod/index.mpd").read_text().replace('type="static"', 'type="dynamic"')
    asked = 0

    def listed(count: int) -> bytes:
        def first(found: re.Match[str]) -> str:
            entries = re.findall(r"<S [^>]*/>", found[0])
            told = [e for entry in entries for e in _unrolled(entry)][:count]
            return f"<SegmentTimeline>{''.join(told)}</SegmentTimeline>"

        text = re.sub(r"<SegmentTimeline>.*?</SegmentTimeline>", first, vod, flags=re.S)
        return (text if count < 6 else text.replace('type="dynamic"', 'type="static"')).encode()

    faults = {"older": listed(3), "page": b"<html></html>", "cut": listed(5)[:400]}

    def answer(request: str, connection: socket.socket) -> None:
        nonlocal asked
        path = request.split()[1][1:]
        body, status = b"", "200 OK"
        if path == "live.mpd":
            asked += 1
            body = faults.get(fault, b"") if asked == 2 else listed(min(6, 2 + asked + (asked == 1)))
            status = "502 Bad Gateway" if not body else status
        else:
            body = (nginx.www / "vod" / path).read_bytes()
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    with ScriptedServer(answer) as server:
        played = _play(server.url("/live.mpd"), executor)
    assert asked > 3
    assert played.error is None
    assert played.pictures() == _pictures_of(nginx.www / "base.mp4")[_RATE:]
    played.check_steps()


def _unrolled(entry: str) -> list[str]:
    """Of a segment of a timeline and its repetitions."""
    again = re.search(r' r="(\d+)"', entry)
    one = re.sub(r' r="\d+"', "", entry)
    return [one] + [re.sub(r' t="\d+"', "", one)] * (int(again[1]) if again else 0)


def test_live_without_segments_is_waited_for(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    text = (nginx.www / "vod/index.mpd").read_text().replace('type="static"', 'type="dynamic"')
    begin, end = text.index("<S t="), text.rindex("</SegmentTimeline>")
    (nginx.www / "empty.mpd").write_text(text[:begin] + text[end:])
    with pytest.raises(SourceError, match="no segments yet") as caught:
        _play(nginx.http("empty.mpd"), executor)
    assert caught.value.transient


def test_a_server_that_falls_silent_costs_the_rest_of_a_segment(
    nginx: Nginx, executor: ThreadPoolExecutor
) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        path = request.split()[1]
        data = (nginx.www / "vod" / path[1:]).read_bytes()
        part = data[: len(data) // 2] if path.endswith("stream0-00002.m4s") else data
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + part)
        if part is not data:
            wait_for_close(connection)

    async def run(url: str) -> tuple[list[Packet], list[str]]:
        loop = asyncio.get_running_loop()
        connect = partial(HttpFile, dialer=_DIALER, loop=loop, timeouts=HttpTimeouts(stall_s=0.3))
        file = connect(url)

        def read() -> tuple[list[Packet], list[str]]:
            source = DashSource(file, SniffedFile(file), connect)
            packets: list[Packet] = []
            try:
                source.open()
                while more := source.read(1_000_000_000):
                    packets += more
                return packets, source.notes.take()
            finally:
                source.close()

        return await loop.run_in_executor(executor, read)

    with ScriptedServer(answer) as server:
        packets, notes = asyncio.run(run(server.url("/index.mpd")))
    video = [packet.dts_us for packet in packets if packet.kind is TrackKind.VIDEO]
    begun, went_on = next((a, b) for a, b in pairwise(video) if b - a > 40_000)
    assert 1_000_000 < begun < went_on == 2_000_000
    assert video[-1] > 5_900_000
    assert len(notes) == 1
    assert "nothing came for 0.3 s" in notes[0]


def test_what_fell_behind_goes_on_near_the_edge(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    def read(source: DashSource) -> tuple[list[Packet], list[Packet]]:
        source.open()
        before = source.read(500_000)
        deadline = time.monotonic() + _DEADLINE_S
        while (edge := source.edge()) is not None and edge.newest_us < 6_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert source.skip()
        return before, source.read(before[-1].dts_us + 1_000_000)

    async def run() -> tuple[list[Packet], list[Packet]]:
        source = await source_for(nginx.http("behind.mpd"), _DIALER, executor)
        assert isinstance(source, DashSource)
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, read, source)
        finally:
            source.close()

    # Half of the segments are there at first.
    (nginx.www / "behind.mpd").write_text(_by_clock(nginx.http("vod/"), ahead_s=3))
    before, after = asyncio.run(run())
    picture, sound = (next(packet for packet in after if packet.kind is kind) for kind in TrackKind)
    assert picture.key
    assert picture.data in (nginx.www / "vod/chunk-stream0-00004.m4s").read_bytes()
    assert sound.data in (nginx.www / "vod/chunk-stream1-00004.m4s").read_bytes()
    assert abs(picture.dts_us - before[-1].dts_us) < 200_000
    assert abs(picture.dts_us - sound.dts_us) < 30_000


# --- the address guard --------------------------------------------------------------------------------------

_TEMPLATE = (
    '<Period><AdaptationSet mimeType="video/mp4"><SegmentTemplate duration="2" {}/><Representation id="v"/>'
    "</AdaptationSet></Period>"
)
_LIST = (
    '<Period><AdaptationSet mimeType="video/mp4"><SegmentList duration="2"><SegmentURL media="{}"/>'
    '</SegmentList><Representation id="v"/></AdaptationSet></Period>'
)


def test_sound_at_an_address_that_is_none_is_left_out(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    for address in ("file:///etc/passwd", "concat:/etc/passwd", "gone.m4a"):
        (nginx.www / "mute.mpd").write_text(_manifest(f"<Period>{_FILES.format('v.mp4', address)}</Period>"))
        played = _play(nginx.http("mute.mpd"), executor)
        assert played.error is None
        assert played.pictures() == _pictures_of(nginx.www / "base.mp4")
        assert any("the sound is left out" in note and address in note for note in played.notes)


@pytest.mark.parametrize(
    "manifest",
    [
        f"<BaseURL>{{}}</BaseURL><Period>{_FILES.format('v.mp4', 'a.m4a')}</Period>",
        f"<Period>{_FILES.format('v.mp4', '{}a.m4a')}</Period>",
        _TEMPLATE.format('media="{}$Number$.m4s"'),
        _TEMPLATE.format('media="vod/chunk-stream0-0000$Number$.m4s" initialization="{}init.mp4"'),
        _LIST.format("{}1.m4s"),
    ],
    ids=["base", "sound", "segments", "initialization", "list"],
)
@pytest.mark.parametrize(
    ("elsewhere", "reason", "words"),
    [
        ("http://127.0.0.2/", Reason.ADDRESS_NOT_ALLOWED, "--allow-networks"),
        ("http://169.254.169.254/", Reason.ADDRESS_NOT_ALLOWED, "--allow-networks"),
        ("file:///etc/", Reason.SOURCE_UNSUPPORTED, "no usable address"),
        ("concat:/etc/", Reason.SOURCE_UNSUPPORTED, "no usable address"),
    ],
)
def test_a_manifest_leads_nowhere_but_to_permitted_addresses(
    nginx: Nginx, executor: ThreadPoolExecutor, manifest: str, elsewhere: str, reason: Reason, words: str
) -> None:
    if reason is Reason.SOURCE_UNSUPPORTED and "{}a.m4a" in manifest:
        manifest = manifest.replace("v.mp4", "{}v.mp4")  # pictures would be played without this sound
    (nginx.www / "leads.mpd").write_text(_manifest(manifest.replace("{}", elsewhere)))
    with pytest.raises(SourceError) as caught:
        _play(nginx.http("leads.mpd"), executor)
    assert (caught.value.reason, caught.value.transient) == (reason, False)
    assert words in str(caught.value)


def test_a_redirected_segment_is_guarded_too(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/v.mp4\r\n\r\n")

    with ScriptedServer(answer) as server:
        text = _manifest(f"<BaseURL>{server.url()}</BaseURL><Period>{_FILES.format('v', 'a')}</Period>")
        (nginx.www / "redirects.mpd").write_text(text)
        with pytest.raises(SourceError) as caught:
            _play(nginx.http("redirects.mpd"), executor)
    assert caught.value.reason is Reason.ADDRESS_NOT_ALLOWED


def test_a_live_manifest_cannot_move_to_a_refused_address(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    location = "<Location>http://127.0.0.2/live.mpd</Location>"
    error = _play(_stopped(nginx, "moves.mpd", inside=location), executor).error
    assert error is not None
    assert (error.reason, error.transient) == (Reason.ADDRESS_NOT_ALLOWED, False)
