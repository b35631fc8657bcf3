"""The frame link: encoded frames of streams between a media process and a room process.

One stream socket carries many channels, so that a tick of many sessions wakes the other side once. All
sessions of a media process that publish into one room process, or subscribe to streams of it, share a socket.
A frame is a 16-byte head and a payload:
``length u32 | type u8 | flags u8 | channel u16 | media time i64`` (big-endian; length counts the payload).
The types: CONTROL carries a document (`process.documents`), VIDEO one access unit as NAL units each behind a
4-byte length, AUDIO one Opus packet. END is empty: its sender is done with the channel. The media process
numbers the channels, and answers an END of the room process with its own.
Media time is in microseconds. Both tracks of a channel are on one clock: the session's where it publishes,
the room's stream's where it subscribes.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

HEAD = struct.Struct("!IBBHq")
#: The largest access unit in bytes; a peer that announces more is cut off.
MAX_PAYLOAD = 16 << 20
MOST_CHANNELS = 1 << 16


class FrameType(IntEnum):
    CONTROL = 0
    VIDEO = 1
    AUDIO = 2
    END = 3


#: Flags of a VIDEO frame. KEY_FRAME: a decoder can start with it. PAST: it was sent before, and is sent again
#: to a subscriber that needs it.
KEY_FRAME, PAST = 1, 2


class LinkFrame(NamedTuple):
    type: int
    flags: int
    media_us: int
    payload: bytes
    channel: int = 0


class LinkError(Exception):
    """The peer sent something that is no frame link, or a document that does not belong there."""


def pack_frame(kind: FrameType, payload: bytes, media_us: int = 0, flags: int = 0, channel: int = 0) -> bytes:
    return HEAD.pack(len(payload), kind, flags, channel, media_us) + payload


class FrameParser:
    """Cuts a byte stream into frames; `feed` takes any split of it. Raises LinkError."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[LinkFrame]:
        source: bytes | bytearray = data
        if self._rest:  # otherwise frames are cut out of `data` itself, which saves a copy
            self._rest += data
            source = self._rest
        position = 0
        try:
            while len(source) - position >= HEAD.size:
                length, kind, flags, channel, media_us = HEAD.unpack_from(source, position)
                if length > MAX_PAYLOAD:
                    raise LinkError(f"a frame of {length} bytes is over the bound")
                end = position + HEAD.size + length
                if end > len(source):
                    break
                payload = bytes(source[position + HEAD.size : end])
                position = end
                yield LinkFrame(kind, flags, media_us, payload, channel)
        finally:
            if source is data:
                self._rest += memoryview(data)[position:]
            else:
                del self._rest[:position]
