"""The RTMP client that plays a stream, sans IO (Adobe "RTMP 1.0", sections 5.2 and 7).

`receive` takes what came from the server and returns events; `to_send` gives what must go to it, at the
beginning too. The steps are taken by themselves: handshake, connect, createStream, play. Deadlines belong to
the caller, who sees in `state` which step is waited for. After an end event, or an RtmpError, the machine is
of no more use. Media timestamps are unwrapped from 32 bits on one clock for audio and video.
"""

import struct
from dataclasses import dataclass
from enum import Enum

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Amf0Error, Value, decode, encode
from sluice.wire.rtmp_chunks import ChunkReader, Message, RtmpError, write_message

__all__ = [
    "HANDSHAKE_SIZE", "AudioMessage", "DataMessage", "Event", "PlayMachine", "PlayStarted", "PlayState",
    "Rejected", "RtmpError", "Step", "StreamEnded", "StreamNotFound", "VideoMessage",
]  # fmt: skip

HANDSHAKE_SIZE = 1536
_VERSION = b"\x03"
_FLASH_VERSION = "LNX 9,0,124,2"
_CONTROL_CHUNKS, _COMMAND_CHUNKS, _PLAY_CHUNKS = 2, 3, 8
_CONNECT, _CREATE_STREAM, _PLAY = 1.0, 2.0, 3.0  # transaction ids
_BUFFER_MS = 3000

# User control events (7.1.7)
_STREAM_EOF, _SET_BUFFER_LENGTH, _PING, _PONG = 1, 3, 6, 7


class PlayState(Enum):
    """What the machine waits for."""

    HANDSHAKE = "handshake"
    CONNECT = "connect"
    CREATE_STREAM = "createStream"
    PLAY = "play"
    PLAYING = "playing"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Step:
    """The server has granted this step: handshake, connect or createStream."""

    name: str


@dataclass(frozen=True, slots=True)
class PlayStarted:
    pass


@dataclass(frozen=True, slots=True)
class VideoMessage:
    """`body` is an FLV video tag's."""

    timestamp_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class AudioMessage:
    """`body` is an FLV audio tag's."""

    timestamp_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class DataMessage:
    """`name` is ``onMetaData`` for the stream's properties, which are `values[0]`."""

    name: str
    values: list[Value]


@dataclass(frozen=True, slots=True)
class StreamNotFound:
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server refused connect, createStream or play, or gave the stream up with an error."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class StreamEnded:
    code: str


Event = (
    Step | PlayStarted | VideoMessage | AudioMessage | DataMessage | StreamNotFound | Rejected | StreamEnded
)

_ENDS = ("NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete")


class PlayMachine:
    def __init__(self, *, app: str, stream: str, tc_url: str, random: bytes) -> None:
        """`stream` with its query, `tc_url` without credentials; `random`: 1528 bytes for the handshake."""
        if len(random) != HANDSHAKE_SIZE - 8:
            raise ValueError(f"the handshake takes {HANDSHAKE_SIZE - 8} random bytes, not {len(random)}")
        self.state = PlayState.HANDSHAKE
        self._app, self._stream, self._tc_url = app, stream, tc_url
        self._out = bytearray(_VERSION + bytes(8) + random)  # C0, and C1 with time 0 (5.2.3)
        self._handshake = bytearray()
        self._chunks = ChunkReader()
        self._received = self._acknowledged = 0
        self._window = 0
        self._last_ms: int | None = None

    def receive(self, data: bytes) -> list[Event]:
        """Raises RtmpError when the server breaks the protocol."""
        if self.state is PlayState.OVER:
            return []
        self._received += len(data)
        events: list[Event] = []
        if self.state is PlayState.HANDSHAKE:
            data = self._shake_hands(data, events)
        for message in self._chunks.receive(data):
            events += self._handle(message)
        self._acknowledge()
        return events

    def to_send(self) -> bytes:
        """What must be sent now, each byte once."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def _shake_hands(self, data: bytes, events: list[Event]) -> bytes:
        """Takes S0, S1 and S2 (5.2); returns what follows them."""
        before = len(self._handshake)
        self._handshake += data
        if self._handshake and self._handshake[:1] != _VERSION:
            raise RtmpError("the server does not speak RTMP (it began with another version)")
        if before < 1 + HANDSHAKE_SIZE <= len(self._handshake):
            self._out += self._handshake[1 : 1 + HANDSHAKE_SIZE]  # C2 echoes S1
        # S2 should echo C1, but servers with Adobe's signed handshake send something else.
        end = 1 + 2 * HANDSHAKE_SIZE
        if len(self._handshake) < end:
            return b""
        rest = bytes(self._handshake[end:])
        self._handshake.clear()
        self._grant(events, PlayState.CONNECT)
        properties: dict[str, Value] = {
            "app": self._app,
            "flashVer": _FLASH_VERSION,
            "tcUrl": self._tc_url,
            "fpad": False,
            "capabilities": 15,
            "audioCodecs": 0x0FFF,
            "videoCodecs": 0x00FF,
            "videoFunction": 1,
        }
        self._command(_COMMAND_CHUNKS, 0, "connect", _CONNECT, properties)
        return rest

    def _grant(self, events: list[Event], following: PlayState) -> None:
        events.append(Step(self.state.value))
        self.state = following

    def _handle(self, message: Message) -> list[Event]:
        if self.state is PlayState.OVER:
            return []
        match message.type_id:
            case chunks.VIDEO | chunks.AUDIO:
                return self._media(message.type_id, message.timestamp, message.body)
            case chunks.AGGREGATE:
                return self._aggregate(message)
            case chunks.COMMAND_AMF0:
                return self._on_command(message)
            case chunks.DATA_AMF0:
                return _parse_data(message.body)
            case chunks.USER_CONTROL:
                return self._on_user_control(message.body)
            case chunks.WINDOW_ACK_SIZE:
                self._window = _number(message.body)
            case chunks.SET_PEER_BANDWIDTH:
                # Answered with the window we use from now on (5.4.5).
                self._control(chunks.WINDOW_ACK_SIZE, struct.pack(">I", _number(message.body)))
        return []

    def _media(self, type_id: int, timestamp: int, body: bytes) -> list[Event]:
        if self.state not in (PlayState.PLAY, PlayState.PLAYING):
            return []
        events: list[Event] = []
        if self.state is PlayState.PLAY:
            # Some servers send media without a word.
            self.state = PlayState.PLAYING
            events.append(PlayStarted())
        time_ms = self._unwrap(timestamp)
        events.append(VideoMessage(time_ms, body) if type_id == chunks.VIDEO else AudioMessage(time_ms, body))
        return events

    def _unwrap(self, timestamp: int) -> int:
        """The 64-bit time nearest to the last one; never negative."""
        if self._last_ms is None:
            self._last_ms = timestamp
            return timestamp
        ahead = (timestamp - self._last_ms) & 0xFFFFFFFF
        # A header sent with time 0 before media at 30 days is a long way ahead, not behind.
        if ahead >= 0x80000000 and self._last_ms + ahead >= 0x100000000:
            ahead -= 0x100000000
        self._last_ms += ahead
        return self._last_ms

    def _aggregate(self, message: Message) -> list[Event]:
        """Several FLV tags in one message (7.1.6); their times are shifted to the message's."""
        events: list[Event] = []
        body, offset, shift = message.body, 0, None
        while offset < len(body):
            if offset + 11 > len(body):
                raise RtmpError("an aggregate message ends within a header")
            size = int.from_bytes(body[offset + 1 : offset + 4], "big")
            time = int.from_bytes(body[offset + 4 : offset + 7], "big") | body[offset + 7] << 24
            end = offset + 11 + size
            if end > len(body):
                raise RtmpError("an aggregate message is cut off")
            shift = message.timestamp - time if shift is None else shift
            if body[offset] in (chunks.VIDEO, chunks.AUDIO):
                events += self._media(body[offset], (time + shift) & 0xFFFFFFFF, body[offset + 11 : end])
            offset = end + 4  # back pointer
        return events

    def _on_command(self, message: Message) -> list[Event]:
        try:
            values = decode(message.body)
        except Amf0Error as error:
            raise RtmpError(f"a command of the server cannot be read: {error}") from error
        if len(values) < 2 or not isinstance(values[0], str):
            raise RtmpError("a command of the server has no name or no transaction id")
        name, transaction, info = values[0], values[1], values[-1]
        if name == "_error":
            return self._end(Rejected(_text(info, "code") or "_error", _text(info, "description")))
        if name == "_result":
            return self._on_result(transaction, info)
        if name == "onStatus":
            return self._on_status(info)
        return self._end(StreamEnded("close")) if name == "close" else []

    def _on_result(self, transaction: Value, info: Value) -> list[Event]:
        events: list[Event] = []
        if transaction == _CONNECT and self.state is PlayState.CONNECT:
            self._grant(events, PlayState.CREATE_STREAM)
            self._command(_COMMAND_CHUNKS, 0, "createStream", _CREATE_STREAM, None)
        elif transaction == _CREATE_STREAM and self.state is PlayState.CREATE_STREAM:
            if not isinstance(info, float) or not 0 <= info < 2**32:
                raise RtmpError("the server's answer to createStream names no stream id")
            stream_id = int(info)
            self._grant(events, PlayState.PLAY)
            self._control(chunks.USER_CONTROL, struct.pack(">HII", _SET_BUFFER_LENGTH, stream_id, _BUFFER_MS))
            self._command(_PLAY_CHUNKS, stream_id, "play", _PLAY, None, self._stream)
        return events

    def _on_status(self, info: Value) -> list[Event]:
        code, level, text = _text(info, "code"), _text(info, "level"), _text(info, "description")
        if code == "NetStream.Play.StreamNotFound":
            return self._end(StreamNotFound(code, text))
        if level == "error":
            return self._end(Rejected(code, text))
        if code in _ENDS:
            return self._end(StreamEnded(code))
        if code == "NetStream.Play.Start" and self.state is PlayState.PLAY:
            self.state = PlayState.PLAYING
            return [PlayStarted()]
        return []

    def _on_user_control(self, body: bytes) -> list[Event]:
        kind = int.from_bytes(body[:2], "big")
        if kind == _PING and len(body) >= 6:
            self._control(chunks.USER_CONTROL, struct.pack(">H", _PONG) + body[2:6])
        elif kind == _STREAM_EOF and self.state is PlayState.PLAYING:
            return self._end(StreamEnded("StreamEOF"))
        return []

    def _end(self, event: Event) -> list[Event]:
        self.state = PlayState.OVER
        return [event]

    def _acknowledge(self) -> None:
        """Acknowledges each window of bytes (5.4.3), at half of it, so that no server waits for us."""
        if self._window and self._received - self._acknowledged >= self._window // 2:
            self._acknowledged = self._received
            self._control(chunks.ACKNOWLEDGEMENT, struct.pack(">I", self._received & 0xFFFFFFFF))

    def _control(self, type_id: int, body: bytes) -> None:
        self._out += write_message(_CONTROL_CHUNKS, Message(type_id, 0, 0, body))

    def _command(self, chunk_id: int, stream_id: int, *values: Value) -> None:
        self._out += write_message(chunk_id, Message(chunks.COMMAND_AMF0, stream_id, 0, encode(*values)))


def _parse_data(body: bytes) -> list[Event]:
    try:
        values = decode(body)
    except Amf0Error:
        return []  # metadata helps, but a stream plays without it
    if not values or not isinstance(values[0], str):
        return []
    return [DataMessage(values[0], values[1:])]


def _number(body: bytes) -> int:
    if len(body) < 4:
        raise RtmpError("a protocol control message is cut off")
    return int.from_bytes(body[:4], "big")


def _text(info: Value, name: str) -> str:
    value = info.get(name) if isinstance(info, dict) else None
    return value if isinstance(value, str) else ""
