"""Packed audio (RFC 8216 3.4): ADTS whose time is in an ID3 PRIV frame."""

import struct

_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"


def timestamp(seconds: float) -> bytes:
    payload = _OWNER + struct.pack(">Q", round(seconds * 90_000) % (1 << 33))
    frame = b"PRIV" + struct.pack(">I", len(payload)) + bytes(2) + payload
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + size + frame


def adts_frames(data: bytes) -> list[bytes]:
    frames, at = [], 0
    while at + 7 < len(data):
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        frames.append(data[at : at + size])
        at += size
    return frames
