"""RTCP (RFC 3550 6, RFC 4585, RFC 5104): reports and feedback, both ways.

Parsing skips packet types that we do not know, and is strict about lengths: a compound packet that is cut
short raises RtcpError, and so does one with more packets than anybody sends (MOST_COMPOUND_PACKETS).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluice.core.limits import MOST_COMPOUND_PACKETS, MOST_NACKED

_SR, _RR, _SDES, _BYE, _RTPFB, _PSFB = 200, 201, 202, 203, 205, 206
_REPORT_BLOCK = struct.Struct("!IIIIII")


class RtcpError(ValueError):
    """The bytes are no RTCP compound packet."""


@dataclass(frozen=True, slots=True)
class Nack:
    """Generic NACK (RFC 4585 6.2.1): sequence numbers (16 bit) that the receiver of `ssrc` misses, the first
    MOST_NACKED of them."""

    ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """PLI or FIR: the receiver of `ssrc` cannot go on without a key frame."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class Reception:
    """One report block: `fraction_lost` in [0, 1] since the last report, `packets_lost` of all up to the
    extended sequence number `highest`, `jitter` in RTP clock units. `last_report` and `delay` are as in
    ReportBlock; 0 where no sender report has come."""

    ssrc: int
    fraction_lost: float
    packets_lost: int
    highest: int
    jitter: int
    last_report: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Goodbye:
    """BYE: this source has left."""

    ssrc: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """`timestamp` (RTP, 32 bit) of `ssrc` is the same moment as `ntp` (RFC 3550 4: seconds, 32.32 bits)."""

    ssrc: int
    ntp: int
    timestamp: int


Feedback = Nack | PictureLoss | Reception | SenderReport | Goodbye


def parse(data: bytes) -> list[Feedback]:
    """What a peer says in one compound packet. Raises RtcpError."""
    found: list[Feedback] = []
    for kind, count, body in _packets(data):
        if kind in (_SR, _RR):
            if kind == _SR:
                found.append(_sender_report(body))
            found += _receptions(body, 24 if kind == _SR else 4, count)
        elif kind == _RTPFB and count == 1 and len(body) >= 8:
            found.append(_nack(body))
        elif kind == _PSFB and count == 1 and len(body) >= 8:
            found.append(PictureLoss(int.from_bytes(body[4:8], "big")))
        elif kind == _PSFB and count == 4:
            # RFC 5104 4.3.1: the media SSRC field is unused, the entries name the streams.
            found += [
                PictureLoss(int.from_bytes(body[at : at + 4], "big")) for at in range(8, len(body) - 7, 8)
            ]
        elif kind == _BYE:
            found += [Goodbye(ssrc) for (ssrc,) in struct.iter_unpack("!I", body[: 4 * count])]
    return found


def _packets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = count = 0
    while position < len(data):
        count += 1
        if count > MOST_COMPOUND_PACKETS:
            raise RtcpError(f"a compound packet has more than {MOST_COMPOUND_PACKETS} packets")
        if len(data) - position < 4:
            raise RtcpError("an RTCP packet is cut short")
        first, kind, words = struct.unpack_from("!BBH", data, position)
        end = position + 4 + 4 * words
        # RFC 3550 6.4.1: the last octet of the padding counts it, itself included.
        padding = data[end - 1] if first & 0x20 and end <= len(data) else 0
        if first >> 6 != 2 or end > len(data) or padding > 4 * words:
            raise RtcpError("an RTCP packet is malformed")
        yield kind, first & 0x1F, data[position + 4 : end - padding]
        position = end


def _sender_report(body: bytes) -> SenderReport:
    if len(body) < 24:
        raise RtcpError("a sender report is cut short")
    ssrc, ntp, timestamp = struct.unpack_from("!IQI", body)
    return SenderReport(ssrc, ntp, timestamp)


def _receptions(body: bytes, offset: int, count: int) -> list[Feedback]:
    if len(body) < offset + 24 * count:
        raise RtcpError("a report is cut short")
    blocks: list[Feedback] = []
    for n in range(count):
        ssrc, lost, highest, jitter, last_report, delay = _REPORT_BLOCK.unpack_from(body, offset + 24 * n)
        total = lost & 0xFFFFFF
        total -= total >> 23 << 24  # signed: duplicates count as received (RFC 3550 6.4.1)
        fraction = (lost >> 24) / 256
        blocks.append(Reception(ssrc, fraction, total, highest, jitter, last_report, delay))
    return blocks


def _nack(body: bytes) -> Nack:
    sequences: list[int] = []
    for at in range(8, len(body) - 3, 4):
        first, mask = struct.unpack_from("!HH", body, at)
        sequences.append(first)
        sequences += [(first + n + 1) & 0xFFFF for n in range(16) if mask >> n & 1]
        if len(sequences) >= MOST_NACKED:
            break
    return Nack(int.from_bytes(body[4:8], "big"), tuple(sequences[:MOST_NACKED]))


# --- what we send ---------------------------------------------------------------------------------------

_NTP_OFFSET = 2_208_988_800  # from 1900 to 1970, in seconds


def ntp_time(unix_time: float) -> int:
    """RFC 3550 4: seconds since 1900, 32.32 bits."""
    return int((unix_time + _NTP_OFFSET) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def middle_of(ntp: int) -> int:
    """The middle 32 bits, by which a receiver names a sender report."""
    return ntp >> 16 & 0xFFFFFFFF


def sender_report(
    ssrc: int, *, unix_time: float, timestamp: int, packets: int, octets: int, cname: str
) -> bytes:
    """A compound packet of SR and SDES CNAME. `timestamp` is the RTP time of the moment `unix_time`."""
    ntp = ntp_time(unix_time)
    report = struct.pack(
        "!BBHIQIII", 0x80, _SR, 6, ssrc, ntp, timestamp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF
    )
    return report + _cname(ssrc, cname)


def _cname(ssrc: int, cname: str) -> bytes:
    text = cname.encode()
    chunk = struct.pack("!IBB", ssrc, 1, len(text)) + text
    chunk += bytes(4 - len(chunk) % 4)  # at least one null octet ends the list (RFC 3550 6.5)
    return struct.pack("!BBH", 0x81, _SDES, len(chunk) // 4) + chunk


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says about one source (RFC 3550 6.4.1). `fraction_lost` is in 1/256, `highest`
    extended, `last_report` the middle 32 bits of the NTP time of its sender report, `delay` the time since
    then in 1/65536 s."""

    ssrc: int
    fraction_lost: int
    packets_lost: int
    highest: int
    jitter: int
    last_report: int
    delay: int


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock], cname: str) -> bytes:
    """A compound packet of RR and SDES CNAME."""
    made = struct.pack("!BBHI", 0x80 | len(blocks), _RR, 1 + 6 * len(blocks), ssrc)
    for block in blocks:
        lost = min(max(block.packets_lost, -0x800000), 0x7FFFFF) & 0xFFFFFF
        made += _REPORT_BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | lost,
            block.highest,
            block.jitter,
            block.last_report,
            block.delay,
        )
    return made + _cname(ssrc, cname)


def nack(ssrc: int, media: int, sequences: Sequence[int]) -> bytes:
    """Asks for these packets (16-bit numbers, in order) again (RFC 4585 6.2.1)."""
    entries: list[tuple[int, int]] = []
    for sequence in sequences:
        if entries and 1 <= (behind := (sequence - entries[-1][0]) & 0xFFFF) <= 16:
            entries[-1] = entries[-1][0], entries[-1][1] | 1 << behind - 1
        else:
            entries.append((sequence, 0))
    body = b"".join(struct.pack("!HH", *entry) for entry in entries)
    return struct.pack("!BBHII", 0x81, _RTPFB, 2 + len(entries), ssrc, media) + body


def picture_loss(ssrc: int, media: int) -> bytes:
    """PLI (RFC 4585 6.3.1)."""
    return struct.pack("!BBHII", 0x81, _PSFB, 2, ssrc, media)


def full_intra_request(ssrc: int, media: int, number: int) -> bytes:
    """FIR (RFC 5104 4.3.1); `number` must differ from that of the last request."""
    return struct.pack("!BBHIIIB3x", 0x84, _PSFB, 4, ssrc, 0, media, number & 0xFF)


def bandwidth_estimate(ssrc: int, media: Sequence[int], bits_per_s: int) -> bytes:
    """REMB (draft-alvestrand-rmcat-remb-03 2.2): the bitrate that these sources may send together."""
    exponent = max(0, bits_per_s.bit_length() - 18)
    value = len(media) << 24 | exponent << 18 | bits_per_s >> exponent
    head = struct.pack("!BBHII4sI", 0x8F, _PSFB, 4 + len(media), ssrc, 0, b"REMB", value)
    return head + struct.pack(f"!{len(media)}I", *media)
