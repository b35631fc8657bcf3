"""The frame link: encoded frames of streams between a media process and a room process.

One stream socket carries many channels: all sessions of a media process that publish into a room process
share one, so that a tick wakes the other side once; each stream that is subscribed to has one of its own. A
frame is a 16-byte head and a payload:
``length u32 | type u8 | flags u8 | channel u16 | media time i64`` (big-endian; length counts the payload).
Types: CONTROL carries a JSON document (the media process's first on a channel says what it is for), VIDEO one
access unit as NAL units each behind a 4-byte length, AUDIO one Opus packet, END nothing: its sender is done
with the channel. The media process numbers channels, and answers an END of the room process with its own.
Media time is in microseconds, on one clock for both tracks of a channel: the session's where it publishes,
the room's stream's where it is subscribed to.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

HEAD = struct.Struct("!IBBHq")
#: No access unit is larger; a peer that announces more is cut off.
MAX_PAYLOAD = 16 << 20
MOST_CHANNELS = 1 << 16


class FrameType(IntEnum):
    CONTROL = 0
    VIDEO = 1
    AUDIO = 2
    END = 3


#: Flags of a VIDEO frame: a decoder can start with it; it was sent before, and is sent again to who needs it.
KEY_FRAME, PAST = 1, 2


class LinkFrame(NamedTuple):
    type: int
    flags: int
    media_us: int
    payload: bytes
    channel: int = 0


class LinkError(Exception):
    """The peer sent something that is no frame link."""


def pack_frame(kind: FrameType, payload: bytes, media_us: int = 0, flags: int = 0, channel: int = 0) -> bytes:
    return HEAD.pack(len(payload), kind, flags, channel, media_us) + payload


def pack_parts(
    kind: FrameType, parts: Sequence[bytes | memoryview], media_us: int = 0, flags: int = 0
) -> bytes:
    """As `pack_frame` on channel 0, of a payload in parts."""
    return b"".join((HEAD.pack(sum(map(len, parts)), kind, flags, 0, media_us), *parts))


def pack_control(document: dict[str, Any], channel: int = 0) -> bytes:
    return pack_frame(FrameType.CONTROL, json.dumps(document).encode(), channel=channel)


def parse_control(payload: bytes) -> dict[str, Any]:
    """Raises LinkError for anything but a JSON object."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise LinkError("a control frame is no JSON") from error
    if not isinstance(document, dict):
        raise LinkError("a control frame is no JSON object")
    return document


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
