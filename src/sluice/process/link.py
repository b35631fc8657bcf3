"""The frame link: encoded frames of one stream between a media process and a room process.

One stream socket per session that publishes, and one per stream that is subscribed to. A frame is a 16-byte
head and a payload:
``length u32 | type u8 | flags u8 | reserved u16 | media time i64`` (big-endian; length counts the payload).
Types: CONTROL carries a JSON document (the media process's first says what the link is for), VIDEO one access
unit as NAL units each behind a 4-byte length, AUDIO one Opus packet. Media time is in microseconds, on one
clock for both tracks: the session's where it publishes, the room's stream's where it is subscribed to.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

HEAD = struct.Struct("!IBBHq")
#: No access unit is larger; a peer that announces more is cut off.
MAX_PAYLOAD = 16 << 20


class FrameType(IntEnum):
    CONTROL = 0
    VIDEO = 1
    AUDIO = 2


KEY_FRAME = 1  #: flag of a VIDEO frame that a decoder can start with


class LinkFrame(NamedTuple):
    type: int
    flags: int
    media_us: int
    payload: bytes


class LinkError(Exception):
    """The peer sent something that is no frame link."""


def pack_frame(kind: FrameType, payload: bytes, media_us: int = 0, flags: int = 0) -> bytes:
    return HEAD.pack(len(payload), kind, flags, 0, media_us) + payload


def pack_parts(
    kind: FrameType, parts: Sequence[bytes | memoryview], media_us: int = 0, flags: int = 0
) -> bytes:
    """As `pack_frame`, of a payload in parts."""
    return b"".join((HEAD.pack(sum(map(len, parts)), kind, flags, 0, media_us), *parts))


def pack_control(document: dict[str, Any]) -> bytes:
    return pack_frame(FrameType.CONTROL, json.dumps(document).encode())


def parse_control(payload: bytes) -> dict[str, Any]:
    """Raises LinkError for anything but a JSON object."""
    try:
        document = json.loads(payload)
    except ValueError as error:
        raise LinkError("a control frame is no JSON") from error
    if not isinstance(document, dict):
        raise LinkError("a control frame is no JSON object")
    return document


class FrameParser:
    """Cuts a byte stream into frames; `feed` takes any split of it. Raises LinkError."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[LinkFrame]:
        buffer = self._buffer
        buffer += data
        position = 0
        try:
            while len(buffer) - position >= HEAD.size:
                length, kind, flags, _, media_us = HEAD.unpack_from(buffer, position)
                if length > MAX_PAYLOAD:
                    raise LinkError(f"a frame of {length} bytes is over the bound")
                end = position + HEAD.size + length
                if end > len(buffer):
                    break
                payload = bytes(memoryview(buffer)[position + HEAD.size : end])
                position = end
                yield LinkFrame(kind, flags, media_us, payload)
        finally:
            if position:
                del buffer[:position]
