"""The RTMP client that publishes a stream (see `wire.rtmp`; Adobe "RTMP 1.0", section 7.2.2.6).

Servers and CDNs expect more than the specification says: what encoders since Flash Media Live Encoder send.
That is `type` nonprivate and an FMLE version in connect, and releaseStream and FCPublish before createStream.
Their answers mean nothing: only errors to connect, createStream and publish refuse anything. Media is FLV tag
bodies, timestamps any number of milliseconds: on the wire they wrap at 32 bits, and from 0xFFFFFF on
(4 h 40 m) every chunk carries them extended (5.3.1.3).
"""

import struct

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, encode
from sluice.wire.rtmp import Client, ClientState, Event, Started, StreamEnded, is_error, rejection_of, text_of
from sluice.wire.rtmp_chunks import Message, write_message

_FLASH_VERSION = "FMLE/3.0 (compatible; sluice)"
#: What the most widespread encoders set, hence what every CDN takes.
CHUNK_SIZE = 4096
#: Some servers acknowledge each few kilobytes: what is sent makes that good.
_BYTES_FOR_AN_ANSWER = 2048
_AUDIO_CHUNKS, _DATA_CHUNKS, _VIDEO_CHUNKS, _PUBLISH_CHUNKS = 4, 5, 6, 8
_SET_DATA_FRAME = encode("@setDataFrame")


class PublishMachine(Client):
    _courteous = True
    _stream_id = 0

    def write_video(self, timestamp_ms: int, body: bytes) -> bytes:
        """What must be sent for a video tag; PUBLISHING only, as for the two others."""
        return self._media(_VIDEO_CHUNKS, chunks.VIDEO, timestamp_ms, body)

    def write_audio(self, timestamp_ms: int, body: bytes) -> bytes:
        return self._media(_AUDIO_CHUNKS, chunks.AUDIO, timestamp_ms, body)

    def write_metadata(self, timestamp_ms: int, body: bytes) -> bytes:
        """`body` is a script tag's, onMetaData for players."""
        return self._media(_DATA_CHUNKS, chunks.DATA_AMF0, timestamp_ms, _SET_DATA_FRAME + body)

    def finish(self) -> None:
        """The clean end: puts its commands into `to_send`. Servers answer with StreamEnded or hang up."""
        if self.state in (ClientState.PUBLISH, ClientState.PUBLISHING):
            self._command("FCUnpublish", None, self._stream)
            self._command("deleteStream", None, self._stream_id)

    def _connect_properties(self) -> dict[str, Value]:
        return {
            "app": self._app,
            "type": "nonprivate",
            "flashVer": _FLASH_VERSION,
            "tcUrl": self._tc_url,
        }

    def _on_connected(self) -> None:
        self._control(chunks.SET_CHUNK_SIZE, struct.pack(">I", CHUNK_SIZE))
        self._chunk_size = CHUNK_SIZE
        self._command("releaseStream", None, self._stream)
        self._command("FCPublish", None, self._stream)
        super()._on_connected()

    def _on_created(self, stream_id: int) -> None:
        self.state, self._stream_id = ClientState.PUBLISH, stream_id
        self._command("publish", None, self._stream, "live", chunk_id=_PUBLISH_CHUNKS, stream_id=stream_id)

    def _on_status(self, info: Value) -> list[Event]:
        code = text_of(info, "code")
        if is_error(info) or code in ("NetStream.Publish.BadName", "NetStream.Publish.Denied"):
            if self._concerns_us(code) and not code.startswith("NetStream.Play."):
                return self._end(rejection_of(info))
            self._complain(info)
            return []
        if code.startswith(("NetStream.Unpublish", "NetConnection.Connect.Closed")):
            return self._end(StreamEnded(code))
        if code == "NetStream.Publish.Start" and self.state is ClientState.PUBLISH:
            self.state = ClientState.PUBLISHING
            return [Started()]
        return []

    def _on_other_command(self, name: str, info: Value) -> list[Event]:
        # What it says of the stream is said again when publish is answered.
        if name == "onFCPublish" and text_of(info, "code") != "NetStream.Publish.Start":
            self._complain(info)
        return []

    def _media(self, chunk_id: int, type_id: int, timestamp_ms: int, body: bytes) -> bytes:
        self._idle -= len(body) // _BYTES_FOR_AN_ANSWER
        message = Message(type_id, self._stream_id, timestamp_ms & 0xFFFFFFFF, body)
        return write_message(chunk_id, message, CHUNK_SIZE)
