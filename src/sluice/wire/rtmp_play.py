"""The RTMP client that plays a stream (see `wire.rtmp`; Adobe "RTMP 1.0", section 7.2.2.1).

Timestamps of media have 32 bits and are unwrapped here, on one clock for audio and video.
"""

import struct

from sluice.core.limits import MOST_DATA_VALUES, MOST_RTMP_DATA_BYTES, MOST_RTMP_PARTS
from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Amf0Error, Value, decode
from sluice.wire.rtmp import (
    AMF_BYTES_FOR_A_STEP,
    SET_BUFFER_LENGTH,
    STREAM_EOF,
    AudioMessage,
    Client,
    ClientState,
    DataMessage,
    Event,
    Started,
    StreamEnded,
    StreamNotFound,
    VideoMessage,
    is_error,
    rejection_of,
    text_of,
    user_control_of,
)
from sluice.wire.rtmp_chunks import Message, RtmpError

_FLASH_VERSION = "LNX 9,0,124,2"
_PLAY_CHUNKS = 8
_BUFFER_MS = 3000
#: What reading metadata costs at most: MOST_DATA_VALUES of the index of a long file, as a rule numbers of
#: nine bytes.
_MOST_DATA_STEPS = 9 * MOST_DATA_VALUES // AMF_BYTES_FOR_A_STEP
_ENDS = ("NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete")


class PlayMachine(Client):
    """Goes as far as PLAYING; then `receive` returns media as messages."""

    _last_ms: int | None = None

    def _connect_properties(self) -> dict[str, Value]:
        return {
            "app": self._app,
            "flashVer": _FLASH_VERSION,
            "tcUrl": self._tc_url,
            "fpad": False,
            "capabilities": 15,
            "audioCodecs": 0x0FFF,
            "videoCodecs": 0x00FF,
            "videoFunction": 1,
        }

    def _on_created(self, stream_id: int) -> None:
        self.state = ClientState.PLAY
        self._control(chunks.USER_CONTROL, struct.pack(">HII", SET_BUFFER_LENGTH, stream_id, _BUFFER_MS))
        self._command("play", None, self._stream, chunk_id=_PLAY_CHUNKS, stream_id=stream_id)

    def _on_status(self, info: Value) -> list[Event]:
        code = text_of(info, "code")
        if is_error(info) and not (self._concerns_us(code) and not code.startswith("NetStream.Publish.")):
            self._complain(info)
            return []
        if code == "NetStream.Play.StreamNotFound":
            return self._end(StreamNotFound(code, text_of(info, "description")))
        if is_error(info):
            return self._end(rejection_of(info))
        if code in _ENDS:
            return self._end(StreamEnded(code))
        if code == "NetStream.Play.Start" and self.state is ClientState.PLAY:
            self.state = ClientState.PLAYING
            return [Started()]
        return []

    def _on_other_message(self, message: Message) -> list[Event]:
        match message.type_id:
            case chunks.VIDEO | chunks.AUDIO:
                return self._media(message.type_id, message.timestamp, message.body)
            case chunks.AGGREGATE:
                return self._aggregate(message)
            case chunks.DATA_AMF0:
                return self._data(message.body)
            case chunks.USER_CONTROL if user_control_of(message) == STREAM_EOF:
                if self.state is ClientState.PLAYING:
                    return self._end(StreamEnded("StreamEOF"))
        return []

    def _media(self, type_id: int, timestamp: int, body: bytes) -> list[Event]:
        self._earn(body)
        if self.state not in (ClientState.PLAY, ClientState.PLAYING):
            return []
        events: list[Event] = []
        if self.state is ClientState.PLAY:
            # Some servers send media without NetStream.Play.Start.
            self.state = ClientState.PLAYING
            events.append(Started())
        time_ms = self._unwrap(timestamp)
        events.append(VideoMessage(time_ms, body) if type_id == chunks.VIDEO else AudioMessage(time_ms, body))
        return events

    def _unwrap(self, timestamp: int) -> int:
        """The unwrapped time nearest to the last one; never negative."""
        if self._last_ms is None:
            self._last_ms = timestamp
            return timestamp
        ahead = (timestamp - self._last_ms) & 0xFFFFFFFF
        # After a sequence header at time 0, media at 30 days is far ahead, not behind.
        if ahead >= 0x80000000 and self._last_ms + ahead >= 0x100000000:
            ahead -= 0x100000000
        self._last_ms += ahead
        return self._last_ms

    def _aggregate(self, message: Message) -> list[Event]:
        """Several FLV tags in one message (7.1.6). Their times are shifted, so that the first has the
        message's."""
        events: list[Event] = []
        body, offset, shift, parts = message.body, 0, None, 0
        while offset < len(body):
            parts += 1
            if parts > MOST_RTMP_PARTS:
                raise RtmpError(f"an aggregate message has more than {MOST_RTMP_PARTS} parts")
            self._spend(1)
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

    def _data(self, body: bytes) -> list[Event]:
        """Metadata, where it can be read: a stream plays without it."""
        if len(body) > MOST_RTMP_DATA_BYTES:
            return []
        self._spend(min(len(body) // AMF_BYTES_FOR_A_STEP, _MOST_DATA_STEPS))
        try:
            values = decode(body, MOST_DATA_VALUES)
        except Amf0Error:
            return []
        if not values or not isinstance(values[0], str):
            return []
        return [DataMessage(values[0], values[1:])]
