"""What an HTTP address turns out to be: a station, a recording without a length, a list, or no media."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.media.packets import Packet
from sluice.media.source.playlist import PlaylistSource
from sluice.media.source.table import source_for
from sluice.net.dial import Dialer
from tests.integration.scripted import ScriptedServer, wait_for_close
from tests.integration.waiting import until

_LOOPBACK = Dialer(AddressPolicy(["127.0.0.1/32"]))
_RADIO_S, _SONG_S = 60, 2
_STORE, _BYTES_PER_S = 1 << 16, 3000  #: what Icecast keeps for a new player: 21 s of 24 kbit/s


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("clips")
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=22050")
    bare = ("-c:a", "libmp3lame", "-b:a", "24k", "-write_xing", "0", "-id3v2_version", "0")
    made: dict[str, tuple[str | int, ...]] = {
        "radio.mp3": (*tone, "-t", _RADIO_S, *bare),
        "radio.aac": (*tone, "-t", _RADIO_S, "-c:a", "aac", "-b:a", "24k"),
        "song.mp3": (*tone, "-t", _SONG_S, *bare),
        "song.flac": (*tone, "-t", _SONG_S, "-c:a", "flac"),
    }
    for name, arguments in made.items():
        command = ["ffmpeg", "-nostdin", "-v", "error", *map(str, arguments), str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def _head(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode()


def _radio(body: bytes, ends_after_s: float, *headers: str) -> ScriptedServer:
    """Sends what it has in store, then as much as comes into being, and closes."""

    def answer(request: str, connection: socket.socket) -> None:
        connection.sendall(_head("Content-Type: audio/mpeg", *headers) + body[:_STORE])
        begun = time.monotonic()
        sent = _STORE
        connection.settimeout(0.1)
        while (passed_s := time.monotonic() - begun) < ends_after_s:
            now = _STORE + int(passed_s * _BYTES_PER_S)
            connection.sendall(body[sent:now])
            sent = now
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                pass

    return ScriptedServer(answer)


def _site(pages: dict[str, tuple[bytes, ...]]) -> ScriptedServer:
    """Each page is its headers, and a body that is sent as fast as it can be; others are not found."""

    def answer(request: str, connection: socket.socket) -> None:
        head, body = pages.get(request.split(" ")[1], (b"HTTP/1.1 404 Not Found\r\n\r\n", b""))
        connection.sendall(head + body)

    return ScriptedServer(answer)


def _sized(body: bytes, kind: str = "text/plain") -> tuple[bytes, bytes]:
    return _head(f"Content-Type: {kind}", f"Content-Length: {len(body)}"), body


async def _play(url: str, executor: ThreadPoolExecutor) -> tuple[list[Packet], list[str]]:
    """What a recording gives, and the notes of a list."""
    loop = asyncio.get_running_loop()
    source = await source_for(url, _LOOPBACK, executor)
    assert not source.live
    packets: list[Packet] = []
    try:
        await loop.run_in_executor(executor, source.open)
        while more := await loop.run_in_executor(
            executor, source.read, (packets[-1].dts_us if packets else 0) + 500_000
        ):
            packets += more
    finally:
        await loop.run_in_executor(executor, source.close)
    return packets, source.notes.take() if isinstance(source, PlaylistSource) else []


def _seconds(packets: list[Packet]) -> float:
    """With the distance between two of them checked: no gap, nothing twice."""
    heard = [packet for packet in packets if packet.duration_us != 0]
    steps = [after.pts_us - before.pts_us for before, after in pairwise(heard)]
    assert 0 < min(steps) <= max(steps) < 60_000
    return (heard[-1].pts_us + steps[-1]) / 1e6


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("icy-name: Radio", "icy-br: 24", "Server: Icecast 2.4.4"),
        ("icy-br: 24", "Content-Length: 2147483647"),
    ],
    ids=["bare", "icecast", "with a length"],
)
@pytest.mark.parametrize("name", ["radio.mp3", "radio.aac"])
def test_a_station_with_much_in_store_is_live(
    clips: dict[str, bytes], executor: ThreadPoolExecutor, name: str, headers: tuple[str, ...]
) -> None:
    async def run(url: str) -> tuple[list[Packet], SourceError, float]:
        begun = time.monotonic()
        source = await source_for(url, _LOOPBACK, executor)
        assert source.live
        told_s = time.monotonic() - begun
        packets: list[Packet] = []
        try:
            await source.open()
            while True:
                packets += await source.read()
        except SourceError as error:
            return packets, error, told_s
        finally:
            await source.close()

    with _radio(clips[name], 2.5, *headers) as server:
        packets, error, told_s = asyncio.run(run(server.url("/stream")))
    assert (error.reason, error.transient) == (Reason.SOURCE_INTERRUPTED, True)
    assert told_s < 2
    # All that it had in store came, and what it sent until it closed: nothing was kept back.
    assert _seconds(packets) > (_STORE / _BYTES_PER_S + 2) * 0.95


@pytest.mark.parametrize("name", ["radio.mp3", "radio.aac"])
def test_a_recording_without_a_length_is_played_from_its_beginning(
    clips: dict[str, bytes], executor: ThreadPoolExecutor, name: str
) -> None:
    with _site({"/x": (_head("Content-Type: audio/mpeg"), clips[name])}) as server:
        packets, _ = asyncio.run(_play(server.url("/x"), executor))
    assert packets[0].dts_us < 60_000
    assert abs(_seconds(packets) - _RADIO_S) < 0.2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a.m3u", "#EXTM3U\n#EXTINF:2,Band - Song\nsong.mp3\n#EXTINF:2,x\n{base}/song.mp3?2\n"),
        ("/a", "{base}/song.mp3\n{base}/song.mp3\n"),
        ("/a.m3u", "song.mp3\r\nsub/../song.mp3\r\n"),
        ("/a.m3u8", "#EXTM3U\n#EXTINF:2,\nsong.mp3\nsong.mp3\n"),
        ("/a.pls", "[playlist]\nFile2=song.mp3\nFile1=song.mp3\nNumberOfEntries=2\nVersion=2\n"),
        ("/a.xspf", "<playlist><location>song.mp3</location><location>song.mp3</location></playlist>"),
        ("/a.m3u", "#EXTM3U\nsong.mp3\nb.m3u\n"),
        (
            "/a.m3u",
            "#EXTM3U\nmissing.mp3\nsong.mp3\nftp://h/x\npage.html\n/etc/passwd\nsong.mp3\nmissing.mp3",
        ),
    ],
)
def test_a_list_plays_each_entry_once(
    clips: dict[str, bytes], executor: ThreadPoolExecutor, path: str, text: str
) -> None:
    pages: dict[str, tuple[bytes, ...]] = {
        name: _sized(clips["song.mp3"], "audio/mpeg")
        for name in ("/song.mp3", "/song.mp3?2", "/sub/../song.mp3")
    }
    pages |= {"/page.html": _sized(b"<html>"), "/b.m3u": _sized(b"song.mp3", "audio/x-mpegurl")}
    with _site(pages) as server:
        pages[path] = _sized(text.format(base=server.url("")).encode())
        packets, notes = asyncio.run(_play(server.url(path), executor))
    assert abs(_seconds(packets) - 2 * _SONG_S) < 0.3
    assert len(notes) == (5 if "missing" in text else 0)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("#EXTM3U\n{}\n", []),
        ("[playlist]\nFile1={}\nFile2={}\n", []),
        ("{}", []),
        (
            "#EXTM3U\nmissing\nfile:///etc/passwd\nhttp://[broken\n{}\nnever asked for",
            ["404 Not Found", "no usable address", "entry 3 of the list"],
        ),
    ],
)
def test_the_list_of_a_station_is_the_station(
    clips: dict[str, bytes], executor: ThreadPoolExecutor, text: str, left_out: list[str]
) -> None:
    async def run(url: str) -> tuple[list[Packet], list[str]]:
        source = await source_for(url, _LOOPBACK, executor)
        assert source.live
        try:
            await source.open()
            return await source.read(), source.notes.take()
        finally:
            await source.close()

    with _radio(clips["radio.mp3"], 10, "icy-name: Radio") as radio, _site({}) as missing:
        body = text.replace("{}", radio.url("/stream")).replace("missing", missing.url("/x"))
        with _site({"/radio": _sized(body.encode())}) as site:
            packets, notes = asyncio.run(run(site.url("/radio")))
    assert packets
    assert len(notes) == len(left_out)
    assert all(words in note for words, note in zip(left_out, notes, strict=True))


def test_a_list_that_leads_to_rtmp_tells_what_it_left_out(executor: ThreadPoolExecutor) -> None:
    async def run(url: str) -> list[str]:
        source = await source_for(url, _LOOPBACK, executor)
        assert source.live
        return source.notes.take()

    pages: dict[str, tuple[bytes, ...]] = {
        "/a.m3u": _sized(b"#EXTM3U\nmissing.mp3\nb.m3u\n"),
        "/b.m3u": _sized(b"#EXTM3U\nfile:///etc/passwd\nrtmp://127.0.0.1/live/x\n"),
    }
    with _site(pages) as server:
        first, second = asyncio.run(run(server.url("/a.m3u")))
    assert "404 Not Found" in first
    assert "file:///etc/passwd, is left out" in second


@pytest.mark.parametrize(
    ("pages", "words", "transient"),
    [
        ({"/x": _sized(b'{"error": "expired"}', "audio/mpeg")}, "JSON", False),
        ({"/x": _sized(b"<!DOCTYPE html>", "audio/mpeg")}, "HTML page", False),
        ({"/x": _sized(b"\x89PNG\r\n\x1a\n" + bytes(100))}, "an image", False),
        ({"/x": _sized(b"%PDF-1.7")}, "a PDF document", False),
        ({"/x": _sized(b"gone")}, "text", False),
        ({"/x": _sized(b"")}, "an empty body", True),
        ({"/x": _sized(b"#EXTM3U\n")}, "names nothing to play", False),
        ({"/x": _sized(b"[playlist]\n")}, "names nothing to play", False),
        ({"/x": _sized(b"#EXTM3U\nx\n")}, "name each other more than 3 deep", False),
        ({"/x": _sized(b"#EXTM3U\n" + b"x\nx\n" * 1000)}, "name each other more than 3 deep", False),
        ({"/x": _sized(b"#EXTM3U\nfile:///etc/passwd\n")}, "no usable address", False),
        ({"/x": _sized(b"#EXTM3U\nhttp://127.0.0.2/x\n")}, "--allow-networks", False),
        ({"/x": _sized(b"#EXTM3U\nmissing\n")}, "404", True),
        ({"/x": _sized(b"x" * (1 << 21), "audio/x-mpegurl")}, "longer than 1 MiB", False),
    ],
)
def test_what_nothing_plays_is_named(
    executor: ThreadPoolExecutor, pages: dict[str, tuple[bytes, ...]], words: str, transient: bool
) -> None:
    with _site(pages) as server, pytest.raises(SourceError, match=words) as caught:
        asyncio.run(_play(server.url("/x"), executor))
    assert caught.value.transient == transient
    assert len(server.requests) < 100


def test_a_list_that_is_aborted_between_entries_stops(
    clips: dict[str, bytes], executor: ThreadPoolExecutor
) -> None:
    """The second entry does not answer."""

    def answer(request: str, connection: socket.socket) -> None:
        if "/a.m3u" in request:
            connection.sendall(b"".join(_sized(b"#EXTM3U\nsong.mp3\nsilent.mp3\n")))
        elif "/song.mp3" in request:
            connection.sendall(b"".join(_sized(clips["song.mp3"])))
        else:
            wait_for_close(connection)

    async def run(server: ScriptedServer) -> float:
        loop = asyncio.get_running_loop()
        source = await source_for(server.url("/a.m3u"), _LOOPBACK, executor)
        assert not source.live
        await loop.run_in_executor(executor, source.open)
        assert await loop.run_in_executor(executor, source.read, 1 << 40)
        reading = loop.run_in_executor(executor, source.read, 1 << 40)
        await until(lambda: any("silent" in request for request in server.requests))
        begun = time.monotonic()
        source.abort()
        with pytest.raises(SourceError, match="aborted"):
            await reading
        source.close()
        return time.monotonic() - begun

    with ScriptedServer(answer) as server:
        assert asyncio.run(run(server)) < 2
