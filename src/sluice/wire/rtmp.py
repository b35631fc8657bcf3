"""The common part of RTMP clients that play or publish, sans IO (Adobe "RTMP 1.0", 5.2, 5.4 and 7.2.1).

`receive` takes the server's bytes and returns events; `to_send` returns the bytes for the server, and has
some before the first `receive`. The machine goes through the steps by itself: handshake, connect,
createStream, and then play (`rtmp_play`) or publish (`rtmp_publish`). The caller keeps the deadlines; `state`
shows which step is waited for. After an end event or an RtmpError the machine is of no more use.

One call of `receive` does a bounded amount of work; while `pending`, it is called again, without bytes.
`CostLimit` bounds what one server may cost: all work, and the work that brought no media.
"""

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from sluice.core.limits import (
    MOST_COMMAND_VALUES,
    MOST_RTMP_COMMAND_BYTES,
    MOST_RTMP_IDLE_STEPS_AT_ONCE,
    MOST_RTMP_IDLE_STEPS_PER_S,
    MOST_RTMP_STEPS,
    MOST_RTMP_STEPS_AT_ONCE,
    MOST_RTMP_STEPS_PER_S,
    RTMP_STEPS_OF_MEDIA,
)
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Amf0Error, Value, decode, encode
from sluice.wire.rtmp_chunks import ChunkReader, Message, RtmpError, write_message

HANDSHAKE_SIZE = 1536
#: User control events (7.1.7).
STREAM_EOF, SET_BUFFER_LENGTH, PING_REQUEST, PING_RESPONSE = 1, 3, 6, 7

_VERSION = b"\x03"
_CONTROL_CHUNKS, _COMMAND_CHUNKS = 2, 3


class ClientState(Enum):
    """What the machine waits for. In PLAYING and PUBLISHING that is media, or its end."""

    HANDSHAKE = "handshake"
    CONNECT = "connect"
    CREATE_STREAM = "createStream"
    PLAY = "play"
    PLAYING = "playing"
    PUBLISH = "publish"
    PUBLISHING = "publishing"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Step:
    """The server has granted this step: handshake, connect or createStream."""

    name: str


@dataclass(frozen=True, slots=True)
class Started:
    """The stream plays, or may be published."""


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
    """The server refused a step, or gave the stream up with an error."""

    code: str
    text: str
    redirect: str = ""  #: where it sends us instead


@dataclass(frozen=True, slots=True)
class StreamEnded:
    code: str


Event = Step | Started | VideoMessage | AudioMessage | DataMessage | StreamNotFound | Rejected | StreamEnded


#: Statuses with these prefixes are about none of our steps, whatever their level.
_UNRELATED = (
    "NetConnection.Call.",
    "NetStream.Record.",
    "NetStream.Seek",
    "NetStream.Pause",
    "NetStream.Unpause",
)
_LONGEST_COMPLAINT = 2000
#: Bytes of media that make good a chunk that they came in, and bytes of AMF that cost as much as a chunk.
_BYTES_FOR_A_STEP, AMF_BYTES_FOR_A_STEP = 16, 32


class Client(ABC):
    """`receive` and `to_send` drive it; see the module."""

    #: It also sends commands whose answers mean nothing.
    _sends_optional_commands = False

    def __init__(self, *, app: str, stream: str, tc_url: str, random: bytes) -> None:
        """`stream` with its query, `tc_url` without credentials; `random`: 1528 bytes for the handshake."""
        if len(random) != HANDSHAKE_SIZE - 8:
            raise ValueError(f"the handshake takes {HANDSHAKE_SIZE - 8} random bytes, not {len(random)}")
        self.state = ClientState.HANDSHAKE
        self.complaint = ""  #: the server's last error that refused nothing
        self._app, self._stream, self._tc_url = app, stream, tc_url
        self._out = bytearray(_VERSION + bytes(8) + random)  # C0, and C1 with time 0 (5.2.3)
        self._chunk_size = chunks.DEFAULT_CHUNK_SIZE
        self._handshake = bytearray()
        self._chunks = ChunkReader()
        self._asked: dict[Value, str] = {}  #: our commands by transaction id
        self._received = self._acknowledged = 0
        self._window = 0
        self._stopped = False  # the last `receive` stopped before the end of its bytes
        self._steps = self._idle = 0

    def receive(self, data: bytes) -> list[Event]:
        """Raises RtmpError when the server breaks the protocol."""
        if self.state is ClientState.OVER:
            return []
        self._received += len(data)
        events: list[Event] = []
        if self.state is ClientState.HANDSHAKE:
            data = self._shake_hands(data, events)
        self._chunks.feed(data)
        until = self._steps + MOST_RTMP_STEPS
        while self._steps < until:
            read = self._chunks.steps
            message = self._chunks.next(until - self._steps)
            self._spend(self._chunks.steps - read)
            if message is None:
                break
            events += self._handle(message)
        self._stopped = self._steps >= until
        self._acknowledge()
        return events

    @property
    def pending(self) -> bool:
        """Whether `receive` stopped before the end of its bytes."""
        return self._stopped and self.state is not ClientState.OVER

    def to_send(self) -> bytes:
        """The bytes to send now; each is returned once."""
        out, self._out = bytes(self._out), bytearray()
        return out

    def take_cost(self) -> tuple[int, int]:
        """The steps of `receive` since the last call, and how many of them brought no media, less those that
        media has made good."""
        cost, self._steps, self._idle = (self._steps, self._idle), 0, 0
        return cost

    # --- where playing and publishing differ ---------------------------------------------------------------

    @abstractmethod
    def _connect_properties(self) -> dict[str, Value]:
        """The command object of connect (7.2.1.1)."""

    @abstractmethod
    def _on_created(self, stream_id: int) -> None:
        """createStream is granted: sends the last command and sets `state`."""

    @abstractmethod
    def _on_status(self, info: Value) -> list[Event]:
        """onStatus (7.2.2)."""

    def _on_connected(self) -> None:
        """connect is granted."""
        self._command("createStream", None)

    def _on_other_command(self, name: str, info: Value) -> list[Event]:
        return []

    def _on_other_message(self, message: Message) -> list[Event]:
        """Media, data, and user control events other than pings."""
        return []

    def _spend(self, steps: int) -> None:
        self._steps += steps
        self._idle += steps

    def _earn(self, body: bytes) -> None:
        """Counts one message of media, which makes good the chunks that it came in."""
        self._steps += RTMP_STEPS_OF_MEDIA
        if body:
            self._idle -= 1 + len(body) // _BYTES_FOR_A_STEP

    # --- handshake and commands ----------------------------------------------------------------------------

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
        events.append(Step(self.state.value))
        self.state = ClientState.CONNECT
        self._command("connect", self._connect_properties())
        return rest

    def _handle(self, message: Message) -> list[Event]:
        if self.state is ClientState.OVER:
            return []
        match message.type_id:
            case chunks.COMMAND_AMF0:
                return self._on_command(message)
            case chunks.WINDOW_ACK_SIZE:
                self._window = _number(message.body)
            case chunks.SET_PEER_BANDWIDTH:
                # 5.4.5: the answer is the window that we use from now on.
                self._control(chunks.WINDOW_ACK_SIZE, struct.pack(">I", _number(message.body)))
            case chunks.USER_CONTROL if user_control_of(message) == PING_REQUEST and len(message.body) >= 6:
                self._control(chunks.USER_CONTROL, struct.pack(">H", PING_RESPONSE) + message.body[2:6])
            case _:
                return self._on_other_message(message)
        return []

    def _on_command(self, message: Message) -> list[Event]:
        if len(message.body) > MOST_RTMP_COMMAND_BYTES:
            raise RtmpError(f"a command of the server is longer than {MOST_RTMP_COMMAND_BYTES} bytes")
        self._spend(len(message.body) // AMF_BYTES_FOR_A_STEP)
        try:
            values = decode(message.body, MOST_COMMAND_VALUES)
        except Amf0Error as error:
            raise RtmpError(f"a command of the server cannot be read: {error}") from error
        if not values or not isinstance(values[0], str):
            raise RtmpError("a command of the server has no name")
        name, info = values[0], values[-1]
        # ffmpeg's onFCPublish has a name and nothing else.
        transaction = values[1] if len(values) > 1 else None
        asked = self._asked.get(transaction, "") if isinstance(transaction, float) else ""
        match name:
            case "_error" if self._refuses(asked):
                return self._end(rejection_of(info))
            case "_error":
                self._complain(info)
                return []
            case "_result":
                return self._on_result(asked, info)
            case "onStatus":
                return self._on_status(info)
            case "close":
                return self._end(StreamEnded("close"))
        return self._on_other_command(name, info)

    def _refuses(self, command: str) -> bool:
        """Whether an _error refuses the step that is waited for. `command`: the one that it answers, empty
        for none of ours. Some servers answer with wrong transaction ids, and to optional commands with
        errors."""
        if command:
            return command == self.state.value
        waits = (ClientState.CREATE_STREAM, ClientState.PLAY)
        return self.state is ClientState.CONNECT or (
            self.state in waits and not self._sends_optional_commands
        )

    def _concerns_us(self, code: str) -> bool:
        """Whether a status that is an error refuses what is waited for, or ends what was granted."""
        if self.state is ClientState.CREATE_STREAM:
            return code.startswith("NetConnection.Connect")
        return not code.startswith(_UNRELATED)

    def _complain(self, info: Value) -> None:
        self.complaint = (text_of(info, "description") or text_of(info, "code"))[:_LONGEST_COMPLAINT]

    def _on_result(self, command: str, info: Value) -> list[Event]:
        if not command:  # a wrong transaction id
            number = isinstance(info, float) and self.state is ClientState.CREATE_STREAM
            command = self.state.value if number or self.state is ClientState.CONNECT else ""
        if command != self.state.value:
            return []
        step = Step(command)
        if self.state is ClientState.CONNECT:
            self.state = ClientState.CREATE_STREAM
            self._on_connected()
        elif self.state is ClientState.CREATE_STREAM:
            if not isinstance(info, float) or not 0 <= info < 2**32:
                raise RtmpError("the server's answer to createStream names no stream id")
            self._on_created(int(info))
        else:
            return []
        return [step]

    def _end(self, event: Event) -> list[Event]:
        self.state = ClientState.OVER
        return [event]

    def _acknowledge(self) -> None:
        """Acknowledges received bytes (5.4.3), at half of the window, so that no server waits for us."""
        if self._window and self._received - self._acknowledged >= self._window // 2:
            self._acknowledged = self._received
            self._control(chunks.ACKNOWLEDGEMENT, struct.pack(">I", self._received & 0xFFFFFFFF))

    def _control(self, type_id: int, body: bytes) -> None:
        self._send(_CONTROL_CHUNKS, Message(type_id, 0, 0, body))

    def _command(
        self, name: str, *values: Value, chunk_id: int = _COMMAND_CHUNKS, stream_id: int = 0
    ) -> None:
        transaction = float(len(self._asked) + 1)
        self._asked[transaction] = name
        self._send(chunk_id, Message(chunks.COMMAND_AMF0, stream_id, 0, encode(name, transaction, *values)))

    def _send(self, chunk_id: int, message: Message) -> None:
        self._out += write_message(chunk_id, message, self._chunk_size)


def text_of(info: Value, name: str) -> str:
    """A member of a status object; empty when it is missing or no text."""
    value = info.get(name) if isinstance(info, dict) else None
    return value if isinstance(value, str) else ""


def rejection_of(info: Value) -> Rejected:
    """The event for an error. `ex` of a refused connect says where else to go (Adobe's code 302)."""
    more = info.get("ex") if isinstance(info, dict) else None
    redirect = text_of(more, "redirect") or text_of(more, "redirect2")
    return Rejected(text_of(info, "code") or "_error", text_of(info, "description"), redirect)


def is_error(info: Value) -> bool:
    return text_of(info, "level").lower() == "error"


def user_control_of(message: Message) -> int:
    return int.from_bytes(message.body[:2], "big")


def _number(body: bytes) -> int:
    if len(body) < 4:
        raise RtmpError("a protocol control message is cut off")
    return int.from_bytes(body[:4], "big")


class CostLimit:
    """Bounds what one server may cost: two leaky buckets (`core.limits`)."""

    def __init__(self) -> None:
        self._steps = self._idle = 0.0
        self._at: float | None = None

    def spend(self, now: float, steps: int, idle: int) -> None:
        """To be called after each `receive`, with its `take_cost` and the time in seconds. Raises RtmpError
        when the server has cost too much."""
        passed, self._at = now - (now if self._at is None else self._at), now
        self._steps = max(0.0, self._steps - passed * MOST_RTMP_STEPS_PER_S) + steps
        self._idle = max(0.0, self._idle - passed * MOST_RTMP_IDLE_STEPS_PER_S + idle)
        if self._idle > MOST_RTMP_IDLE_STEPS_AT_ONCE:
            raise RtmpError(
                f"more than {MOST_RTMP_IDLE_STEPS_AT_ONCE} chunks and messages without media (empty, pings, "
                "acknowledgements, chunks of a few bytes)"
            )
        if self._steps > MOST_RTMP_STEPS_AT_ONCE:
            messages = MOST_RTMP_STEPS_PER_S // RTMP_STEPS_OF_MEDIA
            raise RtmpError(
                f"more than {MOST_RTMP_STEPS_PER_S} chunks or {messages} messages of media a second, for long"
            )
