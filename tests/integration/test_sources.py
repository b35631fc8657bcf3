"""Sources over HTTP against nginx with clips of ffmpeg, and against servers that behave badly."""

import asyncio
import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.hls import HlsSource
from sluice.media.source.table import FileSource, LiveSource, source_for
from sluice.net.dial import Dialer
from sluice.wire.h264 import AvcConfig, split_annexb, split_avcc
from tests.integration.nginx import Nginx
from tests.integration.scripted import Answer, ScriptedServer, wait_for_close
from tests.integration.tls import localhost_tls

_LOOPBACK = Dialer(AddressPolicy(["127.0.0.1/32"]))
_SECONDS = 6
_X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p"]
_INPUTS = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"]
_INPUTS += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", str(_SECONDS)]
_KEY = bytes(range(16))
_KEY_ID = ("-encryption_kid", "11" * 16)
_SEGMENTS = ["-hls_time", "2", "-hls_list_size", "0", "-hls_playlist_type", "vod"]

#: Name, the way from the base clip, and what the probe says: codecs of video and audio.
_FILES: dict[str, tuple[list[str], str | None, str | None]] = {
    "clip.mp4": (["-c", "copy", "-movflags", "+faststart"], "h264", "aac"),
    "clip.mov": (["-c", "copy"], "h264", "aac"),
    "clip.m4a": (["-c", "copy", "-vn"], None, "aac"),
    "clip.flv": (["-c", "copy"], "h264", "aac"),
    "clip.ts": (["-c", "copy"], "h264", "aac"),
    "clip.mkv": (["-c", "copy"], "h264", "aac"),
    "clip.aac": (["-c", "copy", "-vn"], None, "aac"),
    "clip.mp3": (["-c:a", "libmp3lame", "-vn"], None, "mp3float"),
    "clip.ogg": (["-c:a", "libopus", "-vn"], None, "opus"),
    "clip.wav": (["-c:a", "pcm_s16le", "-vn"], None, "pcm_s16le"),
    "clip.flac": (["-c:a", "flac", "-vn"], None, "flac"),
    "vod/ts.m3u8": (["-c", "copy", *_SEGMENTS], "h264", "aac"),
    "fmp4/index.m3u8": (["-c", "copy", *_SEGMENTS, "-hls_segment_type", "fmp4"], "h264", "aac"),
    "ranges/index.m3u8": (["-c", "copy", *_SEGMENTS, "-hls_flags", "single_file"], "h264", "aac"),
    "keys/index.m3u8": (["-c", "copy", *_SEGMENTS, "-hls_key_info_file", "{key}"], "h264", "aac"),
    "dash/vod.mpd": (["-c", "copy", "-f", "dash", "-seg_duration", "2"], "h264", "aac"),
    "numbers/vod.mpd": (
        ["-c", "copy", "-f", "dash", "-seg_duration", "2", "-use_timeline", "0"],
        "h264",
        "aac",
    ),
    "parts/vod.mpd": (
        ["-c", "copy", "-f", "dash", "-seg_duration", "2", "-single_file", "1", "-use_template", "0"],
        "h264",
        "aac",
    ),
    "turned.mp4": (["-c", "copy", "-metadata:s:v", "rotate=90"], "h264", "aac"),
    "secret.mp4": (
        ["-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "00" * 16, *_KEY_ID],
        "h264",
        "aac",
    ),
    "b.mp4": (["-c:v", "libx264", "-bf", "2", "-preset", "ultrafast", "-c:a", "copy"], "h264", "aac"),
}
_UNPLAYABLE = {"secret.mp4"}


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        base = server.folder / "base.mp4"
        _ffmpeg(*_INPUTS, *_X264, "-c:a", "aac", "-ac", "2", base)
        (server.www / "secret.key").write_bytes(_KEY)
        key_info = server.folder / "key.info"
        key_info.write_text(f"{server.http('secret.key')}\n{server.www / 'secret.key'}\n")
        for name, (arguments, _, _) in _FILES.items():
            (server.www / name).parent.mkdir(exist_ok=True)
            _ffmpeg("-i", base, *(a.format(key=key_info) for a in arguments), server.www / name)
        yield server


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def _read_file(source: FileSource, until: Callable[[list[Packet]], bool]) -> list[Packet]:
    packets: list[Packet] = []
    while (more := source.read((packets[-1].dts_us if packets else 0) + 500_000)) and not until(packets):
        packets += more
    return packets


def _play(
    url: str, executor: ThreadPoolExecutor, until: Callable[[list[Packet]], bool] = lambda _: False
) -> tuple[Probe, list[Packet]]:
    """What a FileSource tells and gives."""

    async def run() -> tuple[Probe, list[Packet]]:
        loop = asyncio.get_running_loop()
        source = await source_for(url, _LOOPBACK, executor)
        assert not source.live
        try:
            probe = await loop.run_in_executor(executor, source.open)
            return probe, await loop.run_in_executor(executor, _read_file, source, until)
        finally:
            source.close()

    return asyncio.run(run())


def _error(url: str, executor: ThreadPoolExecutor) -> SourceError:
    with pytest.raises(SourceError) as caught:
        _play(url, executor)
    return caught.value


def _slices(units: list[bytes | memoryview]) -> list[str]:
    return [hashlib.sha256(unit).hexdigest() for unit in units if unit[0] & 0x1F in (1, 5)]


def _slices_of(probe: Probe, packets: list[Packet]) -> list[str]:
    assert probe.video is not None
    size = AvcConfig.parse(probe.video.extradata).length_size
    return [h for p in packets if p.kind is TrackKind.VIDEO for h in _slices(split_avcc(p.data, size))]


def _slices_of_file(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        if extradata[0] == 1:
            size = AvcConfig.parse(extradata).length_size
            return [h for p in container.demux(stream) if p.size for h in _slices(split_avcc(bytes(p), size))]
        packets = [bytes(p) for p in container.demux(stream) if p.size]
        return [h for data in packets for h in _slices(list(split_annexb(data)))]


def _check_times(packets: list[Packet], seconds: float) -> None:
    for kind in TrackKind:
        times = [packet.dts_us for packet in packets if packet.kind is kind]
        assert times == sorted(times)
        if times:
            assert abs(times[0]) < 150_000
            assert abs(times[-1] / 1e6 - seconds) < 0.3


@pytest.mark.parametrize("name", sorted(_FILES.keys() - _UNPLAYABLE))
def test_every_container_is_played_to_its_end(nginx: Nginx, executor: ThreadPoolExecutor, name: str) -> None:
    probe, packets = _play(nginx.http(name), executor)
    assert (probe.video and probe.video.codec, probe.audio and probe.audio.codec) == _FILES[name][1:]
    assert (probe.live, probe.seekable) == (False, True)
    assert probe.duration_us is not None
    assert abs(probe.duration_us / 1e6 - _SECONDS) < 0.3
    _check_times(packets, _SECONDS)
    if probe.video is not None:
        assert (probe.video.width, probe.video.height) == (320, 240)
        assert probe.video.has_b_frames == (name == "b.mp4")
        assert probe.video.rotation == (90 if name == "turned.mp4" else 0)
        path = nginx.www / name if name == "b.mp4" else nginx.folder / "base.mp4"
        assert _slices_of(probe, packets) == _slices_of_file(path)
        video = [packet for packet in packets if packet.kind is TrackKind.VIDEO]
        assert len(video) == _SECONDS * 25
        assert video[0].key


@pytest.mark.parametrize(
    "name", ["clip.mp4", "clip.flv", "clip.ts", "clip.mp3", "vod/ts.m3u8", "fmp4/index.m3u8", "dash/vod.mpd"]
)
def test_a_file_goes_on_at_a_position(nginx: Nginx, executor: ThreadPoolExecutor, name: str) -> None:
    async def run() -> list[Packet]:
        loop = asyncio.get_running_loop()
        source = await source_for(nginx.http(name), _LOOPBACK, executor)
        assert not source.live
        try:
            await loop.run_in_executor(executor, source.open)
            await loop.run_in_executor(executor, source.read, 1_000_000)
            await loop.run_in_executor(executor, source.seek, 4_500_000)
            return await loop.run_in_executor(executor, _read_file, source, lambda _: False)
        finally:
            source.close()

    packets = asyncio.run(run())
    assert 1_900_000 < packets[0].dts_us < 4_700_000
    assert packets[-1].dts_us > 5_800_000
    if any(packet.kind is TrackKind.VIDEO for packet in packets):
        first = next(packet for packet in packets if packet.kind is TrackKind.VIDEO)
        assert first.key
        assert first.dts_us <= 4_520_000


def test_encrypted_media_without_a_key_is_refused(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    error = _error(nginx.http("secret.mp4"), executor)
    assert (error.reason, error.transient) == (Reason.SOURCE_UNSUPPORTED, False)
    assert "encrypted" in str(error)


_SEGMENT = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        ("<!DOCTYPE html><html>nothing here</html>", Reason.SOURCE_UNSUPPORTED, "HTML"),
        ('<?xml version="1.0"?>\n<MPD type="static"></MPD>', Reason.SOURCE_UNSUPPORTED, "neither video"),
        ("no media at all, whatever the name says", Reason.SOURCE_UNSUPPORTED, "no media"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-ENDLIST\n", Reason.SOURCE_UNSUPPORTED, "no segments"),
        (_SEGMENT.format("file:///etc/passwd"), Reason.SOURCE_UNSUPPORTED, "file:///etc/passwd"),
        (_SEGMENT.format("concat:a|b"), Reason.SOURCE_UNSUPPORTED, "concat:"),
        (_SEGMENT.format("http://10.0.0.1/a.ts"), Reason.ADDRESS_NOT_ALLOWED, "--allow-networks"),
        (_SEGMENT.format("http://127.0.0.2/a.ts"), Reason.ADDRESS_NOT_ALLOWED, "--allow-networks"),
        (
            _SEGMENT.format("x.ts").replace("#EXTINF", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXTINF'),
            Reason.SOURCE_UNSUPPORTED,
            "SAMPLE-AES",
        ),
        (
            _SEGMENT.format("x.ts").replace(
                "#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.2/k"\n#EXTINF'
            ),
            Reason.ADDRESS_NOT_ALLOWED,
            "--allow-networks",
        ),
    ],
)
def test_what_can_never_play_is_refused(
    nginx: Nginx, executor: ThreadPoolExecutor, body: str, reason: Reason, words: str
) -> None:
    (nginx.www / "bad.mp4").write_text(body)
    error = _error(nginx.http("bad.mp4"), executor)
    assert (error.reason, error.transient) == (reason, False)
    assert words in str(error)


@contextmanager
def _server(answer: Answer) -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        yield server


def _head(kind: str, *more: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", f"Content-Type: {kind}", *more, "", "")).encode()


def test_an_endless_redirect_is_given_up(executor: ThreadPoolExecutor) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again.m3u8\r\nContent-Length: 0\r\n\r\n")

    with _server(answer) as server:
        error = _error(server.url("/a.m3u8"), executor)
    assert (error.reason, error.transient) == (Reason.SOURCE_REFUSED, True)


def test_a_redirected_playlist_is_read_from_where_it_is(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    def answer(request: str, connection: socket.socket) -> None:
        if "/master" in request:
            master = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="hvc1,mp4a.40.2"\nhevc.m3u8\n'
            master += '#EXT-X-STREAM-INF:BANDWIDTH=2,CODECS="avc1.64000d,mp4a.40.2"\ngood.m3u8\n'
            master += '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.64000d,mp4a.40.2"\nlow.m3u8\n'
            connection.sendall(_head("text/plain", f"Content-Length: {len(master)}") + master.encode())
        elif "/good.m3u8" in request:
            location = nginx.http("vod/ts.m3u8")
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode())

    with _server(answer) as server:
        probe, packets = _play(server.url("/master"), executor)
    assert _slices_of(probe, packets) == _slices_of_file(nginx.folder / "base.mp4")


def test_sound_with_a_playlist_of_its_own_is_played_along(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    folder = nginx.www / "apart"
    folder.mkdir(exist_ok=True)
    base = nginx.folder / "base.mp4"
    _ffmpeg("-i", base, "-c", "copy", "-an", *_SEGMENTS, folder / "v.m3u8")
    _ffmpeg("-i", base, "-c", "copy", "-vn", *_SEGMENTS, folder / "a.m3u8")
    (folder / "all.m3u8").write_text(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="s",NAME="x",DEFAULT=YES,URI="a.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1.f4000d,mp4a.40.2",AUDIO="s"\nv.m3u8\n'
    )
    probe, packets = _play(nginx.http("apart/all.m3u8"), executor)
    assert probe.video is not None
    assert probe.audio is not None
    _check_times(packets, _SECONDS)
    assert [p.dts_us for p in packets] == sorted(p.dts_us for p in packets)


def test_a_discontinuity_runs_on(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    folder = nginx.www / "vod"
    text = (folder / "ts.m3u8").read_text()
    body = text[text.index("#EXTINF") : text.index("#EXT-X-ENDLIST")]
    head = text[: text.index("#EXTINF")]
    (folder / "twice.m3u8").write_text(f"{head}{body}#EXT-X-DISCONTINUITY\n{body}#EXT-X-ENDLIST\n")
    probe, packets = _play(nginx.http("vod/twice.m3u8"), executor)
    assert _slices_of(probe, packets) == _slices_of_file(nginx.folder / "base.mp4") * 2
    for kind, tolerance_us in ((TrackKind.VIDEO, 1), (TrackKind.AUDIO, 25_000)):  # encoders pad the sound
        steps = [b - a for a, b in pairwise(p.dts_us for p in packets if p.kind is kind)]
        assert min(steps) > -tolerance_us
        assert max(steps) < 45_000


# --- without a length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.flv", "clip.ts", "clip.mp3", "clip.mp4"])
def test_a_recording_without_a_length_is_a_file(
    nginx: Nginx, executor: ThreadPoolExecutor, name: str
) -> None:
    body = (nginx.www / name).read_bytes()

    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(_head("application/octet-stream") + body)

    async def run(url: str) -> tuple[Probe, list[Packet], list[Packet]]:
        loop = asyncio.get_running_loop()
        source = await source_for(url, _LOOPBACK, executor)
        assert not source.live
        try:
            probe = await loop.run_in_executor(executor, source.open)
            first = await loop.run_in_executor(executor, _read_file, source, lambda _: False)
            await loop.run_in_executor(executor, source.seek, 0)
            return probe, first, await loop.run_in_executor(executor, _read_file, source, lambda _: False)
        finally:
            source.close()

    with _server(answer) as server:
        probe, packets, again = asyncio.run(run(server.url("/x")))
    assert (probe.live, probe.seekable) == (False, False)
    _check_times(packets, _SECONDS)
    for kind in TrackKind:
        one, other = ([(p.dts_us, p.data) for p in run if p.kind is kind] for run in (packets, again))
        assert one == other


def _live_answer(path: Path, arguments: list[str], ends: threading.Event) -> Answer:
    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(_head("video/x-flv"))
        command = [
            "ffmpeg",
            "-nostdin",
            "-v",
            "error",
            "-re",
            "-i",
            str(path),
            *arguments,
            "-flush_packets",
            "1",
        ]
        with subprocess.Popen([*command, "pipe:1"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while data := os.read(process.stdout.fileno(), 65536):
                connection.sendall(data)
                if ends.is_set():
                    process.kill()

    return answer


@pytest.mark.parametrize("form", ["flv", "mpegts"])
def test_an_endless_stream_is_passed_on_as_it_arrives(
    nginx: Nginx, executor: ThreadPoolExecutor, form: str
) -> None:
    base = nginx.folder / "base.mp4"

    async def run(url: str) -> tuple[Probe, list[Packet], SourceError, float]:
        begun = time.monotonic()
        source = await source_for(url, _LOOPBACK, executor)
        assert source.live
        packets: list[Packet] = []
        try:
            probe = await source.open()
            while True:
                packets += await source.read()
        except SourceError as error:
            return probe, packets, error, time.monotonic() - begun
        finally:
            await source.close()

    with _server(_live_answer(base, ["-c", "copy", "-f", form], threading.Event())) as server:
        probe, packets, error, took_s = asyncio.run(run(server.url("/live")))
    assert (probe.live, probe.seekable) == (True, False)
    assert probe.video is not None
    assert probe.audio is not None
    assert not probe.video.has_b_frames
    assert (error.reason, error.transient) == (Reason.SOURCE_INTERRUPTED, True)
    assert took_s > _SECONDS - 1.5
    assert _slices_of(probe, packets) == _slices_of_file(base)
    _check_times(packets, _SECONDS)


def test_a_live_source_that_is_closed_stops_reading(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    body = (nginx.www / "clip.flv").read_bytes()

    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(_head("video/x-flv") + body[:100_000])
        wait_for_close(connection)

    async def run(url: str) -> None:
        looking = asyncio.create_task(source_for(url, _LOOPBACK, executor))
        done, _ = await asyncio.wait({looking}, timeout=4)
        if not done:  # it waits for media that tells more; that can be broken off, too
            looking.cancel()
            await asyncio.wait({looking}, timeout=1)
            assert looking.cancelled()
            return
        source = cast(LiveSource, looking.result())
        await source.open()
        await source.read()
        async with asyncio.timeout(1):
            await source.close()

    with _server(answer) as server:
        asyncio.run(run(server.url("/live")))


# --- live HLS -----------------------------------------------------------------------------------------------


@contextmanager
def _live_playlist(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir()
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re", *_INPUTS[:-2], *_X264, "-c:a", "aac"]
    hls = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "6", "-hls_flags", "delete_segments"]
    process = subprocess.Popen([*command, *hls, str(folder / "live.m3u8")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (folder / "live3.ts").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_a_live_playlist_is_joined_behind_its_edge_and_ends_as_it_says(
    nginx: Nginx, executor: ThreadPoolExecutor
) -> None:
    with _live_playlist(nginx.www / "live") as process:
        told = False

        def enough(packets: list[Packet]) -> bool:
            nonlocal told
            if packets and packets[-1].dts_us > 5_000_000 and not told:
                told = True
                process.terminate()  # ffmpeg then writes ENDLIST, if it is not told again
            return False

        probe, packets = _play(nginx.http("live/live.m3u8"), executor, enough)
    assert (probe.live, probe.seekable, probe.duration_us) == (True, False, None)
    video = [packet.dts_us for packet in packets if packet.kind is TrackKind.VIDEO]
    assert abs(video[0]) < 100_000
    assert {b - a for a, b in pairwise(video)} <= {40_000}
    assert video[-1] > 5_000_000


def test_waiting_for_a_live_playlist_can_be_aborted(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    folder = nginx.www / "stuck"
    folder.mkdir()
    text = (nginx.www / "vod/ts.m3u8").read_text().replace("#EXT-X-ENDLIST", "")
    text = (
        text.replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "")
        .replace("ts0", "../vod/ts0")
        .replace("\nts", "\n../vod/ts")
    )
    (folder / "live.m3u8").write_text(text)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        source = await source_for(nginx.http("stuck/live.m3u8"), _LOOPBACK, executor)
        assert isinstance(source, HlsSource)
        try:
            assert (await loop.run_in_executor(executor, source.open)).live
            reading = loop.run_in_executor(executor, _read_file, source, lambda _: False)
            done, _ = await asyncio.wait({reading}, timeout=1)
            assert not done
            begun = time.monotonic()
            source.abort()
            with pytest.raises(SourceError, match="aborted"):
                await reading
            return time.monotonic() - begun
        finally:
            source.close()

    assert asyncio.run(run()) < 0.3


def test_a_live_playlist_without_segments_is_waited_for(nginx: Nginx, executor: ThreadPoolExecutor) -> None:
    (nginx.www / "empty.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n")
    error = _error(nginx.http("empty.m3u8"), executor)
    assert error.transient
    assert "no segments" in str(error)


# --- RTMPS --------------------------------------------------------------------------------------------------


def _pipe(a: socket.socket, b: socket.socket) -> None:
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        for end in (a, b):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def _tls_front(port: int, folder: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """TLS on a loopback port, passed on to the plain `port`."""
    inside, trusting = localhost_tls(folder)
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve() -> None:
        connection, _ = listener.accept()
        secure = inside.wrap_socket(connection, server_side=True)
        plain = socket.create_connection(("127.0.0.1", port))
        back = threading.Thread(target=_pipe, args=(plain, secure))
        back.start()
        _pipe(secure, plain)
        back.join(10)
        for end in (secure, plain):
            end.close()

    threads.append(threading.Thread(target=serve))
    threads[0].start()
    try:
        yield listener.getsockname()[1], trusting
    finally:
        threads[0].join(10)
        listener.close()


def test_rtmps_is_rtmp_through_tls(nginx: Nginx, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re", "-i", str(nginx.folder / "base.mp4"), "-c", "copy"]

    async def pull(port: int, tls: ssl.SSLContext) -> Probe:
        dialer = Dialer(AddressPolicy(["127.0.0.1/32"]), tls)
        source = await source_for(f"rtmps://localhost:{port}/live/tls", dialer, executor)
        assert source.live
        try:
            probe = await source.open()
            assert await source.read()
            return probe
        finally:
            await source.close()

    publisher = subprocess.Popen([*command, "-f", "flv", nginx.rtmp("tls")], stderr=subprocess.DEVNULL)
    try:
        with _tls_front(nginx.rtmp_port, tmp_path) as (port, tls):
            probe = asyncio.run(pull(port, tls))
    finally:
        publisher.kill()
        publisher.wait(10)
    assert probe.video is not None
    assert probe.audio is not None
