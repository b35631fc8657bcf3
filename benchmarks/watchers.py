"""Receivers that decode: when each picture was ready to be shown, and the time that was drawn into it.

They take packets as they come, without a jitter buffer: a browser's own delay is the matter of `join`.
A picture of which a packet is missing is decoded as well as it can be; the count tells of the loss.
"""

import time
from dataclasses import dataclass

import av
from aiortc.codecs.h264 import H264PayloadDescriptor
from av.video.codeccontext import VideoCodecContext

from benchmarks.peers import VIDEO_TYPE, Agent, Receivers
from benchmarks.stamp import read_picture
from sluice.rooms.engine.dtls import DtlsIdentity

_HEADER = 12  #: bytes of an RTP header without contributing sources and extensions (RFC 3550 5.1)


@dataclass(frozen=True, slots=True)
class Picture:
    """`decoded_at` is of the monotonic clock, which is the same in all processes of a machine."""

    decoded_at: float
    stamp_ms: int | None


class Watcher(Agent):
    look_every_s = 0

    def __init__(self, host: str, identity: DtlsIdentity) -> None:
        super().__init__(host, identity)
        self._decoder: VideoCodecContext | None = None
        self._unit = b""  #: access unit with start codes, as far as it has come
        self._pictures_seen: list[Picture] = []

    def check(self, data: bytes) -> None:
        """Every packet is decrypted anyway."""

    def take(self, data: bytes) -> None:
        super().take(data)
        if self.session is None or data[1] & 0x7F != VIDEO_TYPE:
            return
        packet = self.open(self.session, data)
        if packet is None:
            return
        if packet[0] != 0x80:
            raise ValueError("the sender uses header extensions, which this receiver does not read")
        self._unit += H264PayloadDescriptor.parse(packet[_HEADER:])[1]
        if packet[1] & 0x80:
            self._decode()

    def _decode(self) -> None:
        if self._decoder is None:
            self._decoder = _decoder()
        unit, self._unit = self._unit, b""
        for frame in self._decoder.decode(av.Packet(unit)):
            at = time.monotonic()
            self._pictures_seen.append(Picture(at, read_picture(frame)))

    def take_pictures(self) -> list[Picture]:
        """Those since the last call."""
        pictures, self._pictures_seen = self._pictures_seen, []
        return pictures


def _decoder() -> VideoCodecContext:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1  # threads would each hold a picture back
    decoder.options = {"flags": "low_delay"}
    return decoder


class Watchers(Receivers):
    """Watchers in a process of their own."""

    def __init__(self, host: str, count: int) -> None:
        super().__init__(host, count, Watcher)

    def take_pictures(self) -> list[list[Picture]]:
        """Of each watcher those since the last call."""
        return self.ask_each("take_pictures")
