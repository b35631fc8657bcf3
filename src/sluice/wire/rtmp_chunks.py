"""RTMP's chunk stream (Adobe "RTMP 1.0", section 5.3): bytes to messages and back.

The reader applies the two protocol control messages that change how chunks are cut (Set Chunk Size, Abort);
all others are left to the caller. Timestamps are milliseconds of 32 bits, as on the wire, with deltas added
up. A server can make us hold at most MOST_RTMP_BYTES of unfinished messages, on MOST_RTMP_CHUNK_STREAMS.
"""

import sys
from dataclasses import dataclass, field

from sluice.core.limits import MOST_RTMP_BYTES, MOST_RTMP_CHUNK_STREAMS

DEFAULT_CHUNK_SIZE = 128

SET_CHUNK_SIZE, ABORT, ACKNOWLEDGEMENT, USER_CONTROL, WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO, VIDEO, DATA_AMF0, COMMAND_AMF0, AGGREGATE = 8, 9, 18, 20, 22

_EXTENDED = 0xFFFFFF
#: Length of the message header by chunk format (5.3.1.2).
_HEADER_SIZES = (11, 7, 3, 0)


class RtmpError(ValueError):
    """The server broke the protocol; the text says how."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, complete."""

    type_id: int
    stream_id: int
    timestamp: int  #: ms, 0 to 2^32 - 1
    body: bytes


@dataclass(slots=True)
class _ChunkStream:
    """What later chunks of a chunk stream leave out, and its unfinished message."""

    timestamp: int = 0
    stamp: int = 0  #: the last timestamp field: a timestamp or a delta
    extended: bool = False
    length: int = 0
    type_id: int = 0
    stream_id: int = 0
    body: bytearray = field(default_factory=bytearray)
    unfinished: bool = False

    def begin(self, fmt: int, header: bytes, value: int, extended: bool) -> None:
        """Takes the header of a chunk that begins a message; nothing for one that continues it."""
        if self.unfinished:
            return
        self.stamp, self.extended, self.unfinished = value, extended, True
        # A type 3 chunk that begins a message repeats the delta, or a type 0 chunk's timestamp (5.3.1.2.4).
        self.timestamp = value if fmt == 0 else (self.timestamp + value) & 0xFFFFFFFF
        if fmt < 2:
            self.length, self.type_id = int.from_bytes(header[3:6], "big"), header[6]
        if fmt == 0:
            self.stream_id = int.from_bytes(header[7:11], "little")


class ChunkReader:
    """Takes bytes and returns the messages that they complete. See the module for its bounds."""

    def __init__(self) -> None:
        self.steps = 0  #: chunks that were read
        self._buffer = bytearray()
        self._at = 0  # where the unread part of the buffer begins
        self._streams: dict[int, _ChunkStream] = {}
        self._chunk_size = DEFAULT_CHUNK_SIZE
        self._held = 0

    def receive(self, data: bytes) -> list[Message]:
        """All messages that `data` completes. Raises RtmpError, after which the reader is of no more use."""
        self.feed(data)
        messages = []
        while (message := self.next(sys.maxsize)) is not None:
            messages.append(message)
        return messages

    def feed(self, data: bytes) -> None:
        """Adds bytes for `next`, which reads as far as it is told to."""
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self, most_steps: int) -> Message | None:
        """The next message, if it is complete and within `most_steps`. Raises as `receive` does."""
        until = self.steps + most_steps
        while self.steps < until and (read := self._read_chunk(self._at)) is not None:
            self.steps += 1
            self._at, message = read
            if message is not None:
                self._control(message)
                return message
        return None

    def _read_chunk(self, offset: int) -> tuple[int, Message | None] | None:
        """Where the next chunk begins, and the message that this one completes; None while bytes are
        missing."""
        basic = self._basic_header(offset)
        if basic is None:
            return None
        fmt, chunk_id, start = basic
        end = start + _HEADER_SIZES[fmt]
        if len(self._buffer) < end:
            return None
        stream = self._streams.get(chunk_id)
        if stream is None:
            stream = self._new_stream(fmt, chunk_id)
        if stream.unfinished and fmt != 3:
            raise RtmpError("a new message begins before the last one on its chunk stream is complete")
        header = bytes(self._buffer[start:end])
        found = self._timestamp_field(stream, fmt, header, end)
        if found is None:
            return None
        value, extended, end = found
        length = int.from_bytes(header[3:6], "big") if fmt < 2 else stream.length
        part = min(self._chunk_size, length - len(stream.body))
        if len(self._buffer) < end + part:
            return None
        stream.begin(fmt, header, value, extended)
        return end + part, self._take_part(stream, self._buffer[end : end + part])

    def _basic_header(self, offset: int) -> tuple[int, int, int] | None:
        """Format, chunk stream id and where the message header begins (5.3.1.1)."""
        if len(self._buffer) <= offset:
            return None
        first = self._buffer[offset]
        extra = {0: 1, 1: 2}.get(first & 0x3F, 0)
        start = offset + 1 + extra
        if len(self._buffer) < start:
            return None
        chunk_id = 64 + int.from_bytes(self._buffer[offset + 1 : start], "little") if extra else first & 0x3F
        return first >> 6, chunk_id, start

    def _new_stream(self, fmt: int, chunk_id: int) -> _ChunkStream:
        # Some servers begin a chunk stream with type 1. Types 2 and 3 lack length and type.
        if fmt > 1:
            raise RtmpError(f"chunk stream {chunk_id} begins with a chunk that repeats what was never sent")
        if len(self._streams) >= MOST_RTMP_CHUNK_STREAMS:
            raise RtmpError(f"more than {MOST_RTMP_CHUNK_STREAMS} chunk streams")
        return self._streams.setdefault(chunk_id, _ChunkStream())

    def _timestamp_field(
        self, stream: _ChunkStream, fmt: int, header: bytes, end: int
    ) -> tuple[int, bool, int] | None:
        """Timestamp or delta, whether it is extended, and where the payload begins (5.3.1.3)."""
        short = int.from_bytes(header[:3], "big") if fmt < 3 else 0
        if fmt < 3 and short != _EXTENDED:
            return short, False, end
        if fmt == 3 and not stream.extended:
            return stream.stamp, False, end
        if len(self._buffer) < end + 4:
            return None
        value = int.from_bytes(self._buffer[end : end + 4], "big")
        if fmt == 3 and value != stream.stamp:
            # Some servers leave this field out of type 3 chunks: then these bytes are payload.
            return stream.stamp, True, end
        return value, True, end + 4

    def _take_part(self, stream: _ChunkStream, part: bytearray) -> Message | None:
        stream.body += part
        self._held += len(part)
        if self._held > MOST_RTMP_BYTES:
            raise RtmpError(f"more than {MOST_RTMP_BYTES} bytes of unfinished messages")
        if len(stream.body) < stream.length:
            return None
        message = Message(stream.type_id, stream.stream_id, stream.timestamp, bytes(stream.body))
        self._drop(stream)
        return message

    def _drop(self, stream: _ChunkStream) -> None:
        self._held -= len(stream.body)
        stream.body.clear()
        stream.unfinished = False

    def _control(self, message: Message) -> None:
        if message.type_id not in (SET_CHUNK_SIZE, ABORT):
            return
        if len(message.body) < 4:
            raise RtmpError("a protocol control message is cut off")
        value = int.from_bytes(message.body[:4], "big")
        if message.type_id == SET_CHUNK_SIZE:
            if not 0 < value < 0x80000000:
                raise RtmpError(f"a chunk size of {value} is not allowed")  # 5.4.1
            self._chunk_size = value
        elif stream := self._streams.get(value):
            self._drop(stream)


def write_message(chunk_id: int, message: Message, chunk_size: int = DEFAULT_CHUNK_SIZE) -> bytes:
    """`message` as chunks of types 0 and 3 on chunk stream `chunk_id` (2 to 63)."""
    stamp = message.timestamp
    extended = stamp.to_bytes(4, "big") if stamp >= _EXTENDED else b""
    out = bytearray((chunk_id,))
    out += min(stamp, _EXTENDED).to_bytes(3, "big") + len(message.body).to_bytes(3, "big")
    out.append(message.type_id)
    out += message.stream_id.to_bytes(4, "little") + extended + message.body[:chunk_size]
    for start in range(chunk_size, len(message.body), chunk_size):
        out.append(0xC0 | chunk_id)
        out += extended + message.body[start : start + chunk_size]
    return bytes(out)
