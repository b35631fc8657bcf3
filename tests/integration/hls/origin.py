"""An origin with faults, and what is played of it: pictures by their number, times, notes."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.plan import Probe
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.hls import HlsSource
from sluice.media.source.table import source_for
from sluice.net.dial import Dialer
from sluice.wire.h264 import H264Error, split_avcc
from tests.integration.numbered import FRAME_US, RATE, digest
from tests.integration.scripted import ScriptedServer

DIALER = Dialer(AddressPolicy(["127.0.0.1/32"]))
COUNT = 10  #: segments of the clip
PAGE = b"<!DOCTYPE html><html>the origin is busy</html>"

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
            connection.sendall(head(len(reply)) + reply)


def head(length: int | None) -> bytes:
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
                    number = self.numbers.get(digest(list(split_avcc(packet.data, 4))), -1)
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


def play(
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
        source = await source_for(url, DIALER, executor)
        assert isinstance(source, HlsSource)
        try:
            await asyncio.get_running_loop().run_in_executor(executor, work, source)
        finally:
            source.abort()
            source.close()

    asyncio.run(run())
    return played


def master_of(*names: str, more: str = "") -> bytes:
    text = "#EXTM3U\n"
    for n, name in enumerate(names):
        inf = f'#EXT-X-STREAM-INF:BANDWIDTH={9000 - n},CODECS="avc1.42c00b,mp4a.40.2"'
        text += inf + (',AUDIO="s"' if more else "") + f"\n{name}\n"
    return (text + more).encode()
