"""RTP: access units to payloads and back (RFC 6184, packetization-mode 1), headers (RFC 3550 5.1, RFC 8285).

All fragments of a NAL unit but the last have the same length, so that the kernel can cut the packets out of
one buffer (UDP segmentation offload).
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sluice.core.limits import MOST_EXTENSION_BYTES

#: Largest RTP payload, in bytes. With header, SRTP tag, UDP and IPv6 it stays below 1280, the least IPv6 MTU.
MAX_PAYLOAD = 1180

NalUnit = bytes | memoryview

_HEADER = struct.Struct("!BBHII")
_MARKER = 0x80

_STAP_A = 24
_FU_A = 28
#: Access unit delimiter, ends of sequence and stream, filler: they mean nothing in RTP.
_LEFT_OUT = frozenset({9, 10, 11, 12})


def h264_payloads(nal_units: Iterable[NalUnit]) -> list[bytes]:
    """The RTP payloads of one access unit: small neighbours are aggregated (STAP-A), large units fragmented
    (FU-A)."""
    payloads: list[bytes] = []
    small: list[NalUnit] = []
    small_size = 1
    for nal in nal_units:
        if not nal or nal[0] & 0x1F in _LEFT_OUT:
            continue
        if small and small_size + 2 + len(nal) > MAX_PAYLOAD:
            payloads.append(_aggregate(small))
            small, small_size = [], 1
        if len(nal) > MAX_PAYLOAD:
            if small:
                payloads.append(_aggregate(small))
                small, small_size = [], 1
            payloads.extend(_fragment(nal))
        else:
            small.append(nal)
            small_size += 2 + len(nal)
    if small:
        payloads.append(_aggregate(small))
    return payloads


def nal_units_of(payloads: Iterable[bytes]) -> list[bytes]:
    """The NAL units of which `h264_payloads` made these payloads."""
    units: list[bytes] = []
    fragments: list[bytes] = []
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            if payload[1] & 0x80:
                fragments = [bytes(((payload[0] & 0xE0) | (payload[1] & 0x1F),))]
            fragments.append(payload[2:])
            if payload[1] & 0x40:
                units.append(b"".join(fragments))
        elif kind == _STAP_A:
            at = 1
            while at < len(payload):
                end = at + 2 + int.from_bytes(payload[at : at + 2], "big")
                units.append(payload[at + 2 : end])
                at = end
        else:
            units.append(payload)
    return units


def _aggregate(nal_units: Sequence[NalUnit]) -> bytes:
    """RFC 6184 5.7.1; a single unit stays as it is (5.6)."""
    if len(nal_units) == 1:
        return bytes(nal_units[0])
    importance = max(nal[0] & 0x60 for nal in nal_units)
    parts: list[NalUnit] = [bytes((importance | _STAP_A,))]
    for nal in nal_units:
        parts += (len(nal).to_bytes(2, "big"), nal)
    return b"".join(parts)


def _fragment(nal: NalUnit) -> list[bytes]:
    """RFC 6184 5.8: all fragments but the last have the full length."""
    indicator, kind = (nal[0] & 0xE0) | _FU_A, nal[0] & 0x1F
    size = MAX_PAYLOAD - 2
    pieces = [nal[at : at + size] for at in range(1, len(nal), size)]
    last = len(pieces) - 1
    return [
        bytes((indicator, kind | (0x80 if n == 0 else 0) | (0x40 if n == last else 0))) + piece
        for n, piece in enumerate(pieces)
    ]


def headers(payload_type: int, sequence: int, timestamp: int, ssrc: int, count: int) -> list[bytes]:
    """The headers of one frame's packets; the last carries the marker bit. `sequence` may be extended."""
    pack = _HEADER.pack
    packed = [pack(0x80, payload_type, (sequence + n) & 0xFFFF, timestamp, ssrc) for n in range(count - 1)]
    packed.append(pack(0x80, payload_type | _MARKER, (sequence + count - 1) & 0xFFFF, timestamp, ssrc))
    return packed


def audio_header(payload_type: int, sequence: int, timestamp: int, ssrc: int) -> bytes:
    """The header of an audio packet, without the marker, which would mean the start of a talkspurt (RFC 3551
    4.1)."""
    return _HEADER.pack(0x80, payload_type, sequence & 0xFFFF, timestamp, ssrc)


def equal_runs(lengths: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Groups packets of these lengths into ranges ``(start, end)``, one for each segmented send: at most
    `most` packets of one length, of which the last may be shorter."""
    runs: list[tuple[int, int]] = []
    start, count = 0, len(lengths)
    while start < count:
        size = lengths[start]
        end = start + 1
        while end < count and end - start < most and lengths[end - 1] == size and lengths[end] <= size:
            end += 1
        runs.append((start, end))
        start = end
    return runs


class RtpError(ValueError):
    """The bytes are no RTP packet."""


@dataclass(slots=True)
class RtpPacket:
    """A received packet. `extension`: the header extension with its 4-byte head, empty without one.
    `lost_before`: how many packets just before this one were given up; the jitter buffer sets it."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    extension: bytes = b""
    lost_before: int = 0


def parse_rtp(data: bytes) -> RtpPacket:
    """RFC 3550 5.1, 5.3.1. Raises RtpError."""
    if len(data) < 12 or data[0] >> 6 != 2:
        raise RtpError("this is no RTP packet")
    flags, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start, end, extension = 12 + 4 * (flags & 0x0F), len(data), b""
    if flags & 0x10:
        head = start
        start += 4 + 4 * int.from_bytes(data[head + 2 : head + 4], "big")
        extension = data[head:start]
    if flags & 0x20:
        end -= data[-1]
    if start > end:
        raise RtpError("an RTP packet is shorter than its header says")
    return RtpPacket(kind & 0x7F, kind > 0x7F, sequence, timestamp, ssrc, data[start:end], extension)


def extension_element(extension: bytes, wanted: int) -> bytes:
    """The element with the id `wanted` of a header extension (RFC 8285); empty if there is none in the first
    MOST_EXTENSION_BYTES."""
    profile, at, end = extension[:2], 4, min(len(extension), MOST_EXTENSION_BYTES)
    one_byte = profile == b"\xbe\xde"  # 4.2; else two bytes, 4.3
    if not one_byte and (profile[:1] != b"\x10" or profile[1:2] > b"\x0f"):
        return b""
    while at < end - 1:
        head = extension[at]
        if head == 0:  # padding
            at += 1
            continue
        if one_byte:
            number, size, at = head >> 4, (head & 0x0F) + 1, at + 1
        else:
            number, size, at = head, extension[at + 1], at + 2
        if number == wanted:
            return extension[at : at + size] if at + size <= end else b""
        if one_byte and number == 15:  # 4.2: what follows is not to be read
            break
        at += size
    return b""


def original_of_rtx(packet: RtpPacket, payload_type: int, ssrc: int) -> RtpPacket | None:
    """The packet that an RTX packet repeats (RFC 4588 4), with the original payload type and SSRC; None for
    padding."""
    if len(packet.payload) < 2:
        return None
    return RtpPacket(
        payload_type,
        packet.marker,
        int.from_bytes(packet.payload[:2], "big"),
        packet.timestamp,
        ssrc,
        packet.payload[2:],
    )
