"""Sources that tests kill and bring back: ffmpeg as publisher, HTTP server and HLS writer, and a radio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class Ffmpeg:
    """One command, as a context manager; it may be started again after it was killed."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *("ffmpeg", "-nostdin", "-v", "fatal", *self._arguments), stdin=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        """As `kill -9` does; one that has ended by itself stays so."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def rtmp_publisher(clip: Path, url: str) -> Ffmpeg:
    return Ffmpeg("-re", "-i", str(clip), "-c", "copy", "-f", "flv", url)


def flv_server(clip: Path, port: int) -> Ffmpeg:
    """Plays the clip to the first who connects, and then ends."""
    url = f"http://127.0.0.1:{port}/live.flv"
    return Ffmpeg("-re", "-i", str(clip), "-c", "copy", "-f", "flv", "-listen", "1", url)


def hls_writer(clip: Path, playlist: Path) -> Ffmpeg:
    """Segments of one second, as long as the clip's GOPs."""
    hls = ("-f", "hls", "-hls_time", "1", "-hls_list_size", "6", "-hls_flags", "delete_segments")
    return Ffmpeg("-re", "-i", str(clip), "-c", "copy", *hls, str(playlist))


class Radio:
    """A Shoutcast server of MP3 without an end. While `sounding` is not set it sends nothing and hangs up on
    nobody."""

    HEAD = b"ICY 200 OK\r\nicy-name:test\r\nicy-br:128\r\ncontent-type:audio/mpeg\r\n\r\n"

    def __init__(self, clip: Path) -> None:
        self.requests: list[str] = []
        self.sounding = asyncio.Event()
        self.sounding.set()
        self.url = ""
        self._clip = clip

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        command = ("ffmpeg", "-nostdin", "-v", "fatal", "-re", "-i", str(self._clip), "-vn", "-f", "mp3", "-")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            writer.write(self.HEAD)
            while data := await process.stdout.read(4096):
                await self.sounding.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # who listened has gone
        finally:
            writer.close()
            process.kill()
            await process.communicate()


@asynccontextmanager
async def radio(clip: Path) -> AsyncIterator[Radio]:
    station = Radio(clip)
    async with await asyncio.start_server(station.serve, "127.0.0.1", 0) as server:
        station.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/;"
        yield station
