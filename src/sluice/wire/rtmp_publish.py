"""The RTMP client that publishes a stream (see `wire.rtmp`; Adobe "RTMP 1.0", section 7.2.2.6).

Servers and CDNs expect more than the specification says, namely what encoders have sent since Flash Media
Live Encoder: `type` nonprivate and an FMLE version in connect, and releaseStream and FCPublish before
createStream. Answers to these two mean nothing: only errors to connect, createStream and publish refuse.

Media is passed as bodies of FLV tags. Timestamps are milliseconds of any size: on the wire they wrap at
32 bits, and from 0xFFFFFF (4 h 40 min) on every chunk carries an extended timestamp (5.3.1.3).
"""

import struct

from sluice.wire import rtmp_chunks as chunks
from sluice.wire.amf0 import Value, encode
from sluice.wire.rtmp import Client, ClientState, Event, Started, StreamEnded, is_error, rejection_of, text_of
from sluice.wire.rtmp_chunks import Message, write_message

_FLASH_VERSION = "FMLE/3.0 (compatible; sluice)"
#: Bytes. Every CDN takes this size, because the most widespread encoders set it.
CHUNK_SIZE = 4096
#: Bytes sent that make good one idle step: some servers acknowledge every few kilobytes.
_BYTES_FOR_AN_ANSWER = 2048
_AUDIO_CHUNKS, _DATA_CHUNKS, _VIDEO_CHUNKS, _PUBLISH_CHUNKS = 4, 5, 6, 8
_SET_DATA_FRAME = encode("@setDataFrame")


class PublishMachine(Client):
    """Goes as far as PUBLISHING; then the `write_*` methods make the bytes to be sent for media."""

    _sends_optional_commands = True
    _stream_id = 0

    def write_video(self, timestamp_ms: int, body: bytes) -> bytes:
        """The bytes to send for a video tag; in PUBLISHING only, as with the other two."""
        return self._media(_VIDEO_CHUNKS, chunks.VIDEO, timestamp_ms, body)

    def write_audio(self, timestamp_ms: int, body: bytes) -> bytes:
        return self._media(_AUDIO_CHUNKS, chunks.AUDIO, timestamp_ms, body)

    def write_metadata(self, timestamp_ms: int, body: bytes) -> bytes:
        """`body`: of a script tag, which players receive as onMetaData."""
        return self._media(_DATA_CHUNKS, chunks.DATA_AMF0, timestamp_ms, _SET_DATA_FRAME + body)

    def finish(self) -> None:
        """Ends the stream cleanly: puts the commands into `to_send`. Servers answer with StreamEnded or
        hang up."""
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
        # No refusal yet: the answer to publish repeats what onFCPublish says of the stream.
        if name == "onFCPublish" and text_of(info, "code") != "NetStream.Publish.Start":
            self._complain(info)
        return []

    def _media(self, chunk_id: int, type_id: int, timestamp_ms: int, body: bytes) -> bytes:
        self._idle -= len(body) // _BYTES_FOR_AN_ANSWER
        message = Message(type_id, self._stream_id, timestamp_ms & 0xFFFFFFFF, body)
        return write_message(chunk_id, message, CHUNK_SIZE)
