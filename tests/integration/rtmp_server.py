"""An RTMP server on loopback whose answers to connect a test gives; it grants what follows them, and grumbles
about what nobody waits for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, decode, encode
from sluice.wire.rtmp_chunks import ChunkReader, Message, write_message

_HANDSHAKE = 1536
_PING, _PONG = b"\0\6", b"\0\7"
#: Gets the properties of connect; gives the object of the refusal, or None to grant it.
OnConnect: TypeAlias = Callable[[dict[str, Any]], Value | None]


class RtmpServer:
    """`connects` are the properties of each connect, `commands` all that came."""

    def __init__(self, on_connect: OnConnect) -> None:
        self.connects: list[dict[str, Any]] = []
        self.commands: list[list[Value]] = []
        self.port = 0
        self.asked = asyncio.Event()  #: to play or to publish
        self.settled = asyncio.Event()  #: the client has read all that it was told after that
        self._on_connect = on_connect

    def url(self, rest: str = "live/key", userinfo: str = "") -> str:
        return f"rtmp://{userinfo}127.0.0.1:{self.port}/{rest}"

    @property
    def streams(self) -> list[tuple[str, str]]:
        """What was asked for: play or publish, and the name."""
        return [(str(c[0]), str(c[3])) for c in self.commands if c[0] in ("play", "publish")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readexactly(1)
            c1 = await reader.readexactly(_HANDSHAKE)
            writer.write(b"\x03" + bytes(_HANDSHAKE) + c1)
            await reader.readexactly(_HANDSHAKE)
            parser = ChunkReader()
            while data := await reader.read(65536):
                for message in parser.receive(data):
                    if message.type_id == chunks.COMMAND_AMF0:
                        self._answer(decode(message.body), writer)
                    elif message.body[:2] == _PONG and message.type_id == chunks.USER_CONTROL:
                        self.settled.set()
        writer.close()

    def _answer(self, command: list[Value], writer: asyncio.StreamWriter) -> None:
        self.commands.append(command)
        name, transaction = command[:2]
        match name:
            case "connect":
                assert isinstance(command[2], dict)
                self.connects.append(command[2])
                refusal = self._on_connect(command[2])
                if refusal is None:
                    _say(writer, "_result", transaction, {}, {"code": "NetConnection.Connect.Success"})
                else:
                    _say(writer, "_error", transaction, None, refusal)
            case "releaseStream":  # in a transaction that is none of the client's
                _say(writer, "_error", 0.0, None, {"description": "Method not found (releaseStream)."})
            case "FCPublish":
                _say(
                    writer, "onFCPublish", 0.0, None, {"level": "error", "code": "NetStream.Publish.BadName"}
                )
            case "createStream":
                _say(writer, "_result", transaction, None, 1.0)
            case "publish" | "play":
                code = f"NetStream.{str(name).title()}.Start"
                _say(writer, "onStatus", 0.0, None, {"level": "status", "code": code})
                record: Value = {
                    "level": "error",
                    "code": "NetStream.Record.Failed",
                    "description": "disk full",
                }
                _say(writer, "onStatus", 0.0, None, record)
                writer.write(write_message(2, Message(chunks.USER_CONTROL, 0, 0, _PING + bytes(4))))
                self.asked.set()


def rejected(description: str, **more: Value) -> Value:
    info: dict[str, Value] = {"level": "error", "code": "NetConnection.Connect.Rejected"}
    return info | {"description": description} | more


def redirect(url: str) -> Value:
    return rejected("go there", ex={"code": 302.0, "redirect": url})


@asynccontextmanager
async def rtmp_server(
    on_connect: OnConnect = lambda _: None, host: str = "127.0.0.1"
) -> AsyncIterator[RtmpServer]:
    server = RtmpServer(on_connect)
    async with await asyncio.start_server(server.serve, host, 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server


def _say(writer: asyncio.StreamWriter, *values: Value) -> None:
    writer.write(write_message(3, Message(chunks.COMMAND_AMF0, 0, 0, encode(*values))))
