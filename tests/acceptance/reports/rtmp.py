"""A scripted RTMP server: it plays lists of tags, each at its second; apps and streams go by the letter."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, decode, encode
from sluice.wire.rtmp_chunks import ChunkReader, Message, write_message
from tests.acceptance.reports.flv import Tag

_HANDSHAKE = 1536
_CHUNK_SIZE = 60_000


class RtmpServer:
    """`asked` has the app and the stream of each play. A stream that came to its end stays silent."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self._streams: dict[tuple[str, str], Sequence[Tag]] = {}

    def add(self, stream: str, tags: Sequence[Tag], app: str = "live") -> str:
        self._streams[app, stream] = sorted(tags, key=lambda tag: tag.at_s)
        return f"rtmp://127.0.0.1:{self.port}/{app}/{stream}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        playing: set[asyncio.Task[None]] = set()
        try:
            await reader.readexactly(1)
            c1 = await reader.readexactly(_HANDSHAKE)
            writer.write(b"\x03" + bytes(_HANDSHAKE) + c1)
            await reader.readexactly(_HANDSHAKE)
            parser, app = ChunkReader(), ""
            while data := await reader.read(1 << 16):
                for message in parser.receive(data):
                    if message.type_id != chunks.COMMAND_AMF0:
                        continue
                    command = decode(message.body)
                    if command[0] == "connect" and isinstance(command[2], dict):
                        app = str(command[2]["app"])
                    if tags := self._answer(command, app, writer):
                        playing.add(asyncio.create_task(_play(tags, writer)))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who watched has gone
        finally:
            for task in playing:
                task.cancel()
            writer.close()

    def _answer(self, command: list[Value], app: str, writer: asyncio.StreamWriter) -> Sequence[Tag]:
        match command[0]:
            case "connect":
                size = _CHUNK_SIZE.to_bytes(4, "big")
                writer.write(write_message(2, Message(chunks.SET_CHUNK_SIZE, 0, 0, size)))
                _say(writer, 0, "_result", command[1], {}, {"code": "NetConnection.Connect.Success"})
            case "createStream":
                _say(writer, 0, "_result", command[1], None, 1.0)
            case "play":
                self.asked.append((app, str(command[3])))
                tags = self._streams.get((app, str(command[3])))
                code = "NetStream.Play.Start" if tags else "NetStream.Play.StreamNotFound"
                level = "status" if tags else "error"
                _say(writer, 1, "onStatus", 0.0, None, {"level": level, "code": code})
                return tags or ()
        return ()


async def _play(tags: Sequence[Tag], writer: asyncio.StreamWriter) -> None:
    began = time.monotonic()
    for tag in tags:
        if (early := began + tag.at_s - time.monotonic()) > 0:
            await asyncio.sleep(early)
        message = Message(tag.kind, 1, tag.ms, tag.body)
        writer.write(write_message(4 if tag.kind == chunks.AUDIO else 6, message, _CHUNK_SIZE))
        await writer.drain()


def _say(writer: asyncio.StreamWriter, stream: int, *values: Value) -> None:
    message = Message(chunks.COMMAND_AMF0, stream, 0, encode(*values))
    writer.write(write_message(3, message, _CHUNK_SIZE))


@asynccontextmanager
async def rtmp_server() -> AsyncIterator[RtmpServer]:
    scripted = RtmpServer()
    async with await asyncio.start_server(scripted.serve, "127.0.0.1", 0) as server:
        scripted.port = server.sockets[0].getsockname()[1]
        yield scripted
