"""A room's side of frame links that are subscribed to, and a publisher in it that is encoded while it plays.

The publisher flashes and beeps at every full second of its media time, makes a key frame when it is asked for
one and otherwise none, as browsers do, and keeps the hashes of its slices.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import count

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from sluice.process.documents import (
    GroupRequest,
    KeyFrameRequest,
    LinkDocument,
    Publisher,
    Subscribe,
    pack_document,
    read_document,
)
from sluice.process.link import (
    KEY_FRAME,
    FrameParser,
    FrameType,
    pack_frame,
)
from sluice.wire.h264 import split_annexb

FRAME_US, SOUND_US, SECOND_US = 40_000, 20_000, 1_000_000
FLASH_US = 80_000
_RATE = 48_000


class Room:
    """The frame socket; what is sent goes to everyone who has subscribed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.subscriptions: list[Subscribe] = []
        self.key_frame_requests = 0
        self.publisher = Publisher()
        self.on_key_frame_request: Callable[[], None] = lambda: None
        self._subscribers: set[tuple[asyncio.StreamWriter, int]] = set()  #: with the number of their channel
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        """As when the process dies."""
        assert self._server is not None
        self._server.close()
        for writer, _ in self._subscribers:
            writer.transport.abort()
        self._subscribers.clear()

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def say(self, *, present: bool, video: bool, audio: bool, **trouble: str) -> None:
        """`trouble` says what is wrong with a kind, as ``video_wrong`` and ``audio_wrong``."""
        wrong = {name.removesuffix("_wrong"): text for name, text in trouble.items()}
        self.publisher = Publisher(present=present, video=video, audio=audio, trouble=wrong)
        for writer, channel in self._subscribers:
            writer.write(pack_document(self.publisher, channel))

    def video(self, units: list[bytes], media_us: int, *, key: bool) -> None:
        payload = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
        self._send(FrameType.VIDEO, payload, media_us, KEY_FRAME if key else 0)

    def audio(self, packet: bytes, media_us: int) -> None:
        self._send(FrameType.AUDIO, packet, media_us)

    def _send(self, kind: FrameType, payload: bytes, media_us: int, flags: int = 0) -> None:
        for writer, channel in self._subscribers:
            writer.write(pack_frame(kind, payload, media_us, flags, channel))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = FrameParser()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                for frame in parser.feed(data):
                    if frame.type == FrameType.END:
                        self._subscribers.discard((writer, frame.channel))
                    else:
                        self._take(read_document(frame.payload), writer, frame.channel)
        writer.close()
        self._subscribers = {one for one in self._subscribers if one[0] is not writer}

    def _take(self, document: LinkDocument, writer: asyncio.StreamWriter, channel: int) -> None:
        if isinstance(document, Subscribe):
            self.subscriptions.append(document)
            self._subscribers.add((writer, channel))
            writer.write(pack_document(self.publisher, channel))
        elif isinstance(document, KeyFrameRequest | GroupRequest):
            self.key_frame_requests += 1
            self.on_key_frame_request()


class Broadcaster:
    """`play` until it is cancelled. `video` and `audio` may be switched while it plays; `start_us` is where
    its media clock begins."""

    def __init__(self, room: Room, *, start_us: int = 0, size: tuple[int, int] = (320, 180)) -> None:
        self.video = self.audio = True
        self.media_us = start_us
        self.size = size
        self.sent: list[str] = []  #: hashes of slices
        self._room = room
        self._encoder: VideoCodecContext | None = None
        self._key_wanted = True
        self._numbers = count()
        room.on_key_frame_request = self._want_key

    async def play(self) -> None:
        """Publishes in real time, and says so."""
        loop = asyncio.get_running_loop()
        sounds = sounds_of_a_second()
        self.say()
        began_s, start_us = loop.time(), self.media_us
        while True:
            await asyncio.sleep(began_s + (self.media_us - start_us) / 1e6 - loop.time())
            if self.video and self.media_us % FRAME_US == 0:
                self._picture()
            if self.audio:
                self._room.audio(sounds[self.media_us % SECOND_US // SOUND_US], self.media_us)
            self.media_us += SOUND_US

    def say(self) -> None:
        self._room.say(present=True, video=self.video, audio=self.audio)

    def _want_key(self) -> None:
        self._key_wanted = True

    def _picture(self) -> None:
        if self._encoder is None or (self._encoder.width, self._encoder.height) != self.size:
            self._encoder, self._key_wanted = _x264(self.size), True
        frame = _frame(self.size, self.media_us)
        frame.pts, frame.time_base = next(self._numbers), Fraction(1, 25)
        frame.pict_type = PictureType.I if self._key_wanted else PictureType.NONE
        for packet in self._encoder.encode(frame):
            units = split_annexb(bytes(packet))
            self.sent += slice_hashes(units)
            self._room.video(units, self.media_us, key=self._key_wanted)
        self._key_wanted = False


def slice_hashes(units: list[bytes] | list[bytes | memoryview]) -> list[str]:
    return [hashlib.sha256(unit).hexdigest() for unit in units if unit[0] & 0x1F in (1, 5)]


@contextlib.contextmanager
def playing(broadcaster: Broadcaster) -> Iterator[Broadcaster]:
    task = asyncio.create_task(broadcaster.play())
    try:
        yield broadcaster
    finally:
        task.cancel()


def _x264(size: tuple[int, int]) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "g": "100000",
        "sc_threshold": "0",
        "forced-idr": "1",
    }
    return encoder


def _frame(size: tuple[int, int], media_us: int) -> VideoFrame:
    flash = media_us % SECOND_US < FLASH_US
    luma = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
    luma[: size[1]] = 235 if flash else 40
    luma[: size[1], : media_us // FRAME_US * 4 % size[0]] //= 2  # something moves
    return VideoFrame.from_ndarray(luma, format="yuv420p")


@cache
def sounds_of_a_second() -> list[bytes]:
    """The Opus packets of one second of media time: a beep at its beginning."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = _RATE, "stereo", "flt"
    encoder.bit_rate = 96_000
    encoder.options = {"frame_duration": "20"}
    encoder.open()
    samples = _RATE * SOUND_US // SECOND_US
    packets: list[bytes] = []
    for n in range(2 * SECOND_US // SOUND_US):  # the second turn, so that the encoder has settled
        at = (n * samples + np.arange(samples)) % _RATE
        tone = np.where(at < _RATE * FLASH_US // SECOND_US, 0.7 * np.sin(2 * np.pi * 1000 * at / _RATE), 0)
        stereo = np.repeat(tone, 2)[None].astype(np.float32)
        frame = AudioFrame.from_ndarray(stereo, format="flt", layout="stereo")
        frame.sample_rate = _RATE
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets[SECOND_US // SOUND_US :]
