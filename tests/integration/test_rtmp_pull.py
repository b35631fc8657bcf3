"""RtmpSource against nginx-rtmp with ffmpeg as the publisher, and against servers that behave badly."""

import asyncio
import hashlib
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.rtmp import RtmpSource, RtmpTimeouts
from sluice.net.dial import Dialer
from sluice.wire.h264 import AvcConfig, split_avcc
from tests.integration.nginx import Nginx, free_port

_DEFAULT = RtmpTimeouts()
_SHORT = RtmpTimeouts(handshake_s=0.3, reply_s=0.3, media_s=0.3)
_LOOPBACK = Dialer(AddressPolicy(["127.0.0.0/8"]))
_VIDEO = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"]
_AUDIO = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"]
_X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "25"]
_AAC = ["-c:a", "aac", "-ac", "2"]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@contextmanager
def _publisher(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@asynccontextmanager
async def _source(url: str, timeouts: RtmpTimeouts = _DEFAULT) -> AsyncIterator[RtmpSource]:
    source = RtmpSource(url, _LOOPBACK, timeouts)
    try:
        yield source
    finally:
        await source.close()


async def _read(source: RtmpSource, enough: Callable[[list[Packet]], bool]) -> list[Packet]:
    packets: list[Packet] = []
    while not enough(packets):
        packets += await source.read()
    return packets


def _of(kind: TrackKind, packets: list[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.kind is kind]


def _slices(units: list[bytes | memoryview]) -> list[str]:
    return [hashlib.sha256(unit).hexdigest() for unit in units if unit[0] & 0x1F in (1, 5)]


def _slices_of_file(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        size = AvcConfig.parse(stream.codec_context.extradata or b"").length_size
        return [h for p in container.demux(stream) if p.size for h in _slices(split_avcc(bytes(p), size))]


def test_a_stream_arrives_unchanged_and_decodes(nginx: Nginx, tmp_path: Path) -> None:
    copy = tmp_path / "copy.flv"
    outputs = f"[f=flv]{nginx.rtmp('whole')}|[f=flv]{copy}"

    async def pull() -> list[Packet]:
        async with _source(nginx.rtmp("whole?token=secret")) as source:
            probe = await source.open()
            assert probe.video is not None
            assert probe.audio is not None
            assert (probe.video.codec, probe.video.width, probe.video.height) == ("h264", 320, 240)
            assert not probe.video.has_b_frames
            assert (probe.audio.codec, probe.audio.sample_rate, probe.audio.channels) == ("aac", 44100, 2)
            assert (probe.live, probe.seekable) == (True, False)
            return await _read(source, lambda packets: len(_of(TrackKind.VIDEO, packets)) >= 40)

    arguments = (*_VIDEO, *_AUDIO, "-map", "0:v", "-map", "1:a", *_X264, *_AAC, "-flags", "+global_header")
    with _publisher(*arguments, "-t", "20", "-f", "tee", outputs) as publisher:
        packets = asyncio.run(pull())
        publisher.terminate()
        publisher.wait(10)
    video, audio = _of(TrackKind.VIDEO, packets), _of(TrackKind.AUDIO, packets)
    assert video[0].key
    assert video[0].track is not None
    assert audio[0].track is not None
    assert [p.dts_us for p in video] == sorted(p.dts_us for p in video)
    size = AvcConfig.parse(video[0].track.extradata).length_size
    received = [h for p in video for h in _slices(split_avcc(p.data, size))]
    published = _slices_of_file(copy)
    first = published.index(received[0])
    assert received == published[first : first + len(received)]
    assert len(_decode("h264", video)) >= 38
    assert len(_decode("aac", audio)) >= len(audio) - 2


def _decode(codec: str, packets: list[Packet]) -> list[object]:
    decoder: Any = av.CodecContext.create(codec, "r")
    assert packets[0].track is not None
    decoder.extradata = packets[0].track.extradata
    frames: list[object] = []
    for packet in packets:
        frames += decoder.decode(av.Packet(packet.data))
    return [*frames, *decoder.decode(None)]


def test_b_frames_and_a_missing_track(nginx: Nginx) -> None:
    async def pull() -> None:
        async with _source(nginx.rtmp("bframes")) as source:
            probe = await source.open()
            assert probe.video is not None
            assert probe.video.has_b_frames
            assert probe.audio is None

    encoder = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p")
    with _publisher(*_VIDEO, *encoder, "-f", "flv", nginx.rtmp("bframes")):
        asyncio.run(pull())


def test_audio_alone(nginx: Nginx) -> None:
    async def pull() -> None:
        async with _source(nginx.rtmp("audio")) as source:
            probe = await source.open()
            assert probe.video is None
            assert probe.audio is not None
            await _read(source, lambda packets: len(packets) >= 10)

    with _publisher(*_AUDIO, *_AAC, "-f", "flv", nginx.rtmp("audio")):
        asyncio.run(pull())


@pytest.mark.parametrize("app", ["live", "strict"])
def test_the_publisher_is_killed(nginx: Nginx, app: str) -> None:
    """`strict` ends the connection; `live` falls silent."""

    async def pull(publisher: subprocess.Popen[bytes]) -> SourceError:
        async with _opened(nginx.rtmp(f"killed-{app}", app)) as source:
            await source.read()
            publisher.kill()
            with pytest.raises(SourceError) as caught:
                await _read(source, lambda _: False)
            return caught.value

    with _publisher(*_VIDEO, *_X264, "-f", "flv", nginx.rtmp(f"killed-{app}", app)) as publisher:
        error = asyncio.run(pull(publisher))
    assert error.reason is Reason.SOURCE_INTERRUPTED
    assert error.transient


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[RtmpSource]:
    """Retries until the publisher is there, as a task does."""
    async with asyncio.timeout(20):
        while True:
            async with _source(url, RtmpTimeouts(media_s=2)) as source:
                try:
                    await source.open()
                except SourceError as error:
                    assert error.transient  # noqa: PT017 - anything else must not be retried
                    await asyncio.sleep(0.05)
                    continue
                yield source
                return


async def _refusal(url: str, timeouts: RtmpTimeouts = _DEFAULT) -> SourceError:
    async with _source(url, timeouts) as source:
        with pytest.raises(SourceError) as caught:
            await source.open()
    return caught.value


@pytest.mark.parametrize(
    ("app", "reason"),
    [("strict", Reason.SOURCE_REFUSED), ("closed", Reason.SOURCE_REFUSED), ("live", Reason.IDLE_TIMEOUT)],
)
def test_no_such_stream(nginx: Nginx, app: str, reason: Reason) -> None:
    timeouts = RtmpTimeouts(media_s=0.3)
    error = asyncio.run(_refusal(nginx.rtmp("nobody", app), timeouts))
    assert error.reason is reason
    assert error.transient
    assert "is it being published?" in str(error)


def test_an_unknown_app(nginx: Nginx) -> None:
    error = asyncio.run(_refusal(nginx.rtmp("x", "unknown")))
    assert error.transient


def test_connection_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = asyncio.run(_refusal(f"rtmp://127.0.0.1:{unused.getsockname()[1]}/live/x"))
    assert error.reason is Reason.SOURCE_UNREACHABLE
    assert error.transient
    assert "refused" in str(error)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", Reason.SOURCE_UNREACHABLE),  # silence
        (b"\x03", Reason.SOURCE_UNREACHABLE),  # half a handshake
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.SOURCE_REFUSED),
        (b"\x03" + bytes(3072), Reason.SOURCE_UNREACHABLE),  # no answer to connect
        (None, Reason.SOURCE_REFUSED),  # closes
    ],
)
def test_servers_that_behave_badly(answer: bytes | None, reason: Reason) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1537)
        if answer:
            writer.write(answer)
        if answer is not None:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async def pull() -> SourceError:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await _refusal(f"rtmp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live/x", _SHORT)

    error = asyncio.run(pull())
    assert error.reason is reason
    assert error.transient


def test_the_guard() -> None:
    async def pull() -> None:
        await RtmpSource("rtmp://127.0.0.1/live/x", Dialer(AddressPolicy())).open()

    with pytest.raises(SourceError, match="--allow-networks") as caught:
        asyncio.run(pull())
    assert caught.value.reason is Reason.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize("url", ["rtmp://h", "rtmp:///app/x", "http://h/a/b", "rtmp://h:x/a/b"])
def test_urls_that_are_not_usable(url: str) -> None:
    with pytest.raises(SourceError, match="is no usable address: ") as caught:
        RtmpSource(url, _LOOPBACK)
    assert not caught.value.transient


def test_ffmpeg_as_the_server() -> None:
    """It takes one player and begins when that asks to play."""
    url = f"rtmp://127.0.0.1:{free_port()}/live/x"

    async def pull() -> None:
        async with _opened(url) as source:
            packets = await _read(source, lambda packets: len(_of(TrackKind.VIDEO, packets)) >= 40)
        video = _of(TrackKind.VIDEO, packets)
        assert len(_decode("h264", video)) >= 38
        assert len(_of(TrackKind.AUDIO, packets)) >= 40

    arguments = (*_VIDEO, *_AUDIO, "-map", "0:v", "-map", "1:a", *_X264, *_AAC)
    with _publisher(*arguments, "-f", "flv", "-listen", "1", url):
        asyncio.run(pull())
