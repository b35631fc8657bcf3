"""A small RTMP server that behaves as a test says, and keeps what it was sent."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, decode, encode
from sluice.wire.flv import PacketType, parse_audio_tag, parse_video_tag
from sluice.wire.rtmp_chunks import ChunkReader, Message, write_message

_HANDSHAKE = 1536
_UNREAD = 4096


@dataclass
class Connection:
    """What came over one connection. `media` are audio and video messages in the order they came. Times are
    those of the event loop."""

    began_at: float = 0.0
    ended_at: float | None = None
    commands: list[list[Value]] = field(default_factory=list)
    metadata: list[dict[str, Value]] = field(default_factory=list)
    media: list[Message] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        return self.ended_at is not None

    @property
    def names(self) -> list[str]:
        return [str(command[0]) for command in self.commands]

    def video(self, kind: PacketType = PacketType.FRAME) -> list[Message]:
        return [m for m in self.media if m.type_id == chunks.VIDEO and _video_type(m) is kind]

    def audio(self, kind: PacketType = PacketType.FRAME) -> list[Message]:
        return [m for m in self.media if m.type_id == chunks.AUDIO and _audio_type(m) is kind]


def _video_type(message: Message) -> PacketType:
    return parse_video_tag(message.body).packet_type


def _audio_type(message: Message) -> PacketType:
    return parse_audio_tag(message.body).packet_type


class Cdn:
    """`silent`: accepts connections and says nothing. `rejects`: a code that answers publish. `reads`: while
    not set, what was sent is left unread; little of it fits in between."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.connections: list[Connection] = []
        self.silent = False
        self.rejects = ""
        self.reads = asyncio.Event()
        self.reads.set()
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def url(self, key: str = "stream") -> str:
        return f"{'rtmps' if self._tls else 'rtmp'}://localhost:{self.port}/live/{key}"

    async def open(self) -> None:
        """On the same port when it was open before."""
        listener = socket.create_server(("127.0.0.1", self.port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD)  # connections inherit it
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_UNREAD, ssl=self._tls)
        self.port = listener.getsockname()[1]

    async def close(self) -> None:
        """As when the server dies."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(began_at=loop.time())
        self.connections.append(connection)
        self._writers.add(writer)
        try:
            await self._speak(connection, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            connection.ended_at = loop.time()
            self._writers.discard(writer)
            writer.close()

    async def _speak(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.silent:
            await reader.read(-1)
            return
        await reader.readexactly(1)
        c1 = await reader.readexactly(_HANDSHAKE)
        writer.write(b"\x03" + bytes(_HANDSHAKE) + c1)
        await reader.readexactly(_HANDSHAKE)
        parser = ChunkReader()
        while True:
            await self.reads.wait()
            data = await reader.read(1 << 16)
            if not data:
                return
            for message in parser.receive(data):
                self._take(connection, message, writer)

    def _take(self, connection: Connection, message: Message, writer: asyncio.StreamWriter) -> None:
        if message.type_id in (chunks.AUDIO, chunks.VIDEO):
            connection.media.append(message)
        elif message.type_id == chunks.DATA_AMF0:
            name, _, properties = decode(message.body)
            assert name == "@setDataFrame"
            assert isinstance(properties, dict)
            connection.metadata.append(properties)
        elif message.type_id == chunks.COMMAND_AMF0:
            command = decode(message.body)
            connection.commands.append(command)
            self._answer(command, writer)

    def _answer(self, command: list[Value], writer: asyncio.StreamWriter) -> None:
        match command[0]:
            case "connect":
                _say(writer, "_result", command[1], {}, {"code": "NetConnection.Connect.Success"})
            case "releaseStream":
                _say(writer, "_error", command[1], None, {"code": "NetStream.Whatever", "level": "error"})
            case "createStream":
                _say(writer, "_result", command[1], None, 1.0)
            case "publish" if self.rejects:
                description = f"no: {command[3]}"
                info: Value = {"level": "error", "code": self.rejects, "description": description}
                _say(writer, "onStatus", 0.0, None, info)
            case "publish":
                _say(writer, "onStatus", 0.0, None, {"level": "status", "code": "NetStream.Publish.Start"})
            case "deleteStream":
                code = "NetStream.Unpublish.Success"
                _say(writer, "onStatus", 0.0, None, {"level": "status", "code": code})


def _say(writer: asyncio.StreamWriter, *values: Value) -> None:
    writer.write(write_message(3, Message(chunks.COMMAND_AMF0, 0, 0, encode(*values))))


@asynccontextmanager
async def cdn(tls: ssl.SSLContext | None = None) -> AsyncIterator[Cdn]:
    server = Cdn(tls)
    await server.open()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            await server.close()
